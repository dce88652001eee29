# SPDX-License-Identifier: Apache-2.0
"""Suites of expected admissions: what a test may assume, what it names, and how it fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from tests.support import CommandLine, Ended, Gpg, short_folder

pytestmark = pytest.mark.once
API = "portieris.cloud.ibm.com/v1"
IMAGE = "icr.io/team/app:1"


@pytest.fixture(scope="module")
def key() -> str:
    with short_folder() as folder:
        home = folder / "h"
        home.mkdir(mode=0o700)
        gpg = Gpg(home)
        gpg.make_key("suite")
        return gpg.public("suite", armour=True).decode()


class Suites:
    """A folder of policies, and suites held against it."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self._imgsec = CommandLine(folder)
        self._key = key

    def rules(self, *rules: dict[str, Any]) -> None:
        documents = [
            {
                **{"apiVersion": API, "kind": "ClusterImagePolicy", "metadata": {"name": "p"}},
                "spec": {"repositories": list(rules)},
            },
            {
                **{"apiVersion": "v1", "kind": "Secret", "stringData": {"key": self._key}},
                "metadata": {"name": "key", "namespace": "default"},
            },
        ]
        (self.folder / "policies.yaml").write_text(yaml.safe_dump_all(documents))

    def run(self, *tests: dict[str, Any], words: tuple[str, ...] = ("--offline",)) -> Ended:
        suite = {"version": 1, "policies": ["policies.yaml"], "tests": list(tests)}
        (self.folder / "tests.yaml").write_text(yaml.safe_dump(suite))
        return self._imgsec("admit", "--suite", "tests.yaml", *words)


@pytest.fixture
def suites(tmp_path: Path, key: str) -> Suites:
    return Suites(tmp_path, key)


def signed(**requirement: Any) -> dict[str, Any]:
    wanted = {"type": "signedBy", "keySecret": "key", **requirement}
    return {"simple": {"requirements": [wanted]}}


EXACT = signed(signedIdentity={"type": "matchExact"})
PASSES = {"image": IMAGE, "assume": {"simple": "passes"}}


