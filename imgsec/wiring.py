# SPDX-License-Identifier: Apache-2.0
"""From settings to the adapters behind the ports. This module alone knows both sides.

Everything is made when it is first needed: a command that only reads a registry imports no IBM SDK
and opens no private directory.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from imgsec.adapters._process import Tools
from imgsec.adapters.clock import SystemClock
from imgsec.adapters.files import POLICY_MAX_BYTES, KeyFiles, read_descriptor, read_file
from imgsec.config import GateSettings, Settings
from imgsec.domain.hosts import MetadataUrl, ServiceUrl, may_have_iam_token
from imgsec.domain.keys import Fingerprint, KeyLocation, KmsPlace, SecretBytes, is_uuid, unwrapped
from imgsec.domain.reference import ImageReference, shown
from imgsec.domain.verdict import Note
from imgsec.errors import ImgsecError
from imgsec.operations.signing_key import KeyShelf
from imgsec.ports import FoundDocument, Scanner, TokenServiceGuard
from imgsec.reasons import (
    INPUT_MALFORMED,
    INVALID_OPTION,
    MISSING_CREDENTIAL,
)

if TYPE_CHECKING:  # imported where they are used: requests alone takes longer than most commands
    from imgsec.adapters._account import AccountApi
    from imgsec.adapters._http import Http
    from imgsec.adapters.admission_images import FolderEvidence, FolderTrust, RegistryEvidence
    from imgsec.adapters.admission_state import FileState, LiveState
    from imgsec.adapters.container_tools import ContainerTools
    from imgsec.adapters.exemption_files.foreign_file import ForeignFile
    from imgsec.adapters.git import Repository
    from imgsec.adapters.gpg import GpgKeyring
    from imgsec.adapters.iam import IamCredential, IamTokens
    from imgsec.adapters.icr import ContainerRegistry
    from imgsec.adapters.image_folder import ImageFolder
    from imgsec.adapters.kms import Kms
    from imgsec.adapters.kubernetes import Kubectl
    from imgsec.adapters.ledger_file import LedgerFile
    from imgsec.adapters.lookaside import Lookaside
    from imgsec.adapters.manifest_files import ManifestDocument
    from imgsec.adapters.manifest_folder import FolderSink
    from imgsec.adapters.notary import NotaryClient
    from imgsec.adapters.plain_folder import PlainFolder
    from imgsec.adapters.private_dir import PrivateDir
    from imgsec.adapters.registry import RegistryClient
    from imgsec.adapters.registry_auth import AuthFile
    from imgsec.adapters.report_files import ReportFiles
    from imgsec.adapters.scanner_program import Pin, Surroundings
    from imgsec.adapters.sequoia import SequoiaKeyring
    from imgsec.adapters.sync_state import SyncState
    from imgsec.adapters.va import AdvisorSummaries, VulnerabilityAdvisor
    from imgsec.adapters.va_exemptions import AdvisorExemptions
    from imgsec.domain.admission_suite import AdmissionSuite
    from imgsec.domain.gate_report import GateReport
    from imgsec.domain.policy_intent import PolicyIntent
    from imgsec.domain.report import Change

MakeScanner = Callable[[TokenServiceGuard], Scanner]
_API_KEY_VARIABLES = ("IMGSEC_API_KEY", "IBM_CLOUD_APIKEY")
_API_KEY_MAX_BYTES = 4096
_TOKEN_MAX_BYTES = 64 * 1024
_VERSION_SECONDS = 20.0
_PASSPHRASE_MAX_BYTES = 1024
_SPACE, _DELETE = 0x20, 0x7F
_CA_FILE_MAX_BYTES = 8 * 2**20  # ours; the usual bundles have a quarter of a megabyte
_AUTH_FILE_NAMES = ("config.json", ".dockerconfigjson")  # Docker's, and a mounted Secret's
_CRN_INSTANCE = re.compile(r"crn:v1:[^:]*:[^:]*:[^:]*:[^:]*:[^:]*:([^:]+):[^:]*:[^:]*")


@dataclass(frozen=True, slots=True)
class Link:
    """A pool of connections, and the registry that is asked over them."""

    http: Http
    registry: RegistryClient


class World:
    """The adapters for one run, behind the names that operations use. Made by `wire`."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self.clock = SystemClock()
        self._keyrings = 0

    @cached_property
    def registry(self) -> RegistryClient:
        return self._registry(self._http)

    def separate_registry(self) -> RegistryClient:
        """For a process that was forked: the same, with connections of its own.

        `registry` must have been asked for before, since the auth file may be a pipe.
        """
        return self.separate_link().registry

    @cached_property
    def link(self) -> Link:
        """The connections of this process."""
        return Link(self._http, self.registry)

    def separate_link(self) -> Link:
        """Those of a process that was forked; see `separate_registry`."""
        from imgsec.adapters._http import Http

        http = Http(ca_file=self._ca_file)
        return Link(http, self._registry(http))

    def _registry(self, http: Http) -> RegistryClient:
        from imgsec.adapters.registry import RegistryClient

        return RegistryClient(
            http,
            auth_file=self._auth_file,
            realms=self._settings.auth_realms,
            lookaside=self._lookaside(http),
        )

    @cached_property
    def _auth_file(self) -> AuthFile | None:
        from imgsec.adapters.registry_auth import AuthFile

        path = self._auth_path()
        return AuthFile.read(path) if path else None

    @contextmanager
    def alone_with(self, names: Iterable[str]) -> Iterator[None]:
        """Keep the other processes of this run away from these digests."""
        import hashlib

        folder = self._directory.folder("locks")
        with ExitStack() as stack:
            for name in sorted(set(names)):  # in one order, or two would wait for each other
                path = folder / hashlib.sha256(name.encode()).hexdigest()
                file = stack.enter_context(path.open("ab"))
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _lookaside(self, http: Http) -> Lookaside | None:
        """Where signatures are kept for registries that keep none; None where none was named."""
        from imgsec.domain.hosts import SignatureAddress

        read, staging = self._settings.lookaside, self._settings.lookaside_staging
        if read is None and staging is None:
            return None
        if read is None:
            raise ImgsecError(INVALID_OPTION("--lookaside-staging goes with --lookaside URL"))
        from imgsec.adapters.lookaside import Lookaside

        place = SignatureAddress.parse(read)
        staged = SignatureAddress.parse(staging) if staging else None
        if staged is not None and (place.folder is not None or staged.folder is None):
            text = "--lookaside-staging is a folder, and goes with a --lookaside on the web"
            raise ImgsecError(INVALID_OPTION(text))
        return Lookaside(http, place, staged)

    def registry_evidence(self) -> RegistryEvidence:
        """Images and signatures as a cluster reads them: with its credentials, and none of ours."""
        from imgsec.adapters.admission_images import RegistryEvidence
        from imgsec.adapters.lookaside import Lookaside
        from imgsec.adapters.registry import RegistryClient

        return RegistryEvidence(
            lambda credential: RegistryClient(
                self._http, auth_file=credential, realms=self._settings.auth_realms
            ),
            lambda address, header: Lookaside(
                self._http, address, authorization=header, needs_tls=False
            ),
        )

    def folder_evidence(self, folder: str) -> FolderEvidence:
        """Images and signatures that are in a folder instead."""
        from imgsec.adapters.admission_images import FolderEvidence
        from imgsec.adapters.lookaside import Lookaside
        from imgsec.domain.hosts import SignatureAddress

        store = Lookaside(self._http, SignatureAddress.parse(folder))
        return FolderEvidence(Path(folder), store)

    def trust_reader(self) -> NotaryClient:
        """Trust servers."""
        from imgsec.adapters.notary import NotaryClient

        return NotaryClient(self._http, self.clock, realms=self._settings.auth_realms)

    def folder_trust(self, folder: str) -> FolderTrust:
        """Trust data that is in a folder instead."""
        from imgsec.adapters.admission_images import FolderTrust

        return FolderTrust(Path(folder))

    def own_credential(self, image: ImageReference) -> SecretBytes | None:
        """What the auth file has for an image, ``user:password``."""
        import base64

        found = self._auth_file.credential_for(image) if self._auth_file else None
        return SecretBytes(base64.b64decode(found.basic.reveal())) if found else None

    def advisor_scanner(self) -> Scanner:
        """Vulnerability Advisor."""
        return self._advisor(self._http)

    def admission_state(
        self, policies: Iterable[str], *, namespace: str, live: bool
    ) -> FileState | LiveState:
        """What decides about admissions. live: the cluster's, with these files over it."""
        from imgsec.adapters.admission_state import FileState, LiveState
        from imgsec.adapters.manifest_files import read_all

        files = FileState.read(read_all(policies), namespace=namespace)
        return LiveState(self.cluster(dry_run=False), files) if live else files

    def live_state(self) -> LiveState:
        """The cluster's state as it is. Nothing is asked before it is needed."""
        from imgsec.adapters.admission_state import FileState, LiveState

        return LiveState(self.cluster(dry_run=False), FileState((), namespace="default"))

    def read_suite(self, path: str) -> AdmissionSuite:
        """A suite of expected admissions. Raises (input-unreadable, input-malformed)."""
        from imgsec.adapters.gate_files import read_suite

        return read_suite(path)

    def read_review(self, path: str) -> object:
        """An AdmissionReview. Raises (input-unreadable, input-malformed)."""
        from imgsec.adapters.manifest_files import read_review

        return read_review(path)

    def image_folder(self, folder: str) -> ImageFolder:
        """An image that is in a folder instead of a registry."""
        from imgsec.adapters.image_folder import ImageFolder

        if self._settings.lookaside or self._settings.lookaside_staging:
            text = "--image-dir holds the signatures too, and goes with no --lookaside"
            raise ImgsecError(INVALID_OPTION(text))
        return ImageFolder(Path(folder))

    def container_tools(self, storage_driver: str | None = None) -> ContainerTools:
        """What copies and pushes images."""
        from imgsec.adapters.container_tools import ContainerTools

        return ContainerTools(
            self._tools,
            self._directory,
            auth_file=self._auth_file,
            ca_file=self._ca_file,
            storage_driver=storage_driver,
        )

    @cached_property
    def advisor(self) -> VulnerabilityAdvisor:
        return self._advisor(self._http)

    def _advisor(self, http: Http) -> VulnerabilityAdvisor:
        from imgsec.adapters.va import VulnerabilityAdvisor

        return VulnerabilityAdvisor(http, self._account_api)

    @cached_property
    def exemptions(self) -> AdvisorExemptions:
        """The exemptions that the advisor keeps."""
        from imgsec.adapters.va_exemptions import AdvisorExemptions

        return AdvisorExemptions(self._http, self._account_api)

    @cached_property
    def image_lister(self) -> ContainerRegistry:
        from imgsec.adapters.icr import ContainerRegistry

        return ContainerRegistry(self._http, self._account_api)

    @cached_property
    def summaries(self) -> AdvisorSummaries:
        from imgsec.adapters.va import AdvisorSummaries

        return AdvisorSummaries(self._http, self._account_api)

    @cached_property
    def _account_api(self) -> AccountApi:
        from imgsec.adapters._account import AccountApi

        return AccountApi(
            lambda: self._tokens,
            account=_header_word("--account", self._settings.account),
            trusted=self._settings.trust_hosts,
        )

    def manifests(
        self, paths: Iterable[str], *, configs: bool = False
    ) -> Iterator[ManifestDocument]:
        """The Kubernetes objects of files and folders; ``-`` is standard input.

        configs: the list of rules in a `config.yaml` is a policy, too.
        """
        from imgsec.adapters.manifest_files import read_all

        return read_all(paths, configs=configs)

    def ledger(self, path: str) -> LedgerFile:
        from imgsec.adapters.ledger_file import LedgerFile

        return LedgerFile(path)

    def foreign_exemptions(self, path: str, format: str) -> ForeignFile:
        """A file of another tool's exemptions. Raises (invalid-option) for an unknown format."""
        from imgsec.adapters.exemption_files.foreign_file import ForeignFile

        return ForeignFile(path, format)

    def gate_report(self, path: str) -> GateReport:
        """What a gate said in JSON. Raises (input-unreadable, input-malformed)."""
        from imgsec.adapters.gate_reports import read_gate_report

        return read_gate_report(path)

    def sync_state(self, path: str, registry: str) -> SyncState:
        """What earlier runs put into the advisor of a registry, for this account."""
        from imgsec.adapters.sync_state import SyncOwner, SyncState

        return SyncState(path, SyncOwner(registry, self.exemptions.account_at(registry)))

    def repository_of(self, path: str) -> Repository:
        """The git repository that a file is in."""
        from imgsec.adapters.git import Repository

        return Repository(self._tools, Path(path))

    def fetch_token_for(self, images: Iterable[ImageReference]) -> None:
        """Have the IAM token at hand, if the advisor serves any of these images."""
        trusted = self._settings.trust_hosts
        for image in images:
            if may_have_iam_token(image.registry, trusted):
                self._tokens.authorization(image.registry)
                return

    def report_files(self, gate: GateSettings, max_age: timedelta | None) -> ReportFiles | None:
        """The reports that were given, each read once. max_age: None for however old."""
        from imgsec.adapters.report_files import Freshness, ReportFiles

        if not gate.reports:
            return None
        return ReportFiles(gate.reports, Freshness(self.clock.now(), max_age))

    def scanner(self, gate: GateSettings, max_age: timedelta | None) -> MakeScanner | None:
        """What makes the scanner of each process; None where none is to be run.

        Everything that can be wrong with it shows here, before any image is asked about. Raises
        (invalid-option, scanner-unpinned, scanner-mismatch, tool-missing, tool-failed).
        """
        from imgsec.adapters.report_files import Freshness
        from imgsec.adapters.scanner_program import Pin, Surroundings

        if not gate.scanner:
            needless = {"sha256": gate.scanner_sha256, "cache": gate.scanner_cache}
            for word in (word for word, given in needless.items() if given):
                raise ImgsecError(INVALID_OPTION(f"--scanner-{word} goes with --scanner NAME"))
            return None
        opened = _SCANNERS.get(gate.scanner)
        if opened is None:
            text = f"there is no scanner {shown(gate.scanner)}: give {' or '.join(_SCANNERS)}"
            raise ImgsecError(INVALID_OPTION(text))
        pin = Pin.parse(gate.scanner_sha256 or None, allow_unpinned=gate.allow_unpinned_scanner)
        around = Surroundings(
            tools=self._tools,
            room=self._room,
            secrets=self._directory,
            auth_file=self._auth_file,
            ca_file=self._ca_file,
            cache=gate.scanner_cache or None,
            freshness=Freshness(self.clock.now(), max_age),
        )
        return self._stack.enter_context(opened(pin, around))

    def gate_scanners(
        self,
        gate: GateSettings,
        files: Scanner | None,
        link: Link,
        make_scanner: MakeScanner | None = None,
    ) -> list[Scanner]:
        """Every source of findings, the advisor first. make_scanner: what `scanner` gave."""
        from imgsec.operations.scan_gate import ByTagToo

        scanners: list[Scanner] = [] if files is None else [files]
        if make_scanner is not None:
            scanners.append(make_scanner(link.registry))
        if not gate.no_advisor:
            scanners.insert(0, ByTagToo(self._advisor(link.http), link.registry))
        return scanners

    @cached_property
    def kms(self) -> Kms:
        from imgsec.adapters.kms import Kms

        instance = self._settings.kms_instance
        if not instance:
            raise ImgsecError(
                MISSING_CREDENTIAL(
                    "no KMS instance was named",
                    hint="Give --kms-instance (or VAULT_INSTANCE_ID), a UUID or a CRN.",
                )
            )
        return Kms(
            self._http,
            self._tokens,
            url=ServiceUrl.parse(self._settings.kms_url),
            instance=_instance_id(instance),
            key_ring=_header_word("--kms-key-ring", self._settings.kms_key_ring),
        )

    def kms_at(
        self, place: KmsPlace, api_key_file: str | None = None, key_ring: str | None = None
    ) -> Kms:
        """The KMS of a place; api_key_file: a credential for it alone, of another account.

        key_ring: None for the one of the settings.
        """
        from imgsec.adapters.iam import ApiKey, IamTokens
        from imgsec.adapters.kms import Kms

        settings = self._settings
        if place.instance is None and api_key_file is None and key_ring is None:
            return self.kms
        ring = _header_word("--kms-key-ring", key_ring or settings.kms_key_ring)
        tokens = self._tokens
        if api_key_file is not None:
            tokens = IamTokens(
                ApiKey(_word(api_key_file, "API key", _API_KEY_MAX_BYTES)),
                url=ServiceUrl.parse(settings.iam_url, strip="/identity/token"),
                ca_file=self._ca_file,
                trusted=settings.trust_hosts,
            )
        if place.instance is None:
            _, instance = self.kms.address
            url = ServiceUrl.parse(settings.kms_url)
            return Kms(self._http, tokens, url=url, instance=instance, key_ring=ring)
        url = ServiceUrl.parse(f"https://{place.host}")
        return Kms(self._http, tokens, url=url, instance=place.instance, key_ring=ring)

    def shelf(self, scheme: str) -> KeyShelf:
        """Where keys of this location scheme are found; the KMS only where it is asked for."""
        if scheme == "https":
            from imgsec.adapters.web_keys import WebKeys

            return KeyShelf(WebKeys(self._http))
        return KeyShelf(KeyFiles(), self.kms if scheme == "kms" else None)

    @cached_property
    def key_files(self) -> KeyFiles:
        return KeyFiles()

    def read_trust_policy(self, path: str) -> bytes:
        """A signature policy. Raises (input-unreadable, input-malformed)."""
        return read_file(path, max_bytes=POLICY_MAX_BYTES)

    def read_secret_key(self, path: str) -> SecretBytes:
        """An OpenPGP secret key from a file. Raises (input-unreadable, key-malformed)."""
        content = KeyFiles().read_secret_key(KeyLocation("file", path))
        return SecretBytes(unwrapped(content.reveal()))

    @cached_property
    def keyring(self) -> GpgKeyring:
        from imgsec.adapters.gpg import gpg_keyring

        return self._stack.enter_context(
            gpg_keyring(self._tools, self._directory, passphrase=self._passphrase)
        )

    def new_keyring(self) -> GpgKeyring:
        """A further keyring, empty, for the length of the run."""
        from imgsec.adapters.gpg import gpg_keyring

        self._keyrings += 1
        name = f"k{self._keyrings}"
        return self._stack.enter_context(gpg_keyring(self._tools, self._directory, folder=name))

    @contextmanager
    def twin_keyrings(self, signer: Fingerprint, count: int) -> Iterator[list[GpgKeyring]]:
        """Further keyrings with the same keys, for a process each."""
        from imgsec.adapters.gpg import twin_keyrings

        with twin_keyrings(self.keyring, self._directory, signer, count) as twins:
            yield twins

    def in_process_keyring(self, signer: Fingerprint) -> SequoiaKeyring:
        """A key that the keyring has, to sign with in this process."""
        from imgsec.adapters.sequoia import SequoiaKeyring

        return SequoiaKeyring(self.keyring, signer, passphrase=self._passphrase)

    def folder_sink(self, folder: Path) -> FolderSink:
        from imgsec.adapters.manifest_folder import FolderSink

        return FolderSink(folder)

    def plain_folder(self, folder: Path) -> PlainFolder:
        """For files that are no Kubernetes objects."""
        from imgsec.adapters.plain_folder import PlainFolder

        return PlainFolder(folder)

    def intents(self, path: str) -> tuple[PolicyIntent, ...]:
        """The documents of an intent file. Raises (input-unreadable, input-malformed)."""
        from imgsec.adapters.intent_files import read_intents

        return read_intents(path)

    def policy_sources(self, paths: Iterable[str]) -> Iterator[FoundDocument]:
        """What is in these files, folders or standard input."""
        from imgsec.adapters.policy_sources import read_policy_sources

        for path in paths:
            yield from read_policy_sources(path)

    def intent_file(self, folder: Path, intents: Iterable[PolicyIntent], *, adopt: bool) -> Change:
        """Write an intent file for people to go on with: one that is there is theirs."""
        from imgsec.adapters.intent_files import INTENT_FILE, intent_bytes
        from imgsec.adapters.plain_folder import PlainFolder

        content = intent_bytes(intents)
        return PlainFolder(folder).copy(INTENT_FILE, content, lambda _: False, adopt=adopt)

    def copy_with_switches(
        self, path: str, switches: Mapping[str, bool], folder: Path, *, adopt: bool
    ) -> tuple[Change, int, bool]:
        """A CISE policy file with other switches, in a folder, and how many rules have them.

        The last tells whether any of them was otherwise.
        """
        from imgsec.adapters.plain_folder import PlainFolder
        from imgsec.adapters.policy_switches import read_switched, require_copy, switched

        content, rules, is_other = read_switched(path, switches)
        if is_other:
            require_copy(path, folder / Path(path).name)

        def is_copy(held: bytes) -> bool:
            try:
                return switched(held, switches, path)[0] == content
            except ImgsecError:
                return False

        change = PlainFolder(folder).copy(Path(path).name, content, is_copy, adopt=adopt)
        return change, rules, is_other

    def keep_alone_in(self, folder: Path, say: Callable[[str], None]) -> None:
        """Keep other runs out of a folder until this one ends. say: told of a wait."""
        from imgsec.adapters.manifest_folder import alone_in

        waiting = f"waiting for another run that changes {folder}"
        self._stack.enter_context(alone_in(folder, lambda: say(waiting)))

    def cluster(self, *, dry_run: bool) -> Kubectl:
        """The cluster: a sink, and a reader."""
        from imgsec.adapters.kubernetes import Kubectl

        return Kubectl(
            self._tools,
            self._directory,
            kubeconfig=self._settings.kubeconfig,
            context=self._settings.context,
            dry_run=dry_run,
        )

    def tool_version(self, name: str) -> tuple[Path, str]:
        """Where a program is, and what it says of itself. Raises (tool-missing, tool-failed)."""
        from imgsec.adapters._process import run

        path = self._tools.find(name)
        words = ["version", "--client=true"] if name == "kubectl" else ["--version"]
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
        completed = run([str(path), *words], environment=environment, timeout=_VERSION_SECONDS)
        return path, completed.require_success().stdout.decode("utf-8", "replace")

    def describe_storage(self) -> str:
        """Where secret keys would be for the length of a run."""
        from imgsec.adapters.private_dir import GPG_HOME_MAX_CHARS

        kind = "in memory" if self._directory.in_memory else "on a disk, which verdicts record"
        length = len(f"{self._directory.path}/gpg")
        room = f"gpg's home has {length} of {GPG_HOME_MAX_CHARS} characters"
        return f"{self._directory.path.parent}, {kind}; {room}"

    def describe_credential(self) -> str:
        """Which IAM credential is used and where it came from, never what it is."""
        settings, kind = self._settings, type(self.iam_credential).__name__
        file = settings.iam_token_file or settings.api_key_file
        return {
            "ApiKey": f"API key from {file or 'the environment'}",
            "BearerToken": f"IAM token from {file}",
            "TrustedProfile": f"trusted profile {settings.iam_profile}",
            "VpcInstance": f"VPC instance, at {settings.vpc_metadata_url}",
        }[kind]

    def describe_account(self) -> str:
        """The account that the token speaks for; asks for a token."""
        account = self._tokens.account()
        return f"a token of the account {account}" if account else "a token without an account"

    def notes(self) -> tuple[Note, ...]:
        """What the verdict must record: a key that touched a disk, a run that was killed before."""
        opened = self.__dict__.get("_directory")
        if opened is None:
            return ()
        where, notes = opened.path.parent, []
        if not opened.in_memory:
            text = f"the private directory lay on disk: {where}"
            notes.append(Note("key-not-in-memory", text))
        if opened.swept:
            text = f"removed {opened.swept} private directories of runs that were killed: {where}"
            notes.append(Note("cleaned-up", text))
        return tuple(notes)

    @cached_property
    def _directory(self) -> PrivateDir:
        from imgsec.adapters.private_dir import private_dir

        return self._stack.enter_context(private_dir())

    @cached_property
    def _room(self) -> PrivateDir:
        """A second directory, for what is large and no secret."""
        from imgsec.adapters.private_dir import private_dir

        return self._stack.enter_context(private_dir(roomy=True))

    @cached_property
    def _passphrase(self) -> SecretBytes | None:
        """The secret key's passphrase: one line of a file, or of an inherited descriptor."""
        path, number = self._settings.passphrase_file, self._settings.passphrase_fd
        if path and number is not None:
            raise ImgsecError(INVALID_OPTION("give --passphrase-file or --passphrase-fd, not both"))
        if number is not None:
            path, content = f"/dev/fd/{number}", read_descriptor(number, _PASSPHRASE_MAX_BYTES)
        elif path:
            content = read_file(path, max_bytes=_PASSPHRASE_MAX_BYTES)
        else:
            return None
        line = content.removesuffix(b"\n").removesuffix(b"\r")
        # gpg drops spaces at both ends when it makes a key, and keeps them when it opens one.
        if line != line.strip() or any(byte < _SPACE or byte == _DELETE for byte in line):
            line = b""
        if not line:
            raise ImgsecError(
                INPUT_MALFORMED(
                    f"{shown(path)} holds no passphrase",
                    hint="Put it on one line, without a space at either end.",
                )
            )
        return SecretBytes(line)

    @cached_property
    def _tools(self) -> Tools:
        extra = self._settings.tools_dir
        return Tools(Path(extra) if extra else None)

    @cached_property
    def _http(self) -> Http:
        from imgsec.adapters._http import Http

        return Http(ca_file=self._ca_file)

    @cached_property
    def _tokens(self) -> IamTokens:
        from imgsec.adapters.iam import IamTokens

        settings = self._settings
        os.environ["NETRC"] = os.devnull  # the SDK's requests would look for a password there
        return IamTokens(
            self.iam_credential,
            url=ServiceUrl.parse(settings.iam_url, strip="/identity/token"),
            ca_file=self._ca_file,
            trusted=settings.trust_hosts,
        )

    @cached_property
    def iam_credential(self) -> IamCredential:
        """Which credential was given. What is named by option or twin is meant, whatever key file
        a pipeline mounts by default. Raises (missing-credential, invalid-option)."""
        from imgsec.adapters.iam import ApiKey, BearerToken, TrustedProfile, VpcInstance

        settings = self._settings
        if settings.iam_token_file and (settings.vpc_instance or settings.iam_profile):
            raise ImgsecError(
                INVALID_OPTION("--iam-token-file goes with no --iam-profile or --vpc-instance")
            )
        if settings.iam_token_file:
            return BearerToken(_word(settings.iam_token_file, "IAM token", _TOKEN_MAX_BYTES))
        if settings.vpc_instance:
            url = MetadataUrl.parse(settings.vpc_metadata_url)
            return VpcInstance(url, settings.iam_profile or None)
        if settings.iam_profile:
            return TrustedProfile(settings.iam_profile, settings.cr_token_file)
        api_key = _api_key(settings.api_key_file)
        if api_key is None:
            raise ImgsecError(MISSING_CREDENTIAL("no IAM credential was given"))
        return ApiKey(api_key)

    @cached_property
    def _ca_file(self) -> str | None:
        path = self._settings.ca_file
        if not path:
            return None
        if b"-----BEGIN CERTIFICATE-----" not in read_file(path, max_bytes=_CA_FILE_MAX_BYTES):
            raise ImgsecError(INPUT_MALFORMED(f"the CA file {shown(path)} holds no certificate"))
        return path

    def _auth_path(self) -> str | None:
        """The auth file: the option, else the places where the tools' own logins write."""
        if self._settings.authfile:
            return self._settings.authfile
        folders = (os.environ.get("DOCKER_CONFIG", ""), f"{os.environ.get('HOME', '')}/.docker")
        for folder, name in itertools.product(folders, _AUTH_FILE_NAMES):
            path = f"{folder}/{name}"
            if folder.startswith("/") and os.access(path, os.R_OK):
                return path
        return None


