# SPDX-License-Identifier: Apache-2.0
"""What is meant: which images must be signed by whom, and what is let through, and why.

It is said once and rendered for several engines (`imgsec.domain.intent_rendering`). Of several
names that an image meets, the narrowest decides: that each engine decides so, too, is checked.
Read from a file by `imgsec.domain.intent_file`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from imgsec.domain.hosts import is_loopback
from imgsec.domain.identity import IdentityRule
from imgsec.domain.policy import Namespace, ObjectName
from imgsec.domain.policy_rules import (
    AdvisorDemand,
    Demand,
    Requirement,
    SignedIdentity,
    SimpleDemand,
    TrustDemand,
)
from imgsec.domain.reference import ImageReference, RepositoryPattern, names_tags
from imgsec.errors import ImgsecError

DEFAULT_NAME = "imgsec-signed-images"
# Type as the intent and Portieris say it -> its members, and what containers/image calls it.
IDENTITIES: dict[str, tuple[tuple[str, ...], str]] = {
    "matchExact": ((), "matchExact"),
    "matchRepository": ((), "matchRepository"),
    "matchExactReference": (("dockerReference",), "exactReference"),
    "matchExactRepository": (("dockerRepository",), "exactRepository"),
    "remapIdentity": (("prefix", "signedPrefix"), "remapIdentity"),
}


class NameForm(StrEnum):
    """How the images of a rule are named, by the field that names them."""

    PATTERN = "images"  # by the strict grammar
    EXACT = "exactly"
    WIDE = "wide"  # any text that an engine takes; foreign images may meet it


@dataclass(frozen=True, slots=True)
class ImageNames:
    """One name of a rule: a pattern, one image, or a pattern as somebody else wrote it."""

    text: str
    form: NameForm = NameForm.PATTERN

    @property
    def rule_names(self) -> tuple[str, ...]:
        """The names of rules for it: itself and, for engines before 0.14.3, its digests.

        >>> ImageNames("icr.io/ns/app").rule_names
        ('icr.io/ns/app', 'icr.io/ns/app@*')
        """
        is_whole = self.text.endswith("*") or "@" in self.text
        return (self.text,) if is_whole else (self.text, f"{self.text}@*")


@dataclass(frozen=True, slots=True)
class IntentKey:
    """Public keys that count as one: a signature by any of them will do.

    secret: where a cluster has them; namespace: empty for that of each workload. path: where a
    machine has them. content: an armoured block of them.
    """

    name: str
    secret: str = ""
    namespace: str = ""
    path: str = ""
    content: str = ""


@dataclass(frozen=True, slots=True)
class RequiredSignature:
    """A signature by a key, for a name that the identity accepts; None for the usual identity."""

    key: IntentKey
    identity: SignedIdentity | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """Where signatures lie for a registry that keeps none. secret: with its credentials."""

    url: str
    secret: str = ""

    @property
    def shows_credentials(self) -> bool:
        """Whether they go without TLS, and beyond the engine's own machine."""
        return self._is_plain and bool(self.secret)

    @property
    def flaw(self) -> str:
        """What anybody on the way to it can do; empty where it is asked by TLS."""
        if not self._is_plain:
            return ""
        text = f"{self.url} is asked without TLS: whoever is on the way can"
        if self.shows_credentials:
            return f"{text} read the credentials of the Secret {self.secret}"
        return f"{text} withhold signatures, though not make one"

    @property
    def _is_plain(self) -> bool:
        host = self.url.partition("://")[2].partition("/")[0]
        return self.url.lower().startswith("http://") and not is_loopback(host)


@dataclass(frozen=True, slots=True)
class Unchecked:
    """Why images are let through with no check. until: the last day; None for no end."""

    reason: str
    until: date | None = None


