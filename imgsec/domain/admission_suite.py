# SPDX-License-Identifier: Apache-2.0
"""Expected admissions, as tests of policies: what a repository of policies holds its changes to.

What registries and advisors would say is assumed where a test says so, so that a suite needs no
network; rules, key Secrets and names are judged for real.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from imgsec.domain.admission import Admission, ContainerTrace
from imgsec.domain.engines import Engine, Layer
from imgsec.domain.policy import is_namespace
from imgsec.domain.reference import shown
from imgsec.domain.spelling import unknown_field
from imgsec.domain.verdict import Note, Verdict, because, passed
from imgsec.errors import ImgsecError
from imgsec.reasons import ADMISSION_OPEN, EXPECTATION_MISSED, NOT_ASSESSED, Outcome, Reason

EXPECTATIONS = {"admitted": Outcome.PASS, "denied": Outcome.REFUSED, "open": Outcome.UNDECIDED}
# What nobody was asked about, or nobody can be: the advisor does not know foreign images.
_LEFT_OPEN = (ADMISSION_OPEN.code, NOT_ASSESSED.code)
_LAYERS = (Layer.SIMPLE, Layer.TRUST, Layer.ADVISOR)
_ANSWERS = {"passes": True, "denies": False}
_FIELDS = ("version", "policies", "engine", "namespace", "tests")
_TEST_FIELDS = (
    *("name", "workload", "image", "namespace", "engine", "assume", "expect", "message", "rule"),
)


@dataclass(frozen=True, slots=True)
class AdmissionTest:
    """One expectation. workload: manifests; image: one container instead, in a Pod of its own.

    assume: whether a layer that could not be asked passes. message: a part of what the engine says;
    rule: the repository of the rule that decides about every container, empty for no rule.
    """

    name: str
    expect: Outcome
    workload: str | None = None
    image: str | None = None
    namespace: str | None = None
    engine: Engine | None = None
    assume: tuple[tuple[Layer, bool], ...] = ()
    message: str | None = None
    rule: str | None = None

    @classmethod
    def parse(cls, document: Any, place: int) -> Self:
        """place: from 1. Raises `ValueError` with a sentence."""
        where = f"test {place}"
        entry = _mapping(document, where)
        for name in entry:
            if name not in _TEST_FIELDS:
                raise unknown_field(str(name), _TEST_FIELDS)
        name = _text(entry, "name", where) or where
        expect = entry.get("expect")
        if not isinstance(expect, str) or expect not in EXPECTATIONS:
            known = ", ".join(EXPECTATIONS)
            raise ValueError(f"{shown(name)}: expect is {shown(str(expect))}, and takes {known}")
        workload, image = _text(entry, "workload", name), _text(entry, "image", name)
        if (workload is None) is (image is None):
            raise ValueError(f"{shown(name)} needs either a workload or an image")
        engine = _text(entry, "engine", name)
        return cls(
            name,
            EXPECTATIONS[expect],
            workload,
            image,
            _namespace(entry, name),
            _engine(engine) if engine is not None else None,
            tuple(_assumed(entry.get("assume") or {}, name)),
            _text(entry, "message", name),
            _text(entry, "rule", name),
        )


@dataclass(frozen=True, slots=True)
class AdmissionSuite:
    """Tests of the same policies. policies: paths, from where the suite's own file is."""

    policies: tuple[str, ...]
    tests: tuple[AdmissionTest, ...]
    engine: Engine | None = None
    namespace: str | None = None

    @classmethod
    def parse(cls, document: Any) -> Self:
        """Raises `ValueError` with a sentence."""
        suite = _mapping(document, "the suite")
        version = suite.get("version")
        if version != 1 or isinstance(version, bool):
            raise ValueError("it is not a mapping with version: 1")
        for name in suite:
            if name not in _FIELDS:
                raise unknown_field(str(name), _FIELDS)
        tests, policies = suite.get("tests"), suite.get("policies") or []
        if not isinstance(tests, list) or not tests:
            raise ValueError("it has no tests")
        if not isinstance(policies, list) or not all(isinstance(one, str) for one in policies):
            raise ValueError("policies is no list of paths")
        engine = _text(suite, "engine", "the suite")
        parsed = tuple(AdmissionTest.parse(one, place) for place, one in enumerate(tests, 1))
        names = [one.name for one in parsed]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two tests have the name {shown(name)}")
        return cls(
            tuple(policies),
            parsed,
            _engine(engine) if engine is not None else None,
            _namespace(suite, "the suite"),
        )


