# SPDX-License-Identifier: Apache-2.0
"""``imgsec demo``: can I see all of this here, with no cloud account?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imgsec.cli.options import ToolsDirOpt, own

DEFAULT_FOLDER = Path("imgsec-demo")
FolderOpt = Annotated[
    Path, own("demo", "--folder", metavar="DIR", help="Where manifests and verdicts are left.")
]
SandboxOpt = Annotated[
    Path | None,
    own("demo", "--sandbox-dir", metavar="DIR", help="Keep the sandbox's state in this folder."),
]


def demo(
    *,
    folder: FolderOpt = DEFAULT_FOLDER,
    sandbox_dir: SandboxOpt = None,
    tools_dir: ToolsDirOpt = None,
) -> None:
    """Walk the whole story here: real tools, a sandbox instead of the cloud, two images.

    Ends in 0 only if every step ended as it must, in 3 if a part is missing, in 70 otherwise.

    Example: imgsec demo --folder /tmp/imgsec-demo
    """
    from imgsec.errors import ImgsecError
    from imgsec.reasons import PART_MISSING

    try:
        from imgsec.demo.stage import play
    except ModuleNotFoundError as error:
        raise ImgsecError(
            PART_MISSING(
                f"the Python package {error.name} is not installed",
                hint="Install imgsec with its sandbox extra: pip install 'imgsec[sandbox]'",
            )
        ) from None
    play(folder.absolute(), tools_dir, sandbox_dir, typer.echo)
