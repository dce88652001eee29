# SPDX-License-Identifier: Apache-2.0
"""What the core asks of the world, by capability: a reader should not hold a writer.

Every method may raise `ImgsecError`; the reasons that a caller is meant to handle are named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # they stand in signatures only, and every command would load all of them
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from imgsec.domain.content_trust import TrustAnswer
    from imgsec.domain.engine_name import EngineName
    from imgsec.domain.exemption import KeptExemption, Ledger
    from imgsec.domain.exemption_exchange import Defaults, Export, Exported, Imported
    from imgsec.domain.exemption_review import ChangedPlace
    from imgsec.domain.image_list import RegistryImage, ScanSummary
    from imgsec.domain.keys import Fingerprint, KeyLocation, KeyRequest, PublicKey, SecretBytes
    from imgsec.domain.ledger_edits import LedgerEdit
    from imgsec.domain.policy_rules import Policy
    from imgsec.domain.pull_secrets import PullCredential
    from imgsec.domain.reference import Digest, ImageReference, RegistryScope
    from imgsec.domain.report import Change
    from imgsec.domain.signature import OpenPGPMessage
    from imgsec.domain.vulnerability import ScanReport, ScanSubject
    from imgsec.domain.workload import Workload
    from imgsec.reasons import Reason


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as the registry keeps it: the very bytes, and the digest computed from them."""

    content: bytes
    media_type: str
    digest: Digest


class ManifestReader(Protocol):
    """Reads manifests, and never a layer."""

    def fetch_manifest(self, image: ImageReference) -> Manifest:
        """The manifest that the reference names; by digest if it has one, and then held against it.

        Raises `ImageNotFound`.
        """


class SignatureReader(Protocol):
    """Reads the simple signatures of a digest."""

    def fetch_signatures(self, image: ImageReference) -> tuple[bytes, ...]:
        """All signatures of a canonical image, oldest first. Raises (signature-store-missing)."""

    def require_signature_store(self, image: ImageReference, *, writable: bool = False) -> None:
        """Raises (signature-store-missing) if there is no place for the image's signatures."""


class ConfigReader(Protocol):
    """Reads the configuration of an image, for its platform."""

    def fetch_config(self, image: ImageReference, digest: Digest) -> bytes:
        """The configuration blob; empty for what is no container image."""


class Registry(ManifestReader, SignatureReader, ConfigReader, Protocol):
    """All of the above: what resolving and verifying need."""


class SigningRegistry(Registry, Protocol):
    """Takes signatures as well."""

    def store_signature(self, image: ImageReference, signature: bytes) -> None:
        """Keep one more signature of a canonical image, whatever others it has.

        Raises (pushed-unsigned), also where the credential may not.
        """


class TokenServiceGuard(Protocol):
    """Knows where a registry sends credentials."""

    def require_own_token_service(self, image: ImageReference) -> None:
        """Before a tool is given the credential. Raises (auth-realm-refused)."""


class PublishingRegistry(SigningRegistry, TokenServiceGuard, Protocol):
    """Lets an image into another of its repositories without moving it."""

    def tag_manifest(self, image: ImageReference, manifest: Manifest) -> None:
        """Let the image's tag name a manifest whose parts are in the repository already."""

    def mount_blob(self, source: ImageReference, target: ImageReference, blob: Digest) -> bool:
        """Link a blob into the target's repository; False where the registry does not do that."""


class ImageCopier(Protocol):
    """Copies images between repositories."""

    def require_copying(self) -> None:
        """Raises (tool-missing)."""

    def copy(self, source: ImageReference, target: ImageReference) -> None:
        """Copy a canonical image with all that it lists and no signature, by the same digest."""


@dataclass(frozen=True, slots=True)
class LocalImage:
    """What local storage has under a name: an image, or a list of them, and their platforms."""

    name: str
    is_list: bool
    platforms: tuple[str, ...]


