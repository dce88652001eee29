# SPDX-License-Identifier: Apache-2.0
"""What is almost a name that decides, and that none of Kubernetes's own names is."""

from __future__ import annotations

import pytest

from imgsec.domain import workload
from imgsec.domain.near_names import (
    ACCOUNT_FIELDS,
    METADATA_FIELDS,
    OBJECT_FIELDS,
    SECRET_FIELDS,
    almost,
    misspelt,
)

# By type, as `kubernetes/kubernetes` 1.37 has them (api/openapi-spec/swagger.json), and what older
# versions had beside them.
REAL = {
    "ObjectMeta": """
        annotations creationTimestamp deletionGracePeriodSeconds deletionTimestamp
        finalizers generateName generation labels managedFields name namespace
        ownerReferences resourceVersion selfLink uid
    """,
    "OwnerReference": "apiVersion blockOwnerDeletion controller kind name uid",
    "PodTemplateSpec": "metadata spec",
    "JobTemplateSpec": "metadata spec",
    "PodSpec": """
        activeDeadlineSeconds affinity automountServiceAccountToken containers dnsConfig
        dnsPolicy enableServiceLinks ephemeralContainers evictionResponders hostAliases
        hostIPC hostNetwork hostPID hostUsers hostname hostnameOverride imagePullSecrets
        initContainers nodeName nodeSelector os overhead preemptionPolicy priority
        priorityClassName readinessGates resourceClaims resources restartPolicy
        runtimeClassName schedulerName schedulingGates schedulingGroup securityContext
        serviceAccount serviceAccountName setHostnameAsFQDN shareProcessNamespace subdomain
        terminationGracePeriodSeconds tolerations topologySpreadConstraints volumes
    """,
    "Container": """
        args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports
        readinessProbe resizePolicy resources restartPolicy restartPolicyRules
        securityContext startupProbe stdin stdinOnce terminationMessagePath
        terminationMessagePolicy tty volumeDevices volumeMounts workingDir
    """,
    "EphemeralContainer": """
        args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports
        readinessProbe resizePolicy resources restartPolicy restartPolicyRules
        securityContext startupProbe stdin stdinOnce targetContainerName
        terminationMessagePath terminationMessagePolicy tty volumeDevices volumeMounts
        workingDir
    """,
    "Volume": """
        awsElasticBlockStore azureDisk azureFile cephfs cinder configMap csi downwardAPI
        emptyDir ephemeral fc flexVolume flocker gcePersistentDisk gitRepo glusterfs
        hostPath image iscsi name nfs persistentVolumeClaim photonPersistentDisk
        portworxVolume projected quobyte rbd scaleIO secret storageos vsphereVolume
    """,
    "ImageVolumeSource": "pullPolicy reference",
    "LocalObjectReference": "name",
    "Pod": "apiVersion kind metadata spec status",
    "Secret": "apiVersion data immutable kind metadata stringData type",
    "ServiceAccount": """
        apiVersion automountServiceAccountToken imagePullSecrets kind metadata secrets
    """,
    "DeploymentSpec": """
        minReadySeconds paused progressDeadlineSeconds replicas revisionHistoryLimit
        selector strategy template
    """,
    "ReplicaSetSpec": "minReadySeconds replicas selector template",
    "DaemonSetSpec": "minReadySeconds revisionHistoryLimit selector template updateStrategy",
    "StatefulSetSpec": """
        minReadySeconds ordinals persistentVolumeClaimRetentionPolicy podManagementPolicy
        replicas revisionHistoryLimit selector serviceName template updateStrategy
        volumeClaimTemplates
    """,
    "ReplicationControllerSpec": "minReadySeconds replicas selector template",
    "JobSpec": """
        activeDeadlineSeconds backoffLimit backoffLimitPerIndex completionMode completions
        managedBy manualSelector maxFailedIndexes parallelism podFailurePolicy
        podReplacementPolicy scheduling selector successPolicy suspend template
        ttlSecondsAfterFinished
    """,
    "CronJobSpec": """
        concurrencyPolicy failedJobsHistoryLimit jobTemplate schedule
        startingDeadlineSeconds successfulJobsHistoryLimit suspend timeZone
    """,
}
OLDER = {
    "ObjectMeta": "clusterName initializers",
    "DeploymentSpec": "rollbackTo",
    "DaemonSetSpec": "templateGeneration uniqueLabelKey",
    "PodSpec": "host deprecatedServiceAccount",
}
KINDS = """
    Binding ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume
    PersistentVolumeClaim PodTemplate ResourceQuota Secret Service ServiceAccount Eviction Scale
    ControllerRevision DeploymentRollback Ingress NetworkPolicy PodSecurityPolicy JobTemplate
    ScheduledJob ThirdPartyResource Status DeleteOptions APIResourceList Config Template Build
    BuildConfig DeploymentConfig Image ImageStream ImageStreamTag Project Route User Group Role
"""
PLACES = [
    ("ObjectMeta", METADATA_FIELDS),
    ("OwnerReference", workload.OWNER_FIELDS),
    ("PodTemplateSpec", workload.TEMPLATE_FIELDS),
    ("JobTemplateSpec", workload.TEMPLATE_FIELDS),
    ("PodSpec", workload.POD_FIELDS),
    ("Container", workload.CONTAINER_FIELDS),
    ("EphemeralContainer", workload.CONTAINER_FIELDS),
    ("Volume", workload.VOLUME_FIELDS),
    ("ImageVolumeSource", ("reference",)),
    ("LocalObjectReference", ("name",)),
    ("Pod", OBJECT_FIELDS),
    ("Secret", SECRET_FIELDS),
    ("ServiceAccount", ACCOUNT_FIELDS),
    *(
        (f"{kind}Spec", workload.MAKER_FIELDS)
        for kind in (
            *("Deployment", "ReplicaSet", "DaemonSet", "StatefulSet", "ReplicationController"),
            *("Job", "CronJob"),
        )
    ),
]


@pytest.mark.parametrize(("type_", "known"), PLACES)
def test_no_real_field_is_almost_another(type_: str, known: tuple[str, ...]) -> None:
    real = f"{REAL[type_]} {OLDER.get(type_, '')}".split()
    assert misspelt(real, known) is None
    assert set(known) <= {*real, "replicas", "template", "jobTemplate"}


@pytest.mark.parametrize("kind", KINDS.split())
def test_no_real_kind_is_almost_one_that_runs(kind: str) -> None:
    assert almost(kind, (*workload.READ_KINDS, "List")) is None


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *(("Pdo", "Pod"), ("pod", "Pod"), ("Podd", "Pod"), ("Pods", "Pod"), ("jobs", "Job")),
        *(("Deploymnet", "Deployment"), ("CronJobs", "CronJob"), ("Demonset", "DaemonSet")),
        *(("Whatever", None), ("", None), ("P" * 10_000, None)),
    ],
)
def test_kind_that_is_almost_one_that_runs(name: str, meant: str | None) -> None:
    assert almost(name, workload.READ_KINDS) == meant


def test_field_is_told_with_what_was_meant() -> None:
    assert misspelt(["spec", "metdata"], OBJECT_FIELDS) == (
        "the field 'metdata' is unknown; did you mean metadata?"
    )
    assert misspelt([1, "kind"], OBJECT_FIELDS) is None
