# SPDX-License-Identifier: Apache-2.0
"""What people read of a predicted admission: who decides, in whose words, and what stays open."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from imgsec.domain.engines import NEWEST
from imgsec.render.admission_text import admission_lines
from tests.support import short_folder
from tests.unit.operations.admission_town import (
    ACCEPTS,
    Town,
    open_town,
    pod,
    policy,
    rule,
    signed,
)

IMAGE = "icr.io/shop/web:1"


@pytest.fixture
def town() -> Iterator[Town]:
    with short_folder() as folder, open_town(folder) as opened:
        yield opened


def lines(town: Town, *images: str, verbose: bool = False, **asked: bool) -> list[str]:
    admission = town.predict(pod(*images), **asked)
    return list(admission_lines([admission], verbose=verbose))


def test_admitted_is_one_line_and_what_was_not_checked(town: Town) -> None:
    town.policies = [policy(rule("icr.io/shop/*"))]
    first, *rest = lines(town, IMAGE)
    assert first == f"pass: Pod shop/web would be admitted by {NEWEST}"
    assert all(one.startswith(("  not checked: ", "  advice: ")) for one in rest)


def test_each_container_has_the_engines_words_below_its_rule(town: Town) -> None:
    town.policies = [policy(rule("icr.io/shop/*", simple=signed({"type": "reject"})))]
    town.images.push(IMAGE)
    told = lines(town, IMAGE)
    assert told[0] == f"refused: Pod shop/web would be denied by {NEWEST}"
    (at,) = (place for place, line in enumerate(told) if line.startswith("    decided by "))
    assert told[at + 1] == "    signature: denies"
    assert told[at + 2].startswith("    the engine says: simple: policy denied the request")
    assert not [line for line in told if line.startswith("  the engine says")]  # once is enough


def test_what_is_open_says_so_and_why(town: Town) -> None:
    town.policies = [policy(rule("icr.io/shop/*", simple=ACCEPTS))]
    told = lines(town, IMAGE, offline=True)
    assert told[0] == f"undecided: Pod shop/web: what {NEWEST} decides is open"
    assert told[told.index("    signature: not known") + 1].startswith("      admission-open: ")


def test_broken_webhook_decides_nothing(town: Town) -> None:
    town.policies = [policy(rule("*", simple=ACCEPTS))]
    (first, *_) = lines(town, f"icr.io/shop/web@sha512:{'0' * 128}")
    assert first == f"refused: Pod shop/web: {NEWEST} breaks on it"


def test_no_rule_near_or_far(town: Town) -> None:
    town.policies = [policy(rule("quay.io/else/*"))]
    assert "    no rule names it, nor anything near it" in lines(town, IMAGE)
    town.policies = [policy(rule("docker.io/library/nginx*"))]
    (near,) = (line for line in lines(town, "nginx:1") if line.startswith("    nearly: "))
    assert "'docker.io/library/nginx*'" in near


def test_name_that_no_engine_reads_is_compared_with_no_rule(town: Town) -> None:
    town.policies = [policy(rule("*"))]
    told = lines(town, "icr.io/Shop/web:1", verbose=True)
    assert any(line.endswith("invalid image name") for line in told)
    assert not [line for line in told if "no rule names it" in line]
    (hint,) = (line for line in told if line.startswith("  hint: "))
    assert "in lower case" in hint


def test_hint_is_about_what_the_rule_or_the_name_has_wrong(town: Town) -> None:
    town.policies = [policy(rule("*", simple=ACCEPTS | {"storeURL": "ftp://store.example"}))]
    assert any("storeURL" in line for line in lines(town, IMAGE) if "hint: " in line)
    town.policies = [policy(rule("*", simple=ACCEPTS))]
    (hint,) = (
        line for line in lines(town, f"{IMAGE}@sha256:{'0' * 64}") if line.startswith("  hint: ")
    )
    assert "by its tag or by its digest" in hint


def test_several_are_counted(town: Town) -> None:
    town.policies = [policy(rule("icr.io/*"))]
    both = [town.predict(pod(IMAGE)), town.predict(pod("quay.io/a/b:1"))]
    assert list(admission_lines(both, verbose=False))[-1] == "2 workloads: 1 pass, 1 refused"
