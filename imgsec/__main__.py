# SPDX-License-Identifier: Apache-2.0
"""The way in. Whatever goes wrong from here on, an import included, ends in a documented code."""

from __future__ import annotations

import sys
from typing import NoReturn

_INTERNAL = 70


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    try:
        from imgsec.cli.failures import run
    except KeyboardInterrupt:
        sys.exit(130)
    except BaseException as error:
        sys.stderr.write(f"imgsec: internal-error: imgsec cannot be loaded: {error!r}\n")
        sys.exit(_INTERNAL)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
