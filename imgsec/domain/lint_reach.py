# SPDX-License-Identifier: Apache-2.0
"""What rules leave uncovered: digests, rewritten pods, other spellings, other hosts, namespaces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from imgsec.domain.demand_effect import denial_of
from imgsec.domain.engine_name import EngineName
from imgsec.domain.host_spellings import registry_of
from imgsec.domain.hosts import HUB, HUB_HOSTS, is_icr_host, other_icr_host
from imgsec.domain.lint_catalogue import (
    CHILD_UNCOVERED,
    CLUSTER_POLICY_OFF,
    DIGEST_UNCOVERED,
    HUB_FORMS,
    MISSING_VARIANT,
    NO_RULES,
    SPELLING_BYPASS,
    WEAKER_THAN_CLUSTER,
    WORKLOAD_SPELLING,
    Level,
    LintFinding,
    LintKind,
)
from imgsec.domain.lint_demands import skips_children
from imgsec.domain.lint_examples import (
    EXAMPLE_DIGEST,
    Host,
    ending_of,
    engine_name,
    example_of,
    has_tag,
)
from imgsec.domain.lint_losses import lost_to
from imgsec.domain.lint_pool import LintPool, pool_for
from imgsec.domain.lint_sources import LintPolicy, LintRule, WorkloadImage
from imgsec.domain.policy_rules import Demand
from imgsec.domain.reference import shown
from imgsec.domain.wildcard import compare, is_met

_OFFICIAL = "library/"
_WHOLE_HOST = "registry.example.com/"
_LISTED_MAX = 5  # names in one sentence
_STARRED_MAX = 50  # hosts with a star; of more it is quicker to ask for the rule that decides
_FAMILY_MAX = 40  # hosts; IBM has a dozen, each with a private twin


class Reach:
    """The images of a pool's rules, and what becomes of them otherwise spelled or deployed."""

    def __init__(self, pool: LintPool) -> None:
        self.pool = pool
        self._met: dict[str, bool] = {}

    def example(self, rule: LintRule) -> str | None:
        """An image that this very rule decides about."""
        image = self.pool.example(rule)
        return image if image is not None and self.pool.decide(image) is rule else None

    def findings(self) -> Iterator[LintFinding]:
        """Everything but what namespaces change."""
        yield from _empty(self.pool)
        few: dict[tuple[str, int], list[tuple[LintRule, str]]] = {}
        bypasses: dict[int, list[tuple[LintRule, LintRule, str]]] = {}
        for rule in self.pool.rules:
            image = self.example(rule) if rule.demand is not None else None
            name = engine_name(image) if image is not None else None
            if image is None or name is None:
                continue
            yield from self._by_digest(rule, image, name, few)
            for other in _spellings(image, name, self._written):
                if _is_usual(other) or self._could_meet(other.partition("/")[0]):
                    self._spelled(rule, other, few, bypasses)
        for missing in self._variants():
            few.setdefault((MISSING_VARIANT.code, id(missing[0].source)), []).append(missing)
        for pairs in bypasses.values():
            yield _bypass(pairs)
        for (code, _), found in few.items():
            yield _together(_KINDS[code], found)

    @cached_property
    def _hosts(self) -> tuple[frozenset[str], tuple[str, ...]]:
        """The hosts of rules without a star, and with one; a star for a name without a host."""
        every = {Host.of(rule.name).text or "*" for rule in self.pool.rules}
        starred = {host for host in every if "*" in host}
        return frozenset(every - starred), tuple(sorted(starred))

    @cached_property
    def _written(self) -> dict[str, list[str]]:
        """Hosts of rules in other spellings than the usual one, which is the key."""
        found: dict[str, list[str]] = {}
        for host in sorted(self._hosts[0]):
            if (usual := registry_of(host)) != host:
                found.setdefault(usual, []).append(host)
        return found

    def _could_meet(self, domain: str) -> bool:
        """Whether some rule's host could be met by this one, as far as that is quickly told."""
        if len(self._hosts[1]) > _STARRED_MAX:
            return True
        if domain not in self._met:
            exact, starred = self._hosts
            reaches_over = not self.pool.engine.splits_hosts
            self._met[domain] = domain in exact or any(
                reaches_over or compare(host, domain) for host in starred
            )
        return self._met[domain]

    def _by_digest(
        self,
        rule: LintRule,
        image: str,
        name: EngineName,
        few: dict[tuple[str, int], list[tuple[LintRule, str]]],
    ) -> Iterator[LintFinding]:
        demand = rule.demand
        if demand is not None and self._looks_at_digests_of(demand):
            child = f"{name.repository}@{EXAMPLE_DIGEST}"
            winner = self.pool.decide(child)
            if winner is None:
                text = f"pods of {rule} get an image that no rule names, and are denied"
                yield rule.tell(CHILD_UNCOVERED, text, image=child)
                return
            if winner is not rule and (lost := lost_to(winner, rule, child)):
                text = f"pods of {rule} are decided by {winner}, which loses {' and '.join(lost)}"
                yield rule.tell(CHILD_UNCOVERED, text, image=child, level=Level.WARNING)
                return
            yield from self._tags_by_digest(rule)
        if has_tag(rule.name) and not rule.name.endswith(":*"):
            return
        digested = f"{image.removesuffix(':1.0')}@{EXAMPLE_DIGEST}"
        if not image.endswith(":1.0") or is_met(rule.name, digested, self.pool.engine):
            return
        winner = self.pool.decide(digested)
        if winner is None:
            few.setdefault((DIGEST_UNCOVERED.code, id(rule.source)), []).append((rule, digested))
        elif lost := lost_to(winner, rule, digested):
            text = f"by digest, images of {rule} are decided by {winner}"
            text += f", which does not ask for {' and '.join(lost)}"
            yield rule.tell(DIGEST_UNCOVERED, text, image=digested, level=Level.WARNING)

    def _looks_at_digests_of(self, demand: Demand) -> bool:
        """Whether an image is admitted, rewritten, and its pods are looked at again."""
        is_rewritten = demand.mutates and bool(demand.simple or demand.trust)
        return is_rewritten and not denial_of(demand) and not skips_children(self.pool.engine)

    def _tags_by_digest(self, rule: LintRule) -> Iterator[LintFinding]:
        """Where a star is met by a colon, too, and what is behind it by the end of a tag."""
        image = _tagged_by_star(rule.name)
        name = engine_name(image) if image is not None else None
        if image is None or name is None or self.pool.decide(image) is not rule:
            return
        child = f"{name.repository}@{EXAMPLE_DIGEST}"
        winner = self.pool.decide(child)
        if winner is None or (winner is not rule and lost_to(winner, rule, child)):
            whose = f"that {winner} decides about" if winner else "that no rule names"
            text = f"images like {shown(image)} meet {rule}, and their pods get one {whose}"
            yield rule.tell(CHILD_UNCOVERED, text, image=child, level=Level.NOTE)

    def _spelled(
        self,
        rule: LintRule,
        other: str,
        few: dict[tuple[str, int], list[tuple[LintRule, str]]],
        bypasses: dict[int, list[tuple[LintRule, LintRule, str]]],
    ) -> None:
        winner = self.pool.decide(other)
        if winner is not None:
            if winner is not rule and lost_to(winner, rule, other):
                bypasses.setdefault(id(winner), []).append((winner, rule, other))
        elif engine_name(other) and _is_usual(other):
            found = few.setdefault((HUB_FORMS.code, id(rule.source)), [])
            if not found or found[-1][0] is not rule:
                found.append((rule, other))

    def _variants(self) -> Iterator[tuple[LintRule, str]]:
        """Rules whose path another host of IBM's has as a rule, and not this one."""
        by_host: dict[str, dict[str, LintRule]] = {}
        for rule in self.pool.rules:
            host = Host.of(rule.name)
            if host.text is None:
                continue
            if "*" not in host.text and is_icr_host(host.text):
                by_host.setdefault(host.text, {})[host.rest] = rule
            elif host.text.startswith("*.") and is_icr_host(host.text[2:]):
                yield from self._unnamed(rule, f"{host.text[2:]}/{host.rest}")
        if len(by_host) > _FAMILY_MAX:
            return
        for rules in by_host.values():
            for other, its in by_host.items():
                missing = rules.keys() - its.keys()
                if missing and len(rules.keys() & its.keys()) >= len(missing):
                    for rest in (rest for rest in rules if rest in missing):
                        yield from self._unnamed(rules[rest], f"{other}/{rest}")

    def _unnamed(self, rule: LintRule, other: str) -> Iterator[tuple[LintRule, str]]:
        image = example_of(other, self.pool.engine)
        if image is not None and self.pool.decide(image) is None:
            yield rule, image


