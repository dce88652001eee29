# SPDX-License-Identifier: Apache-2.0
"""A cluster and its registries in memory, in which admissions are predicted with the real gpg."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imgsec.adapters._process import Tools
from imgsec.adapters.gpg import gpg_keyring
from imgsec.adapters.private_dir import PrivateDir
from imgsec.domain.admission import Admission
from imgsec.domain.engines import NEWEST, Engine
from imgsec.domain.policy_rules import Policy
from imgsec.domain.pull_secrets import PullCredential
from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.resolution import Pools
from imgsec.domain.signature import stored_signature
from imgsec.domain.verdict import Note
from imgsec.domain.vulnerability import ADVISOR, ScanReport, ScanStatus, ScanSubject
from imgsec.domain.webhook import Webhook
from imgsec.domain.workload import read_workload
from imgsec.errors import ImageNotFound, ImgsecError
from imgsec.operations.advisor_layer import AdvisorLayer
from imgsec.operations.image_evidence import RememberedImages
from imgsec.operations.predict_admission import Layers, Predictor
from imgsec.operations.simple_layer import SimpleLayer
from imgsec.operations.trust_layer import TrustLayer
from imgsec.ports import ImageReader, Keyring, Manifest, StoreAddress
from imgsec.reasons import ADMISSION_OPEN, IMAGE_NOT_FOUND, MISSING_CREDENTIAL, Outcome

API, CISE_API = "portieris.cloud.ibm.com/v1", "securityenforcement.admission.cloud.ibm.com/v1beta1"
OCI = "application/vnd.oci.image.manifest.v1+json"
OFFLINE = ADMISSION_OPEN("nothing was asked")
NAMESPACE = "shop"
SIGNED_BY = {"type": "signedBy", "keySecret": "key"}
REPOSITORY = "us.icr.io/team/app"
IMAGE = f"{REPOSITORY}:1"


def digest_of(text: str) -> Digest:
    return Digest.of(text.encode())


def rule(name: str, **policy: Any) -> dict[str, Any]:
    return {"name": name, "policy": policy}


def signed(*requirements: dict[str, Any], **simple: Any) -> dict[str, Any]:
    """What a rule's ``simple`` asks for: by default one signature of the key ``key``."""
    return {"requirements": list(requirements or (SIGNED_BY,)), **simple}


ACCEPTS = signed({"type": "insecureAcceptAnything"})


def notes(admission: Admission) -> set[str]:
    """What was not checked, by codes."""
    return {note.code for note in admission.unchecked}


def is_denied(admission: Admission) -> bool:
    assert admission.verdict.outcome is not Outcome.UNDECIDED, admission.verdict
    return admission.verdict.outcome is Outcome.REFUSED


def policy(*rules: dict[str, Any], kind: str = "ClusterImagePolicy", **rest: Any) -> dict[str, Any]:
    metadata = {"name": rest.get("name", "p")}
    if kind == "ImagePolicy":
        metadata["namespace"] = rest.get("namespace", NAMESPACE)
    return {
        **{"apiVersion": rest.get("api", API), "kind": kind, "metadata": metadata},
        "spec": {"repositories": list(rules)},
    }


def pod(*images: str, init: Sequence[str] = (), **spec: Any) -> dict[str, Any]:
    """A Pod; images of its containers in their order. spec: further members of its spec."""
    return {
        **{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}},
        "spec": pod_spec(*images, init=init, **spec),
    }


def pod_spec(*images: str, init: Sequence[str] = (), **spec: Any) -> dict[str, Any]:
    found = {"containers": [{"name": f"c{at}", "image": one} for at, one in enumerate(images)]}
    if init:
        found["initContainers"] = [{"name": f"i{at}", "image": one} for at, one in enumerate(init)]
    return {**found, **spec}


def deployment(*images: str, kind: str = "Deployment", api: str = "apps/v1", **more: Any) -> Any:
    """An object with a template. more: members of its spec; metadata: further ones of its own."""
    metadata = {"name": "web", **more.pop("metadata", {})}
    template = {"metadata": more.pop("template_metadata", {}), "spec": pod_spec(*images)}
    template["spec"] |= more.pop("pod", {})
    return {
        **{"apiVersion": api, "kind": kind, "metadata": metadata},
        "spec": {"template": template, **more},
    }


