# SPDX-License-Identifier: Apache-2.0
"""What an admission engine sees of a Kubernetes object: its pod, and whose child it is.

Which groups and versions are read, and where the pod stands in them: Portieris
`pkg/kubernetes/podspec.go`. Image texts are kept byte for byte, since they are compared so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from imgsec.domain.near_names import METADATA_FIELDS, OBJECT_FIELDS, almost, misspelt
from imgsec.domain.policy import is_namespace
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import WORKLOAD_MALFORMED

_TEMPLATE = ("spec", "template", "spec")
_APPS = frozenset(("apps/v1", "apps/v1beta2", "extensions/v1beta1"))
# Resource -> the groups and versions that the engine reads, and where the pod stands.
_READ: dict[str, tuple[frozenset[str], tuple[str, ...]]] = {
    "pods": (frozenset(("v1",)), ("spec",)),
    "replicationcontrollers": (frozenset(("v1",)), _TEMPLATE),
    "deployments": (_APPS | {"apps/v1beta1"}, _TEMPLATE),
    "replicasets": (_APPS, _TEMPLATE),
    "daemonsets": (_APPS, _TEMPLATE),
    "statefulsets": (frozenset(("apps/v1", "apps/v1beta1", "apps/v1beta2")), _TEMPLATE),
    "jobs": (frozenset(("batch/v1",)), _TEMPLATE),
    "cronjobs": (
        frozenset(("batch/v1", "batch/v1beta1")),
        ("spec", "jobTemplate", "spec", "template", "spec"),
    ),
}
# As a cluster spells them: it knows no other spelling.
READ_KINDS = (
    *("Pod", "ReplicationController", "Deployment", "ReplicaSet", "DaemonSet"),
    *("StatefulSet", "Job", "CronJob"),
)
_KINDS = (*READ_KINDS, "List")
# What decides in each place, beside what does in every object.
MAKER_FIELDS = ("replicas", "template", "jobTemplate")
TEMPLATE_FIELDS = ("metadata", "spec")
POD_FIELDS = (
    *("containers", "initContainers", "ephemeralContainers", "imagePullSecrets", "volumes"),
    "serviceAccountName",
)
CONTAINER_FIELDS = VOLUME_FIELDS = ("name", "image")
OWNER_FIELDS = ("apiVersion", "kind", "name")
_SCALED = ("deployments", "replicasets", "replicationcontrollers", "statefulsets")
# The kinds whose children the engines left unchecked, whatever their group.
OWNER_KINDS = frozenset(
    "Deployment Pod DaemonSet ReplicaSet ReplicationController StatefulSet CronJob Job".split()
)
# What has its template's labels where it has none of its own (`SetDefaults_Job` and others).
_LABELLED_BY_TEMPLATE = ("jobs", "replicationcontrollers")
READ_RESOURCES = frozenset(_READ)
READ_GROUPS = frozenset(api.rpartition("/")[0] for apis, _ in _READ.values() for api in apis)
TEMPLATE_PATH = "/" + "/".join(_TEMPLATE)
CONTAINER_TYPES = ("initContainers", "containers")
EVERY_CONTAINER_TYPE = (*CONTAINER_TYPES, "ephemeralContainers")
_NO_SPACE_IN_GO = "\x1c\x1d\x1e\x1f"


@dataclass(frozen=True, slots=True)
class Container:
    """One container. type: initContainers or containers; place: from 0; image: as it is written."""

    type: str
    place: int
    name: str
    image: str

    @property
    def is_blank(self) -> bool:
        """Whether the engine passes it over: it has nothing but what Go takes for white space."""
        return all(one.isspace() and one not in _NO_SPACE_IN_GO for one in self.image)


@dataclass(frozen=True, slots=True)
class PodSpec:
    """The part of a pod that admission hangs on. unseen: further images, which no engine looks at,
    with what they are.
    """

    containers: tuple[Container, ...]
    pull_secrets: tuple[str, ...] = ()
    service_account: str = "default"
    unseen: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Workload:
    """One object. api: group and version. resource: its plural, in lower case. path: where the pod
    stands, as a JSON pointer. owners: the kinds of its owners. replicas: None for a kind without.
    is_read: whether engines read this resource in this group and version. pod_labels: of the pods
    that are made from it; made_labels: of what is made in between. is_made: a controller makes it,
    and may give it further labels. line: in its file.
    """

    api: str
    kind: str
    resource: str
    namespace: str
    name: str
    path: str
    pod: PodSpec
    owners: tuple[str, ...] = ()
    replicas: int | None = None
    is_read: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)
    pod_labels: Mapping[str, str] = field(default_factory=dict)
    made_labels: Mapping[str, str] = field(default_factory=dict)
    is_made: bool = False
    where: str = ""
    line: int = 0

    @property
    def is_intercepted(self) -> bool:
        """Whether the webhook's usual registration sends it: by its plural, whatever its group."""
        return self.resource in _READ

    @property
    def is_pod(self) -> bool:
        return self.resource == "pods"

    @property
    def group_version_resource(self) -> str:
        """As the engine writes it: ``apps/v1/deployments``, ``/v1/pods``."""
        group, slash, version = self.api.rpartition("/")
        return f"{group}/{version if slash else self.api}/{self.resource}"

    def __str__(self) -> str:
        return f"{self.kind} {f'{self.namespace}/' if self.namespace else ''}{self.name}"

    def with_images(self, images: Mapping[tuple[str, int], str]) -> Self:
        """The same with other images, by type and place."""
        containers = tuple(
            replace(one, image=images.get((one.type, one.place), one.image))
            for one in self.pod.containers
        )
        return replace(self, pod=replace(self.pod, containers=containers))

    def child(self) -> Self:
        """A pod that is made from it, as its controller makes it."""
        return replace(
            self,
            api="v1",
            kind="Pod",
            resource="pods",
            path="/spec",
            owners=(self.kind,),
            replicas=None,
            is_read=True,
            labels=self.pod_labels,
            is_made=True,
        )


