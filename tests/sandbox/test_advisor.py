# SPDX-License-Identifier: Apache-2.0
"""Vulnerability Advisor v4 and the image listing: scenarios over polls, exemptions, refusals."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from imgsec.sandbox.lifecycle import Sandbox

from .conftest import OCI_MANIFEST, Client, Tools, access_log, tools_for

pytestmark = pytest.mark.once

VA = "/va/api/v4"
FIRST, SECOND = "CVE-2026-90001", "CVE-2026-90002"
NO_SUCH = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def pushed(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Images under names that the default scenario knows; gives their digests."""
    from .conftest import layout as make_layout

    make = make_layout.__wrapped__(tmp_path_factory.mktemp("layouts"))
    names = ["team/app", "team/vulnerable", "team/slow", "team/late", "team/unsupported"]
    names += ["team/strange", "team/endless", "other/vulnerable"]
    with tools_for(sandbox) as tools:
        yield {name: tools.digest(tools.push(make(), f"{name}:1")) for name in names}


@pytest.fixture
def clean(client: Client) -> Iterator[None]:
    yield
    client.va("POST", f"{VA}/exemptions/deleteAll")


@pytest.fixture
def scenario(sandbox: Sandbox) -> Iterator[Callable[[str], None]]:
    """Replaces the scenario for one test."""
    before = sandbox.folder.scenario.read_bytes()
    yield lambda text: sandbox.folder.write(sandbox.folder.scenario, text)
    sandbox.folder.write(sandbox.folder.scenario, before)


def report(client: Client, name: str, **options: Any) -> Any:
    """By the encoded form, as IBM's clients ask."""
    full = quote(f"{client.sandbox.registry}/{name}", safe="")
    return client.va("GET", f"{VA}/report/image/{full}", **options)


def summary(client: Client, name: str) -> Any:
    full = quote(f"{client.sandbox.registry}/{name}", safe="")
    return client.va("GET", f"{VA}/report/image/status/{full}").json()


def test_a_report_has_every_member(client: Client, pushed: dict[str, str]) -> None:
    value = report(client, "team/vulnerable:1").json()
    assert set(value) == {
        *("id", "status", "scan_time", "os_distribution"),
        *("vulnerabilities", "configuration_issues"),
    }
    assert value["status"] == "FAIL"
    assert [item["cve_id"] for item in value["vulnerabilities"]] == [FIRST, SECOND]
    package = value["vulnerabilities"][0]["security_notices"][0]["vulnerable_packages"][0]
    assert package["corrective_action"].startswith("Upgrade libexpat1")
    assert type(value["scan_time"]) is int


def test_all_spellings_of_an_image_are_one(client: Client, pushed: dict[str, str]) -> None:
    port = client.sandbox.identity.ports["registry"]
    digest = pushed["team/vulnerable"]
    wanted = report(client, "team/vulnerable:1").json() | {"id": None}
    for name in (
        f"{client.sandbox.registry}/team/vulnerable:1",
        f"localhost:{port}/team/vulnerable:1",
        "team/vulnerable:1",
        f"{client.sandbox.registry}/team/vulnerable@{digest}",
        f"{client.sandbox.registry}/team/vulnerable:1@{digest}",
    ):
        for path in (name, quote(name, safe="")):
            found = client.va("GET", f"{VA}/report/image/{path}")
            assert found.json() | {"id": None} == wanted, path


def polls(client: Client, name: str, count: int) -> list[str | int]:
    found: list[str | int] = []
    for number in range(count):
        kind = "report/image/status" if number % 2 else "report/image"
        answer = client.va("GET", f"{VA}/{kind}/{client.sandbox.registry}/{name}")
        found.append(answer.json()["status"] if answer.ok else answer.status_code)
    return found


def test_statuses_follow_the_scenario(client: Client, pushed: dict[str, str]) -> None:
    assert polls(client, "team/app:1", 2) == ["OK", "OK"]
    assert polls(client, "team/slow:1", 4) == ["UNSCANNED", "INCOMPLETE", "OK", "OK"]
    assert polls(client, "team/late:1", 4) == [404, 404, "OK", "OK"]
    assert polls(client, "team/unsupported:1", 1) == ["UNSUPPORTED"]
    assert polls(client, "team/strange:1", 1) == ["QUARANTINED"]
    assert polls(client, "team/endless:1", 3) == ["INCOMPLETE"] * 3