def _trivy(pin: Pin, around: Surroundings) -> AbstractContextManager[MakeScanner]:
    from imgsec.adapters.trivy_scanner import opened_trivy

    return opened_trivy(pin, around)


# A further scanner is a file and a line here.
_SCANNERS = {"trivy": _trivy}


@contextmanager
def wire(settings: Settings) -> Iterator[World]:
    """The world for one run; what it opened is closed and removed at the end, however it ends."""
    with ExitStack() as stack:
        yield World(settings, stack)


def _api_key(path: str | None) -> SecretBytes | None:
    """The API key from a file, else from the environment, which is cleared of it. None: neither."""
    from_environment = [os.environ.pop(name, "") for name in _API_KEY_VARIABLES]
    if path:
        return _word(path, "API key", _API_KEY_MAX_BYTES)
    text = next(filter(None, from_environment), "").strip()
    return _one_word(text, "API key") if text else None


def _word(path: str, what: str, max_bytes: int) -> SecretBytes:
    """A credential from a file. Raises `ImgsecError` (input-unreadable, input-malformed)."""
    return _one_word(read_file(path, max_bytes=max_bytes).decode("utf-8", "replace").strip(), what)


def _one_word(text: str, what: str) -> SecretBytes:
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        raise ImgsecError(INPUT_MALFORMED(f"the {what} is empty or has characters that none has"))
    return SecretBytes(text.encode("ascii"))


def _header_word(option: str, text: str | None) -> str | None:
    """An id that goes into a header as it is; an empty one is none. Raises (invalid-option)."""
    if text and not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", text):
        raise ImgsecError(INVALID_OPTION(f"{shown(text)} cannot be an id for {option}"))
    return text or None


def _instance_id(text: str) -> str:
    """The UUID of a KMS instance, also out of its CRN. Raises `ImgsecError` (invalid-option)."""
    found = _CRN_INSTANCE.fullmatch(text)
    instance = found[1] if found else text
    if not is_uuid(instance):
        raise ImgsecError(INVALID_OPTION(f"{shown(text)} is neither an instance UUID nor a CRN"))
    return instance
