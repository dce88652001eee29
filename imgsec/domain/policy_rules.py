# SPDX-License-Identifier: Apache-2.0
"""What a policy demands, read from its document: the rules of Portieris and of CISE.

Portieris `pkg/apis/portieris.cloud.ibm.com/v1/types.go`; CISE's API is Portieris's older one with
``trust`` and ``va``. A field that is unknown makes the whole policy malformed: what a cluster makes
of it demands less than it says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from imgsec.domain.engines import CISE_API, PORTIERIS_API, Engine, Layer
from imgsec.domain.near_names import METADATA_FIELDS, misspelt
from imgsec.domain.policy import is_namespace
from imgsec.domain.policy_fields import (
    CISE_FIELDS,
    PORTIERIS_FIELDS,
    Fields,
    flaws_of,
    path_text,
)
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import POLICY_FOREIGN, POLICY_MALFORMED

CLUSTER_KIND, NAMESPACED_KIND = "ClusterImagePolicy", "ImagePolicy"
POLICY_KINDS = (CLUSTER_KIND, NAMESPACED_KIND)
FIELDS_OF_API = {PORTIERIS_API: PORTIERIS_FIELDS, CISE_API: CISE_FIELDS}
POLICY_GROUPS = tuple(api.partition("/")[0] for api in FIELDS_OF_API)
# Kinds of the same names are other products', with other fields and another order of precedence.
NAMESAKES = {
    "policy.sigstore.dev": "sigstore's policy-controller",
    "config.openshift.io": "OpenShift",
}


@dataclass(frozen=True, slots=True)
class SignedIdentity:
    """Which names a signature may claim, as the policy writes it. kind: its ``type``."""

    kind: str
    reference: str = ""
    repository: str = ""
    prefix: str = ""
    signed_prefix: str = ""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement of simple signing. key_namespace: empty for that of the workload."""

    kind: str
    key_secret: str = ""
    key_namespace: str = ""
    identity: SignedIdentity | None = None


@dataclass(frozen=True, slots=True)
class SimpleDemand:
    """Simple signing: all of these requirements. None of them: it is not asked for."""

    requirements: tuple[Requirement, ...] = ()
    store_url: str = ""
    store_secret: str = ""


@dataclass(frozen=True, slots=True)
class TrustDemand:
    """Docker Content Trust (Notary v1). server: empty for the one that belongs to the host."""

    server: str = ""
    signer_secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AdvisorDemand:
    """Vulnerability Advisor. account: empty for that of the credential."""

    account: str = ""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a rule asks of an image; None for a layer that it does not ask for."""

    simple: SimpleDemand | None = None
    trust: TrustDemand | None = None
    advisor: AdvisorDemand | None = None
    mutates: bool = True

    @property
    def is_nothing(self) -> bool:
        """The image is let through unseen, and stays as it is."""
        return self.simple is None and self.trust is None and self.advisor is None

    def key_secrets(self, namespace: str) -> frozenset[str]:
        """The Secrets whose keys it asks for, ``NAMESPACE/NAME``, of a pod in this namespace."""
        requirements = self.simple.requirements if self.simple is not None else ()
        return frozenset(
            f"{one.key_namespace or namespace}/{one.key_secret}"
            for one in requirements
            if one.key_secret
        )

    def asks(self, layer: Layer) -> bool:
        """Whether a layer is asked for."""
        asked = {
            Layer.SIMPLE: self.simple,
            Layer.TRUST: self.trust,
            Layer.ADVISOR: self.advisor,
        }
        return asked.get(layer) is not None


@dataclass(frozen=True, slots=True)
class PolicyId:
    """Which policy object. namespace: empty for one of the whole cluster."""

    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else self.text

    @property
    def text(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One entry of a policy's repositories. repository: its name, the pattern. place: from 0."""

    repository: str
    demand: Demand
    owner: PolicyId
    place: int


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy object. where: the file, or the cluster, that it was read from."""

    id: PolicyId
    api: str
    rules: tuple[PolicyRule, ...]
    where: str = ""

    @classmethod
    def read(
        cls,
        document: Mapping[str, Any],
        *,
        namespace: str = "",
        where: str = "",
        fields: Fields | None = None,
    ) -> Self:
        """From a document of one of both APIs. namespace: for an ImagePolicy that names none.

        fields: others than those of its API, as an older reader took them.

        Raises `ImgsecError` (policy-malformed, policy-foreign).
        """
        if not is_policy(document):
            kind = shown(str(document.get("kind")))
            raise ImgsecError(POLICY_MALFORMED(f"{_of(where)}the kind {kind} is no policy's"))
        api = require_known_api(document, where)
        require_fields(document, fields or FIELDS_OF_API[api], where)
        metadata = document.get("metadata")
        _require_no_near(metadata, where)
        name = metadata.get("name") if isinstance(metadata, dict) else None
        kind = str(document["kind"])
        if not isinstance(name, str) or not name:
            raise ImgsecError(POLICY_MALFORMED(f"{_of(where)}a {kind} without a name"))
        own = "" if kind == CLUSTER_KIND else _namespace_of(metadata, where) or namespace
        owner = PolicyId(kind, name, own)
        entries = (document.get("spec") or {}).get("repositories") or []
        rules = (
            PolicyRule(entry.get("name") or "", demand_of(entry.get("policy") or {}), owner, place)
            for place, entry in enumerate(entries)
        )
        return cls(owner, api, tuple(rules), where)


def _require_no_near(metadata: Any, where: str) -> None:
    """Raises `ImgsecError` (policy-malformed): a misspelt namespace is the one of the run."""
    said = misspelt(metadata, METADATA_FIELDS) if isinstance(metadata, dict) else None
    if said is not None:
        raise ImgsecError(POLICY_MALFORMED(f"{_of(where)}{said}"))


def _namespace_of(metadata: Any, where: str) -> str:
    """As it is written; empty for none. Raises `ImgsecError` (policy-malformed)."""
    found = metadata.get("namespace")
    if found is None or found == "":
        return ""
    if not isinstance(found, str) or not is_namespace(found):
        text = f"{_of(where)}{shown(str(found))} is not a Kubernetes namespace"
        raise ImgsecError(POLICY_MALFORMED(text))
    return found


def is_policy(document: object) -> bool:
    """Whether a document is a policy by its kind, of whichever product."""
    return isinstance(document, dict) and document.get("kind") in POLICY_KINDS


_CONTENT = frozenset(("metadata", "spec", "data"))


def holds_policy(document: object) -> bool:
    """Whether a policy of these APIs stands somewhere in an object, which is no list of them.

    What only names one, without its metadata, spec or data (of a Kyverno rule), is none.
    """
    waiting = [document]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            group = str(one.get("apiVersion", "")).partition("/")[0]
            if is_policy(one) and group in POLICY_GROUPS and not _CONTENT.isdisjoint(one):
                return True
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return False


def require_known_api(document: Mapping[str, Any], where: str = "") -> str:
    """The document's API, if it is one of ours. Raises `ImgsecError` (policy-foreign)."""
    api = str(document.get("apiVersion", ""))
    if api in FIELDS_OF_API:
        return api
    group = api.partition("/")[0]
    whose = NAMESAKES.get(group)
    text = f"{_of(where)}the {document.get('kind')} is of the API {shown(api)}"
    if whose:
        raise ImgsecError(POLICY_FOREIGN(f"{text}, which is {whose}'s and not Portieris's"))
    known = f"; {PORTIERIS_API} and {CISE_API} are known"
    raise ImgsecError(POLICY_FOREIGN(text + known))