def _tagged_by_star(name: str) -> str | None:
    """An image whose tag ends as the name does; None where a tag is its own already."""
    head, star, end = name.rpartition("*")
    if not (star and end) or any(mark in end for mark in "/:@") or has_tag(head):
        return None
    host, slash, rest = head.partition("/")
    if not slash:
        return None if host.strip("*") else f"{_WHOLE_HOST}app:1.0{end}"
    host, colon, port = host.partition(":")
    host = f"{host.replace('*', 'reg')}{colon}{port.replace('*', '5000')}"
    return f"{host}/{rest.replace('*', 'x')}app:1.0{end}"


_KINDS: dict[str, LintKind] = {
    kind.code: kind for kind in (DIGEST_UNCOVERED, HUB_FORMS, MISSING_VARIANT)
}


def _together(kind: LintKind, found: Sequence[tuple[LintRule, str]]) -> LintFinding:
    """One finding for all rules of an object that share a weakness, at the first of them."""
    rule, image = found[0]
    names = dict.fromkeys(one.name for one, _ in found)
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return rule.tell(kind, f"no rule names {shown(image)}, beside {rule}{more}", image=image)


def _bypass(pairs: Sequence[tuple[LintRule, LintRule, str]]) -> LintFinding:
    winner, rule, image = pairs[0]
    others = len({id(one) for _, one, _ in pairs}) - 1
    more = f" and {others} more" if others else ""
    lost = " and ".join(lost_to(winner, rule, image))
    text = f"{winner} decides about other spellings of images of {rule}{more}, without {lost}"
    return winner.tell(SPELLING_BYPASS, text, image=image)