def test_unassessed_reports_are_empty(client: Client, pushed: dict[str, str]) -> None:
    value = report(client, "team/unsupported:1").json()
    assert (value["os_distribution"], value["vulnerabilities"]) == ({}, [])


def test_unknown_images_have_no_report(client: Client, pushed: dict[str, str]) -> None:
    for name in ("team/app:2", f"team/app@{NO_SUCH}", "team/nothing:1"):
        refused = report(client, name)
        assert refused.status_code == 404
        assert set(refused.json()) == {"code", "message", "request-id"}
    foreign = client.va("GET", f"{VA}/report/image/us.icr.io/team/app:1")
    assert foreign.status_code == 404
    for name in ("TEAM/app:1", "team/app:", "team//app", "team/app@sha256:12", "-x"):
        assert report(client, name).status_code == 400, name


def test_a_changed_scenario_holds_at_once(
    client: Client, pushed: dict[str, str], scenario: Callable[[str], None]
) -> None:
    scenario(f"""
version: 1
images:
  - match: {{digest: "{pushed["team/app"]}"}}
    steps: [UNSCANNED, FAIL]
    os_distribution: {{distribution_id: alpine, version_id: "3.20"}}
    vulnerabilities:
      - cve_id: CVE-2026-77777
        security_notices: [{{notice_id: A-1}}, {{notice_id: A-2}}]
  - match: {{repository: "ghost/*", tag: "v?"}}
    assume_pushed: true
    steps: [OK]
""")
    assert polls(client, "team/app:1", 2) == ["UNSCANNED", "FAIL"]
    assert report(client, "team/app:1").json()["os_distribution"]["distribution_id"] == "alpine"
    assert polls(client, "team/vulnerable:1", 1) == ["OK"]
    assert polls(client, "ghost/x:v1", 1) == ["OK"]
    assert polls(client, "ghost/x:w1", 1) == [404]
    scenario("version: 1\nimages: [{nonsense: 1}]")  # ignored until mended
    assert polls(client, "team/app:1", 1) == ["FAIL"]


# --- Exemptions -------------------------------------------------------------------------------


@pytest.mark.usefixtures("clean")
def test_exempting_everything_turns_fail_into_warn(client: Client, pushed: dict[str, str]) -> None:
    name = "team/vulnerable:1"
    before = summary(client, name)
    assert (before["status"], before["issue_count"], before["exempt_issue_count"]) == ("FAIL", 2, 0)
    added = client.va("POST", f"{VA}/exempt/image/issue/cve/{FIRST}")
    assert added.status_code == 201
    assert added.json()["scope"] == {"scope_type": "account"}
    half = summary(client, name)
    assert (half["status"], half["issue_count"], half["exempt_issue_count"]) == ("FAIL", 1, 1)
    client.va("POST", f"{VA}/exempt/image/team%2Fvulnerable/issue/sn/DSA-9002-1")
    after = summary(client, name)
    assert (after["status"], after["issue_count"], after["exempt_issue_count"]) == ("WARN", 0, 2)
    one, two = report(client, name).json()["vulnerabilities"]
    assert (one["cve_exempt"], one["exempt_status"]) == (True, "exempt")
    assert (two["cve_exempt"], two["exempt_status"]) == (False, "exempt")
    assert two["exempt_security_notice_count"] == two["total_security_notice_count"] == 1
    assert two["security_notices"][0]["notice_exempt"] is True
    elsewhere = summary(client, "other/vulnerable:1")
    assert (elsewhere["status"], elsewhere["issue_count"]) == ("FAIL", 1)
    client.va("DELETE", f"{VA}/exempt/image/issue/cve/{FIRST}")
    assert summary(client, name)["status"] == "FAIL"


