# SPDX-License-Identifier: Apache-2.0
"""Policies of a cluster compared with others, whether an engine is there or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kubernetes.conftest import Cluster
from tests.kubernetes.test_lockout import Site, codes, notes

POLICY = """\
apiVersion: portieris.cloud.ibm.com/v1
kind: ClusterImagePolicy
metadata: {name: imgsec-signed-images}
spec: {repositories: [{name: '*.icr.io/team/*'}]}
"""
STRANGER = "evil.example/x.icr.io/team/app:1"


@pytest.fixture
def site(cluster: Cluster, tmp_path: Path) -> Site:
    made = Site(cluster, tmp_path)
    made.publish("--repository", "r.example/team/*")
    return made


@pytest.fixture
def policies(tmp_path: Path) -> str:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return str(path)


def test_a_cluster_without_an_engine_is_compared_as_the_newest_would(
    site: Site, policies: str
) -> None:
    code, report = site.run("policy", "diff", "live", policies, "--image", STRANGER)
    assert code == 0
    assert "imageChanges" not in report
    assert "engine-assumed" in notes(report)
    code, report = site.run("policy", "diff", "live", policies, "--exit-code")
    assert (code, codes(report)) == (1, ["policy-differs"])
    assert "engine-assumed" in notes(report)


def test_a_cluster_without_an_engine_is_compared_as_the_named_one_would(
    site: Site, policies: str
) -> None:
    words = ("--image", STRANGER, "--engine", "0.14.1")
    code, report = site.run("policy", "diff", "live", policies, *words)
    assert code == 0
    assert [one["direction"] for one in report["imageChanges"]] == ["looser"]


@pytest.mark.parametrize("is_first", [True, False])
def test_the_engine_of_the_cluster_counts_on_whichever_side_it_is(
    site: Site, policies: str, *, is_first: bool
) -> None:
    site.installs("0.14.1")
    sides = ("live", policies) if is_first else (policies, "live")
    _, report = site.run("policy", "diff", *sides, "--image", STRANGER)
    assert len(report["imageChanges"]) == 1
    assert "engine-assumed" not in notes(report)
    site.installs("0.14.2")
    _, report = site.run("policy", "diff", *sides, "--image", STRANGER)
    assert "imageChanges" not in report


def test_an_engine_that_nobody_knows_has_to_be_named(site: Site, policies: str) -> None:
    site.installs("0.99.0")
    code, report = site.run("policy", "diff", "live", policies)
    assert (code, codes(report)) == (2, ["engine-unknown"])
    assert site.run("policy", "diff", "live", policies, "--engine", "0.14.3")[0] == 0
