# SPDX-License-Identifier: Apache-2.0
"""Runs every case through this folder's verifier: python -m tests.corpus.openpgp.compare VERIFIER

Ends in 1 if it differs from the column ``portieris`` anywhere but where the README says so.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.corpus.server import CASES, configure, served

# README.md, "Where imgsec and Go's OpenPGP differ".
DIFFERENT = {
    *("index-of-nothing_fail", "index-too-long_fail", "secret-key-published_fail"),
    *("signed-by-subkey-beside-primary_fail", "signed-by-subkey_fail", "too-many_fail"),
    *("two-kinds-at-once_fail", "two-messages_fail", "type-contradicted_fail"),
    "unpacks-to-megabytes_fail",
}


def accepted(verifier: str, folder: Path, host: str, image: str) -> bool:
    with tempfile.TemporaryDirectory() as name:
        places = configure(Path(name), host, folder.name, image.partition("/")[0])
        done = subprocess.run(
            [verifier, "policy.json", *places, image],
            cwd=folder,
            env={"HOME": name, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            check=False,
            timeout=60,
        )
    return done.returncode == 0


def main(verifier: str) -> int:
    different = set()
    with served(extension=False) as plain, served(extension=True) as extended:
        for path in sorted(CASES.glob("*/case.json")):
            case = json.loads(path.read_text())
            host = extended if case.get("served", {}).get("extension") else plain
            found = accepted(str(Path(verifier).absolute()), path.parent, host, case["image"])
            if found is not (case["expected"]["portieris"] == "pass"):
                different.add(path.parent.name)
    for name in sorted(different ^ DIFFERENT):
        print(f"{name}: {'differs' if name in different else 'is the same by now'}")
    print(f"{len(different)} differences, {len(DIFFERENT)} expected")
    return 1 if different ^ DIFFERENT else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
