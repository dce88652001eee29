# SPDX-License-Identifier: Apache-2.0
"""What a rule demands, by itself: nothing, the impossible, or something else than it looks like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from imgsec.domain.demand_effect import ANYTHING, REJECT, SIGNED, denial_of
from imgsec.domain.engine_name import IBM_HOSTS, TRUSTED_HOSTS
from imgsec.domain.engines import Engine
from imgsec.domain.hosts import is_icr_host, is_loopback, shown_address
from imgsec.domain.lint_catalogue import (
    ACCEPTS_ANYTHING,
    ADVISOR_FOREIGN_HOST,
    CATCH_ALL_UNCHECKED,
    CREDENTIALS_IN_URL,
    IBM_LOOKALIKE,
    IDENTITY_FAILS_CHILD,
    IDENTITY_FIELD_UNUSED,
    IDENTITY_INCOMPLETE,
    KEY_SECRET_UNNAMED,
    NO_TRUST_SERVER,
    PLAIN_STORE_URL,
    REJECTS_EVERYTHING,
    SIMPLE_WITH_TRUST,
    STORE_URL,
    STORE_WITHOUT_REQUIREMENTS,
    SWITCHED_OFF,
    TRUST_FOREIGN_HOST,
    TRUST_OF_LATEST,
    UNCHECKED_RULE,
    Level,
    LintFinding,
    LintKind,
)
from imgsec.domain.lint_examples import EXAMPLE_DIGEST, Host, could_overlap, engine_name
from imgsec.domain.lint_sources import LintRule
from imgsec.domain.policy_fields import Path
from imgsec.domain.policy_rules import CLUSTER_KIND, Demand, Requirement, SignedIdentity
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError

# The words of the policies' API -> those of containers/image, and the fields that each reads.
_IDENTITIES = {
    "matchExact": ("matchExact", ()),
    "matchRepository": ("matchRepository", ()),
    "matchExactReference": ("exactReference", ("dockerReference",)),
    "matchExactRepository": ("exactRepository", ("dockerRepository",)),
    "remapIdentity": ("remapIdentity", ("prefix", "signedPrefix")),
}


def is_unsigned(demand: Demand) -> bool:
    """Whether an image is let through that nobody signed."""
    requirements = demand.simple.requirements if demand.simple is not None else ()
    is_signed = demand.trust is not None or any(one.kind == SIGNED for one in requirements)
    return not is_signed and not denial_of(demand)


def open_to_all(rule: LintRule) -> Level | None:
    """How much it weighs that a rule lets in all that no other names; None where it does not."""
    demand = rule.demand
    if demand is None or not rule.name or rule.name.strip("*"):
        return None
    if not is_unsigned(demand) or demand.advisor is not None:
        return None
    return Level.ERROR if rule.rule.owner.kind == CLUSTER_KIND else Level.WARNING


def demand_findings(rule: LintRule, engine: Engine) -> Iterator[LintFinding]:
    """What is wrong with a rule's policy, whatever other rules there are."""
    demand = rule.demand
    if demand is None:
        return
    yield from _idle(rule, demand)
    yield from _requirements(rule, demand, engine)
    yield from _store(rule)
    yield from _hosts(rule, demand, engine)
    if demand.simple is not None and demand.trust is not None:
        text = f"{rule} demands simple signing and trust, which no image can have both"
        yield rule.tell(SIMPLE_WITH_TRUST, text, path=("policy", "trust"))
    is_looked_at_again = demand.mutates and not denial_of(demand) and not skips_children(engine)
    if demand.trust is not None and is_looked_at_again:
        text = f"pods of {rule} carry a digest, and trust then looks up latest"
        yield rule.tell(TRUST_OF_LATEST, text, path=("policy", "trust"))


def skips_children(engine: Engine) -> bool:
    """Whether pods that a template makes are not looked at again; CISE looked at nothing else."""
    return engine.skips_owned or engine.is_cise


