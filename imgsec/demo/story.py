# SPDX-License-Identifier: Apache-2.0
"""The demo's story as data: which command runs, why, and how it must end.

Nothing here runs anything. A step that ends otherwise than it must fails the demo, so each line of
this table is also a test of the product.
"""

from __future__ import annotations

from dataclasses import dataclass

KEY = "kms://demo"


@dataclass(frozen=True, slots=True)
class Step:
    """One imgsec command. reason: the code of its first reason, where it must not pass.

    name: of the files that it leaves. expects: words that its text must have.
    """

    name: str
    title: str
    why: str
    arguments: tuple[str, ...]
    outcome: str = "pass"
    reason: str | None = None
    expects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are: the two images by tag, and the folder for the manifests."""

    clean: str
    vulnerable: str
    pattern: str
    manifests: str
    public_key: str
    workloads: str


def first_steps(places: Places) -> tuple[Step, ...]:
    """Before any digest is known: the key, and what the tags name."""
    setup = (
        *("setup-signing-keys", "--alias", "demo", "--repository", places.pattern),
        *("--render", places.manifests),
    )
    return (
        Step(
            "setup",
            "Make a signing key, keep its secret half in the KMS, tell the cluster",
            "An RSA 4096 sign-only key; three manifests are written.",
            setup,
            expects=("created: kms://demo",),
        ),
        Step(
            "setup-again",
            "The same once more",
            "Set-up finds what it made: no second key, nothing changed.",
            setup,
            expects=("nothing-to-do",),
        ),
        Step(
            "resolve-clean",
            "Resolve each tag to its digest, once",
            "From here on the digest is what is judged and signed.",
            ("resolve", places.clean),
        ),
        Step("resolve-vulnerable", "", "", ("resolve", places.vulnerable)),
    )


def later_steps(places: Places, clean: str, vulnerable: str) -> tuple[Step, ...]:
    """With the digests. clean, vulnerable: ``repository:tag@sha256:...``."""
    admit = ("admit", "--policies", places.manifests, "--assume-pull-secrets")
    return (
        Step(
            "gate-vulnerable",
            "Gate both digests on their scans",
            "The advisor finds vulnerabilities in the first: refused, so it is never signed.",
            ("scan-gate", "--timeout", "30", vulnerable),
            outcome="refused",
            reason="finding-in-force",
        ),
        Step(
            "gate-clean",
            "",
            "The second is clean: it may go out.",
            ("scan-gate", "--timeout", "30", clean),
        ),
        Step(
            "sign",
            "Sign the digest that passed, under its tag's name",
            "The key comes from the KMS into memory; the signature goes to the registry.",
            ("sign-image", "--key", KEY, clean),
            expects=("(signed by",),
        ),
        Step(
            "sign-again",
            "",
            "A retry finds the signature and leaves it alone.",
            ("sign-image", "--key", KEY, clean),
            expects=("was signed already",),
        ),
        Step(
            "verify",
            "Verify it, as a stranger would: with the public half only",
            "Once from the KMS, once from the file that the cluster gets.",
            ("verify-image", "--key", KEY, clean),
        ),
        Step(
            "verify-by-file",
            "",
            "",
            ("verify-image", "--key", f"file:{places.public_key}", places.clean),
        ),
        Step(
            "policy",
            "Publish the policy that demands the signature",
            "The same object as set-up wrote: a policy has one author.",
            ("publish-policy", "--repository", places.pattern, "--render", places.manifests),
            expects=("unchanged:",),
        ),
        Step(
            "verify-unsigned",
            "And an image that nobody signed?",
            "It is refused here, and by a cluster with that policy.",
            ("verify-image", "--key", KEY, vulnerable),
            outcome="refused",
            reason="signature-missing",
        ),
        Step(
            "admit-signed",
            "Ask beforehand what a cluster with these manifests would decide",
            "In the words of Portieris itself; no cluster is needed.",
            (*admit, f"{places.workloads}/app.yaml"),
            expects=("would be admitted by Portieris",),
        ),
        Step(
            "admit-unsigned",
            "",
            "",
            (*admit, f"{places.workloads}/vulnerable.yaml"),
            outcome="refused",
            reason="admission-denied",
            expects=("A signature was required, but no signature exists",),
        ),
    )
