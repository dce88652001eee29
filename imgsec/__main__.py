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
    _open_standard_streams()
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


def _open_standard_streams() -> None:
    """Put the null device where a standard stream is closed.

    Else the next file that is opened takes its number, and gets what is meant for the terminal.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            while (opened := os.open(os.devnull, os.O_RDWR)) < number:
                os.set_inheritable(opened, True)
            setattr(sys, name, os.fdopen(opened, mode))


if __name__ == "__main__":
    main()