@pytest.mark.usefixtures("clean")
def test_part_of_the_notices_is_partial(
    client: Client, pushed: dict[str, str], scenario: Callable[[str], None]
) -> None:
    scenario(
        "version: 1\nimages: [{vulnerabilities: [{cve_id: CVE-2026-1234, security_notices: "
        "[{notice_id: A-1}, {notice_id: A-2}]}]}]"
    )
    client.va("POST", f"{VA}/exempt/image/team/issue/sn/A-1")
    (finding,) = report(client, "team/app:1").json()["vulnerabilities"]
    assert finding["exempt_status"] == "partial"
    assert (finding["security_notice_count"], finding["exempt_security_notice_count"]) == (1, 1)
    assert report(client, "team/app:1").json()["status"] == "FAIL"


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize(
    ("resource", "scope"),
    [
        ("team", {"scope_type": "namespace", "namespace": "team"}),
        ("team/vulnerable", {"scope_type": "repository", "repository": "vulnerable"}),
        ("team/vulnerable:1", {"scope_type": "image", "tag": "1"}),
        ("{registry}/team/vulnerable:1", {"scope_type": "image", "tag": "1"}),
        ("team/vulnerable@{digest}", {"scope_type": "image", "tag": "{digest}"}),
    ],
)
def test_scopes(
    client: Client, pushed: dict[str, str], resource: str, scope: dict[str, str]
) -> None:
    digest = pushed["team/vulnerable"]
    known = {"registry": client.sandbox.registry, "digest": digest}
    name = resource.format(**known)
    for spelling in (name, quote(name, safe="")):
        path = f"{VA}/exempt/image/{spelling}/issue/cve/{FIRST}"
        made = client.va("POST", path)
        assert made.status_code == 201
        wanted = {key: value.format(**known) for key, value in scope.items()}
        assert made.json()["scope"].items() >= wanted.items()
        assert client.va("GET", path).json() == made.json()
        assert client.va("GET", f"{VA}/exempt/image/{spelling}").json() == [made.json()]
    assert client.va("GET", f"{VA}/exemptions/account").json() == [made.json()]  # twice is once
    for asked in ("team/vulnerable:1", f"team/vulnerable@{digest}"):
        assert summary(client, asked)["exempt_issue_count"] == 1
    assert summary(client, "other/vulnerable:1")["exempt_issue_count"] == 0
    gone = client.va("DELETE", path)
    assert (gone.status_code, gone.content) == (200, b"")
    assert client.va("DELETE", path).status_code == 404
    assert client.va("GET", path).status_code == 404


@pytest.mark.usefixtures("clean")
def test_listings_hold_wider_scopes_only(client: Client) -> None:
    for resource in ("", "team/", "team%2Fvulnerable/", "team%2Fvulnerable%3A1/", "other/"):
        client.va("POST", f"{VA}/exempt/image/{resource}issue/cve/{FIRST}")

    def count(resource: str) -> int:
        path = f"{VA}/exemptions/image/{quote(resource, safe='')}"
        return len(client.va("GET", path, params={"includeScope": "true"}).json())

    assert (count("team"), count("team/vulnerable"), count("team/vulnerable:1")) == (2, 3, 4)
    plain = client.va("GET", f"{VA}/exemptions/image/team").json()
    assert all("scope" not in item for item in plain)
    names = [f"{client.sandbox.registry}/team/vulnerable:1", "third/app:1"]
    several = client.va("POST", f"{VA}/exemptions/images", json=names).json()
    assert [len(several[name]) for name in names] == [4, 1]
    gone = client.va("POST", f"{VA}/exemptions/deleteAll").json()
    assert gone == {"number_of_exemptions_deleted": 5}


@pytest.mark.parametrize(
    "path",
    [
        "exempt/image/team/issue/cve/not-a-cve",
        "exempt/image/team/issue/colour/red",
        "exempt/image/TEAM/issue/cve/CVE-2026-0001",
        "exempt/image/..%2fx/issue/cve/CVE-2026-0001",
    ],
)
def test_malformed_exemptions_are_refused(client: Client, path: str) -> None:
    assert client.va("POST", f"{VA}/{path}").status_code == 400


def test_exemption_types(client: Client) -> None:
    types = client.va("GET", f"{VA}/exempt/types").json()
    assert [entry["identifier"] for entry in types] == ["cve", "sn", "configuration"]


# --- Account and registry lists ---------------------------------------------------------------


def test_account_reports_list_every_tagged_image(client: Client, pushed: dict[str, str]) -> None:
    name = f"{client.sandbox.registry}/team/vulnerable:1"
    reports = client.va("GET", f"{VA}/report/account").json()["assessments"]
    assert reports[name]["status"] == "FAIL"
    found = client.va(
        "GET", f"{VA}/report/account/status", params={"repository": name.removesuffix(":1")}
    ).json()["images"]
    assert [entry["name"] for entry in found] == [name]
    assert found[0]["created_time"] == 1767323045
    assert found[0]["issue_count"] == 2


