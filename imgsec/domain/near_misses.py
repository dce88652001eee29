# SPDX-License-Identifier: Apache-2.0
"""The rules that almost decided about an image, and why they did not.

Most surprises are about spelling: engines compare raw text. So each rule is held against the other
ways to write the image, and against what other versions of the engine would make of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from imgsec.domain.admission import NearMiss
from imgsec.domain.engine_name import EngineName, Panic
from imgsec.domain.engines import ENGINES, Engine
from imgsec.domain.policy_rules import PolicyRule
from imgsec.domain.resolution import Pools, Resolution, RulePool, repository_of
from imgsec.domain.wildcard import weight_of

NEAR_MAX = 5  # ours; a trace is read by people


def near_misses(
    image: str, namespace: str, pools: Pools, resolution: Resolution, engine: Engine
) -> tuple[NearMiss, ...]:
    """The rules that are met and weigh less, and those that another spelling would meet."""
    found: dict[PolicyRule, str] = {}
    for rule, why in _all_near(image, namespace, pools, resolution, engine):
        found.setdefault(rule, why)
        if len(found) == NEAR_MAX:
            break
    return tuple(NearMiss(rule, why) for rule, why in found.items())


def _all_near(
    image: str, namespace: str, pools: Pools, resolution: Resolution, engine: Engine
) -> Iterator[tuple[PolicyRule, str]]:
    """The likeliest first; some of them more than once."""
    winner, pool = resolution.rule, pools.of_namespace(namespace)
    for rule in resolution.others:
        yield rule, _why_lighter(rule, winner, image)
    for rule, why in _by_other_spelling(image, pool, engine, is_decided=winner is not None):
        if rule is not winner:
            yield rule, why
    if namespace in pools.own:
        why = f"cluster-wide rules do not count in {namespace}: it has an ImagePolicy"
        for rule in _all_met(pools.cluster.resolve(image)):
            yield rule, why
    if winner is None:
        for rule in pool.of_repository(repository_of(image)):
            yield rule, "it names the same repository, by another tag or digest"


def _why_lighter(rule: PolicyRule, winner: PolicyRule | None, image: str) -> str:
    if winner is None:
        return "it is met"
    if winner.repository == image:
        return "it is met, but the rule that decides is the very text of the image"
    mine, its = weight_of(rule.repository), weight_of(winner.repository)
    if mine == its:
        return f"it is met and weighs the same, {mine}, but stands behind the one that decides"
    return f"it is met, but weighs {mine} characters against {its}"


def _by_other_spelling(
    image: str, pool: RulePool, engine: Engine, *, is_decided: bool
) -> Iterator[tuple[PolicyRule, str]]:
    """is_decided: a rule names the image; only what the image's own name would meet is told."""
    for other, why in _spellings(image, is_decided=is_decided):
        for rule in _all_met(pool.resolve(other)):
            yield rule, why
    if is_decided and "@" not in image and not pool.has_open_hosts:
        return  # engines differ in nothing else
    compared = {(engine.splits_hosts, engine.covers_digests)}
    for other_engine in reversed(ENGINES):
        way = (other_engine.splits_hosts, other_engine.covers_digests)
        if way not in compared:
            compared.add(way)
            for rule in _all_met(pool.compared_as(other_engine).resolve(image)):
                yield rule, f"{other_engine} would find it met; {engine} does not"


def _spellings(image: str, *, is_decided: bool) -> Iterator[tuple[str, str]]:
    """The image written in other ways, and what the difference is."""
    try:
        name = EngineName.parse(image)
    except (ValueError, Panic):
        lowered = image.strip().lower()
        if lowered != image:
            yield lowered, "blanks or upper case keep it from being met"
        return
    version = f"@sha256:{name.digest}" if name.digest else f":{name.tag}"
    full = name.repository + version
    if full != image:
        yield full, f"it is met by the image's full name, {full}"
    if name.host != name.domain and not name.domain.startswith("["):
        yield (
            full.replace(name.domain, name.host, 1),
            "it is met by the image's host without its port",
        )
    if name.domain != name.domain.lower():
        lowered = full.replace(name.domain, name.domain.lower(), 1)
        yield lowered, "it is met by the image's host in lower case"
    if is_decided:
        return
    if name.digest:
        yield f"{name.repository}:{name.tag}", "it is met by a tag, and not by a digest"
    else:
        yield name.repository, "it is met by the name without a tag"
        yield f"{name.repository}@sha256:{'0' * 64}", "it is met by a digest, and not by a tag"
    for twin in _twins(name.host):
        yield full.replace(name.domain, twin, 1), f"it is met at {twin}, another host"


def _twins(host: str) -> Iterator[str]:
    """Hosts of the same registry that people write for each other."""
    if host.endswith(".icr.io") and host != "cp.icr.io":
        yield "icr.io"
    elif host == "icr.io":
        yield "us.icr.io"


def _all_met(resolution: Resolution) -> Iterator[PolicyRule]:
    if resolution.rule is not None:
        yield resolution.rule
    yield from resolution.others
