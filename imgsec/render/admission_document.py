# SPDX-License-Identifier: Apache-2.0
"""Predicted admissions as the JSON document that programs read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from imgsec.domain.admission import Admission, ContainerTrace, LayerTrace
from imgsec.domain.policy_rules import PolicyRule
from imgsec.domain.reference import shown
from imgsec.domain.verdict import Note, Verdict
from imgsec.domain.workload import Workload

Document = dict[str, Any]


def admission_members(
    admissions: Iterable[Admission], verdict: Callable[[Verdict], Document]
) -> Document:
    """``workloads`` and, of all of them, ``containers``; each names its workload by its place.

    verdict: how a report writes one.
    """
    workloads: list[Document] = []
    containers: list[Document] = []
    for one in admissions:
        _add(one, workloads, containers, verdict)
    return {"workloads": workloads, "containers": containers}


def _add(
    admission: Admission,
    workloads: list[Document],
    containers: list[Document],
    verdict: Callable[[Verdict], Document],
    *,
    is_child: bool = False,
) -> None:
    place = len(workloads)
    document = {
        **_workload(admission.workload),
        "isChild": is_child,
        "engine": admission.engine.name,
        **verdict(admission.verdict),
        "messages": list(admission.messages),
        "patch": [
            {"op": "replace", "path": one.path, "value": one.value} for one in admission.patches
        ],
        "notChecked": note_members(admission.unchecked),
        "hygiene": note_members(admission.hygiene),
    }
    workloads.append(document)
    containers.extend(_container(one, place) for one in admission.containers)
    if admission.child is not None:
        document["child"] = len(workloads)
        _add(admission.child, workloads, containers, verdict, is_child=True)


def _workload(workload: Workload) -> Document:
    return {
        "apiVersion": workload.api,
        "kind": workload.kind,
        "namespace": workload.namespace,
        "name": workload.name,
        "file": workload.where or None,
        "line": workload.line or None,
    }


def _container(trace: ContainerTrace, workload: int) -> Document:
    container = trace.container
    patch = trace.patch
    return {
        "workload": workload,
        "type": container.type,
        "name": container.name,
        "image": container.image,
        "reached": trace.is_reached,
        "rule": _rule(trace.rule) if trace.rule is not None else None,
        "nearMisses": [{"rule": _rule(one.rule), "why": one.why} for one in trace.near],
        "layers": [_layer(one) for one in trace.layers],
        "messages": list(trace.messages),
        "forgotten": trace.is_forgotten,
        "patch": {"op": "replace", "path": patch.path, "value": patch.value} if patch else None,
    }


def _rule(rule: PolicyRule) -> Document:
    return {
        "kind": rule.owner.kind,
        "name": rule.owner.name,
        "namespace": rule.owner.namespace or None,
        "repository": rule.repository,
        "place": rule.place,
    }


def _layer(trace: LayerTrace) -> Document:
    document: Document = {
        "layer": str(trace.layer),
        "outcome": str(trace.outcome),
        "message": trace.message or None,
        "digest": f"sha256:{trace.digest}" if trace.digest else None,
    }
    if trace.why is not None:
        document["open"] = {
            "code": trace.why.code,
            "text": trace.why.text,
            "hint": trace.why.hint,
            "retryable": trace.why.retryable,
        }
    if trace.notes:
        document["notes"] = note_members(trace.notes)
    return document


def note_members(notes: Iterable[Note]) -> list[Document]:
    """``code`` and ``text`` of each."""
    return [{"code": note.code, "text": note.text} for note in notes]


def codes_of(notes: Iterable[Note]) -> str:
    """Their codes, each once, for where there is no room for sentences."""
    return ", ".join(dict.fromkeys(note.code for note in notes))


def subject(admission: Admission) -> str:
    """The object as a line names it.

    The text is foreign: quoted where it is odd.
    """
    workload = admission.workload
    name = "/".join(filter(None, (workload.namespace, workload.name)))
    return f"{workload.kind} {shown(name)[1:-1]}"