@dataclass(frozen=True, slots=True)
class TestResult:
    """How one test ended. admissions: what was predicted."""

    name: str
    verdict: Verdict
    admissions: tuple[Admission, ...] = ()

    @property
    def not_checked(self) -> tuple[Note, ...]:
        """What no engine looked at of what would be admitted."""
        admitted = (one for one in self.admissions if one.verdict.passed)
        return tuple(dict.fromkeys(note for one in admitted for note in one.not_checked))


def is_left_open(reason: Reason) -> bool:
    """Whether nobody was asked, and so nobody in vain: a test may expect that, or assume more."""
    return reason.code in _LEFT_OPEN


def judge_test(test: AdmissionTest, admissions: Sequence[Admission]) -> TestResult:
    """Whether every object was decided as it was expected, and as the test says why.

    Where a service was asked in vain nothing is known, whatever was expected.
    """
    in_vain = [_asked_in_vain(one) for one in admissions]
    known = [one for one, vain in zip(admissions, in_vain, strict=True) if not vain]
    missed = [why for one in known for why in _misses(test, one)]
    reasons = list(dict.fromkeys(why for vain in in_vain for why in vain))
    if missed:
        reasons.insert(0, EXPECTATION_MISSED(f"{shown(test.name)}: {'; '.join(missed)}"))
    return TestResult(test.name, because(*reasons) if reasons else passed(), tuple(admissions))


def _asked_in_vain(admission: Admission) -> tuple[Reason, ...]:
    if admission.verdict.outcome is not Outcome.UNDECIDED:
        return ()
    return tuple(one for one in admission.verdict.reasons if not is_left_open(one))


def _outcome_word(admission: Admission) -> str:
    """As an expectation is written. What is let in unseen is neither admitted nor denied."""
    if admission.is_let_in_unseen:
        return "open"
    words = {value: word for word, value in EXPECTATIONS.items()}
    outcome = admission.verdict.outcome
    return words.get(outcome, outcome.word)


def _misses(test: AdmissionTest, admission: Admission) -> list[str]:
    missed = []
    got = _outcome_word(admission)
    if EXPECTATIONS.get(got) is not test.expect:
        texts = admission.messages or [one.text for one in admission.verdict.reasons]
        said = "; ".join(texts)
        wanted = next(word for word, value in EXPECTATIONS.items() if value is test.expect)
        missed.append(f"expected {wanted}, predicted {got}{f' ({said})' if said else ''}")
    messages = _messages(admission)
    if test.message is not None and not any(test.message in one for one in messages):
        said = "; ".join(messages) or "nothing"
        missed.append(f"the engine does not say {shown(test.message)}, but {shown(said)}")
    if test.rule is not None:
        judged = _judged(admission)
        if not judged:
            missed.append("no container was held against rules")
        for one in judged:
            rule = one.rule.repository if one.rule is not None else ""
            if rule != test.rule:
                decided = shown(rule) if rule else "no rule"
                missed.append(f"{shown(one.container.image)} is decided by {decided}")
    return missed


def _messages(admission: Admission) -> tuple[str, ...]:
    """What the engine says of the object, and of the pods that are made from it."""
    return (*admission.messages, *(_messages(admission.child) if admission.child else ()))


def _judged(admission: Admission) -> tuple[ContainerTrace, ...]:
    """The containers that rules decided about; where the object was not sent, those of its pods.

    Not one without an image, which an engine passes over.
    """
    reached = tuple(
        one for one in admission.containers if one.is_reached and not one.container.is_blank
    )
    return reached or (_judged(admission.child) if admission.child else ())


def _assumed(value: Any, name: str) -> list[tuple[Layer, bool]]:
    found = []
    for layer, answer in _mapping(value, f"{shown(name)}: assume").items():
        if layer not in _LAYERS:
            raise unknown_field(str(layer), map(str, _LAYERS))
        if not isinstance(answer, str) or answer not in _ANSWERS:
            raise ValueError(f"{shown(name)}: {layer} takes {', '.join(_ANSWERS)}")
        found.append((Layer(layer), _ANSWERS[answer]))
    return found


def _engine(text: str) -> Engine:
    try:
        return Engine.parse(text)
    except ImgsecError as error:
        raise ValueError(error.reason.text) from None


def _namespace(value: Mapping[str, Any], where: str) -> str | None:
    found = _text(value, "namespace", where)
    if found is not None and not is_namespace(found):
        raise ValueError(f"{where}: {shown(found)} is not a Kubernetes namespace")
    return found


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} is no mapping")
    return value


def _text(value: Mapping[str, Any], name: str, where: str) -> str | None:
    found = value.get(name)
    if found is not None and not isinstance(found, str):
        raise ValueError(f"{where}: {name} is no text")
    if found is not None and not found.strip() and name != "rule":  # no rule is an expectation
        raise ValueError(f"{where}: {name} is empty")
    return found