def _empty(pool: LintPool) -> Iterator[LintFinding]:
    for policy in pool.policies:
        if policy.rules or policy.is_refused:
            continue
        level = Level.NOTE if pool.rules else Level.WARNING
        what = "it changes nothing" if pool.rules else f"every image is denied in {pool.title}"
        text = f"{policy.source.about} has no rules: {what}"
        yield policy.source.tell(NO_RULES, ("spec", "repositories"), text, level=level)


def _spellings(image: str, name: EngineName, written: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The same image, spelled otherwise; the usual spellings first.

    written: hosts that rules have in other spellings, by the usual one.
    """
    end = ending_of(image)
    path = name.repository.removeprefix(f"{name.domain}/")
    host = registry_of(name.domain)
    if not name.domain or (host == HUB and "/" not in path):
        return  # Docker Hub has no such repository
    hosts = [host]
    forms = []
    if host == HUB:
        bare = path.removeprefix(_OFFICIAL)
        forms += [f"{bare}{end}", f"{HUB}/{bare}{end}"]
        hosts += HUB_HOSTS
    elif (twin := other_icr_host(host)) is not None:
        hosts.append(twin)
    spelt = [each for one in hosts for each in (one, *written.get(one, ()))]
    spelt += ([] if ":" in host else [f"{host}:443"]) + [host.upper()]
    forms += [f"{one}/{path}{end}" for one in spelt]
    yield from dict.fromkeys(form for form in forms if form != image)


def _is_usual(image: str) -> bool:
    """Whether people spell images of Docker Hub so; other hosts have one usual spelling."""
    host = Host.of(image)
    return host.text == HUB or not host.is_said


def namespace_findings(reaches: Sequence[Reach]) -> Iterator[LintFinding]:
    """What ImagePolicies switch off of the cluster's policies."""
    cluster = next((one for one in reaches if one.pool.namespace is None), None)
    if cluster is None or not cluster.pool.rules:
        return
    known: dict[object, tuple[list[LintRule], list[tuple[LintRule, str]]]] = {}
    named = set(_key_namespaces(rule for one in reaches for rule in one.pool.rules))
    for one in reaches:
        pool = one.pool
        if pool.namespace is None:
            continue
        rules = tuple((rule.name, rule.demand) for rule in pool.rules)
        alike = rules, pool.namespace if pool.namespace in named else ""
        if alike not in known:
            known[alike] = _switched_off(cluster, pool)
        off, weaker = known[alike]
        first = pool.policies[0]
        yield _off(first, off, pool)
        if weaker:
            yield _weaker(weaker, pool)


def _key_namespaces(rules: Iterable[LintRule]) -> Iterator[str]:
    """Where rules say that their keys are; one that is not said is in a namespace of those."""
    for rule in rules:
        if rule.demand is not None and rule.demand.simple is not None:
            yield from (one.key_namespace for one in rule.demand.simple.requirements)


def _switched_off(
    cluster: Reach, pool: LintPool
) -> tuple[list[LintRule], list[tuple[LintRule, str]]]:
    """The cluster's rules whose images no rule names there, and those that are weakened."""
    off, weaker = [], []
    for rule in cluster.pool.rules:
        image = cluster.example(rule)
        if image is None:
            continue
        winner = pool.decide(image)
        if winner is None:
            off.append(rule)
        elif lost_to(winner, rule, image):
            weaker.append((rule, image))
    return off, weaker


def _off(policy: LintPolicy, off: Sequence[LintRule], pool: LintPool) -> LintFinding:
    names = listed(rule.name for rule in off)
    what = f"; denied there is what only these name: {names}" if off else ""
    text = f"{policy.source.about} switches every ClusterImagePolicy off in {pool.title}{what}"
    return policy.source.tell(CLUSTER_POLICY_OFF, ("kind",), text)


def _weaker(weaker: Sequence[tuple[LintRule, str]], pool: LintPool) -> LintFinding:
    rule, image = weaker[0]
    winner = pool.decide(image) or rule
    lost = " and ".join(lost_to(winner, rule, image))
    more = f" and {len(weaker) - 1} more" if len(weaker) > 1 else ""
    text = f"{winner} does not ask for {lost}, as {rule}{more} does elsewhere"
    return winner.tell(WEAKER_THAN_CLUSTER, text, image=image)


def listed(names: Iterable[str]) -> str:
    """Some names in a sentence, and how many more there are.

    >>> listed(["a", "b"])
    "'a', 'b'"
    """
    every = list(names)
    more = f" and {len(every) - _LISTED_MAX} more" if len(every) > _LISTED_MAX else ""
    return ", ".join(map(shown, every[:_LISTED_MAX])) + more


def workload_findings(
    images: Iterable[WorkloadImage], pools: Sequence[LintPool]
) -> tuple[list[LintFinding], Counter[int]]:
    """Images that are named in another spelling only; and how often each rule decides."""
    found: list[LintFinding] = []
    used: Counter[int] = Counter()
    for image in images:
        pool = pool_for(image.namespace, pools)
        if pool is None:
            continue
        if (rule := pool.decide(image.text)) is not None:
            used[id(rule)] += 1
        elif (name := engine_name(image.text)) is not None:
            has_digest = bool(name.digest)
            whole = f"{name.repository}{ending_of(image.text)}" if has_digest else name.tagged
            if (rule := pool.decide(whole)) is not None:
                text = f"no rule names {shown(image.text)}, which is denied; {rule} names"
                finding = image.source.tell(
                    WORKLOAD_SPELLING, image.path, f"{text} {shown(whole)}", image=image.text
                )
                found.append(finding)
    return found, used
