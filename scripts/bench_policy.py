# SPDX-License-Identifier: Apache-2.0
"""The figures of policies, for scripts/bench: large sets of rules, against loading them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from scripts.bench_many import Bench

RULES, MANY_RULES, FEW_RULES, MANIFESTS = 500, 10_000, 200, 1000
_UNDECIDED = 3  # what needs a registry stays open
# What anybody's Python does with the same file, at least.
LOAD = "import sys, yaml; list(yaml.load_all(open(sys.argv[1], 'rb'), Loader=yaml.CSafeLoader))"
LOAD_ALL = """
import pathlib, sys, yaml
for folder in sys.argv[1:]:
    for path in sorted(pathlib.Path(folder).iterdir()):
        list(yaml.load_all(path.read_bytes(), Loader=yaml.CSafeLoader))
"""
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

    workloads, policies = folder / "workloads", folder / "policies"

    def admit(_: int) -> None:
        if not workloads.exists():
            write_workloads(workloads, policies)
        words = ["admit", str(workloads), "--policies", str(policies), "--offline", "--quiet"]
        ended = subprocess.run(
            [imgsec, *words, "--output", f"json={folder / 'admitted.json'}"],
            capture_output=True,
            check=False,
        )
        if ended.returncode != _UNDECIDED:
            raise RuntimeError(ended.stderr.decode()[-500:])

    yield Bench(
        "admit",
        f"admit --offline of {MANIFESTS} manifests by {FEW_RULES} rules",
        "a bare Python process that loads the same files with PyYAML's C loader",
        2.5,
        admit,
        lambda _: run([python, "-c", LOAD_ALL, str(workloads), str(policies)]),
    )
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


_WORKLOAD = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web-{0}
  namespace: shop
  labels: {{app: web, tier: front}}
spec:
  replicas: 2
  selector:
    matchLabels: {{app: web}}
  template:
    metadata:
      labels: {{app: web}}
    spec:
      imagePullSecrets: [{{name: regcred}}]
      containers:
        - name: web
          image: us.icr.io/team-{1}/web-{0}:1.0
          ports:
            - containerPort: 8080
          env:
            - name: MODE
              value: production
          resources:
            limits: {{cpu: 100m, memory: 128Mi}}
"""
_KEY = """\
apiVersion: v1
kind: Secret
metadata:
  name: release-key
  namespace: portieris
stringData:
  key: |
    -----BEGIN PGP PUBLIC KEY BLOCK-----

    mQ==
    =abcd
    -----END PGP PUBLIC KEY BLOCK-----
"""


def write_workloads(workloads: Path, policies: Path) -> None:
    """Deployments of which each is decided by a rule that demands a signature."""
    workloads.mkdir()
    policies.mkdir()
    for number in range(MANIFESTS):
        text = _WORKLOAD.format(number, number % FEW_RULES)
        (workloads / f"{number:04}.yaml").write_text(text)
    rules = "".join(
        f"    - name: 'us.icr.io/team-{number}/*'\n{_SIGNED}" for number in range(FEW_RULES)
    )
    head = (
        "apiVersion: portieris.cloud.ibm.com/v1\nkind: ClusterImagePolicy\n"
        "metadata:\n  name: default\nspec:\n  repositories:\n"
    )
    (policies / "policy.yaml").write_text(head + rules)
    (policies / "key.yaml").write_text(_KEY)