class ImagePusher(Protocol):
    """Pushes images from local storage."""

    def require_pushing(self) -> None:
        """Raises (tool-missing)."""

    def inspect(self, name: str) -> LocalImage:
        """What there is under this name. Raises `ImageNotFound`."""

    def push(self, image: LocalImage, target: ImageReference) -> Digest:
        """Push it to a tag; gives its digest. Raises (pushed-unsigned) where nobody knows that."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key object in the KMS, without its payload. id: the KMS's own UUID.

    name: not unique. key_ring, state: empty where the KMS does not tell; state is ``active`` or one
    of its other words.
    """

    id: str
    aliases: tuple[str, ...]
    name: str
    description: str
    created: datetime | None
    key_ring: str = ""
    state: str = ""


class KeyReader(Protocol):
    """Looks keys up in the KMS; `name` is an alias or a key id."""

    def find_key(self, name: str) -> StoredKey:
        """What the KMS knows of a key, without its payload. Raises `KeyNotFound`."""

    def fetch_key(self, name: str) -> tuple[StoredKey, SecretBytes]:
        """The key and its payload, base64 undone once.

        Raises `KeyNotFound`, (key-malformed, permission-denied).
        """

    def list_keys(self) -> Iterator[StoredKey]:
        """All keys that may hold an OpenPGP key and are not destroyed, oldest first."""


class KeyWriter(KeyReader, Protocol):
    """Stores keys in the KMS."""

    @property
    def address(self) -> tuple[str, str]:
        """The KMS's base URL and instance id."""

    def store_key(
        self, alias: str, content: SecretBytes, *, name: str, description: str
    ) -> StoredKey:
        """Create a key under an alias that is free; never a second one under the same alias."""

    def add_alias(self, key_id: str, alias: str) -> None:
        """Let the alias name this key, too; done already is done. Raises `KeyExists`."""


class AliasMover(KeyWriter, Protocol):
    """Moves the name of the signing key from one key to another."""

    def remove_alias(self, key_id: str, alias: str) -> None:
        """Take the alias from this key; gone already is gone. It is free minutes later."""


class MessageKeyring(Protocol):
    """Signs and verifies with keys that are there already."""

    def sign_message(self, content: bytes, signer: Fingerprint) -> bytes:
        """The content in an OpenPGP message, binary, signed by this primary key alone.

        Raises (key-unusable).
        """

    def open_message(
        self, message: bytes, signers: Sequence[Fingerprint]
    ) -> OpenPGPMessage | Reason:
        """What was signed by one of these primary keys, else why it counts for nobody."""


class DetachedSigner(Protocol):
    """Signs files."""

    def sign_detached(self, content: bytes, signer: Fingerprint) -> bytes:
        """An armoured signature to lie beside the content, by this primary key alone.

        Raises (key-unusable).
        """


class Keyring(MessageKeyring, Protocol):
    """A private OpenPGP keyring for the life of one run."""

    def generate_key(self, request: KeyRequest) -> PublicKey:
        """Make a key. Raises (key-creation-failed)."""

    def import_secret_key(self, content: SecretBytes) -> PublicKey:
        """Import one secret key. Raises (key-malformed) unless it is exactly one."""

    def inspect_public_key(self, content: bytes) -> PublicKey:
        """What a public key says, without importing it. Raises (key-malformed)."""

    def inspect_public_keys(self, content: bytes) -> tuple[PublicKey, ...]:
        """All public keys in the content, in their order. Raises (key-malformed) for none."""

    def import_public_keys(self, content: bytes) -> tuple[PublicKey, ...]:
        """Import all public keys in the content, armoured or binary, each once.

        A key that is there already gets what is new: a later end date, a revocation. Raises
        (key-malformed).
        """

    def extend_key(self, fingerprint: Fingerprint, until: datetime) -> PublicKey:
        """Let a key whose secret half is here end at that moment.

        Raises (key-creation-failed).
        """

    def revoke_key(self, fingerprint: Fingerprint, certificate: bytes) -> PublicKey:
        """Mark a key as revoked by its certificate. Raises (key-malformed)."""

    def export_secret_key(self, fingerprint: Fingerprint) -> SecretBytes:
        """The secret key, binary."""

    def make_revocation(self, fingerprint: Fingerprint) -> bytes:
        """A certificate that revokes the key for good, armoured. Raises (key-creation-failed)."""

    def export_public_key(self, fingerprint: Fingerprint) -> bytes:
        """The public key, binary."""

    def export_block(self, fingerprints: Sequence[Fingerprint]) -> bytes:
        """These public keys in one armoured block: Portieris reads the first block only."""


