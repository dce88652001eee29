# SPDX-License-Identifier: Apache-2.0
"""What an engine's trust layer says about an image, by what its trust server has signed.

Docker Content Trust, which is Notary v1. The words are the engine's own (Portieris
`pkg/verifier/trust`: VerifyByPolicy, getDigest, getSignerSecret). What the server sent has been
verified before it comes here: see `imgsec.domain.tuf`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Self

from imgsec.domain import engine_texts as texts
from imgsec.domain.engine_name import EngineName
from imgsec.domain.engines import Engine, Layer
from imgsec.domain.tuf_files import TARGETS
from imgsec.domain.tuf_keys import KeyRefused, TrustKey

RELEASES = f"{TARGETS}/releases"
_MOVE_ON = ("401", "403")  # anywhere in a text, a tag or a signer's name included
_IBM_TRUST_PORT = 4443


@dataclass(frozen=True, slots=True)
class TrustedTarget:
    """A tag as one role signed it. key_ids: of the role. sha256: in hex, empty for none."""

    role: str
    key_ids: frozenset[str]
    sha256: str

    @property
    def is_released(self) -> bool:
        return self.role in (TARGETS, RELEASES)


class Stop(StrEnum):
    """Where the engine's trust layer ends without a digest."""

    READING = "reading"  # the trust data, or what was found in it
    UNAVAILABLE = "unavailable"  # the trust server answers with an error
    CREDENTIALS = "credentials"  # none of the pull secrets was good for it
    AUTH_ENDPOINT = "auth-endpoint"
    SIGNER = "signer"  # its Secret
    SERVER = "server"  # nobody knows which


_ERRORS = frozenset([Stop.UNAVAILABLE, Stop.AUTH_ENDPOINT, Stop.SIGNER, Stop.SERVER])


@dataclass(frozen=True, slots=True)
class TrustStop:
    """The layer's end without a digest. text: the engine's inner words; its end tells the rest.

    others: what it says as well instead, where its own order is not fixed, or too little is known.
    """

    at: Stop
    text: str = ""
    others: tuple[str, ...] = ()

    @property
    def is_error(self) -> bool:
        """Whether the engine calls it an error, and so leaves later containers unchecked."""
        return self.at in _ERRORS

    @property
    def is_passed_on(self) -> bool:
        """Whether the engine goes on to the next pull secret: by what stands in the text."""
        is_read = self.at in (Stop.READING, Stop.UNAVAILABLE)
        return is_read and any(each in self.text for each in _MOVE_ON)

    def after_the_last(self) -> TrustStop:
        """What comes of it where there is no further pull secret."""
        return NO_CREDENTIAL if self.is_passed_on else self

    def message(self, image: str, engine: Engine) -> str:
        """The engine's whole message about an image's text."""
        if engine.is_cise:
            if self.at is Stop.SERVER:
                return texts.CISE_TRUST_FOREIGN
            return self._said(image).replace(f" {texts.quoted(image)}", "", 1)
        return (texts.failed if self.is_error else texts.denied)(Layer.TRUST, self._said(image))

    def _said(self, image: str) -> str:
        match self.at:
            case Stop.CREDENTIALS:
                return texts.trust_no_pull_secret(image)
            case Stop.AUTH_ENDPOINT:
                return texts.auth_endpoint_unresolved(image, self.text)
            case Stop.SIGNER:
                return texts.signer_unread(image, self.text)
            case Stop.SERVER:
                return texts.trust_misconfigured(self.text)
        return texts.trust_unread(image, self.text)


NO_CREDENTIAL = TrustStop(Stop.CREDENTIALS)
NO_SERVER = TrustStop(Stop.SERVER, texts.NO_TRUST_SERVER)


@dataclass(frozen=True, slots=True)
class TrustAnswer:
    """What is trusted about one tag, or why nothing is.

    targets: in the order of the engine's walk, ``targets`` first. notes: for people. has_bare_keys:
    whether keys are named without their certificates, as the docker command does; the engine
    compares them with these.
    """

    tag: str
    targets: tuple[TrustedTarget, ...] = ()
    stop: TrustStop | None = None
    notes: tuple[str, ...] = ()
    has_bare_keys: bool = False


