# SPDX-License-Identifier: Apache-2.0
"""Which engine is there, whether it is asked at all, and that judging nothing is no answer."""

from __future__ import annotations

from typing import Any

import pytest

from imgsec.domain.engines import CISE, ENGINES, NEWEST
from imgsec.domain.webhook import Webhook
from imgsec.errors import ImgsecError
from imgsec.operations.admit import admit_all, find_webhook, installed_engine, read_pools
from imgsec.reasons import CLUSTER_UNREACHABLE, PERMISSION_DENIED, Outcome
from tests.unit.operations.admission_town import CISE_API, Town, policy, rule
from tests.unit.refusals import refused


class Deployments:
    """The Deployments of each namespace, by the images of their containers."""

    def __init__(self, **images: list[str]) -> None:
        self._images = images

    def list_deployments(self, namespace: str) -> tuple[dict[str, Any], ...]:
        return tuple(
            {"spec": {"template": {"spec": {"containers": [{"image": image}]}}}}
            for image in self._images.get(namespace, [])
        )


def town(**more: Any) -> Town:
    def none() -> Any:
        raise AssertionError("no key is read")

    return Town(none, **more)


def hook(**service: str) -> dict[str, Any]:
    config = {"service": service} if service else {"url": "https://elsewhere"}
    return {
        "metadata": {"name": "image-admission-config"},
        "webhooks": [{"name": "x", "clientConfig": config}],
    }


@pytest.mark.parametrize("engine", [one for one in ENGINES if one is not CISE], ids=str)
@pytest.mark.parametrize("before", ["icr.io/portieris/", "registry.example:5000/a/b/", ""])
def test_engine_is_the_one_that_runs(engine: Any, before: str) -> None:
    cluster = Deployments(portieris=["nginx:1", f"{before}portieris:v{engine.name}"])
    assert installed_engine(None, cluster) is engine


def test_engine_is_known_by_its_tag_beside_a_digest() -> None:
    cluster = Deployments(portieris=[f"icr.io/portieris/portieris:v0.14.1@sha256:{'0' * 64}"])
    assert installed_engine(None, cluster).name == "0.14.1"
    with refused("engine-unknown"):
        installed_engine(None, Deployments(portieris=[f"portieris@sha256:{'0' * 64}"]))


@pytest.mark.parametrize(
    ("trouble", "code"),
    [(PERMISSION_DENIED, "engine-unknown"), (CLUSTER_UNREACHABLE, "cluster-unreachable")],
)
def test_deployments_that_may_not_be_listed_tell_no_engine(trouble: Any, code: str) -> None:
    class Closed:
        def list_deployments(self, namespace: str) -> tuple[dict[str, Any], ...]:
            raise ImgsecError(trouble(f"no list in {namespace}"))

    with refused(code) as why:
        installed_engine(None, Closed())
    assert "no list in portieris" in why[0].text


def test_engine_runs_where_the_webhook_leads() -> None:
    cluster = Deployments(guard=["portieris:0.14.2"], portieris=["portieris:0.14.3"])
    webhook = Webhook.find([hook(namespace="guard", name="svc")])
    assert installed_engine(webhook, cluster).name == "0.14.2"
    assert installed_engine(Webhook.find([hook()]), cluster) is NEWEST


@pytest.mark.parametrize(
    ("image", "nearest"),
    [("v0.15.1", "0.14.3"), ("0.14.0", "0.13.38"), ("0.10.0", "0.13.38"), ("v1.0.0", "0.14.3")],
)
def test_unknown_version_is_refused_and_the_nearest_named(image: str, nearest: str) -> None:
    with pytest.raises(ImgsecError) as caught:
        installed_engine(None, Deployments(portieris=[f"portieris:{image}"]))
    assert caught.value.reason.code == "engine-unknown"
    assert f"--engine {nearest}" in caught.value.reason.hint


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (["portieris:0.13.38", "portieris:0.14.3"], "0.13.38, 0.14.3"),
        (["portieris:0.14.3", "mine/portieris:v0.13.38", "portieris:0.14.1"], "0.13.38, 0.14.1"),
        (["portieris:0.99.0", "portieris:0.14.3"], "0.14.3, 0.99.0"),
        (["portieris:0.14.3", "portieris:latest"], "0.14.3, that of 'portieris:latest'"),
        (["portieris@sha256:00", "portieris:0.14.3"], "0.14.3, that of 'portieris@sha256:00'"),
    ],
)
def test_which_of_several_versions_answers_is_not_guessed(images: list[str], told: str) -> None:
    for order in (images, images[::-1]):
        with refused("engine-ambiguous") as why:
            installed_engine(None, Deployments(portieris=order))
        assert why[0].outcome is Outcome.UNDECIDED
        assert told in why[0].text
        assert "--engine" in why[0].hint


def test_one_version_may_run_several_times() -> None:
    cluster = Deployments(portieris=["portieris:0.14.2", "a/portieris:v0.14.2", "other:0.14.1"])
    assert installed_engine(None, cluster).name == "0.14.2"


def test_deployment_without_replicas_does_not_run() -> None:
    class Idle(Deployments):
        def list_deployments(self, namespace: str) -> tuple[dict[str, Any], ...]:
            old, *others = super().list_deployments(namespace)
            old["spec"]["replicas"] = 0
            return old, *others

    both = Idle(portieris=["portieris:0.13.38", "portieris:0.14.3"])
    assert installed_engine(None, both).name == "0.14.3"
    with refused("engine-unknown"):
        installed_engine(None, Idle(portieris=["portieris:0.14.3"]))


@pytest.mark.parametrize(
    "images", [[], ["portieris"], ["portieris:latest"], ["notportieris:v0.14.3"]]
)
def test_version_that_cannot_be_told_is_asked_for(images: list[str]) -> None:
    with pytest.raises(ImgsecError) as caught:
        installed_engine(None, Deployments(portieris=images))
    assert caught.value.reason.code == "engine-unknown"
    assert "--engine" in caught.value.reason.hint


def test_without_a_webhook_nothing_is_enforced() -> None:
    assert find_webhook(town()) is None
    other = {"metadata": {"name": "other"}, "webhooks": [{"name": "other"}]}
    for webhooks in ([], [other]):
        with refused("not-enforced"):
            find_webhook(town(webhooks=webhooks))
    assert find_webhook(town(webhooks=[other, hook()])) is not None


@pytest.mark.parametrize(
    "odd",
    [
        {"webhooks": "x"},
        {"webhooks": [{"name": "x", "objectSelector": {"matchFields": {}}}]},
        {"webhooks": [{"name": "x"}, {"name": "y"}]},
    ],
)
def test_registration_that_is_not_understood_leaves_open_what_is_sent(odd: dict[str, Any]) -> None:
    with refused("admission-open") as why:
        find_webhook(town(webhooks=[{"metadata": {"name": "image-admission-config"}, **odd}]))
    assert why[0].outcome is Outcome.UNDECIDED
    assert "webhooks" in why[0].text


def test_policies_of_the_other_engine_are_refused() -> None:
    cluster = town(policies=[policy(rule("*"), api=CISE_API)])
    with refused("policy-foreign"):
        read_pools(cluster, NEWEST)
    assert read_pools(cluster, CISE).cluster.rules != ()


def test_judging_nothing_is_no_answer() -> None:
    with refused("nothing-checked"):
        admit_all([], town().predictor())
