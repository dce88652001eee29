# SPDX-License-Identifier: Apache-2.0
"""Pods as kubectl prints them by a template: all pods of a cluster as JSON can be huge."""

from __future__ import annotations

import json
import re

from imgsec.domain.workload import CONTAINER_TYPES, Container, PodSpec, Workload

# A pod in a line: its namespace, name and account, then a letter and words for each part of it.
# L: a label of the object, T: one of its template, J: one of the Jobs that it makes.
_PODS = (
    "go-template={{range .items}}{{$object := .}}{{$metadata := .metadata}}{{with SPEC}}"
    '{{printf "%q %q %q" $metadata.namespace $metadata.name (or .serviceAccountName "default")}}'
    '{{range .imagePullSecrets}}{{printf " S%q" .name}}{{end}}'
    '{{range .initContainers}}{{printf " I%q%q" .name .image}}{{end}}'
    '{{range .containers}}{{printf " C%q%q" .name .image}}{{end}}'
    '{{range $key, $value := $metadata.labels}}{{printf " L%q%q" $key $value}}{{end}}'
    "{{range $key, $value := $object.TEMPLATE.metadata.labels}}"
    '{{printf " T%q%q" $key $value}}{{end}}'
    "{{range $key, $value := $object.spec.jobTemplate.metadata.labels}}"
    '{{printf " J%q%q" $key $value}}{{end}}{{"\\n"}}{{end}}{{end}}'
)
# What makes pods, now or later: kind -> group and version, resource, and where the pod stands.
MAKERS = {
    "Deployment": ("apps/v1", "deployments", ".spec.template.spec"),
    "StatefulSet": ("apps/v1", "statefulsets", ".spec.template.spec"),
    "DaemonSet": ("apps/v1", "daemonsets", ".spec.template.spec"),
    "CronJob": ("batch/v1", "cronjobs", ".spec.jobTemplate.spec.template.spec"),
}
_WORD = re.compile(r'([SICLTJ]?)("(?:[^"\\]|\\.)*")("(?:[^"\\]|\\.)*")?')


def pods_template(place: str) -> str:
    """For kubectl, and for objects whose pod stands there, as ``.spec.template.spec``."""
    template = f"$object{place.removesuffix('.spec')}"
    return _PODS.replace("SPEC", place).replace("$object.TEMPLATE", template)


def pod_of(line: str) -> Workload:
    """Of a line that the template gives."""
    namespace, name, account = "", "", "default"
    secrets: list[str] = []
    containers: list[Container] = []
    labels: dict[str, dict[str, str]] = {"L": {}, "T": {}, "J": {}}
    for place, found in enumerate(_WORD.finditer(line)):
        kind, first, second = found[1], _unquoted(found[2]), _unquoted(found[3] or '""')
        if place == 0:
            namespace = first
        elif place == 1:
            name = first
        elif place == 2:
            account = first
        elif kind == "S":
            secrets.append(first)
        elif kind in labels:
            labels[kind][first] = second
        else:
            type_ = CONTAINER_TYPES[kind == "C"]
            count = sum(one.type == type_ for one in containers)
            containers.append(Container(type_, count, first, second))
    pod = PodSpec(tuple(containers), tuple(secrets), account)
    own, template, jobs = labels.values()
    return Workload(
        *("v1", "Pod", "pods", namespace, name, "/spec", pod),
        labels=own,
        pod_labels=template,
        made_labels=jobs or template,
    )


def _unquoted(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:  # quoted as Go does it, which JSON does not know: no image's name
        return text
