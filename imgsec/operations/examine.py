# SPDX-License-Identifier: Apache-2.0
"""Will it work here? Each thing is looked at by itself; nothing is changed anywhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime

from imgsec.domain.kubernetes import key_reference_of
from imgsec.domain.policy import KeySecret
from imgsec.domain.reference import ImageReference, shown
from imgsec.domain.report import Check
from imgsec.domain.verdict import Verdict, all_of, because, passed
from imgsec.domain.vulnerability import ScanReport, ScanSubject
from imgsec.errors import ImgsecError
from imgsec.operations.inspect_keys import show_key
from imgsec.ports import KeyReader, Keyring, ManifestSink, Registry, Scanner
from imgsec.reasons import KEY_CONFLICT, TOOL_OUTDATED

Look = Callable[[], str]  # what was found, in words; raises `ImgsecError` for a problem

# The oldest versions that do what is asked of them (docs/adr/0002, GnuPG's changes).
_OLDEST = {
    **{"gpg": (2, 2), "gpgv": (2, 2), "gpg-agent": (2, 2), "kubectl": (1, 18)},
    **{"skopeo": (1, 9), "buildah": (1, 28)},  # the oldest that are tried
}


def examine(looks: Iterable[tuple[str, Look]]) -> tuple[tuple[Check, ...], Verdict]:
    """Look at everything, whatever is wrong with one of them. The worst decides."""
    checks = []
    for name, look in looks:
        try:
            checks.append(Check(name, look(), passed()))
        except ImgsecError as error:
            checks.append(Check(name, "", because(error.reason)))
    return tuple(checks), all_of(check.verdict for check in checks)


def look_at_version(tool: str, printed: str) -> str:
    """The version in what a tool prints. Raises `ImgsecError` (tool-outdated)."""
    found = re.search(r"(\d+)\.(\d+)(?:\.\d+)?", printed)
    oldest = _OLDEST.get(tool)
    if oldest is None or found is None:
        return found[0] if found else "of an unknown version"
    if (int(found[1]), int(found[2])) < oldest:
        raise ImgsecError(
            TOOL_OUTDATED(f"{tool} {found[0]} is older than {'.'.join(map(str, oldest))}")
        )
    return found[0]


def look_at_key(name: str, kms: KeyReader, keyring: Keyring, now: datetime) -> str:
    """A signing key by its public half. Raises `ImgsecError` for one that may not sign."""
    entry = show_key(name, kms, keyring, None, now=now)
    if not entry.verdict.passed or entry.public is None:
        raise ImgsecError(entry.verdict.reasons[0])
    key = entry.public
    ends = f"ends {key.expires:%Y-%m-%d}" if key.expires else "has no end date"
    warning = ", soon" if key.is_expiring(now) else ""
    return f"kms://{entry.alias} {key.fingerprint} ({key.algorithm}, {ends}{warning})"


def look_at_registry(image: ImageReference, registry: Registry, *, signs: bool) -> str:
    """The image in its registry, and the place for its signatures if it is to be signed."""
    manifest = registry.fetch_manifest(image.require_version())
    if signs:
        registry.require_signature_store(image)
    kept = ", which keeps signatures" if signs else ""
    return f"{image.at(manifest.digest).canonical_name} in {image.registry}{kept}"


def look_at_advisor(image: ImageReference, registry: Registry, scanner: Scanner) -> str:
    """What the advisor says of the image now."""
    scanner.require_served(image)
    manifest = registry.fetch_manifest(image.require_version())
    reports = scanner.fetch_reports(ScanSubject(image.at(manifest.digest)))
    words = [str(one.status) for one in reports if isinstance(one, ScanReport)]
    return f"its word for {image} is {', '.join(words)}"


def look_at_key_secret(secret: KeySecret, sink: ManifestSink) -> str:
    """The Secret with the public key, in the cluster."""
    held = sink.fetch("Secret", str(secret.name), str(secret.namespace))
    return f"{secret.namespace}/{secret.name} {'is there' if held else 'is not there yet'}"


def look_at_reference(where: KeySecret, sink: ManifestSink, key_id: str | None) -> str:
    """The Secret that names the signing key. Raises (key-conflict) if it means another key."""
    name = f"{where.namespace}/{where.name}"
    held = sink.fetch("Secret", str(where.name), str(where.namespace))
    if held is None:
        return f"{name} is not there yet"
    said = key_reference_of(held).kms_key_id
    if key_id is not None and said != key_id:
        raise ImgsecError(
            KEY_CONFLICT(
                f"{name} names the key {shown(said)}, and not {key_id}",
                hint="Pipelines sign with the key that the Secret names; look with --key at that.",
            )
        )
    return f"{name} names the key {said or 'none'}"