@dataclass(frozen=True, slots=True)
class Signer:
    """A signer whom a rule names, by the Secret that holds name and public key."""

    name: str
    public_key: bytes = field(repr=False)

    @classmethod
    def of_secret(cls, secret: str, data: Mapping[str, bytes] | None) -> Self | TrustStop:
        """From a Secret's data; None for no such Secret. A stop where the engine stops."""
        if data is None:
            return cls.missing(secret)
        name, key = data.get("name", b""), data.get("publicKey", b"")
        if not name or not key:
            return TrustStop(Stop.SIGNER, texts.signer_secret_empty(secret))
        return cls(name.decode("utf-8", "replace"), key)

    @staticmethod
    def missing(secret: str) -> TrustStop:
        """No such Secret in the workload's namespace, in the cluster's own words."""
        return TrustStop(Stop.SIGNER, texts.secret_not_found(secret))

    @property
    def role(self) -> str:
        """The role that has to sign; as paths are joined, so that ``.`` means ``targets``."""
        return posixpath.normpath(f"{TARGETS}/{self.name}")


@dataclass(frozen=True, slots=True)
class TrustJudgement:
    """What the layer says: a digest, or a stop.

    digest: in hex. Empty where nobody released the tag and no signer was asked for: the engine then
    lets the image in and writes ``@sha256:`` behind its name, which no node can pull.
    """

    digest: str | None
    stop: TrustStop | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_let_in(self) -> bool:
        return self.stop is None and self.digest is not None


def judge_trust(answer: TrustAnswer, signers: Sequence[Signer], now: datetime) -> TrustJudgement:
    """What the engine makes of a trust server's answer.

    Every signer has to have signed the digest that ``targets`` or ``targets/releases`` released.
    Raises `Panic` where the engine's handler breaks, `ValueError` for a key of a signer about which
    its words are not known.
    """
    if answer.stop is not None:
        return TrustJudgement(None, answer.stop.after_the_last(), answer.notes)
    notes = list(answer.notes)
    try:
        digest = _digest(answer, signers, now, notes)
    except _Refused as refused:
        stop = TrustStop(Stop.READING, str(refused), refused.others)
        return TrustJudgement(None, stop.after_the_last(), tuple(notes))
    if not digest:
        notes.append("only delegations signed the tag, so there is no digest to run it by")
    return TrustJudgement(digest, None, tuple(notes))


def trust_server_of(image: EngineName, named: str, engine: Engine) -> str | TrustStop:
    """The trust server's address. named: by the rule, empty for none.

    CISE knew those of IBM's registries alone, which IBM has taken away since.
    """
    if engine.is_cise and not image.is_at_ibm:
        return NO_SERVER
    if named or not engine.is_cise:
        return named or image.trust_server or NO_SERVER
    return f"https://{image.host}:{_IBM_TRUST_PORT}"


class _Refused(Exception):
    """The engine's inner text. others: what it may say as well."""

    def __init__(self, text: str, others: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.others = others


def _digest(answer: TrustAnswer, signers: Sequence[Signer], now: datetime, notes: list[str]) -> str:
    if not answer.targets:
        raise _Refused(texts.NO_SIGNED_TARGETS)
    digest = next((each.sha256 for each in reversed(answer.targets) if each.is_released), "")
    wanted = {signer.role: signer for signer in signers}  # of several of one role, the last counts
    found = set()
    for target in answer.targets:
        signer = wanted.get(target.role)
        if signer is None:
            continue
        _require_key(signer, target, now, is_bare=answer.has_bare_keys)
        found.add(target.role)
        if target.sha256 != digest:
            raise _Refused(texts.OTHER_DIGEST)
    missing = [signer for role, signer in wanted.items() if role not in found]
    if missing:
        first, *others = (texts.signature_of_signer_missing(each.name) for each in missing)
        if answer.has_bare_keys:  # which does not list who signed something else
            others += [texts.OTHER_PUBLIC_KEY, texts.OTHER_DIGEST]
        raise _Refused(first, tuple(others))
    if wanted and answer.has_bare_keys:
        notes.append("the signers' keys were compared without their certificates")
    return digest


def _require_key(signer: Signer, target: TrustedTarget, now: datetime, *, is_bare: bool) -> None:
    if not signer.public_key:
        raise _Refused(texts.signer_key_missing(signer.name))
    try:
        key = TrustKey.of_pem(signer.public_key, now)
    except KeyRefused as error:
        raise _Refused(str(error)) from error
    if (key.bare_id if is_bare else key.id) not in target.key_ids:
        raise _Refused(texts.OTHER_PUBLIC_KEY)
