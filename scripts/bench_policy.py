# SPDX-License-Identifier: Apache-2.0
"""The figures of policies, for scripts/bench: large sets of rules, against loading them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from scripts.bench_many import Bench

RULES, MANY_RULES = 500, 10_000
# What anybody's Python does with the same file, at least.
LOAD = "import sys, yaml; list(yaml.load_all(open(sys.argv[1], 'rb'), Loader=yaml.CSafeLoader))"
Run = Callable[[list[str]], None]
_HOSTS = ("icr.io", "us.icr.io", "registry.example.com:5000", "docker.io", "*.icr.io")
_FORMS = ("team-{0}/app-{1}", "team-{0}/app-{1}@*", "team-{0}/service-{1}/*")
_SIGNED = """\
      policy:
        simple:
          requirements:
            - type: signedBy
              keySecret: release-key
              keySecretNamespace: portieris
              signedIdentity:
                type: matchRepository
"""
_UNCHECKED = """\
      policy: {}
"""


def all_policy(imgsec: str, python: str, folder: Path, run: Run) -> Iterator[Bench]:
    """Lint against a bare process that loads the same file."""
    path, large = folder / "rules.yaml", folder / "many-rules.yaml"

    def lint(number: int) -> None:
        if not path.exists():
            write_rules(path, RULES)
            write_rules(large, MANY_RULES)
        ended = subprocess.run(
            [imgsec, "policy", "lint", str(path)], capture_output=True, check=False
        )
        if ended.returncode not in (0, 1):
            raise RuntimeError(ended.stderr.decode())
        if number == 0:
            start = time.perf_counter()
            subprocess.run([imgsec, "policy", "lint", str(large)], capture_output=True, check=False)
            print(f"{'':10} {MANY_RULES} rules: {time.perf_counter() - start:.1f} s")

    yield Bench(
        "policy-lint",
        f"policy lint of {RULES} rules",
        "a bare Python process that loads them with PyYAML's C loader",
        3,
        lint,
        lambda _: run([python, "-c", LOAD, str(path)]),
    )


def write_rules(path: Path, count: int) -> None:
    """A policy of this many rules, of which most demand a signature."""
    rules = [
        f"    - name: '{_HOSTS[number % 5]}/{_FORMS[number % 3].format(number % 37, number)}'\n"
        + (_UNCHECKED if number % 7 == 0 else _SIGNED)
        for number in range(count)
    ]
    head = (
        "apiVersion: portieris.cloud.ibm.com/v1\nkind: ClusterImagePolicy\n"
        "metadata:\n  name: default\nspec:\n  repositories:\n"
    )
    path.write_text(head + "".join(rules))