class Scanner(Protocol):
    """Knows what is vulnerable in an image, or finds it out: an advisor, a report, a scanner."""

    def require_served(self, image: ImageReference) -> None:
        """Raises (not-assessed) for a registry that it does not serve, without asking anybody."""

    @property
    def may_change(self) -> bool:
        """Whether asking again, a little later, can give another answer."""

    def fetch_reports(self, subject: ScanSubject) -> tuple[ScanReport | Reason, ...]:
        """What it says of this manifest now; one that it has not assessed yet is UNSCANNED.

        At least one report, or the reason why one cannot be used; several count as those of
        several sources.
        """


class TagScanner(Scanner, Protocol):
    """An advisor that assesses what a tag names, and so may not know a digest."""

    def fetch_tag_report(self, image: ImageReference) -> ScanReport:
        """What it says of the image that the tag names; whichever that is."""


class ExemptionReader(Protocol):
    """Looks at the exemptions that an advisor keeps for an account.

    Raises (not-assessed) for a registry that it does not serve, and (permission-denied).
    """

    def list_exemptions(self, registry: str) -> tuple[KeptExemption, ...]:
        """All of them."""

    def list_types(self, registry: str) -> tuple[tuple[str, str], ...]:
        """What can be exempt: a word, and what people call it."""


class ExemptionWriter(ExemptionReader, Protocol):
    """Changes them."""

    def add_exemption(self, registry: str, exemption: KeptExemption) -> None:
        """Keep one; one that is there already stays as it is."""

    def remove_exemption(self, registry: str, exemption: KeptExemption) -> None:
        """Take one away; gone already is gone."""


class LedgerReader(Protocol):
    """Reads a ledger of exemptions."""

    def read(self) -> Ledger:
        """As it is now. Raises (input-unreadable, input-malformed)."""

    def earlier(self, content: bytes | None) -> Ledger:
        """As it was with this content; without entries where that was no ledger."""


class LedgerEditor(Protocol):
    """Changes a ledger of exemptions, and no line of it that is not meant."""

    def change(self, choose: Callable[[Ledger], LedgerEdit]) -> LedgerEdit:
        """Make the change that is chosen for the ledger as it is; an empty one is made for none.

        Raises (input-unreadable, input-malformed, output-unwritable).
        """


class LedgerHistory(Protocol):
    """Looks at the repository that a ledger is in: commits, and nothing that is not committed."""

    def parted_from(self, revision: str) -> str:
        """The commit where the present and a revision parted. Raises (invalid-option)."""

    def content_at(self, commit: str) -> bytes | None:
        """The ledger's file then; None where there was none."""

    def changed_files(self, commit: str) -> list[str]:
        """Which others differ since."""

    def changed_places(self, commit: str) -> list[ChangedPlace]:
        """Where others have lines that they had not then."""


class ForeignExemptions(Protocol):
    """Exemptions as another tool keeps them.

    format: its name. names_images: it says itself where an entry holds. caution: what it cannot say
    of any entry.
    """

    @property
    def format(self) -> str: ...

    @property
    def names_images(self) -> bool: ...

    @property
    def caution(self) -> str: ...

    def read(self, defaults: Defaults) -> Imported:
        """What can be taken over. Raises (input-unreadable, input-malformed)."""

    def write(self, export: Export) -> tuple[Exported, Change]:
        """Keep what can be said there, in place of what was written so before.

        Raises (foreign-object, output-unwritable).
        """


@dataclass(frozen=True, slots=True)
class ImageCatalogue:
    """What a registry lists within a scope, in its own order.

    unreadable: entries that are not as the API has them, by their numbers. foreign: names of
    another registry, which nobody asked for.
    """

    images: tuple[RegistryImage, ...]
    unreadable: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


