# SPDX-License-Identifier: Apache-2.0
"""What a demand comes to: whether any image can meet it, and which of two asks for more."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import replace
from enum import StrEnum

from imgsec.domain.engine_name import IBM_HOSTS, TRUSTED_HOSTS, EngineName, Panic
from imgsec.domain.engines import Engine
from imgsec.domain.policy_rules import Demand, Requirement, SignedIdentity, SimpleDemand
from imgsec.domain.reference import shown

ANYTHING, REJECT, SIGNED = "insecureAcceptAnything", "reject", "signedBy"
_STORE_SCHEMES = ("http://", "https://")  # as the engine compares them
_LOOKED_UP = "the image"
TAG = "tag"
_LIKELY_AT_IBM = "*.icr.io"
_LIKELY_TRUSTED = ("docker.io", "quay.io")
# What the identities that read nothing but the image's name hold a signature's name against.
_HELD_AGAINST = {
    "matchRepository": ("repository",),
    "": ("repository", TAG),
    "matchExact": ("repository", TAG, "digest"),
}
# The members of the others that the engine reads.
_READ_OF_IDENTITY = {
    "matchExactReference": ("reference",),
    "matchExactRepository": ("repository",),
    "remapIdentity": ("prefix", "signed_prefix"),
}


class Direction(StrEnum):
    """What a change does to an image."""

    STRICTER = "stricter"
    LOOSER = "looser"
    OTHER = "other"  # neither asks for more: another key, another layer


def denial_of(demand: Demand) -> str:
    """Why no image can ever meet it; empty where one could.

    What the engine needs of a rule before it looks at any image is held against it as the engine
    does. One that asks for simple signing and trust compares their answers as it should not, and
    denies whatever they are.
    """
    if demand.simple is not None and (why := _simple_denial(demand.simple)):
        return why
    if demand.trust is not None and not all(demand.trust.signer_secrets):
        return "it has a signer without a name"
    if demand.simple is not None and demand.trust is not None:
        return "no image meets simple signing and trust in one rule"
    return ""


def _simple_denial(simple: SimpleDemand) -> str:
    signed = [one for one in simple.requirements if one.kind == SIGNED]
    if any(one.kind == REJECT for one in simple.requirements):
        return "its requirement is reject"
    if not all(one.key_secret for one in signed):
        return "it names no key to be signed by"
    for identity in (one.identity for one in signed):
        if identity is not None and (flaw := _identity_flaw(identity)):
            return f"{identity.kind}: {flaw}"
    if simple.store_url and not simple.store_url.startswith(_STORE_SCHEMES):
        return "its signature store is no http or https address"
    return ""


def _identity_flaw(identity: SignedIdentity) -> str:
    """Why the engine does not take it; empty where it does."""
    if identity.kind not in _READ_OF_IDENTITY:
        return ""
    from imgsec.domain.engine_keys import SetUpError, identity_rule  # few rules have such a type

    try:
        identity_rule(identity)
    except SetUpError as error:
        return str(error)
    return ""


def denial_by_host(demand: Demand, image: str, engine: Engine) -> str:
    """Why the demand denies this image, whatever there is of it; empty where it could come in.

    Portieris asks the advisor of IBM's registries alone, and knows trust servers of a few others,
    where a rule names none. `effect_of` knows no image.
    """
    if engine.is_cise:
        return ""
    try:
        name = EngineName.parse(image)
    except (ValueError, Panic):
        return ""
    if demand.advisor is not None and not name.is_at_ibm:
        return "the advisor knows IBM's registries only"
    if _needs_known_server(demand) and name.trust_server is None:
        return f"no trust server is known for {shown(name.domain)}"
    return ""


def _needs_known_server(demand: Demand) -> bool:
    return demand.trust is not None and not demand.trust.server


def answering_hosts(demand: Demand, engine: Engine) -> tuple[str, ...]:
    """Hosts of images that the demand may let in, the likely ones first, where it denies those of
    the others by their host; nothing where the host does not matter.
    """
    if engine.is_cise:
        return ()
    if demand.advisor is not None:
        return (_LIKELY_AT_IBM, *IBM_HOSTS)
    return (*_LIKELY_TRUSTED, *TRUSTED_HOSTS) if _needs_known_server(demand) else ()


def effect_of(demand: Demand, namespace: str = "") -> Demand | None:
    """The demand without what changes nothing; None where every image is denied.

    namespace: the workload's, where a key's Secret is looked for if none is said. The image of an
    unchecked rule is never rewritten, only a signature has a key, an identity and a store, all
    requirements are to be met and all signers to have signed in whichever order, and what is
    signed is there.
    """
    if demand.is_nothing:
        return Demand()
    if denial_of(demand):
        return None
    if demand.trust is not None:
        signers = tuple(sorted(set(demand.trust.signer_secrets)))
        return replace(demand, trust=replace(demand.trust, signer_secrets=signers))
    if demand.simple is None:
        return replace(demand, mutates=True)
    wanted = {_effective(one, namespace) for one in demand.simple.requirements}
    signed = sorted((one for one in wanted if one.kind == SIGNED), key=repr)
    simple = replace(demand.simple, requirements=tuple(signed) or tuple(wanted))
    if not signed:
        simple = replace(simple, store_url="")
    return replace(demand, simple=simple)


def direction_of(before: Demand | None, after: Demand | None) -> Direction:
    """From one effect to another: whether more or less is asked for.

    Where each asks for something that the other does not, the layers and the number of signatures
    tell.
    """
    if before is None or after is None:
        if before is after:
            return Direction.OTHER
        return Direction.LOOSER if before is None else Direction.STRICTER
    for asked in (_asked, _layers):
        old, new = frozenset(asked(before)), frozenset(asked(after))
        if old != new and (old <= new or new <= old):
            return Direction.STRICTER if old < new else Direction.LOOSER
    return Direction.OTHER


def asks_less(effect: Demand | None, meant: Demand | None) -> bool:
    """Whether something that is meant is not asked for; what denies everything asks enough.

    That an image is looked up, and whoever signed it let in, is nothing to be missed.
    """
    if effect is None:
        return False
    return meant is None or not set(_asked(meant)) - {_LOOKED_UP} <= set(_asked(effect))


def signatures_of(effect: Demand) -> Iterator[tuple[tuple[str, str], tuple[Hashable, ...]]]:
    """For each signature the key's namespace and Secret, and what its name is held against."""
    for one in _signatures(effect):
        yield (one.key_namespace, one.key_secret), _held_against(one.identity)


