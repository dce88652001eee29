# SPDX-License-Identifier: Apache-2.0
"""The way in. Whatever goes wrong from here on, an import included, ends in a documented code."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from typing import NoReturn

_INTERNAL = 70
# Importing makes a few hundred thousand objects that all stay: by default the collector walks them
# dozens of times, a tenth of a command's time. Long runs are still collected.
_GC_THRESHOLD = 100_000


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    gc.set_threshold(_GC_THRESHOLD)
    try:
        from imgsec.cli.failures import run
    except KeyboardInterrupt:
        sys.exit(130)
    except BaseException as error:
        sys.stderr.write(f"imgsec: internal-error: imgsec cannot be loaded: {error!r}\n")
        sys.exit(_INTERNAL)
    code = run(sys.argv[1:])
    with contextlib.suppress(OSError):  # whoever read it has gone, and `run` has judged that
        sys.stdout.flush()
        sys.stderr.flush()
    # The interpreter's own farewell frees every object one by one: 60 ms after everything is done.
    os._exit(code)


if __name__ == "__main__":
    main()
