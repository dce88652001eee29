# SPDX-License-Identifier: Apache-2.0
"""An intent as Podman, CRI-O and skopeo read it, by the reader that imgsec has of their files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imgsec.domain.identity import IdentityKind, IdentityRule
from imgsec.domain.intent_rendering import Target
from imgsec.domain.reference import ImageReference
from imgsec.domain.trust_policy import Blanket, SignedBy, TrustPolicy
from tests.unit.domain.intents import an_intent, codes, note_codes, rendered, signed, unchecked

BLOCK = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmI0=\n=aaaa\n-----END PGP PUBLIC KEY BLOCK-----\n"


def read(*rules: Any, **rest: Any) -> TrustPolicy:
    found = rendered(an_intent(*rules, **rest), target=Target.CONTAINERS)
    assert codes(found) == set(), found.reasons
    return TrustPolicy.parse(json.dumps(found.files[0].content).encode())


def test_policy_comes_back_as_it_was_meant() -> None:
    identity = {"type": "matchExactRepository", "dockerRepository": "icr.io/orig/app"}
    policy = read(
        signed("us.icr.io/team/*"),
        {"exactly": ["us.icr.io/team/base:1"], "unchecked": {"reason": "r"}},
        {
            "images": ["a.io/mirror/app"],
            "signedBy": [{"key": "release", "identity": identity}, "security"],
        },
        unchecked("*.example.com/*"),
    )
    release = SignedBy(("/etc/pki/release.asc",), None, IdentityRule())
    exact = IdentityRule(IdentityKind.EXACT_REPOSITORY, "icr.io/orig/app")
    wanted: dict[str, Any] = {
        "us.icr.io/team/app:1": (release,),
        "us.icr.io/team/a/b@sha256:" + "a" * 64: (release,),
        "us.icr.io/team/base:1": (Blanket.ACCEPT,),
        "a.io/mirror/app:2": (
            SignedBy(release.paths, None, exact),
            SignedBy(("/etc/pki/security.asc",), None, IdentityRule()),
        ),
        "r.example.com/x:1": (Blanket.ACCEPT,),
        "example.com/x:1": (Blanket.REJECT,),
        "us.icr.io/other/app:1": (Blanket.REJECT,),
    }
    for image, requirements in wanted.items():
        assert policy.requirements_for(ImageReference.parse(image)) == requirements, image


def test_names_of_docker_hub_are_as_they_are_looked_for() -> None:
    policy = read(signed("docker.io/nginx"), unchecked("docker.io/other/*"))
    assert set(policy.scopes) == {"docker.io/library/nginx", "docker.io/other"}


def test_a_key_that_is_in_the_file_is_written_in_binary() -> None:
    policy = read(signed("a.io/b/*"), keys={"release": {"publicKey": BLOCK}})
    (requirement,) = policy.scopes["a.io/b"]
    assert isinstance(requirement, SignedBy)
    assert requirement.data == b"\x98\x8d"


def test_stores_stand_in_registries_d_by_both_names() -> None:
    rule = signed("a.io/b/*", store={"url": "https://s.example/x"})
    found = rendered(an_intent(rule), target=Target.CONTAINERS)
    assert found.files[1].name == "registries.d/imgsec.yaml"
    store = {"lookaside": "https://s.example/x", "sigstore": "https://s.example/x"}
    assert found.files[1].content == {"docker": {"a.io/b": store}}


@pytest.mark.parametrize(
    "rule",
    [
        {"images": ["us.icr.io/b/*"], "advisor": True},
        {"images": ["docker.io/b/*"], "trust": True},
        signed("a.io/b/*", store={"url": "https://s.example", "secret": "s"}),
        signed("*.icr.io/team/*"),
        signed("a.io/*/app"),
        signed("a.io/b:1.*"),
        signed("a.io:*/b/*"),
        {"wide": ["nginx"], "unchecked": {"reason": "r"}},
    ],
)
def test_what_no_scope_says_is_refused(rule: Any) -> None:
    assert codes(rendered(an_intent(rule), target=Target.CONTAINERS)) == {"intent-inexpressible"}


def test_keys_in_secrets_and_namespaces_are_nothing_for_a_machine() -> None:
    keys = {"release": {"secret": "a/b"}}
    found = rendered(an_intent(signed("a.io/b/*"), keys=keys), target=Target.CONTAINERS)
    assert codes(found) == {"intent-inexpressible"}
    own = an_intent(signed("a.io/b/*"), namespaces=["a"])
    assert codes(rendered(own, target=Target.CONTAINERS)) == {"intent-inexpressible"}


def test_a_scope_has_what_lies_below_it() -> None:
    alone = rendered(an_intent(unchecked("a.io/b/c")), target=Target.CONTAINERS)
    assert (codes(alone), "scope-is-wider" in note_codes(alone)) == (set(), True)
    hole = an_intent(signed("a.io/b/*"), unchecked("a.io/b/c"))
    assert codes(rendered(hole, target=Target.CONTAINERS)) == {"intent-misread"}
    one = an_intent(unchecked("a.io/b/c"), signed("a.io/b/c/*"))
    assert "intent-contradicts" in codes(rendered(one, target=Target.CONTAINERS))