def _idle(rule: LintRule, demand: Demand) -> Iterator[LintFinding]:
    """Checks that do not happen."""
    simple = _member(rule.content, "simple")
    found = False
    if demand.simple is None and (simple.get("storeURL") or simple.get("storeSecret")):
        text = f"{rule} names a signature store and demands no signature"
        yield rule.tell(STORE_WITHOUT_REQUIREMENTS, text, path=("policy", "simple"))
        found = True
    switches = (
        ("trust", _member(rule.content, "trust"), demand.trust, ("policy", "trust")),
        ("va", _member(rule.content, "va"), demand.advisor, ("policy", "va")),
        (
            "ICCRVA",
            _member(_member(rule.content, "vulnerability"), "ICCRVA"),
            demand.advisor,
            ("policy", "vulnerability", "ICCRVA"),
        ),
    )
    for name, written, wanted, path in switches:
        details = sorted(str(one) for one in written if one != "enabled" and written[one])
        if wanted is not None or not (details or (written and demand.is_nothing)):
            continue
        which = f", for all its {', '.join(details)}" if details else ""
        yield rule.tell(SWITCHED_OFF, f"{rule} has {name} and does not enable it{which}", path=path)
        found = True
    if not demand.is_nothing:
        return
    if (level := open_to_all(rule)) is not None:
        text = f"{rule} lets every image through unseen that no other rule names"
        yield rule.tell(CATCH_ALL_UNCHECKED, text, level=level)
    elif rule.name and not found:
        text = f"{rule} lets images through unseen"
        yield rule.tell(UNCHECKED_RULE, text, path=("policy",))


def _member(document: Any, name: str) -> dict[str, Any]:
    found = document.get(name) if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}


def _requirements(rule: LintRule, demand: Demand, engine: Engine) -> Iterator[LintFinding]:
    requirements = demand.simple.requirements if demand.simple is not None else ()
    kinds = [one.kind for one in requirements]
    for place, one in enumerate(requirements):
        path: Path = ("policy", "simple", "requirements", place)
        if one.kind == ANYTHING:
            is_alone = set(kinds) == {ANYTHING}
            what = "asks for no signature" if is_alone else "adds nothing to what else is demanded"
            text = f"insecureAcceptAnything of {rule} {what}"
            level = (open_to_all(rule) or Level.WARNING) if is_alone else Level.NOTE
            yield rule.tell(ACCEPTS_ANYTHING, text, path=(*path, "type"), level=level)
        elif one.kind == REJECT:
            yield rule.tell(REJECTS_EVERYTHING, f"{rule} denies every image", path=(*path, "type"))
        elif not one.key_secret:
            text = f"signedBy of {rule} names no keySecret"
            yield rule.tell(KEY_SECRET_UNNAMED, text, path=path)
        if one.kind == SIGNED and one.identity is not None and one.identity.kind:
            path = (*path, "signedIdentity")
            yield from _identity(rule, one.identity, path)
            yield from _child(rule, demand, one, path, engine)


def _identity(rule: LintRule, identity: SignedIdentity, path: Path) -> Iterator[LintFinding]:
    written = {
        "dockerReference": identity.reference,
        "dockerRepository": identity.repository,
        "prefix": identity.prefix,
        "signedPrefix": identity.signed_prefix,
    }
    kind, members = _IDENTITIES[identity.kind]
    if members:
        yield from _identity_sense(rule, identity.kind, kind, members, written, path)
    for name, value in written.items():
        if value and name not in members:
            text = f"{identity.kind} of {rule} does not read {name}"
            yield rule.tell(IDENTITY_FIELD_UNUSED, text, path=(*path, name))


def _identity_sense(
    rule: LintRule,
    word: str,
    kind: str,
    members: tuple[str, ...],
    written: dict[str, str],
    path: Path,
) -> Iterator[LintFinding]:
    """Whether the engine takes what the identity's type needs."""
    from imgsec.domain.identity import IdentityRule  # few policies have such a type

    document = {"type": kind, **{name: written[name] for name in members}}
    absent = [name for name in members if not written[name]]
    try:
        IdentityRule.parse(document)
    except ImgsecError as error:
        why = f"lacks {' and '.join(absent)}" if absent else error.reason.text.partition(": ")[2]
        yield rule.tell(IDENTITY_INCOMPLETE, f"{word} of {rule}: {why}", path=(*path, members[0]))


def _child(
    rule: LintRule, demand: Demand, one: Requirement, path: Path, engine: Engine
) -> Iterator[LintFinding]:
    is_exact = one.identity is not None and one.identity.kind == "matchExact"
    if not (is_exact and demand.mutates) or denial_of(demand) or skips_children(engine):
        return
    text = f"{rule}: a template is admitted and rewritten to a digest, and matchExact denies pods"
    yield rule.tell(IDENTITY_FAILS_CHILD, text, path=path)


