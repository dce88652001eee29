# SPDX-License-Identifier: Apache-2.0
"""The figures of rules and images' texts, for scripts/bench: of functions, not of processes."""

from __future__ import annotations

from collections.abc import Iterator

from imgsec.domain.engines import NEWEST
from imgsec.domain.policy_rules import CLUSTER_KIND, Demand, PolicyId, PolicyRule
from imgsec.domain.resolution import RulePool
from imgsec.domain.wildcard import compare
from scripts.bench_many import Bench

RULES, FEW_RULES, IMAGES = 10_000, 100, 1000
STARS, FEW_STARS, TIMES = 50_000, 5_000, 20
_OWNER = PolicyId(CLUSTER_KIND, "bench")


def all_rules() -> Iterator[Bench]:
    """These need no sandbox."""
    many, few = rules(RULES), rules(FEW_RULES)
    pools = {len(each): RulePool(each, NEWEST) for each in (many, few)}
    texts = images(IMAGES)

    def resolve(count: int) -> None:
        found = [pools[count].resolve(text).rule for text in texts]
        if sum(rule is not None for rule in found) < IMAGES // 4:
            raise SystemExit("bench: the rules are met by too few images")

    yield Bench(
        "resolve-rules",
        f"{IMAGES} images' texts resolved against {RULES} rules",
        f"the same against {FEW_RULES} rules",
        20,
        lambda _: resolve(RULES),
        lambda _: resolve(FEW_RULES),
    )
    yield Bench(
        "resolve-build",
        f"{RULES} rules made ready, and one text resolved",
        f"the same of {FEW_RULES} rules",
        2 * RULES / FEW_RULES,
        lambda _: ready(many),
        lambda _: ready(few),
    )
    yield Bench(
        "resolve-crafted",
        f"a pattern of {STARS} stars compared with as long a text",
        f"the same of {FEW_STARS}",
        1.5 * STARS / FEW_STARS,
        lambda _: crafted(STARS),
        lambda _: crafted(FEW_STARS),
    )


def rules(count: int) -> list[PolicyRule]:
    """Rules of the shapes that policies have, of which no two have one name."""
    shapes = (
        "registry.example.com/team-{}/*",
        "us.icr.io/space-{}/app",
        "*.icr.io/space-{}/app-*:*",
        "docker.io/library/tool{}*",
        "quay.io/*/part-{}",
    )
    return [
        PolicyRule(shapes[place % len(shapes)].format(place), Demand(), _OWNER, place)
        for place in range(count)
    ]


def images(count: int) -> list[str]:
    """Texts of which half are of the first hundred rules, and the others of all of them."""
    shapes = (
        "registry.example.com/team-{}/app:1.0",
        "us.icr.io/space-{}/app:1.0",
        "de.icr.io/space-{}/app-api:1.0",
        "docker.io/library/tool{}:1.0",
        "quay.io/team/part-{}:1.0",
    )
    numbers = (place % FEW_RULES if place % 2 else place * 9_973 % RULES for place in range(count))
    return [shapes[number % len(shapes)].format(number) for number in numbers]


def ready(given: list[PolicyRule]) -> None:
    RulePool(given, NEWEST).resolve("registry.example.com/team-0/app:1.0")


def crafted(stars: int) -> None:
    """What makes a matcher slow that tries again: every piece is found, and the last one is not."""
    for _ in range(TIMES):
        if compare("*a" * stars + "*b", "a" * 2 * stars):
            raise SystemExit("bench: the pattern is met, and should not be")