@dataclass
class Images:
    """Registries. manifests: by name with tag or digest. needs: repository -> the pair it wants.

    signatures: by digest. stores: by address, digest -> files, which are read as stores are.
    """

    manifests: dict[str, Digest | ImgsecError] = field(default_factory=dict)
    needs: dict[str, bytes] = field(default_factory=dict)
    signatures: dict[str, list[bytes] | ImgsecError] = field(default_factory=dict)
    stores: dict[str, dict[str, list[bytes]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def push(self, name: str, *signatures: bytes) -> Digest:
        digest = digest_of(name)
        self.manifests[name] = digest
        self.manifests[f"{ImageReference.parse(name).name}@{digest}"] = digest
        self.signatures.setdefault(str(digest), []).extend(signatures)  # type: ignore[union-attr]
        return digest

    def reader(self, credential: PullCredential | None, store: StoreAddress | None) -> ImageReader:
        return _Reader(self, credential.pair.reveal() if credential else None, store)


@dataclass
class _Reader:
    images: Images
    pair: bytes | None
    store: StoreAddress | None

    def fetch_manifest(self, image: ImageReference) -> Manifest:
        name = image.canonical_name if image.digest else image.tagged_name
        self.images.asked.append(f"manifest {name}")
        wanted = self.images.needs.get(image.name)
        if wanted is not None and self.pair != wanted:
            raise ImgsecError(MISSING_CREDENTIAL(f"{image.name} is private"))
        found = self.images.manifests.get(name)
        if found is None:
            raise ImageNotFound(IMAGE_NOT_FOUND(f"{name} is not there"))
        if isinstance(found, ImgsecError):
            raise found
        return Manifest(b"{}", OCI, found)

    def fetch_signatures(self, image: ImageReference) -> tuple[bytes, ...]:
        self.images.asked.append(f"signatures {image.canonical_name}")
        if self.store is not None:
            files = self.images.stores[self.store.url].get(str(image.digest), [])
            places = (f"{self.store.url}/signature-{at}" for at in itertools.count(1))
            read = [stored_signature(one, "it", at) for one, at in zip(files, places, strict=False)]
            return tuple(one for one in read if one is not None)
        found = self.images.signatures.get(str(image.digest), [])
        if isinstance(found, ImgsecError):
            raise found
        return tuple(found)

    def require_signature_store(self, image: ImageReference, *, writable: bool = False) -> None:
        pass


@dataclass
class Advisor:
    """says: the status of every image, or the error of asking."""

    says: str | ImgsecError = "OK"
    asked: list[str] = field(default_factory=list)
    may_change = True

    def require_served(self, image: ImageReference) -> None:
        pass

    def fetch_reports(self, subject: ScanSubject) -> tuple[ScanReport, ...]:
        self.asked.append(str(subject.image))
        if isinstance(self.says, ImgsecError):
            raise self.says
        return (ScanReport(ADVISOR, ScanStatus(self.says)),)


@dataclass
class Town:
    """What a cluster holds, and what can be asked from there. now: the engine's clock."""

    new_keyring: Callable[[], Keyring]
    images: Images = field(default_factory=Images)
    advisor: Advisor = field(default_factory=Advisor)
    policies: list[dict[str, Any]] = field(default_factory=list)
    objects: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    webhooks: list[dict[str, Any]] | None = None
    trust: Any = None  # what stands in for Docker Content Trust
    limits: tuple[Note, ...] = ()
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def secret(self, name: str, namespace: str = NAMESPACE, **data: bytes | str) -> None:
        """data: by name; an underscore in front stands for a point."""
        content = {
            key.replace("_", ".", 1) if key.startswith("_") else key: base64.b64encode(
                value.encode() if isinstance(value, str) else value
            ).decode()
            for key, value in data.items()
        }
        self.objects["Secret", namespace, name] = {"kind": "Secret", "data": content}

    def pull_secret(self, name: str, host: str, pair: str, namespace: str = NAMESPACE) -> None:
        auth = base64.b64encode(pair.encode()).decode()
        content = json.dumps({"auths": {host: {"auth": auth}}})
        self.secret(name, namespace, _dockerconfigjson=content)

    def account(self, name: str, *secrets: str, namespace: str = NAMESPACE) -> None:
        listed = [{"name": one} for one in secrets]
        self.objects["ServiceAccount", namespace, name] = {"imagePullSecrets": listed}

    def list_policies(self) -> tuple[Policy, ...]:
        return tuple(Policy.read(one) for one in self.policies)

    def find_secret(self, namespace: str, name: str) -> dict[str, Any] | None:
        return self.objects.get(("Secret", namespace, name))

    def told_places(self, name: str) -> tuple[str, ...]:
        return tuple(at for kind, at, own in self.objects if (kind, own) == ("Secret", name))

    def find_service_account(self, namespace: str, name: str) -> dict[str, Any] | None:
        return self.objects.get(("ServiceAccount", namespace, name))

    def find_namespace(self, name: str) -> dict[str, Any] | None:
        return self.objects.get(("Namespace", "", name))

    def list_webhooks(self) -> tuple[dict[str, Any], ...] | None:
        return tuple(self.webhooks) if self.webhooks is not None else None

    def predictor(
        self, engine: Engine = NEWEST, *, offline: bool = False, **more: Any
    ) -> Predictor:
        images = None if offline else RememberedImages(self.images)
        layers = Layers(
            SimpleLayer(self, images, self.new_keyring, self.now),
            self.trust or TrustLayer(engine, self, None, self.now),
            AdvisorLayer(engine, None if offline else self.advisor, images),
            OFFLINE,
            self.limits,
        )
        webhook = Webhook.find(self.webhooks) if self.webhooks is not None else None
        pools = Pools.of(self.list_policies(), engine)
        return Predictor(engine, pools, self, layers, webhook=webhook, **more)

    def predict(
        self,
        document: dict[str, Any],
        engine: Engine = NEWEST,
        *,
        request: tuple[str, str] | None = None,
        **more: Any,
    ) -> Admission:
        """request: the group and version, and the resource, of an AdmissionReview."""
        workload = read_workload(document, namespace=NAMESPACE, request=request)
        assert workload is not None
        predictor = self.predictor(engine, **more)
        return predictor.predict(workload, is_request=request is not None)


@contextmanager
def open_town(folder: Path) -> Iterator[Town]:
    """folder: a private one with a short path."""
    private, numbers = PrivateDir(folder, in_memory=True), itertools.count()
    with ExitStack() as stack:

        def new_keyring() -> Keyring:
            opened = gpg_keyring(Tools(), private, folder=f"k{next(numbers)}")
            return stack.enter_context(opened)

        yield Town(new_keyring)


def payload(name: str, digest: Digest, **changes: Any) -> bytes:
    critical = {
        "type": "atomic container signature",
        "image": {"docker-manifest-digest": str(digest)},
        "identity": {"docker-reference": name},
    }
    return json.dumps({"critical": critical, "optional": {}, **changes}).encode()