class ImageLister(Protocol):
    """Lists what an account has in a registry. ibm: IBM's public images as well."""

    def require_served(self, registry: str) -> None:
        """Raises (not-assessed) for a registry of somebody else's, without asking anybody."""

    def list_images(self, scope: RegistryScope, *, ibm: bool) -> ImageCatalogue:
        """Its images, one for each tag."""

    def list_digests(self, scope: RegistryScope, *, ibm: bool) -> ImageCatalogue:
        """Its images, one for each tag, and one for each digest without any."""

    def list_namespaces(self, registry: str) -> frozenset[str]:
        """The account's namespaces, with images or without."""


class SummaryReader(Protocol):
    """Knows in short what is vulnerable."""

    def list_summaries(self, scope: RegistryScope, *, ibm: bool) -> Mapping[str, ScanSummary]:
        """What it says of all images of the account within a scope, by `RegistryImage.name`."""

    def fetch_summary(self, registry: str, image: RegistryImage) -> ScanSummary | None:
        """What it says of one image, None for no record; registry: whose advisor is asked."""


class AdmissionState(Protocol):
    """What a cluster holds that decides about admissions, as files or as the cluster tell it."""

    def list_policies(self) -> tuple[Policy, ...]:
        """All of both kinds. Raises (policy-malformed, policy-foreign)."""

    def find_secret(self, namespace: str, name: str) -> dict[str, Any] | None:
        """None for no such Secret; a place that may not be read is an error."""

    def told_places(self, name: str) -> tuple[str, ...]:
        """The namespaces in which manifests hold a Secret of this name; no cluster is asked."""

    def find_service_account(self, namespace: str, name: str) -> dict[str, Any] | None:
        """None for no such ServiceAccount."""

    def find_namespace(self, name: str) -> dict[str, Any] | None:
        """None where nobody told of it."""

    def list_webhooks(self) -> tuple[dict[str, Any], ...] | None:
        """The MutatingWebhookConfigurations there are; None where nobody told."""


class DeploymentLister(Protocol):
    """Looks for the engine in the cluster."""

    def list_deployments(self, namespace: str) -> tuple[dict[str, Any], ...]:
        """The Deployments of a namespace."""


class ImageReader(ManifestReader, SignatureReader, Protocol):
    """Reads manifests and simple signatures with one credential, or with none."""


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """A signature store as a rule names it, with the credential of its Secret if it has one."""

    url: str
    pair: SecretBytes | None = None


class ImageEvidence(Protocol):
    """Gives readers of images: of registries, or of a folder that stands in for all of them."""

    def reader(self, credential: PullCredential | None, store: StoreAddress | None) -> ImageReader:
        """credential: None to ask anonymously. store: None for the registry's own signatures."""


@dataclass(frozen=True, slots=True)
class ObjectId:
    """Which Kubernetes object: namespace None for one of the whole cluster."""

    kind: str
    name: str
    namespace: str | None = None


class TrustReader(Protocol):
    """Tells what a trust server has signed, verified."""

    def fetch_trusted(
        self, server: str, image: EngineName, credentials: Sequence[PullCredential]
    ) -> TrustAnswer:
        """What is trusted about the image's tag, or where the engine stops on the way to it.

        server: an address. credentials: of the pull secrets, in the engine's order; a server that
        asks for none gets none. What is not the engine's to say raises: a server that cannot be
        reached from here, or whose answer nobody can read.
        """


def object_id(document: Mapping[str, Any]) -> ObjectId:
    """Of a manifest."""
    metadata = document["metadata"]
    return ObjectId(document["kind"], metadata["name"], metadata.get("namespace"))


@dataclass(frozen=True, slots=True)
class FoundDocument:
    """A mapping out of a file. where: the file; standard input is ``-``."""

    content: dict[str, Any]
    where: str


