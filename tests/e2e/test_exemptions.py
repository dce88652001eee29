# SPDX-License-Identifier: Apache-2.0
"""`imgsec exemptions` as a platform engineer uses it: real commands, advisor, git and gate."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest
import yaml

from tests.conftest import Bench
from tests.support import ROOT, Ended, plain_environment

SCHEMA = jsonschema.Draft202012Validator(
    json.loads((ROOT / "schemas" / "report.schema.json").read_text())
)
TODAY = datetime.now(UTC).date()
SOON, OVER = TODAY + timedelta(30), TODAY - timedelta(1)
CVES = ("CVE-2026-90001", "CVE-2026-90002")  # of the sandbox's images that are vulnerable


@dataclass(frozen=True)
class Desk:
    """A ledger, and the commands about it."""

    bench: Bench
    path: Path

    def __call__(self, command: str, *words: str | Path) -> Ended:
        """Run it; whatever it answers keeps the published schema."""
        done = self.bench.imgsec("exemptions", command, *words)
        SCHEMA.validate(done.json)
        return done

    def write(self, *entries: dict[str, Any]) -> None:
        whole = {"owner": "jane@example.com", "reason": "why", "expires": str(SOON)}
        document = {"version": 1, "exemptions": [{**whole, **entry} for entry in entries]}
        self.path.write_text(yaml.safe_dump(document))

    @property
    def host(self) -> str:
        return self.bench.sandbox.registry

    def held(self, method: str = "GET", path: str = "exemptions/account") -> set[tuple[str, ...]]:
        """What the advisor holds, as its manager sees it."""
        with self.bench._kms() as session:
            session.headers["Account"] = self.bench.sandbox.identity.account
            url = f"https://{self.host}/va/api/v4/{path}"
            answer = session.request(method, url, timeout=30)
        assert answer.ok, answer.text
        items = answer.json() if method == "GET" else []
        return {
            (
                one["issue_id"],
                *(text for name, text in one["scope"].items() if name != "scope_type"),
            )
            for one in items
        }


@pytest.fixture
def desk(bench: Bench) -> Iterator[Desk]:
    desk = Desk(bench, bench.folder / "exemptions.yaml")
    desk.held("POST", "exemptions/deleteAll")
    yield desk
    bench.clear_faults()
    desk.held("POST", "exemptions/deleteAll")  # they would hold for other tests' images


def states(done: Ended) -> list[str]:
    return [change["state"] for change in done.json.get("changes", [])]


def notes(done: Ended) -> list[str]:
    return [note["code"] for note in done.json["notes"]]


# --- The advisor ----------------------------------------------------------------------------------


def test_advisor_comes_to_hold_what_the_ledger_says(desk: Desk) -> None:
    digest = "sha256:" + "1a" * 32
    desk.write(
        {"id": CVES[0], "scope": f"{desk.host}/team/app:1"},
        {"id": CVES[1], "scope": f"team/app@{digest}"},
        {"id": "DSA-9001-1", "scope": "team"},
        {"id": "CVE-2026-90003", "scope": "team/old", "expires": str(OVER)},
        {"id": "CVE-2026-90004", "account-wide": True},
        {"id": "CVE-2026-90005", "scope": "team/app", "packages": ["openssl"]},
        {"id": "CVE-2026-90006", "scope": "de.icr.io/team/app"},
    )
    desk.held("POST", "exempt/image/team%2Fold/issue/cve/CVE-2026-90003")
    desk.held("POST", f"exempt/image/{quote('team/app', safe='')}/issue/cve/CVE-2020-0001")
    before = desk.held()
    sync = ("sync", desk.path, "--host", desk.host)

    planned = desk(*sync).expect(0)
    assert states(planned) == ["to-remove", *["to-add"] * 4, "kept"]
    assert set(notes(planned)) == {
        "exemption-not-synced",
        "exemption-elsewhere",
        "only-in-advisor",
        "plan-only",
    }
    assert desk.held() == before
    assert states(desk(*sync, "--apply").expect(0)) == ["removed", *["added"] * 4, "kept"]
    mine = {
        (CVES[0], "team", "app", "1"),
        (CVES[1], "team", "app", digest),
        ("DSA-9001-1", "team"),
        ("CVE-2026-90004",),
    }
    assert desk.held() == mine | {("CVE-2020-0001", "team", "app")}
    again = desk(*sync, "--apply").expect(0)
    assert (states(again), "nothing-to-do" in notes(again)) == (["kept"], True)

    listed = desk("list", desk.path, "--host", desk.host).expect(0).json["exemptions"]
    assert [(one["id"], one["state"], one["inAdvisor"]) for one in listed] == [
        (CVES[0], "in-force", True),
        (CVES[1], "in-force", True),
        ("DSA-9001-1", "in-force", True),
        ("CVE-2026-90003", "expired", False),
        ("CVE-2026-90004", "in-force", True),
        ("CVE-2026-90005", "in-force", False),
        ("CVE-2026-90006", "in-force", None),
        ("CVE-2020-0001", "advisor-only", True),
    ]
    of_image = ("list", desk.path, "--host", desk.host, "--image", f"{desk.host}/team/other:1")
    found = [one["id"] for one in desk(*of_image).expect(0).json["exemptions"]]
    assert found == ["DSA-9001-1", "CVE-2026-90004"]

    pruned = desk(*sync, "--apply", "--prune").expect(0)
    assert states(pruned) == ["removed"]
    assert desk.held() == mine


def test_what_left_the_ledger_leaves_the_advisor_where_a_state_is_kept(desk: Desk) -> None:
    state = desk.path.with_name("synced.json")
    sync = ("sync", desk.path, "--host", desk.host, "--state", state, "--apply")
    desk.held("POST", f"exempt/image/{quote('team/app', safe='')}/issue/cve/CVE-2020-0001")
    desk.write({"id": CVES[0], "scope": "team/app"}, {"id": CVES[1], "scope": "team/app"})
    desk.bench.fault("va", "expired-token", method="POST", path=f"{CVES[1]}$")
    desk(*sync).expect(3, "credential-rejected")  # ends half-way
    desk.bench.clear_faults()

    desk.write({"id": CVES[1], "scope": "team/app"})
    assert states(desk(*sync).expect(0)) == ["removed", "added", "kept"]
    assert desk.held() == {(CVES[1], "team", "app"), ("CVE-2020-0001", "team", "app")}
    written = json.loads(state.read_text())
    assert [one["id"] for one in written["exemptions"]] == [CVES[1]]
    for member, other in (("host", "us.icr.io"), ("account", "of-somebody-else")):
        state.write_text(json.dumps({**written, member: other}))
        desk(*sync).expect(2, "input-malformed")


def test_passing_trouble_is_sat_out(desk: Desk) -> None:
    desk.write({"id": CVES[0], "scope": "team/app"}, {"id": CVES[1], "scope": "team/app"})
    desk.bench.fault("va", "429", method="GET", count=1, retry_after=0)
    desk.bench.fault("va", "500", path=f"{CVES[0]}$", count=1)
    desk.bench.fault("va", "cut", path=f"{CVES[1]}$", count=1)
    seen = len(desk.bench.log("va"))
    desk("sync", desk.path, "--host", desk.host, "--apply").expect(0)
    assert desk.held() == {(issue, "team", "app") for issue in CVES}
    assert len(desk.bench.log("va")) >= seen + 6, "each was asked twice"


def test_failure_half_way_leaves_too_few_and_is_told(desk: Desk) -> None:
    desk.held("POST", "exempt/image/team%2Fapp/issue/cve/CVE-2026-90003")
    desk.write(
        {"id": "CVE-2026-90003", "scope": "team/app", "expires": str(OVER)},
        {"id": CVES[0], "scope": "team/app"},
        {"id": CVES[1], "scope": "team/app"},
    )
    sync = ("sync", desk.path, "--host", desk.host, "--apply")
    desk.bench.fault("va", "expired-token", method="POST", path=f"{CVES[1]}$")
    done = desk(*sync).expect(3, "credential-rejected")
    assert states(done) == ["removed", "added"]
    assert desk.held() == {(CVES[0], "team", "app")}
    desk.bench.clear_faults()
    assert states(desk(*sync).expect(0)) == ["added"]


def test_answer_that_is_none_changes_nothing(desk: Desk) -> None:
    desk.write({"id": CVES[0], "scope": "team/app"})
    desk.bench.fault("va", "malformed", method="GET")
    desk("sync", desk.path, "--host", desk.host, "--apply").expect(3, "answer-malformed")
    desk.bench.clear_faults()
    assert desk.held() == set()


def test_only_a_manager_changes_exemptions(desk: Desk) -> None:
    desk.write({"id": CVES[0], "scope": "team/app"})
    key = desk.bench.folder / "reader"
    key.write_text(desk.bench.sandbox.api_key("reader"))
    run = ("sync", desk.path, "--host", desk.host, "--api-key-file", key, "--apply")
    desk(*run).expect(3, "permission-denied")


def test_types_are_ours_and_the_advisor_s(desk: Desk) -> None:
    theirs = desk("types", "--host", desk.host).expect(0).json["exemptionTypes"]
    shown = desk.bench.imgsec.plain("exemptions", "types").stdout.splitlines()
    assert shown == ["cve: CVE", "sn: Security Notice", "configuration: Configuration Issue"]
    assert shown == [f"{one['id']}: {one['name']}" for one in theirs]


def test_foreign_registry_gets_no_token(desk: Desk) -> None:
    desk.write({"id": CVES[0], "scope": "team/app"})
    desk("sync", desk.path, "--host", "registry.example.com").expect(3, "not-assessed")
    desk("types", "--host", "not a host").expect(2, "invalid-reference")


# --- The gate -------------------------------------------------------------------------------------


def test_entry_from_a_report_lets_the_gate_pass(desk: Desk) -> None:
    bench, report = desk.bench, desk.bench.folder / "gate.json"
    name, digest = bench.push(f"{bench.repository()}-vulnerable")
    other, _ = bench.push(f"{bench.repository()}-vulnerable")
    assert bench.imgsec.plain("scan-gate", name, "--output", f"json={report}").code == 1
    add = ("add", desk.path, "--from", report, "--owner", "jane", "--reason", "so", "--expires")
    for issue in CVES:
        assert states(desk(*add, "30d", "--id", issue).expect(0)) == ["added"]
    assert states(desk(*add, "30d", "--id", CVES[0]).expect(0)) == ["unchanged"]
    first, second = yaml.safe_load(desk.path.read_text())["exemptions"]
    assert (first["packages"], second["packages"]) == (["libexpat1"], ["libssl3", "openssl"])
    assert first["scope"].endswith(f"@{digest}")
    judged = bench.imgsec("scan-gate", name, "--exemptions", desk.path).expect(0).json
    report.write_text(json.dumps(judged))
    bench.imgsec("scan-gate", other, "--exemptions", desk.path).expect(1, "finding-in-force")

    used = desk("lint", desk.path, "--used-by", report, "--expiring", "0").expect(0)
    assert notes(used) == []
    words = ("--id", "CVE-2026-90009", "--scope", "team/app", "--owner", "j", "--reason", "r")
    desk("add", desk.path, *words, "--expires", "30d").expect(0)
    unused = desk("lint", desk.path, "--used-by", report, "--expiring", "30").expect(0)
    assert notes(unused) == [*["exemption-expiring"] * 3, "exemption-unused"]

    longer = desk(*add, "60d", "--id", CVES[0]).expect(0)
    assert states(longer) == ["updated"]
    desk(*add, str(OVER), "--id", CVES[0]).expect(2, "invalid-option")
    desk(*add, "30d", "--id", "CVE-2026-1234").expect(2, "input-malformed")
    gone = ("remove", desk.path, "--id", CVES[0])
    assert states(desk(*gone).expect(0)) == ["removed"]
    assert notes(desk(*gone).expect(0)) == ["nothing-to-do"]


def test_finding_of_several_images_needs_a_scope(desk: Desk) -> None:
    bench, report = desk.bench, desk.bench.folder / "gate.json"
    names = [bench.push(f"{bench.repository()}-vulnerable")[0] for _ in range(2)]
    assert bench.imgsec.plain("scan-gate", *names, "--output", f"json={report}").code == 1
    add = ("add", desk.path, "--from", report, "--id", CVES[0], "--owner", "j", "--reason", "r")
    desk(*add, "--expires", "1d").expect(2, "input-malformed")
    desk(*add, "--expires", "1d", "--scope", "team").expect(0)
    desk("lint", desk.path).expect(1, "exemption-too-wide")
    desk("lint", desk.path, "--allow-wide", "namespace").expect(0)


# --- A repository ---------------------------------------------------------------------------------


def test_exemption_beside_the_image_that_it_frees_is_refused(desk: Desk) -> None:
    top = desk.bench.folder / "repo"
    top.mkdir()

    def git(*words: str) -> None:
        who = ("-c", "user.name=n", "-c", "user.email=n@example.com")
        environment = plain_environment(desk.bench.folder, GIT_CONFIG_GLOBAL="/dev/null")
        argv = ["git", "-C", str(top), *who, *words]
        subprocess.run(argv, env=environment, check=True, capture_output=True)

    def commit() -> None:
        git("add", "--all")
        git("commit", "--quiet", "--message", "m")

    here = Desk(desk.bench, top / "exemptions.yaml")
    first = {"id": CVES[0], "scope": "us.icr.io/team/app:1"}
    other = {"id": CVES[1], "scope": "us.icr.io/team/other:1"}
    here.write(first)
    git("init", "--quiet", "--initial-branch", "main")
    (top / "deploy.yaml").write_text("image: us.icr.io/team/app:1\n")
    commit()
    git("checkout", "--quiet", "-b", "change")
    lint = ("lint", here.path, "--since", "main")
    (top / "deploy.yaml").write_text("image: us.icr.io/team/app:2\n")
    commit()
    here(*lint).expect(0)
    here.write(first, other)
    here(*lint).expect(0)
    here.write({**first, "expires": str(SOON + timedelta(1))}, other)
    longer = here(*lint).expect(1, "exemption-with-image")
    assert "holds longer than before" in longer.json["reasons"][0]["text"]
    commit()
    here(*lint).expect(1, "exemption-with-image")
    git("checkout", "--quiet", "main", "--", "deploy.yaml")
    commit()
    here(*lint).expect(0)
    (top / "app").mkdir()
    (top / "app" / "prod.Dockerfile").write_text("FROM scratch\n")
    commit()
    here(*lint).expect(1, "exemption-with-image")
    for revision in ("--output=x", ""):  # as a variable that is not set gives it
        here("lint", here.path, f"--since={revision}").expect(2, "invalid-option")


# --- Other tools ----------------------------------------------------------------------------------


def test_other_tools_files_come_and_go(desk: Desk) -> None:
    folder = desk.bench.folder
    digest = "sha256:" + "1a" * 32
    trivy = folder / ".trivyignore.yaml"
    trivy.write_text(
        "vulnerabilities:\n"
        f"  - {{id: {CVES[0]}, expired_at: {SOON}, statement: not reachable}}\n"
        f"  - {{id: {CVES[1]}, paths: [usr/lib]}}\n"
        f"  - {{id: CVE-2026-90003, expired_at: {OVER}}}\n"
    )
    take = ("import", desk.path, trivy, "--format", "trivyignore", "--scope", "us.icr.io/team/app")
    take = (*take, "--owner", "jane", "--expires", "90d", "--reason", "taken over")
    done = desk(*take).expect(0)
    assert (states(done), notes(done)) == (["added"], ["exemption-skipped"] * 2)
    assert states(desk(*take[:-3], "10d", "--reason", "x").expect(0)) == ["unchanged"]
    (entry,) = yaml.safe_load(desk.path.read_text())["exemptions"]
    assert entry["expires"] == SOON - timedelta(1)

    image = f"us.icr.io/team/app@{digest}"
    for name, more in {"trivyignore": (), "grype": (), "openvex": ("--author", "us")}.items():
        out, back = folder / f"out-{name}", folder / f"back-{name}.yaml"
        write = ("export", desk.path, out, "--format", name, "--image", image, *more)
        done = desk(*write).expect(0)
        assert (states(done), notes(done)) == (["created"], ["exported", "exported-form"])
        expected = ("--vex-author", "us") if more else ()
        read = ("import", back, out, "--format", name, "--owner", "jane")
        if not more:
            read = (*read, "--scope", image)
        desk(*read, "--expires", str(SOON), *expected).expect(0)
        (found,) = yaml.safe_load(back.read_text())["exemptions"]
        assert (found["id"], found["scope"]) == (CVES[0], image)
    assert states(desk(*write).expect(0)) == ["unchanged"]
    out.write_text("by hand\n")
    desk(*write).expect(1, "foreign-object")
    assert out.read_text() == "by hand\n"
    write = ("export", desk.path, out, "--format", "grype", "--image", "us.icr.io/team/app:1")
    desk(*write).expect(2, "invalid-option")
    desk(*read, "--expires", "1d", "--vex-author", "them").expect(2, "input-malformed")
    desk(*read, "--scope", "team/app", "--vex-author", "us").expect(2, "invalid-option")


def test_entry_for_a_tag_is_exported_for_what_the_tag_names(desk: Desk) -> None:
    bench, out = desk.bench, desk.bench.folder / "ignore"
    name, digest = bench.push(bench.repository())
    _, other = bench.push(bench.repository() + "-other")
    path = name.partition("/")[2]
    desk.write(
        {"id": CVES[0], "scope": path, "owner": "jane", "reason": "why", "expires": str(SOON)}
    )
    write = ("export", desk.path, out, "--format", "trivyignore", "--image")
    done = desk(*write, f"{name}@{digest}").expect(0)
    assert notes(done) == ["exported", "exported-form"]
    assert CVES[0] in out.read_text()
    done = desk(*write, f"{name}@{other}").expect(0)
    assert notes(done) == ["exported", "tag-not-confirmed"]
    assert CVES[0] not in out.read_text()


def test_ledger_is_listed_for_people(desk: Desk) -> None:
    desk.write({"id": CVES[0], "scope": "team/app"}, {"id": CVES[1]})
    done = desk.bench.imgsec.plain("exemptions", "list", desk.path)
    assert done.stdout.splitlines() == [
        f"in-force: {CVES[0]} (cve) for team/app until {SOON}",
        "  jane@example.com: why",
        f"note: exemption-ignored: entry 2 ({CVES[1]!r}): scope is missing, or account-wide: true",
    ]
    desk("lint", desk.path).expect(1, "exemption-invalid")