def _store(rule: LintRule) -> Iterator[LintFinding]:
    addresses = (
        ("storeURL", _member(rule.content, "simple").get("storeURL"), ("policy", "simple")),
        ("trustServer", _member(rule.content, "trust").get("trustServer"), ("policy", "trust")),
    )
    for name, url, above in addresses:
        if not isinstance(url, str) or not url:
            continue
        path = (*above, name)
        where = f"{name} {shown_address(url)} of {rule}"
        found = re.match(r"(?i)(https?)://([^/?#]*)", url)
        if name == "storeURL" and (
            found is None or not found[2] or not url.startswith(("http://", "https://"))
        ):
            yield rule.tell(STORE_URL, f"{where} is no http or https address", path=path)
        elif found and found[1].lower() == "http" and not is_loopback(found[2].rpartition("@")[2]):
            yield rule.tell(PLAIN_STORE_URL, f"{where} is not https", path=path)
        if "@" in _authority(url):
            text = f"{where} has a user in it"
            yield rule.tell(CREDENTIALS_IN_URL, text, path=path)


def _authority(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return url


def _hosts(rule: LintRule, demand: Demand, engine: Engine) -> Iterator[LintFinding]:
    """Checks that exist for some registries only."""
    host = Host.of(rule.name)
    bare = rule.name if host.text is None else host.text.removesuffix(host.port)
    if "*" in bare:
        yield from _starred_hosts(rule, demand, engine)
        return
    path = f"{bare}{host.port.replace('*', '5000')}" if host.is_said else None
    name = engine_name(f"{path}/team/app" if path else "team/app")
    if name is None or not rule.name:
        return
    is_ibm = name.is_at_ibm
    if demand.trust is not None and not demand.trust.server:
        if engine.is_cise:
            if not is_ibm:
                yield _foreign(rule, name.domain, TRUST_FOREIGN_HOST, engine)
        elif name.trust_server is None:
            yield _foreign(rule, name.domain, NO_TRUST_SERVER, engine)
    if demand.advisor is not None and not is_ibm:
        yield _foreign(rule, name.domain, ADVISOR_FOREIGN_HOST, engine)
    if is_ibm and not name.host.endswith(".bluemix.net") and not is_icr_host(name.host.lower()):
        text = f"{shown(name.host)} in {rule} is not one of IBM's hosts"
        yield rule.tell(IBM_LOOKALIKE, text, image=f"{name.domain}/team/app@{EXAMPLE_DIGEST}")


def _starred_hosts(rule: LintRule, demand: Demand, engine: Engine) -> Iterator[LintFinding]:
    """Likewise where no image that meets a name with stars is at such a registry."""
    host = Host.of(rule.name).text or rule.name
    at_ibm = _could_be_at(IBM_HOSTS, rule.name, engine)
    if demand.trust is not None and not demand.trust.server:
        if engine.is_cise:
            if not at_ibm:
                yield _foreign(rule, host, TRUST_FOREIGN_HOST, engine)
        elif not (_is_hubs(rule.name, engine) or _could_be_at(TRUSTED_HOSTS, rule.name, engine)):
            yield _foreign(rule, host, NO_TRUST_SERVER, engine)
        elif demand.advisor is not None and at_ibm:
            text = f"{rule} demands trust and the advisor"
            text += ", and the engine knows no trust server for a registry that the advisor serves"
            yield rule.tell(NO_TRUST_SERVER, text, path=("policy", "trust"))
    if demand.advisor is not None and not at_ibm:
        yield _foreign(rule, host, ADVISOR_FOREIGN_HOST, engine)


def _could_be_at(hosts: Iterable[str], name: str, engine: Engine) -> bool:
    """Whether a name with stars could be met by an image of these hosts; never wrongly False."""
    host = Host.of(name)
    if host.text is not None and engine.splits_hosts:
        bare = host.text.removesuffix(host.port)
        return any(could_overlap(bare, one) for one in hosts)
    ends = ("",) if name.endswith("*") else ("", ":*", "@*")
    places = [f"{one}{port}/*" for one in hosts for port in ("", ":*")]
    return any(could_overlap(f"{name}{end}", place) for end in ends for place in places)


def _is_hubs(name: str, engine: Engine) -> bool:
    """Whether its first part could be no host but a folder, or an image, of Docker Hub."""
    host, slash, _ = name.partition("/")
    first = host if slash and engine.splits_hosts else host.partition("*")[0]
    return not slash or (first == first.lower() and not set(first) & set(".:"))


def _advisor_path(engine: Engine) -> Path:
    return ("policy", *(("va",) if engine.is_cise else ("vulnerability", "ICCRVA")))


def _foreign(rule: LintRule, host: str, kind: LintKind, engine: Engine) -> LintFinding:
    what = "trust"
    path: Path = ("policy", "trust")
    if kind is ADVISOR_FOREIGN_HOST:
        what, path = "the advisor", _advisor_path(engine)
    text = f"{rule} demands {what}, and the engine knows none for {shown(host)}"
    return rule.tell(kind, text, path=path)
