# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from imgsec.domain.identity import ClaimedName, IdentityRule
from imgsec.domain.reference import ImageReference
from tests.unit.refusals import refused

HEX = "1a" * 32
APP = "r.example/team/app"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("nginx", "docker.io/library/nginx"),
        ("nginx:1", "docker.io/library/nginx:1"),
        ("team/app:1", "docker.io/team/app:1"),
        ("docker.io/nginx:1", "docker.io/library/nginx:1"),
        ("index.docker.io/team/app:1", "docker.io/team/app:1"),
        ("localhost/app:1", "localhost/app:1"),
        ("r.example:5000/a/b/c:1", "r.example:5000/a/b/c:1"),
        (f"{APP}@sha256:{HEX}", f"{APP}@sha256:{HEX}"),
        (f"{APP}:1@sha256:{HEX}", f"{APP}:1@sha256:{HEX}"),
        ("Upper.example/app:1", "Upper.example/app:1"),
    ],
)
def test_names_are_read_as_the_consumers_of_signatures_read_them(text: str, meant: str) -> None:
    assert str(ClaimedName.parse(text)) == meant


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", f"{APP}:1\n", f"{APP}: 1", f"{APP}:", f"{APP}@", "https://r.example/app:1"),
        *(HEX, "r.example/Team/app:1", "r.example//app:1", f"{APP}@sha256:{HEX.upper()}"),
        *(
            f"{APP}@sha256:12",
            f"{APP}:{'t' * 129}",
            f"r.example/{'a' * 256}:1",
            "../app:1",
            "app:é",
        ),
    ],
)
def test_what_is_no_reference_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"id|reference"):
        ClaimedName.parse(text)


def rule(kind: str, **members: str) -> IdentityRule:
    return IdentityRule.parse({"type": kind, **members})


TAGGED = f"{APP}:1"
BY_DIGEST = f"{APP}@sha256:{HEX}"
REMAP = {"prefix": "r.example", "signedPrefix": "origin.example/deep"}


@pytest.mark.parametrize(
    ("wanted", "pulled", "claimed", "accepted"),
    [
        (rule("matchExact"), TAGGED, TAGGED, True),
        (rule("matchExact"), TAGGED, f"{APP}:2", False),
        (rule("matchExact"), TAGGED, APP, False),
        (rule("matchExact"), TAGGED, f"{TAGGED}@sha256:{HEX}", False),
        (rule("matchExact"), BY_DIGEST, BY_DIGEST, True),
        (rule("matchExact"), BY_DIGEST, TAGGED, False),
        (rule("matchRepoDigestOrExact"), TAGGED, TAGGED, True),
        (rule("matchRepoDigestOrExact"), TAGGED, BY_DIGEST, False),
        (rule("matchRepoDigestOrExact"), BY_DIGEST, TAGGED, True),
        (rule("matchRepoDigestOrExact"), BY_DIGEST, f"{APP}@sha256:{'2b' * 32}", True),
        (rule("matchRepoDigestOrExact"), BY_DIGEST, APP, False),
        (rule("matchRepoDigestOrExact"), BY_DIGEST, "r.example/team/other:1", False),
        (rule("matchRepository"), TAGGED, f"{APP}:2", True),
        (rule("matchRepository"), TAGGED, APP, True),
        (rule("matchRepository"), TAGGED, f"{APP}-two:1", False),
        (rule("exactReference", dockerReference="o.example/a:7"), TAGGED, "o.example/a:7", True),
        (rule("exactReference", dockerReference="o.example/a:7"), TAGGED, "o.example/a:8", False),
        (rule("exactReference", dockerReference="o.example/a:7"), TAGGED, TAGGED, False),
        (rule("exactRepository", dockerRepository="o.example/a"), TAGGED, "o.example/a:8", True),
        (rule("exactRepository", dockerRepository="o.example/a"), TAGGED, "o.example/a", True),
        (rule("exactRepository", dockerRepository="o.example/a"), TAGGED, "o.example/a/b:8", False),
        (rule("remapIdentity", **REMAP), TAGGED, "origin.example/deep/team/app:1", True),
        (rule("remapIdentity", **REMAP), TAGGED, TAGGED, False),
        (rule("remapIdentity", **REMAP), BY_DIGEST, "origin.example/deep/team/app:9", True),
        (rule("remapIdentity", **REMAP), "r.example:5000/a:1", "r.example:5000/a:1", True),
        (rule("remapIdentity", **REMAP), "r.examples/a:1", "origin.example/deep/a:1", False),
        (
            rule("remapIdentity", prefix=APP, signedPrefix="o.example/a"),
            TAGGED,
            "o.example/a:1",
            True,
        ),
        (rule("matchExact"), "docker.io/library/nginx:1", "nginx:1", True),
        (rule("matchExact"), TAGGED, "no reference at all", False),
    ],
)
def test_rule_accepts_what_containers_image_accepts(
    wanted: IdentityRule, pulled: str, claimed: str, accepted: bool
) -> None:
    assert wanted.accepts(ImageReference.parse(pulled), claimed) is accepted


def test_tag_is_what_is_pulled_when_a_digest_stands_beside_it() -> None:
    both = ImageReference.parse(f"{TAGGED}@sha256:{HEX}")
    assert IdentityRule().accepts(both, TAGGED)
    assert not IdentityRule().accepts(both, f"{APP}:2")


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"type": "matchAnything"},
        {"type": ["matchExact"]},
        {"type": "matchExact", "dockerReference": TAGGED},
        {"type": "exactReference"},
        {"type": "exactReference", "dockerReference": APP},
        {"type": "exactReference", "dockerReference": 5},
        {"type": "exactReference", "dockerReference": "NO"},
        {"type": "exactRepository", "dockerRepository": TAGGED},
        {"type": "remapIdentity", "prefix": "r.example"},
        {"type": "remapIdentity", "prefix": "r.example/", "signedPrefix": "x"},
        {"type": "remapIdentity", "prefix": "", "signedPrefix": ""},
    ],
)
def test_rule_that_means_nothing_is_refused(document: dict[str, Any]) -> None:
    with refused("input-malformed"):
        IdentityRule.parse(document)


def test_name_that_grows_by_its_library_is_a_name_all_the_same() -> None:
    long = ImageReference.parse(f"docker.io/{'a' * 240}:1")
    assert ClaimedName.of(long).name == f"docker.io/library/{'a' * 240}"
    assert not IdentityRule().accepts(long, "docker.io/library/app:1")
