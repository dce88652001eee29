# SPDX-License-Identifier: Apache-2.0
"""Each pass of a prediction says what was not checked, in whichever format it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from xml.etree.ElementTree import fromstring

import pytest

from imgsec.domain.admission import Admission, AdmissionChange
from imgsec.domain.admission_suite import TestResult as Result
from imgsec.domain.report import Report
from imgsec.domain.verdict import all_of
from imgsec.render.document import report_document
from imgsec.render.junit import report_junit
from imgsec.render.markdown import report_markdown
from imgsec.render.text import report_lines
from tests.support import short_folder
from tests.unit.operations.admission_town import (
    ACCEPTS,
    IMAGE,
    REPOSITORY,
    Town,
    deployment,
    open_town,
    pod,
    policy,
    rule,
)

HOSTILE = "c|`x`<img src=x>\r\n::error::@everyone\x1b[2J"


@pytest.fixture
def town() -> Iterator[Town]:
    with short_folder() as folder, open_town(folder) as opened:
        yield opened


def of_workloads(admissions: Iterable[Admission]) -> Report:
    found = tuple(admissions)
    return Report("admit", all_of(one.verdict for one in found), admissions=found)


def of_tests(admissions: Iterable[Admission]) -> Report:
    """Each in a test that expects what it is."""
    tests = tuple(Result(f"t{place}", one.verdict, (one,)) for place, one in enumerate(admissions))
    return Report("admit", all_of(one.verdict for one in tests), tests=tests)


def as_text(report: Report) -> str:
    return "\n".join(report_lines(report, verbose=True))


def as_json(report: Report) -> str:
    return str(report_document(report, 0))


FORMATS = (as_text, as_json, report_junit, report_markdown)


@pytest.mark.parametrize("shows", FORMATS)
@pytest.mark.parametrize("made_of", [of_workloads, of_tests])
def test_pass_lists_what_was_not_checked(
    town: Town,
    made_of: Callable[[Iterable[Admission]], Report],
    shows: Callable[[Report], str],
) -> None:
    town.policies = [policy(rule("us.icr.io/*"))]
    admission = town.predict(deployment(IMAGE, replicas=1))
    codes = {note.code for note in admission.unchecked}
    assert codes == {"image-unchecked", "added-later", "scale"}
    shown = shows(made_of([admission]))
    for note in admission.unchecked:
        told = shown.replace("\\", "").replace("&quot;", '"')
        assert note.text[:40].replace("'", "") in told.replace("'", "")


@pytest.mark.parametrize("made_of", [of_workloads, of_tests])
def test_pass_alone_lists_it_where_each_has_one_result(
    town: Town, made_of: Callable[[Iterable[Admission]], Report]
) -> None:
    town.policies = [policy(rule("us.icr.io/*"))]
    both = [town.predict(pod("quay.io/a/b:1")), town.predict(pod(IMAGE))]
    document = fromstring(report_junit(made_of(both)))
    denied, admitted = document.iter("testcase")
    assert [one.tag for one in denied] == ["failure"]
    assert [one.tag for one in admitted] == ["system-out"]
    rows = [one for one in report_markdown(made_of(both)).splitlines() if "| pass |" in one]
    assert len(rows) == 1
    assert "`image-unchecked`" in rows[0]


def test_tests_name_the_codes_in_one_line(town: Town) -> None:
    town.policies = [policy(rule("us.icr.io/*"))]
    lines = list(report_lines(of_tests([town.predict(pod(IMAGE))])))
    assert lines == ["ok: t0", "  not checked: image-unchecked, added-later"]
    lines = list(report_lines(of_tests([town.predict(pod("quay.io/a/b:1"))])))
    assert not [one for one in lines if "not checked" in one]


@pytest.mark.parametrize("shows", [*FORMATS, lambda one: "\n".join(report_lines(one))])
def test_what_is_let_through_in_the_pods_alone_is_told(
    town: Town, shows: Callable[[Report], str]
) -> None:
    """The template is checked, and rewritten to a digest that another rule lets through."""
    town.policies = [policy(rule(IMAGE, simple=ACCEPTS), rule(f"{REPOSITORY}@sha256:*"))]
    town.images.push(IMAGE)
    admission = town.predict(deployment(IMAGE))
    assert admission.verdict.passed
    assert admission.child is not None
    assert "image-unchecked" not in {one.code for one in admission.unchecked}
    assert "through unseen" in shows(of_workloads([admission]))


def test_side_of_a_change_that_passes_says_what_was_not_checked(town: Town) -> None:
    town.policies = [policy(rule("quay.io/*"))]
    before = town.predict(pod(IMAGE))
    town.policies = [policy(rule("us.icr.io/*"))]
    change = AdmissionChange(before, town.predict(pod(IMAGE)))
    report = Report("policy diff", change.after.verdict, admission_changes=(change,))
    _, was, will_be = list(report_lines(report))
    assert was.startswith("  before: refused: Deny")
    assert will_be == "  after: pass: not checked: image-unchecked, added-later"


def test_foreign_text_of_a_pass_is_text(town: Town) -> None:
    town.policies = [policy(rule("us.icr.io/*"))]
    document = pod(IMAGE)
    document["metadata"]["name"] = HOSTILE
    document["spec"]["containers"][0]["name"] = HOSTILE
    report = of_workloads([town.predict(document)])
    shown = report_markdown(report)
    for line in (*shown.splitlines(), *report_junit(report).splitlines()):
        assert line.isprintable()
        assert not line.startswith("::")
    (row,) = (one for one in shown.splitlines() if "| pass |" in one)
    bare = row.replace("\\\\", "").replace("\\|", "").replace("\\<", "").replace("\\@", "")
    assert bare.count("|") == 4
    assert "<img" not in bare
    assert "@everyone" not in bare
    fromstring(report_junit(report))


def test_many_are_counted(town: Town) -> None:
    town.policies = [policy(rule("us.icr.io/*"))]
    many = town.predict(pod(*[f"{REPOSITORY}:{at}" for at in range(50)]))
    shown = report_markdown(of_workloads([many] * 205))
    assert "and 31 more" in shown
    assert "And 5 more, which the JSON report has." in shown
