# SPDX-License-Identifier: Apache-2.0
"""What is in the Secrets that rules name, and what of it an engine cannot use."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from imgsec.domain.kubernetes import secret_value
from imgsec.domain.lint_catalogue import (
    KEY_DATA_MISSING,
    KEY_EXPIRING,
    KEY_SPENT,
    KEY_UNREADABLE,
    PRIVATE_KEY,
    SECRET_INCOMPLETE,
    LintFinding,
)
from imgsec.domain.lint_reach import listed
from imgsec.domain.lint_secrets import SecretUse
from imgsec.domain.lint_sources import Source
from imgsec.domain.policy_fields import Path
from imgsec.domain.verifiers import (
    PublishedKeys,
    Verifier,
    armoured_blocks,
    armoured_kinds,
    key_flaws,
    spent,
)
from imgsec.reasons import KEY_UNREADABLE as UNREADABLE

_SECRET_KEY_PACKETS = (5, 7)  # RFC 4880, 4.3: a secret key, a secret subkey
_DATA = {SecretUse.STORE: ("username", "password"), SecretUse.SIGNER: ("name", "publicKey")}


def lacking_data(use: SecretUse, source: Source) -> Iterator[LintFinding]:
    """What a Secret for a signature store or a signer lacks."""
    lacking = [name for name in _DATA[use] if not secret_value(source.document.content, name)]
    if lacking:
        text = f"{source.about} lacks {' and '.join(lacking)}"
        yield source.tell(SECRET_INCOMPLETE, ("data",), text)


def data_findings(source: Source) -> tuple[bytes, list[LintFinding]]:
    """The public key of a Secret, to be read by gpg, or what is wrong with it already."""
    document = source.document.content
    content = secret_value(document, "key")
    path: Path = ("stringData" if "stringData" in document else "data", "key")
    if content is None or not content.strip():
        data = document.get("data")
        others = sorted(map(str, data)) if isinstance(data, dict) else []
        text = f"{source.about} has no usable data key 'key'"
        if "key" in others:
            text = f"'key' of {source.about} is empty, or no base64"
        elif others:
            text += f", only {listed(others)}"
        return b"", [source.tell(KEY_DATA_MISSING, path, text)]
    kinds = armoured_kinds(content)
    if any("PRIVATE" in kind for kind in kinds) or (not kinds and _is_secret_packet(content)):
        return b"", [source.tell(PRIVATE_KEY, path, f"{source.about} holds a private key")]
    if not armoured_blocks(content):
        is_binary = content[:1] >= b"\x80"
        why = "binary, and Portieris reads armour only" if is_binary else "no armoured public key"
        return b"", [source.tell(KEY_UNREADABLE, path, f"'key' of {source.about} is {why}")]
    return content, []


def _is_secret_packet(content: bytes) -> bool:
    """Whether binary OpenPGP begins with a secret key. Source: RFC 4880, 4.2."""
    first = content[0]
    tag = first & 0x3F if first & 0x40 else first >> 2 & 0x0F
    return first >= 0x80 and tag in _SECRET_KEY_PACKETS


def unreadable(source: Source, why: str) -> LintFinding:
    """That gpg makes nothing of a Secret's key."""
    return source.tell(KEY_UNREADABLE, ("data", "key"), f"'key' of {source.about}: {why}")


def key_findings(
    source: Source, keys: PublishedKeys, *, now: datetime, soon: timedelta
) -> Iterator[LintFinding]:
    """What verifiers make of the keys in a Secret."""
    path: Path = ("stringData" if "stringData" in source.document.content else "data", "key")
    if keys.blocks == 1 and not keys.first:
        text = f"Portieris does not take the armour of 'key' of {source.about}"
        yield source.tell(KEY_UNREADABLE, path, text)
        return
    for key in keys.every:
        for reason in key_flaws(Verifier.PORTIERIS, key.fingerprint, keys, now):
            if reason.code == UNREADABLE.code:
                text = f"{source.about}: {reason.text}"
                yield source.tell(KEY_UNREADABLE, path, text, hint=reason.hint)
        ended = spent(key, now)
        for reason in ended:
            yield source.tell(KEY_SPENT, path, f"{source.about}: {reason.text}")
        if not ended and key.expires is not None and key.expires <= now + soon:
            text = f"{source.about}: key {key.fingerprint} ends on {key.expires:%Y-%m-%d}"
            yield source.tell(KEY_EXPIRING, path, text)