def test_image_lists(client: Client, tools: Tools, layout: Callable[..., Path]) -> None:
    namespace = f"list-{uuid.uuid4().hex[:8]}"
    first = tools.digest(tools.push(layout(), f"{namespace}/vulnerable:1"))
    second = tools.digest(tools.push(layout(), f"{namespace}/vulnerable:1"))
    tools.push(layout(platforms=2), f"{namespace}/multi:1", "--all")
    repository = f"{client.sandbox.registry}/{namespace}/vulnerable"
    query = {"namespace": namespace, "vulnerabilities": "true"}
    images = client.va("GET", "/api/v1/images", params=query).json()
    by_name = {tag: image for image in images for tag in image["RepoTags"]}
    image = by_name[f"{repository}:1"]
    assert image["Id"] == second
    assert image["DigestTags"] == {second: [f"{repository}:1"]}
    assert (image["Vulnerable"], image["VulnerabilityCount"]) == ("true", 2)
    assert (image["ManifestType"], image["Labels"]) == (OCI_MANIFEST, {"revision": "1"})
    assert image["Size"] > 2000
    query |= {"includeManifestLists": "false"}
    assert len(client.va("GET", "/api/v1/images", params=query).json()) == 1
    entries = client.va(
        "POST", "/api/v1/images/digests", json={"repositories": [repository]}
    ).json()
    tags = {entry["id"]: entry["repoTags"][repository] for entry in entries}
    assert set(tags) == {first, second}
    assert tags[first] == {}
    assert tags[second]["1"]["issueCount"] == 2
    body = {"repositories": [repository], "exclude_tagged": True, "exclude_va": True}
    untagged = client.va("POST", "/api/v1/images/digests", json=body).json()
    assert [entry["id"] for entry in untagged] == [first]
    assert namespace in client.va("GET", "/api/v1/namespaces").json()


# --- Who may ask ------------------------------------------------------------------------------


def test_the_account_must_be_ones_own(client: Client) -> None:
    path = f"{VA}/exempt/image"
    assert client.va("GET", path, "foreign").status_code == 403
    other = client.va("GET", path, headers={"Account": client.sandbox.identity.foreign_account})
    assert (other.status_code, other.json()["code"]) == (403, "CRG0009E")
    both = {"Account": client.sandbox.identity.foreign_account}
    assert client.va("GET", path, "foreign", headers=both).status_code == 403
    token = {"Authorization": f"Bearer {client.token()}"}
    assert client.get(client.registry_url(path), headers=token).status_code == 400


def test_only_managers_change_exemptions(client: Client) -> None:
    for role in ("reader", "writer"):
        path = f"{VA}/exempt/image/issue/cve/{FIRST}"
        assert client.va("POST", path, role).status_code == 403
        assert client.va("POST", f"{VA}/exemptions/deleteAll", role).status_code == 403
        assert client.va("GET", f"{VA}/exempt/image", role).status_code == 200


def test_a_registry_login_is_accepted_as_portieris_sends_it(client: Client) -> None:
    own = {"Account": client.sandbox.identity.account}
    assert client.registry("GET", f"{VA}/exempt/image", headers=own).status_code == 200
    nobody = client.get(client.registry_url(f"{VA}/exempt/image"), headers=own)
    assert (nobody.status_code, nobody.json()["code"]) == (401, "CRG0014E")


def test_unknown_paths_and_methods(client: Client) -> None:
    assert client.va("GET", f"{VA}/nothing").status_code == 404
    assert client.va("GET", "/va/api/v3/report/image/x").status_code == 404
    assert client.va("PUT", f"{VA}/exempt/image").status_code == 405
    assert client.va("POST", f"{VA}/exemptions/images", data=b"{").status_code == 400
    assert (
        client.va("POST", f"{VA}/exemptions/images", data=os.urandom(2**20 + 1)).status_code == 413
    )


def test_the_advisor_has_a_log_of_its_own(client: Client, sandbox: Sandbox) -> None:
    client.va("GET", f"{VA}/exempt/types")
    entry = access_log(sandbox, "va")[-1]
    assert entry["path"] == f"{VA}/exempt/types"
    assert entry["account"] == sandbox.identity.account
    assert not any("/va/" in line["path"] for line in access_log(sandbox, "registry"))