def read_workload(
    document: Mapping[str, Any],
    *,
    namespace: str,
    where: str = "",
    line: int = 0,
    request: tuple[str, str] | None = None,
) -> Workload | None:
    """An object with a pod in it; None for any other, which runs nothing by itself.

    namespace: for one that names none. request: the group and version, and the resource, that a
    request names; its namespace counts then, whatever the object says, and of what engines do not
    read nothing is looked at. Raises `ImgsecError` (workload-malformed) for what no cluster would
    take, and for a kind of Kubernetes's own that is almost one of these.
    """
    kind, api = str(document.get("kind", "")), str(document.get("apiVersion", ""))
    api, plural = request or (api, _plural(kind))
    apis, steps = _READ.get(plural, (frozenset[str](), _TEMPLATE))
    is_read = api in apis
    of = f"{where}: {kind}" if where else kind
    if request is None:
        _require_no_near_kind(kind, api, f"{where}: " if where else "")
    elif not is_read:
        return _unread(document, api, plural, namespace)
    spec = _descended(document, steps)
    if plural not in _READ and not _looks_like_pod(spec):
        return None
    if not is_read and not _looks_like_pod(spec):
        spec = {"containers": []}  # refused by its group, whatever is in it
    metadata = _mapping(document.get("metadata"), f"{of}: metadata")
    name = _text(metadata.get("name"), f"{of}: the name")
    name = name or _text(metadata.get("generateName"), f"{of}: generateName")
    of = f"{of} {shown(name)}"
    if is_read:
        _require_no_near(document, OBJECT_FIELDS, of)
        _require_no_near(metadata, METADATA_FIELDS, f"{of}: metadata")
        _require_no_near_on_the_way(document, steps, of)
    spec = _mapping(spec, f"{of}: {'.'.join(steps)}")
    pod = _pod(spec, of)
    if is_read and not any(one.type == CONTAINER_TYPES[1] for one in pod.containers):
        raise _malformed(f"{of} has no containers")
    replicas = None
    if plural in _SCALED and is_read:
        wanted = _mapping(document.get("spec"), f"{of}: spec").get("replicas")
        if wanted is not None and type(wanted) is not int:
            raise _malformed(f"{of}: replicas is no whole number")
        replicas = 1 if wanted is None else wanted
    owners = _objects(metadata, "ownerReferences", of)
    for one in owners:
        _require_no_near(one, OWNER_FIELDS, f"{of}: ownerReferences")
    own = _namespace(_text(metadata.get("namespace"), f"{of}: namespace"), of)
    labels, pod_labels = _labels(metadata, of), _pod_labels(document, steps, of)
    if plural in _LABELLED_BY_TEMPLATE:
        labels = labels or pod_labels
    return Workload(
        api=api,
        kind=kind,
        resource=plural,
        namespace=namespace if request is not None else own or namespace,
        name=name,
        path="/" + "/".join(steps),
        pod=pod,
        owners=tuple(_text(one.get("kind"), f"{of}: an owner's kind") for one in owners),
        replicas=replicas,
        is_read=is_read,
        labels=labels,
        pod_labels=pod_labels,
        made_labels=_made_labels(document, plural, of) or (labels if not is_read else pod_labels),
        where=where,
        line=line,
    )


def _unread(document: Mapping[str, Any], api: str, plural: str, namespace: str) -> Workload:
    """What a request is about that engines refuse by its resource, whatever is in it."""
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return Workload(
        api=api,
        kind=str(document.get("kind") or plural),
        resource=plural,
        namespace=namespace,
        name=name if isinstance(name, str) else "",
        path="/",
        pod=PodSpec(()),
        is_read=False,
    )


def _pod_labels(document: Mapping[str, Any], steps: tuple[str, ...], of: str) -> dict[str, str]:
    """Of the pods that are made from it; a pod is made from none."""
    if len(steps) == 1:
        return {}
    metadata = _mapping(
        _descended(document, (*steps[:-1], "metadata")), f"{of}: the template's metadata"
    )
    _require_no_near(metadata, METADATA_FIELDS, f"{of}: the template's metadata")
    return _labels(metadata, of)


