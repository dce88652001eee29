# SPDX-License-Identifier: Apache-2.0
"""What Portieris makes of a key Secret and of a signed identity, before it looks at signatures.

`pkg/verifier/simple/policy.go` and `gpgArmour.go`, Go's `openpgp/armor`, and containers/image's
`signature/policy_config.go`, with their texts.
"""

from __future__ import annotations

from imgsec.domain import engine_texts as texts
from imgsec.domain.identity import USUAL_RULE, ClaimedName, IdentityKind, IdentityRule, is_prefix
from imgsec.domain.policy_rules import SignedIdentity
from imgsec.domain.verifiers import armoured_blocks, armoured_kinds, is_read_by_go

_PUBLIC = "PGP PUBLIC KEY BLOCK"


class SetUpError(Exception):
    """The engine ends here with this text, an error and no denial."""


def public_block(content: bytes) -> bytes:
    """The armoured block that the engine reads of a key Secret. Raises `SetUpError`."""
    if not content:
        raise SetUpError(texts.KEY_EMPTY)
    kinds, blocks = armoured_kinds(content), armoured_blocks(content)
    if kinds and f"PGP {kinds[0]}" != _PUBLIC:
        raise SetUpError(texts.no_public_key_block(f"PGP {kinds[0]}"))
    if not kinds or not blocks or not is_read_by_go(blocks[0]):
        raise SetUpError(texts.undecodable_key())
    return blocks[0]


def identity_rule(identity: SignedIdentity | None) -> IdentityRule:
    """The rule for names that a requirement asks for. Raises `SetUpError`."""
    if identity is None or identity.kind == "":
        return USUAL_RULE
    if identity.kind == "matchExact":
        return IdentityRule(IdentityKind.MATCH_EXACT)
    if identity.kind == "matchRepository":
        return IdentityRule(IdentityKind.MATCH_REPOSITORY)
    if identity.kind == "matchExactReference":
        reference = _parsed(identity.reference, "dockerReference")
        if reference.is_bare:
            raise SetUpError(texts.bare_reference(identity.reference))
        return IdentityRule(IdentityKind.EXACT_REFERENCE, identity.reference)
    if identity.kind == "matchExactRepository":
        _parsed(identity.repository, "dockerRepository")
        return IdentityRule(IdentityKind.EXACT_REPOSITORY, identity.repository)
    if identity.kind == "remapIdentity":
        for prefix in (identity.prefix, identity.signed_prefix):
            if not is_prefix(prefix):
                raise SetUpError(texts.invalid_prefix(prefix))
        return IdentityRule(IdentityKind.REMAP_IDENTITY, identity.prefix, identity.signed_prefix)
    raise SetUpError(texts.invalid_identity_type(identity.kind))


def _parsed(text: str, member: str) -> ClaimedName:
    try:
        return ClaimedName.parse(text)
    except ValueError:
        raise SetUpError(
            texts.invalid_claim(member, text, texts.INVALID_REFERENCE_FORMAT)
        ) from None