def require_read_by(policies: Iterable[Policy], engine: Engine) -> None:
    """Raises `ImgsecError` (policy-foreign) for a policy of the other API."""
    for policy in policies:
        if policy.api != engine.api:
            text = f"{_of(policy.where)}{policy.id} is of the API {policy.api}"
            other = "imgsec policy import" if not engine.is_cise else "an older policy"
            hint = f"{engine} reads {engine.api}: use {other}, or the other engine."
            raise ImgsecError(POLICY_FOREIGN(f"{text}, which {engine} does not read", hint=hint))


def require_fields(document: Mapping[str, Any], fields: Fields, where: str = "") -> None:
    """Raises `ImgsecError` (policy-malformed) for the first field that is not as the API has it."""
    for flaw in flaws_of(dict(document), fields):
        metadata = document.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        what = f"{document.get('kind')} {shown(str(name))}, {shown(path_text(flaw.path))}"
        raise ImgsecError(POLICY_MALFORMED(f"{_of(where)}{what}: {flaw.text}"))


def _of(where: str) -> str:
    return f"{where}: " if where else ""


def demand_of(policy: Mapping[str, Any]) -> Demand:
    """What a rule's policy asks for. To be given fields that its API has, and no others."""
    trust = policy.get("trust") or {}
    advisor = (policy.get("vulnerability") or {}).get("ICCRVA") or policy.get("va") or {}
    simple = policy.get("simple") or {}
    requirements = tuple(_requirement(one) for one in simple.get("requirements") or [])
    signers = tuple(one.get("name") or "" for one in trust.get("signerSecrets") or [])
    return Demand(
        simple=SimpleDemand(
            requirements, simple.get("storeURL") or "", simple.get("storeSecret") or ""
        )
        if requirements
        else None,
        trust=TrustDemand(trust.get("trustServer") or "", signers)
        if trust.get("enabled")
        else None,
        advisor=AdvisorDemand(advisor.get("account") or "") if advisor.get("enabled") else None,
        mutates=policy.get("mutateImage") is not False,
    )


def _requirement(document: Mapping[str, Any]) -> Requirement:
    identity = document.get("signedIdentity")
    return Requirement(
        document["type"],
        document.get("keySecret") or "",
        document.get("keySecretNamespace") or "",
        None
        if identity is None
        else SignedIdentity(
            identity["type"],
            identity.get("dockerReference") or "",
            identity.get("dockerRepository") or "",
            identity.get("prefix") or "",
            identity.get("signedPrefix") or "",
        ),
    )