def _made_labels(document: Mapping[str, Any], plural: str, of: str) -> dict[str, str]:
    """Those that a CronJob gives to its Jobs by itself."""
    if plural != "cronjobs":
        return {}
    outer = _mapping(_descended(document, ("spec", "jobTemplate", "metadata")), f"{of}: its Jobs")
    return _labels(outer, of)


def _labels(metadata: Mapping[str, Any], of: str) -> dict[str, str]:
    labels = _mapping(metadata.get("labels"), f"{of}: labels")
    return {str(key): _text(value, f"{of}: a label") for key, value in labels.items()}


def _namespace(name: str, of: str) -> str:
    if name and not is_namespace(name):
        raise _malformed(f"{of} has the namespace {shown(name)}, which is none of Kubernetes's")
    return name


def _require_no_near(given: Mapping[str, Any], known: tuple[str, ...], of: str) -> None:
    """Raises `ImgsecError` (workload-malformed) for a field that is nearly one of these."""
    if (said := misspelt(given, known)) is not None:
        raise _malformed(f"{of}: {said}")


def _require_no_near_on_the_way(
    document: Mapping[str, Any], steps: tuple[str, ...], of: str
) -> None:
    """The same for what leads to the pod: a spec, its template."""
    for end in range(1, len(steps)):
        holder = _descended(document, steps[:end])
        known = MAKER_FIELDS if steps[end - 1] == "spec" else TEMPLATE_FIELDS
        if isinstance(holder, dict):
            _require_no_near(holder, known, f"{of}: {'.'.join(steps[:end])}")


def _require_no_near_kind(kind: str, api: str, where: str) -> None:
    """Raises `ImgsecError` (workload-malformed) for a kind that is almost one that is read.

    Only of Kubernetes's own groups: what others name theirs is their business.
    """
    if not api or api.rpartition("/")[0] not in READ_GROUPS or kind in _KINDS:
        return
    if (meant := almost(kind, _KINDS)) is not None:
        text = f"{where}{shown(api)} has no kind {shown(kind)}; did you mean {meant}?"
        raise _malformed(text)


def is_read_by_engines(api: str, resource: str) -> bool:
    """Whether engines read this resource in this group and version."""
    return resource in _READ and api in _READ[resource][0]


def _plural(kind: str) -> str:
    return f"{kind.lower()}s"


def _pod(spec: Mapping[str, Any], of: str) -> PodSpec:
    _require_no_near(spec, POD_FIELDS, of)
    containers = tuple(
        Container(
            kind,
            place,
            _text(one.get("name"), f"{of}: a container's name"),
            _text(one.get("image"), f"{of}: a container's image"),
        )
        for kind in CONTAINER_TYPES
        for place, one in enumerate(_objects(spec, kind, of))
    )
    for kind in EVERY_CONTAINER_TYPE:
        for one in _objects(spec, kind, of):
            _require_no_near(one, CONTAINER_FIELDS, f"{of}: {kind}")
    secrets = _objects(spec, "imagePullSecrets", of)
    for one in secrets:
        _require_no_near(one, ("name",), f"{of}: imagePullSecrets")
    account = _text(spec.get("serviceAccountName"), f"{of}: serviceAccountName")
    account = account or _text(spec.get("serviceAccount"), f"{of}: serviceAccount")
    return PodSpec(
        containers,
        tuple(_text(one.get("name"), f"{of}: imagePullSecrets") for one in secrets),
        account or "default",
        tuple(_unseen(spec, of)),
    )


def _unseen(spec: Mapping[str, Any], of: str) -> Iterator[tuple[str, str]]:
    for one in _objects(spec, "ephemeralContainers", of):
        yield _text(one.get("image"), f"{of}: a container's image"), "ephemeral container"
    for one in _objects(spec, "volumes", of):
        _require_no_near(one, VOLUME_FIELDS, f"{of}: volumes")
        volume = _mapping(one.get("image"), f"{of}: a volume's image")
        _require_no_near(volume, ("reference",), f"{of}: a volume's image")
        if reference := _text(volume.get("reference"), f"{of}: a volume's reference"):
            yield reference, "image volume"


def _descended(document: Mapping[str, Any], steps: Iterable[str]) -> Any:
    found: Any = document
    for step in steps:
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _looks_like_pod(spec: Any) -> bool:
    return isinstance(spec, dict) and isinstance(spec.get("containers"), list)


def _objects(holder: Mapping[str, Any], name: str, of: str) -> list[dict[str, Any]]:
    """A list of objects. Go takes null for an empty one, and nothing else."""
    value, of = holder.get(name), f"{of}: {name}"
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise _malformed(f"{of} is no list of objects")
    return value


def _mapping(value: Any, of: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _malformed(f"{of} is no object")
    return value


def _text(value: Any, of: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _malformed(f"{of} is no text")
    return value


def _malformed(why: str) -> ImgsecError:
    return ImgsecError(WORKLOAD_MALFORMED(why))
