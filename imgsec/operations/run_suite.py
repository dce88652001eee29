# SPDX-License-Identifier: Apache-2.0
"""Run a suite of expected admissions: each test with the layers that it assumes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from imgsec.domain.admission import LayerOutcome, LayerTrace
from imgsec.domain.admission_suite import (
    AdmissionSuite,
    AdmissionTest,
    TestResult,
    is_left_open,
    judge_test,
)
from imgsec.domain.engine_texts import ADVISOR_NO_CREDENTIALS, NO_SIGNATURE, denied
from imgsec.domain.engines import Layer
from imgsec.domain.verdict import because
from imgsec.domain.workload import Container, PodSpec, Workload
from imgsec.errors import ImgsecError
from imgsec.operations.admit import Predicts, admit_all
from imgsec.operations.image_evidence import Deployed
from imgsec.reasons import ADMISSION_OPEN

# Judges with what a test assumes; reads the manifests that a test names.
MakePredictor = Callable[[AdmissionTest], Predicts]
ReadWorkloads = Callable[[AdmissionTest], Iterable[Workload]]
_STAND_IN = "0" * 64


def run_suite(
    suite: AdmissionSuite, make_predictor: MakePredictor, read_workloads: ReadWorkloads
) -> tuple[TestResult, ...]:
    """One result for each test; one that cannot be judged says why."""
    return tuple(_run(test, make_predictor, read_workloads) for test in suite.tests)


def _run(
    test: AdmissionTest, make_predictor: MakePredictor, read_workloads: ReadWorkloads
) -> TestResult:
    try:
        admissions = admit_all(read_workloads(test), make_predictor(test))
    except ImgsecError as error:
        return TestResult(test.name, because(error.reason))
    return judge_test(test, admissions)


def pod_of(image: str, namespace: str) -> Workload:
    """A Pod with one container."""
    pod = PodSpec((Container("containers", 0, "image", image),))
    return Workload("v1", "Pod", "pods", namespace, "image", "/spec", pod)


def assumed(trace: LayerTrace, deployed: Deployed, test: AdmissionTest) -> LayerTrace:
    """A layer's answer, with what a test assumes in place of what was not asked. What was asked in
    vain, since a registry is away, stays open.

    A layer of signatures that passes needs a digest, or the pods behind it were not judged: the
    image's own, else one that stands in.
    """
    answers = dict(test.assume)
    if test.image is not None and trace.message == ADVISOR_NO_CREDENTIALS:
        why = ADMISSION_OPEN(
            "a test of an image has no pod, and so no pull secrets: assume advisor"
        )
        trace = LayerTrace(trace.layer, LayerOutcome.OPEN, why=why)
    if trace.outcome is not LayerOutcome.OPEN or trace.layer not in answers:
        return trace
    if trace.why is not None and not is_left_open(trace.why):
        return trace
    if answers[trace.layer]:
        digest = None if trace.layer is Layer.ADVISOR else deployed.name.digest or _STAND_IN
        return replace(trace, outcome=LayerOutcome.PASSED, message="", digest=digest, why=None)
    said = denied(str(trace.layer), NO_SIGNATURE) if trace.layer is Layer.SIMPLE else "as assumed"
    return replace(trace, outcome=LayerOutcome.DENIED, message=said, why=None)