class ManifestSink(Protocol):
    """Takes rendered Kubernetes objects: a folder or a cluster."""

    def require_ready(self, *names: ObjectId, adopt: bool = False) -> None:
        """Fail before the work instead of after it: what is to be published could be.

        Raises (output-unwritable, tool-missing, foreign-object).
        """

    def fetch(self, kind: str, name: str, namespace: str | None) -> dict[str, Any] | None:
        """The object of that name as it is now, whoever made it; None where there is none."""

    def publish(self, document: dict[str, Any], *, adopt: bool = False) -> Change:
        """Write or apply one object.

        adopt: take over one that imgsec did not make. Raises (foreign-object) without.
        """


class FileSink(Protocol):
    """Takes files that are no Kubernetes objects."""

    def require_ready(self, *names: str, adopt: bool = False) -> None:
        """Fail before the work instead of after it. Raises (output-unwritable, foreign-object)."""

    def publish(self, name: str, content: Mapping[str, Any], *, adopt: bool = False) -> Change:
        """Write one file, JSON or YAML by its name, unless it says the same already.

        adopt: write over one that imgsec did not make. Raises (foreign-object) without.
        """

    def is_made(self, name: str) -> bool:
        """Whether there is such a file, and imgsec made it."""

    def remove(self, name: str) -> Change:
        """Remove a file that imgsec made. Raises (output-unwritable, foreign-object)."""


class ClusterReader(Protocol):
    """Looks at what runs in a cluster. Raises (cluster-unreachable, permission-denied)."""

    def list_policies(self, kind: str) -> tuple[dict[str, Any], ...]:
        """All objects of one of Portieris's two kinds; none where it does not know the kind."""

    def list_running_images(self) -> tuple[tuple[str, str], ...]:
        """Namespace and image text of each container of each pod that has not ended."""

    def list_secret_editors(self, namespace: str) -> tuple[str, ...]:
        """Whoever is bound to a role that may change Secrets in one namespace.

        The cluster's own administrators and parts of Kubernetes itself are not in it.
        """


MAKER_KINDS = ("Deployment", "StatefulSet", "DaemonSet", "CronJob")


class PodLister(Protocol):
    """Looks at the pods that run."""

    def list_running_pods(self) -> tuple[Workload, ...]:
        """Each pod that has not ended, with what admission hangs on."""

    def list_makers(self, kind: str) -> tuple[Workload, ...]:
        """The objects of one of `MAKER_KINDS`: they make pods, though there may be none now."""


class PolicyKeeper(ManifestSink, Protocol):
    """A place whose policies can be taken away, too."""

    def remove(self, kind: str, name: str, namespace: str | None) -> Change:
        """Take an object of ours away; gone already is unchanged. Raises (foreign-object)."""

    def rehearse(self, document: dict[str, Any], *, adopt: bool = False) -> None:
        """Have it checked, and keep nothing. Raises as `publish` does."""

    def list_made_policies(self) -> tuple[dict[str, Any], ...]:
        """All policies that imgsec made."""


class PublishedReader(Protocol):
    """Looks at what was published: in a folder, or in a cluster."""

    def list_key_secrets(self) -> tuple[dict[str, Any], ...]:
        """The Secrets of ours that hold a public key. Raises (input-malformed) for one twice."""

    def list_foreign_key_secrets(self) -> tuple[dict[str, Any], ...]:
        """Secrets with a public key that imgsec did not make; of a cluster, those that policies
        name."""

    def list_policies(self, kind: str) -> tuple[dict[str, Any], ...]:
        """All policies of one of Portieris's two kinds."""


class Clock(Protocol):
    """The time, as a port so that waiting can be tested."""

    def now(self) -> datetime:
        """Now, in UTC."""

    def monotonic(self) -> float:
        """Seconds, for measuring."""

    def sleep(self, seconds: float) -> None:
        """Wait."""

    def backoff(self) -> Iterator[float]:
        """Growing waits in seconds, with jitter, without end."""


class SecretSource(Protocol):
    """Opens a key location that is not in the KMS."""

    def read_secret_key(self, location: KeyLocation) -> SecretBytes:
        """The content of file: or env:. Raises (key-not-found, input-unreadable)."""

    def read_public_key(self, location: KeyLocation) -> bytes:
        """The content of file: or secret:. Raises (key-not-found, input-malformed)."""