@dataclass(frozen=True, slots=True)
class IntentRule:
    """What is asked of some images. Exactly one of: checks, unchecked, denied.

    signatures: all of them. denied: why they must not run; empty where they may. mutates: whether
    the engine replaces a tag by the digest that it checked. origin: the built-in set or platform
    that it is of; empty for the user's own.
    """

    names: tuple[ImageNames, ...]
    signatures: tuple[RequiredSignature, ...] = ()
    store: Store | None = None
    trust: TrustDemand | None = None
    advisor: AdvisorDemand | None = None
    unchecked: Unchecked | None = None
    denied: str = ""
    mutates: bool = True
    origin: str = ""

    def __post_init__(self) -> None:
        checks = bool(self.signatures or self.trust or self.advisor)
        if checks + (self.unchecked is not None) + bool(self.denied) != 1:
            raise ValueError("a rule says one of: signedBy, trust or advisor; unchecked; denied")
        if not self.names:
            raise ValueError("a rule names no images")
        if self.store is not None and not self.signatures:
            raise ValueError("store: it goes with signedBy")

    def rule_names(self) -> Iterator[str]:
        """The names of an engine's rules for it; what is built in stays as it was published.

        What is let through by its tag is let through by that alone: behind a tag and a digest is
        whatever the digest says.
        """
        for name in self.names:
            is_whole = self.origin or (self.unchecked is not None and is_tag_alone(name))
            yield from (name.text,) if is_whole else name.rule_names

    @property
    def demand(self) -> Demand:
        """The same as an engine's rule says it."""
        if self.unchecked is not None:
            return Demand()
        if self.denied:
            return Demand(SimpleDemand((Requirement("reject"),)))
        store = self.store or Store("")
        requirements = tuple(
            Requirement("signedBy", one.key.secret, one.key.namespace, one.identity)
            for one in self.signatures
        )
        simple = SimpleDemand(requirements, store.url, store.secret) if requirements else None
        return Demand(simple, self.trust, self.advisor, self.mutates)


@dataclass(frozen=True, slots=True)
class PolicyIntent:
    """One document: rules for the whole cluster, or for each of some namespaces alone.

    A namespace with rules of its own is judged by these alone. name: of the policy objects.
    """

    rules: tuple[IntentRule, ...]
    name: ObjectName = ObjectName(DEFAULT_NAME)  # noqa: RUF009 - frozen
    namespaces: tuple[Namespace, ...] = ()


def identity_rule(identity: SignedIdentity | None) -> IdentityRule:
    """The same as containers/image says it. Raises `ImgsecError` (input-malformed)."""
    if identity is None or not identity.kind:
        return IdentityRule()
    return IdentityRule.parse(identity_document(identity) | {"type": IDENTITIES[identity.kind][1]})


def identity_document(identity: SignedIdentity) -> dict[str, str]:
    """A ``signedIdentity`` as Portieris reads it."""
    values = {
        "dockerReference": identity.reference,
        "dockerRepository": identity.repository,
        "prefix": identity.prefix,
        "signedPrefix": identity.signed_prefix,
    }
    return {"type": identity.kind} | {name: value for name, value in values.items() if value}


def has_tag_and_digest(name: ImageNames) -> bool:
    """Whether no tool pulls an image by this name: containers/image takes one of the two."""
    if name.form is not NameForm.EXACT:
        return False
    image = ImageReference.parse(name.text)
    return image.tag is not None and image.digest is not None


def is_digest_alone(name: ImageNames) -> bool:
    """Whether it is one image by its digest, without a tag."""
    if name.form is not NameForm.EXACT:
        return False
    image = ImageReference.parse(name.text)
    return image.tag is None and image.digest is not None


def is_tag_alone(name: ImageNames) -> bool:
    """Whether it has a tag, and behind that neither a digest nor a star, which stands for one, too.

    >>> is_tag_alone(ImageNames("icr.io/ns/app:1")), is_tag_alone(ImageNames("icr.io/ns/app:1*"))
    (True, False)
    """
    return names_tags(name.text) and not name.text.endswith("*")


def form_of(name: str) -> NameForm:
    """The form of a pattern that was written elsewhere.

    >>> str(form_of("docker.io/alpine*"))
    'wide'
    """
    try:
        RepositoryPattern.parse(name)
    except ImgsecError:
        return NameForm.WIDE
    return NameForm.PATTERN


_PLATFORM = "platform "


def set_origin(name: str) -> str:
    """The origin of a built-in set's rules."""
    return f"set {name}"


def platform_origin(name: str) -> str:
    """The origin of the rules that a platform needs."""
    return f"{_PLATFORM}{name}"


def is_of_platform(rule: IntentRule) -> bool:
    """Whether it is one of those."""
    return rule.origin.startswith(_PLATFORM)


def all_names(rules: Iterable[IntentRule]) -> Iterable[tuple[ImageNames, IntentRule]]:
    """Every name with its rule."""
    return ((name, rule) for rule in rules for name in rule.names)
