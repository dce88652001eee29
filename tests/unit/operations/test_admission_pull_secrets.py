# SPDX-License-Identifier: Apache-2.0
"""Which pull secrets the engine reads, and in whose place others stand."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from imgsec.domain import engine_texts as texts
from imgsec.domain.keys import SecretBytes
from imgsec.domain.pull_secrets import PullCredential
from imgsec.errors import ImgsecError
from tests.support import short_folder
from tests.unit.operations.admission_town import (
    ACCEPTS,
    NAMESPACE,
    REPOSITORY,
    Town,
    deployment,
    is_denied,
    open_town,
    pod,
    policy,
    rule,
)


@pytest.fixture
def town() -> Iterator[Town]:
    with short_folder() as folder, open_town(folder) as opened:
        yield opened


LOGIN = {"imagePullSecrets": [{"name": "regcred"}]}
TAKEN = b"user:right"


def wants_login(town: Town, repository: str = REPOSITORY) -> str:
    """A private image, which may run once it can be read; gives its name."""
    town.policies = [policy(rule("*", simple=ACCEPTS))]
    town.images.push(f"{repository}:1")
    town.images.needs[repository] = TAKEN
    return f"{repository}:1"


def config(**entry: Any) -> str:
    return json.dumps({"auths": {"us.icr.io": entry}})


AUTH = base64.b64encode(TAKEN).decode()
OLDER = json.dumps({"us.icr.io": {"auth": AUTH}})


@pytest.mark.parametrize(
    ("data", "is_read"),
    [
        ({"_dockerconfigjson": config(auth=AUTH)}, True),
        ({"_dockerconfigjson": config(auth=AUTH.rstrip("="))}, True),
        ({"_dockerconfigjson": config(auth=f"{AUTH[:4]}\n{AUTH[4:]}")}, True),
        ({"_dockerconfigjson": config(username="user", password="right")}, True),
        ({"_dockerconfigjson": config(username="user", password="x", auth=AUTH)}, True),
        ({"_dockerconfigjson": config(username="user", password="right", auth="!!")}, True),
        ({"_dockerconfigjson": config(username="user", password="right", auth="bm8=")}, True),
        ({"_dockercfg": OLDER}, True),
        ({"_dockerconfigjson": config(auth=AUTH), "_dockercfg": "x"}, True),
        (
            {"_dockerconfigjson": "x", "_dockercfg": json.dumps({"us.icr.io": {"auth": AUTH}})},
            False,
        ),
        ({"_dockerconfigjson": OLDER}, False),
        ({"_dockerconfigjson": config(auth=AUTH, username=1)}, False),
        (
            {"_dockerconfigjson": json.dumps({"auths": {"us.icr.io": {"auth": AUTH}, "x": "y"}})},
            False,
        ),
        ({"_dockerconfigjson": "null"}, False),
        ({"_dockerconfigjson": '{"auths": []}'}, False),
        ({"_dockerconfigjson": json.dumps({"auths": {"us.icr.io": None}})}, False),
        ({"password": "right"}, False),
    ],
)
def test_pull_secret_is_read_as_the_engine_reads_it(
    town: Town, data: dict[str, str], is_read: bool
) -> None:
    name = wants_login(town)
    town.secret("regcred", **data)
    assert is_denied(town.predict(pod(name, **LOGIN))) is not is_read


@pytest.mark.parametrize(
    ("key", "image"),
    [
        ("us.icr.io:443", REPOSITORY),
        ("https://us.icr.io", REPOSITORY),
        ("us.icr.io/team", REPOSITORY),
        ("https://index.docker.io/v1/", "docker.io/library/nginx"),
        ("reg.example:5000", "reg.example:5000/app"),
    ],
)
def test_keys_that_are_no_bare_host_are_not_found(town: Town, key: str, image: str) -> None:
    name = wants_login(town, image)
    town.pull_secret("regcred", key, "user:right")
    admission = town.predict(pod(name, **LOGIN))
    assert admission.messages == (texts.failed("simple", texts.no_pull_secret(name, 0)),)
    (note,) = [note for note in admission.hygiene if note.code == "pull-secret-unusable"]
    assert key in note.text or image.startswith("docker.io")
    town.pull_secret("regcred", image.partition("/")[0].partition(":")[0], "user:right")
    assert town.predict(pod(name, **LOGIN)).verdict.passed


def test_key_of_a_pull_secret_is_shown_without_a_login_in_it(town: Town) -> None:
    name = wants_login(town)
    town.pull_secret("regcred", "https://user:canary@us.icr.io/v1?token=canary", "user:right")
    hygiene = town.predict(pod(name, **LOGIN)).hygiene
    (note,) = [note for note in hygiene if note.code == "pull-secret-unusable"]
    assert "us.icr.io" in note.text
    assert "canary" not in note.text


def test_each_pull_secret_is_tried_in_turn(town: Town) -> None:
    name = wants_login(town)
    town.pull_secret("wrong", "us.icr.io", "user:wrong")
    town.pull_secret("right", "us.icr.io", "user:right")
    names = [{"name": one} for one in ("missing", "wrong", "right")]
    assert town.predict(pod(name, imagePullSecrets=names)).verdict.passed
    said = town.predict(pod(name, imagePullSecrets=names[:2])).messages
    assert said == (f"simple: reading manifest 1 in {REPOSITORY}: unauthorized",)


@pytest.mark.parametrize("make", [pod, deployment])
def test_service_account_stands_in_where_the_pod_names_no_secret(town: Town, make: Any) -> None:
    name = wants_login(town)
    town.pull_secret("regcred", "us.icr.io", "user:right")
    town.account("default", "regcred")
    assert town.predict(make(name)).verdict.passed
    other = {"serviceAccountName": "builder", "imagePullSecrets": []}
    document = make(name)
    inner = document["spec"] if make is pod else document["spec"]["template"]["spec"]
    inner |= other
    assert is_denied(town.predict(document))
    town.account("builder", "regcred")
    assert town.predict(document).verdict.passed
    inner |= {"imagePullSecrets": [{"name": "absent"}]}
    assert is_denied(town.predict(document))


def test_pod_of_a_request_has_its_secrets_already(town: Town) -> None:
    name = wants_login(town)
    town.pull_secret("regcred", "us.icr.io", "user:right")
    town.account("default", "regcred")
    assert is_denied(town.predict(pod(name), request=("v1", "pods")))
    asked = ("apps/v1", "deployments")
    assert town.predict(deployment(name), request=asked).verdict.passed


@pytest.mark.parametrize("listed", [5, "regcred", {"name": "regcred"}])
def test_odd_service_account_is_an_error_and_no_crash(town: Town, listed: Any) -> None:
    name = wants_login(town)
    town.objects["ServiceAccount", NAMESPACE, "default"] = {"imagePullSecrets": listed}
    with pytest.raises(ImgsecError):
        town.predict(pod(name))


def test_pull_secret_of_another_namespace_is_not_found(town: Town) -> None:
    name = wants_login(town)
    town.pull_secret("regcred", "us.icr.io", "user:right", namespace="default")
    assert is_denied(town.predict(pod(name, **LOGIN)))


def test_assumed_credential_stands_in(town: Town) -> None:
    name = wants_login(town)
    admission = town.predict(
        pod(name), assume=lambda _: PullCredential("own", "us.icr.io", SecretBytes(TAKEN))
    )
    assert admission.verdict.passed


def test_assumed_credential_does_not_mend_a_secret_that_was_given(town: Town) -> None:
    name = wants_login(town)

    def assume(_: object) -> PullCredential:
        return PullCredential("own", "us.icr.io", SecretBytes(TAKEN))

    absent = pod(name, **LOGIN)
    assert town.predict(absent, assume=assume).verdict.passed
    town.pull_secret("regcred", "us.icr.io:443", "user:right")
    assert is_denied(town.predict(absent, assume=assume))
    town.account("default")
    assert is_denied(town.predict(pod(name), assume=assume))
