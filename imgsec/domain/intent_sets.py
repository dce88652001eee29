# SPDX-License-Identifier: Apache-2.0
"""Policies that others published as defaults, to begin with, and what platforms need to run.

They are as they were published, wide names included. None is what the managed add-on enforces: that
lets IBM's own images in by IBM's own signatures, and these let them in unchecked, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from imgsec.domain.policy import Namespace, ObjectName
from imgsec.domain.policy_intent import (
    ImageNames,
    IntentRule,
    NameForm,
    PolicyIntent,
    Unchecked,
    form_of,
    platform_origin,
    set_origin,
)
from imgsec.domain.policy_rules import AdvisorDemand, TrustDemand
from imgsec.domain.reference import parse_registry, shown
from imgsec.domain.verdict import Note
from imgsec.errors import ImgsecError
from imgsec.reasons import INVALID_OPTION

_ARMADA = tuple(
    f"{host}/{path}/*"
    for host in ("registry*.bluemix.net", "*.icr.io", "icr.io")
    for path in ("armada", "armada-worker", "armada-master")
)
# The default repositories of IBM Multicloud Management: cluster scope, no checks.
_MULTICLOUD = tuple(
    """
    registry.redhat.io/* cp.icr.io/cp/* icr.io/* *.icr.io/* registry*.bluemix.net/*
    registry.marketplace.redhat.com/* docker.elastic.co/beats/filebeat:*
    docker.elastic.co/elasticsearch/elasticsearch:* docker.elastic.co/kibana/kibana:*
    docker.elastic.co/logstash/logstash:* docker.io/alpine* docker.io/amd64/busybox*
    docker.io/apache/couchdb* docker.io/busybox* docker.io/cassandra:* docker.io/centos:*
    docker.io/consul:* docker.io/couchdb:* docker.io/db2eventstore/* docker.io/dduportal/bats:*
    docker.io/f5networks/k8s-bigip-ctlr:* docker.io/haproxy:* docker.io/hazelcast/hazelcast:*
    docker.io/hybridcloudibm/* docker.io/ibmcloudcontainers/strongswan:* docker.io/ibmcom/*
    docker.io/icpdashdb/* docker.io/istio/proxyv2:* docker.io/library/busybox:*
    docker.io/minio/mc:* docker.io/minio/minio:* docker.io/nginx:* docker.io/open-liberty:*
    docker.io/openliberty/* docker.io/openwhisk/* docker.io/openzipkin/zipkin:*
    docker.io/opsh2oai/dai-ppc64le:* docker.io/postgres:* docker.io/ppc64le/*
    docker.io/prom/prometheus:* docker.io/prom/statsd-exporter:* docker.io/python:*
    docker.io/rabbitmq:* docker.io/radial/busyboxplus:* docker.io/redis* docker.io/rook/ceph:*
    docker.io/rook/rook:* docker.io/skydive/* docker.io/store/ibmcorp/* docker.io/ubuntu*
    docker.io/vault:* docker.io/websphere-liberty:* docker.io/wurstmeister/kafka:*
    docker.io/zookeeper:* k8s.gcr.io/addon-resizer:* k8s.gcr.io/elasticsearch:*
    k8s.gcr.io/fluentd-elasticsearch:* k8s.gcr.io/hyperkube:* quay.io/ansible-tower/*
    quay.io/coreos/hyperkube:* quay.io/coreos/kube-rbac-proxy:* quay.io/coreos/kube-state-metrics:*
    quay.io/coreos/monitoring-grafana:* quay.io/kubernetes-multicluster/federation-v2:*
    quay.io/k8scsi/csi-attacher:* quay.io/k8scsi/driver-registrar:* quay.io/k8scsi/nfsplugin:*
    quay.io/multicloudlab/* quay.io/openshift-release-* quay.io/prometheus/node-exporter:*
    quay.io/yanweili/* registry.access.redhat.com/rhel* registry.access.redhat.com/rhscl/*
    registry.bluemix.net/armada-master/ibm-worker-recovery:* registry.bluemix.net/ibm/*
    <cluster-domain>:8500/* gcr.io/cloud-builders/gcs-fetcher:*
    gcr.io/knative-releases/github.com/knative/* gcr.io/k8s-prow/entrypoint:*
    gcr.io/tekton-releases/github.com/tektoncd/pipeline/*
    """.split()
)
_PLACEHOLDER = "<cluster-domain>"


@dataclass(frozen=True, slots=True)
class BuiltInSet:
    """One set. source: where its rules were published. make: its documents, for a domain."""

    source: str
    make: Callable[[str, str], tuple[PolicyIntent, ...]]


def _unchecked(names: Iterable[str], origin: str, why: str) -> IntentRule:
    return IntentRule(
        tuple(ImageNames(name, form_of(name)) for name in names),
        unchecked=Unchecked(why),
        origin=origin,
    )


def _policy(name: str, rules: Iterable[IntentRule], *namespaces: str) -> PolicyIntent:
    return PolicyIntent(tuple(rules), ObjectName(name), tuple(map(Namespace, namespaces)))


def _cise(origin: str, _: str) -> tuple[PolicyIntent, ...]:
    why = "a default of CISE"
    further = ("icr.io/ibm/*", "icr.io/ext/*", "icr.io/obs/*")
    checked = IntentRule(
        (ImageNames("*", NameForm.WIDE),),
        trust=TrustDemand(),
        advisor=AdvisorDemand(),
        origin=origin,
    )
    system = ("icr.io/ibm/ibmcloud-image-enforcement", "icr.io/obs/kubectl")
    cluster, own = "ibmcloud-default-cluster-image-policy", "ibmcloud-image-policy"
    return (
        _policy(cluster, (_unchecked((*_ARMADA, *further), origin, why), checked)),
        _policy(own, (_unchecked(("*", *_ARMADA), origin, why),), "kube-system"),
        _policy(own, (_unchecked(("*", *_ARMADA, *system), origin, why),), "ibm-system"),
    )


def _iks(origin: str, _: str) -> tuple[PolicyIntent, ...]:
    why = "a default of Portieris on IKS"
    return (
        _policy("default", (_unchecked(("*",), origin, why),)),
        _policy("default", (_unchecked(("*", *_ARMADA), origin, why),), "kube-system"),
        _policy(
            "default", (_unchecked((*_ARMADA, "icr.io/ext/istio/*"), origin, why),), "ibm-system"
        ),
        _policy("default", (_unchecked((_PORTIERIS,), origin, why),), "portieris"),
    )


def _multicloud(origin: str, domain: str) -> tuple[PolicyIntent, ...]:
    names = (
        name.replace(_PLACEHOLDER, domain)
        for name in _MULTICLOUD
        if domain or _PLACEHOLDER not in name
    )
    why = "a default of IBM Multicloud Management"
    return (_policy("multicloud-defaults", (_unchecked(names, origin, why),)),)


def _empty(_: str, __: str) -> tuple[PolicyIntent, ...]:
    return (_policy("empty", ()),)


_PORTIERIS = "icr.io/portieris/portieris"
SETS: Mapping[str, BuiltInSet] = {
    "cise-defaults": BuiltInSet("IBM Container Image Security Enforcement, documentation", _cise),
    "portieris-iks": BuiltInSet("IBM/portieris, helm/portieris, PolicySet IKS, 0.14.2", _iks),
    "multicloud": BuiltInSet("IBM Multicloud Management, image-security-enforcement", _multicloud),
    "empty": BuiltInSet("nothing: all is denied, to begin with", _empty),
}


@dataclass(frozen=True, slots=True)
class Platform:
    """What a platform runs by itself. namespaces: where it does so; source: who says it."""

    source: str
    names: tuple[str, ...]
    namespaces: tuple[str, ...]


PLATFORMS: Mapping[str, Platform] = {
    "iks": Platform(
        "IBM/portieris, helm/portieris, PolicySet IKS; CISE's defaults",
        (*_ARMADA, "icr.io/ibm/*", "icr.io/ext/*", "icr.io/obs/*"),
        ("kube-system", "ibm-system", "ibm-observe"),
    ),
    "kubernetes": Platform(
        "kubeadm, constants: DefaultImageRepository and the registry's name since 1.25",
        ("registry.k8s.io/*",),
        ("kube-system",),
    ),
    "openshift": Platform(
        "OpenShift, release payloads and the catalogues of its operators",
        (
            "quay.io/openshift-release-dev/*",
            "registry.redhat.io/*",
            "registry.access.redhat.com/*",
            "image-registry.openshift-image-registry.svc:5000/openshift/*",
        ),
        ("kube-system", "openshift-operators", "openshift-marketplace"),
    ),
    "portieris": Platform(
        "IBM/portieris, helm/portieris, values.yaml: image",
        (_PORTIERIS,),
        ("portieris",),
    ),
    "tekton": Platform(
        "tektoncd/pipeline, release manifests since 2025",
        ("ghcr.io/tektoncd/*",),
        ("tekton-pipelines", "tekton-pipelines-resolvers"),
    ),
}


def set_named(
    name: str, *, cluster_domain: str | None = None
) -> tuple[tuple[PolicyIntent, ...], tuple[Note, ...]]:
    """The documents of a set, and what must be known. Raises `ImgsecError` (invalid-option)."""
    found = SETS.get(name)
    if found is None:
        text = f"there is no set {shown(name)}: {', '.join(SETS)}"
        raise ImgsecError(INVALID_OPTION(text))
    domain = parse_registry(cluster_domain) if cluster_domain else ""
    if ":" in domain:
        raise ImgsecError(INVALID_OPTION(f"--cluster-domain {domain}: leave the port out"))
    notes = []
    if name == "multicloud" and not domain:
        text = "the rule for the cluster's own registry is left out: give --cluster-domain NAME"
        notes.append(Note("cluster-domain-missing", text))
    if name != "empty":
        text = (
            f"the set {name} lets images in by name; the managed add-on lets IBM's own in by IBM's"
            " signatures"
        )
        notes.append(Note("not-the-add-on", text))
    return found.make(set_origin(name), domain), tuple(notes)


def platform_named(name: str, intents: Iterable[PolicyIntent]) -> tuple[PolicyIntent, ...]:
    """What a platform needs beside these documents, cluster-wide and in its own namespaces.

    Of its namespaces those that have rules of their own: the cluster-wide ones do not count there.
    Raises `ImgsecError` (invalid-option).
    """
    found = PLATFORMS.get(name)
    if found is None:
        text = f"there is no platform {shown(name)}: {', '.join(PLATFORMS)}"
        raise ImgsecError(INVALID_OPTION(text))
    taken = {str(one) for intent in intents for one in intent.namespaces}
    rule = _unchecked(found.names, platform_origin(name), f"{name} runs it by itself")
    own = [namespace for namespace in found.namespaces if namespace in taken]
    title = f"imgsec-platform-{name}"
    return (_policy(title, (rule,)), *([_policy(title, (rule,), *own)] if own else []))