def workload(kind: str = "Deployment", image: str = IMAGE) -> dict[str, Any]:
    pod = {"containers": [{"name": "c", "image": image}]}
    return {
        **{"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}},
        "spec": {"template": {"spec": pod}},
    }


def test_what_passes_is_judged_again_by_its_digest(suites: Suites) -> None:
    """A rule that names a tag: the pods of the Deployment have a digest, which none names."""
    suites.rules({"name": IMAGE, "policy": signed()})
    (suites.folder / "web.yaml").write_text(yaml.safe_dump(workload()))
    test = {"workload": "web.yaml", "assume": {"simple": "passes"}}
    suites.run({**test, "expect": "denied", "message": "no matching repositories"})
    done = suites.run({**test, "expect": "admitted"}).expect(1, "expectation-missed")
    assert "its pods are denied" in done.json["tests"][0]["reasons"][0]["text"]
    suites.rules({"name": "icr.io/team/app", "policy": signed()})
    suites.run({**test, "expect": "admitted"}).expect(0)


def test_layer_that_is_open_is_assumed_and_no_other(suites: Suites) -> None:
    suites.rules({"name": "icr.io/*", "policy": signed()})
    suites.run({**PASSES, "expect": "admitted"}).expect(0)
    suites.run({"image": IMAGE, "expect": "open"}).expect(0)
    said = {"image": IMAGE, "assume": {"simple": "denies"}, "expect": "denied"}
    suites.run({**said, "message": "no signature exists"}).expect(0)
    suites.run({**said, "message": "something else"}).expect(1, "expectation-missed")
    suites.rules({"name": "icr.io/*", "policy": signed(keySecret="missing")})
    suites.run({**PASSES, "expect": "denied", "message": '"missing" not found'}).expect(0)


def test_image_alone_has_no_pull_secrets_for_the_advisor(suites: Suites) -> None:
    suites.rules({"name": "icr.io/*", "policy": {"vulnerability": {"ICCRVA": {"enabled": True}}}})
    suites.run({"image": IMAGE, "expect": "open"}).expect(0)
    for answer, expected in (("passes", "admitted"), ("denies", "denied")):
        assume = {"advisor": answer}
        suites.run({"image": IMAGE, "assume": assume, "expect": expected}).expect(0)
    (suites.folder / "web.yaml").write_text(yaml.safe_dump(workload()))
    test = {"workload": "web.yaml", "namespace": "default", "assume": {"advisor": "passes"}}
    suites.run({**test, "expect": "open"}).expect(
        1, "expectation-missed"
    )  # a pod has those that it has


def test_rule_that_decides_is_expected_by_its_name(suites: Suites) -> None:
    suites.rules({"name": "icr.io/*"})
    suites.run({"image": IMAGE, "expect": "admitted", "rule": "icr.io/*"}).expect(0)
    done = suites.run({"image": IMAGE, "expect": "admitted", "rule": "quay.io/*"})
    done.expect(1, "expectation-missed")
    assert "is decided by" in done.json["tests"][0]["reasons"][0]["text"]
    suites.run({"image": "quay.io/a/b", "expect": "denied", "rule": ""}).expect(0)


@pytest.mark.parametrize(
    ("test", "says"),
    [
        ({"image": "", "expect": "admitted"}, "image is empty"),
        ({"image": " ", "expect": "admitted"}, "image is empty"),
        ({"workload": "", "expect": "admitted"}, "workload is empty"),
        ({"image": IMAGE, "message": "", "expect": "denied"}, "message is empty"),
        ({"image": IMAGE, "expect": ["admitted"]}, "takes admitted, denied, open"),
        ({"image": IMAGE, "expect": True}, "takes admitted, denied, open"),
        ({"image": IMAGE, "expect": "denied", "assume": {"simple": ["passes"]}}, "takes passes"),
        ({"image": IMAGE, "expect": "denied", "assume": {"resolution": "passes"}}, "resolution"),
        ({"image": IMAGE, "expect": "denied", "messsage": "x"}, "messsage"),
        ({"image": IMAGE, "workload": "x", "expect": "denied"}, "either a workload or an image"),
        ({"expect": "denied"}, "either a workload or an image"),
        ({"image": IMAGE, "expect": "denied", "engine": "1.0"}, "1.0"),
    ],
)
def test_odd_test_is_refused_with_a_sentence(
    suites: Suites, test: dict[str, Any], says: str
) -> None:
    suites.rules({"name": "icr.io/*"})
    done = suites.run(test).expect(2, "input-malformed")
    assert says in done.json["reasons"][0]["text"]


def test_test_that_cannot_be_judged_fails_and_the_others_are_run(suites: Suites) -> None:
    suites.rules({"name": "icr.io/*"})
    lost = {"name": "lost", "workload": "missing.yaml", "expect": "admitted"}
    well = {"name": "well", "image": IMAGE, "expect": "admitted"}
    report = suites.folder / "junit.xml"
    done = suites.run(lost, well, words=("--offline", "--output", f"junit={report}"))
    assert done.code not in (0, None)
    assert [one["outcome"] for one in done.json["tests"]] == ["usage", "pass"]
    cases = ElementTree.parse(report).getroot().iter("testcase")
    ended = {one.get("name"): [child.tag for child in one] for one in cases}
    assert ended["well"] == ["system-out"]  # what was not checked
    assert ended["lost"] == ["error"]


CISE = {
    **{"apiVersion": "securityenforcement.admission.cloud.ibm.com/v1beta1"},
    **{"kind": "ClusterImagePolicy", "metadata": {"name": "p"}},
    "spec": {"repositories": [{"name": "icr.io/*", "policy": {"trust": {"enabled": True}}}]},
}


def test_rule_and_message_are_those_of_the_pods_where_these_are_judged(suites: Suites) -> None:
    (suites.folder / "policies.yaml").write_text(yaml.safe_dump(CISE))
    (suites.folder / "web.yaml").write_text(yaml.safe_dump(workload()))

    def told(name: str, **more: str) -> dict[str, Any]:
        assume = {"trust": "denies"}
        expected = {"engine": "cise", "expect": "denied", "assume": assume, **more}
        return {"name": name, "workload": "web.yaml", **expected}

    right = told("right", rule="icr.io/*", message="as assumed")
    done = suites.run(right, told("wrong", rule="nonsense/rule")).expect(1, "expectation-missed")
    assert [one["outcome"] for one in done.json["tests"]] == ["pass", "refused"]


def test_registry_that_is_away_leaves_a_test_undecided(suites: Suites) -> None:
    suites.rules(
        {"name": "*", "policy": {"simple": {"requirements": [{"type": "insecureAcceptAnything"}]}}}
    )
    test = {"name": "away", "image": "127.0.0.1:1/x:1", "assume": {"simple": "passes"}}
    report = suites.folder / "junit.xml"
    words = ("--timeout", "20", "--output", f"junit={report}")
    done = suites.run({**test, "expect": "open"}, words=words).expect(3, "service-unreachable")
    assert "undecided: away" in done.stderr
    (case,) = ElementTree.parse(report).getroot().iter("testcase")
    assert [one.tag for one in case] == ["error"]


def test_namespace_that_is_given_counts_before_the_suites(suites: Suites) -> None:
    suites.rules()
    image = {"image": "a.b/c:1", "expect": "denied"}
    suite = {
        **{"version": 1, "policies": ["policies.yaml"], "namespace": "shop"},
        "tests": [
            {"name": "usual", **image, "message": 'in the "shop" namespace'},
            {"name": "own", **image, "namespace": "web", "message": 'in the "web" namespace'},
        ],
    }
    (suites.folder / "tests.yaml").write_text(yaml.safe_dump(suite))
    words = ("admit", "--suite", "tests.yaml", "--offline")
    suites._imgsec(*words).expect(0)
    done = suites._imgsec(*words, "--namespace", "other").expect(1, "expectation-missed")
    assert [one["outcome"] for one in done.json["tests"]] == ["refused", "pass"]
    assert 'in the "other" namespace' in done.json["tests"][0]["reasons"][0]["text"]


def test_suite_without_policies_is_refused(suites: Suites) -> None:
    suite = {"version": 1, "tests": [{"name": "x", "image": "a.b/c:1", "expect": "denied"}]}
    (suites.folder / "tests.yaml").write_text(yaml.safe_dump(suite))
    suites._imgsec("admit", "--suite", "tests.yaml", "--offline").expect(2, "invalid-option")


@pytest.mark.parametrize("namespace", ["Default", "default ", "a/b"])
def test_namespaces_are_names(suites: Suites, namespace: str) -> None:
    suites.rules()
    test = {"name": "x", "image": "a.b/c:1", "expect": "denied", "namespace": namespace}
    assert suites.run(test).code == 2
    words = ("--offline", "--namespace", namespace)
    assert suites.run({**test, "namespace": "shop"}, words=words).code == 2


def test_objects_that_name_images_are_told_once(suites: Suites) -> None:
    suites.rules({"name": "*"})
    engine = {
        **{"apiVersion": "x.example/v1", "kind": "Engine", "metadata": {"name": "a"}},
        "spec": {"image": IMAGE},
    }
    (suites.folder / "it.yaml").write_text(yaml.safe_dump_all([workload(), engine]))
    test = {"workload": "it.yaml", "expect": "admitted"}
    done = suites.run({"name": "one", **test}, {"name": "two", **test}).expect(0)
    (text,) = (one["text"] for one in done.json["notes"] if one["code"] == "objects-passed-over")
    assert text.startswith("no workload, and names images: Engine 'a'; ")


def test_workload_with_a_misspelt_kind_is_no_test_that_passes(suites: Suites) -> None:
    suites.rules({"name": "*"})
    odd = workload() | {"kind": "Deploymnet"}
    (suites.folder / "it.yaml").write_text(yaml.safe_dump_all([workload(), odd]))
    test = {"name": "one", "workload": "it.yaml", "expect": "admitted"}
    suites.run(test).expect(2, "workload-malformed")