def _effective(requirement: Requirement, namespace: str) -> Requirement:
    if requirement.kind != SIGNED:
        return Requirement(requirement.kind)
    where = requirement.key_namespace
    return replace(
        requirement,
        identity=_as_read(requirement.identity),
        key_namespace="" if where == namespace else where,
    )


def _as_read(identity: SignedIdentity | None) -> SignedIdentity | None:
    """Without the members that its kind does not read."""
    if identity is None or not identity.kind:
        return None
    read = _READ_OF_IDENTITY.get(identity.kind, ())
    return SignedIdentity(identity.kind, **{name: getattr(identity, name) for name in read})


def _asked(effect: Demand) -> Iterator[Hashable]:
    """Everything that is asked for, by itself."""
    yield from _layers(effect)
    for key, held in signatures_of(effect):
        yield key
        for what in held:
            yield key, what
    if effect.trust is not None:
        yield "server", effect.trust.server
        yield from (("signer", name) for name in effect.trust.signer_secrets)
    if effect.advisor is not None:
        yield "account", effect.advisor.account


def _layers(effect: Demand) -> Iterator[Hashable]:
    if effect.simple is not None or effect.trust is not None:
        yield _LOOKED_UP
    keys = {(one.key_namespace, one.key_secret) for one in _signatures(effect)}
    yield from (("a signature", number) for number in range(len(keys)))
    if effect.trust is not None:
        yield "trust"
    if effect.advisor is not None:
        yield "advisor"


def _signatures(effect: Demand) -> Iterator[Requirement]:
    if effect.simple is not None:
        yield from (one for one in effect.simple.requirements if one.kind == SIGNED)


def _held_against(identity: SignedIdentity | None) -> tuple[Hashable, ...]:
    kind = identity.kind if identity is not None else ""
    return _HELD_AGAINST.get(kind, (identity,))
