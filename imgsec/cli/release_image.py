# SPDX-License-Identifier: Apache-2.0
"""``imgsec release-image``: may it go out, and did it?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from imgsec.cli.gate_options import GATE, EvidenceOpt
from imgsec.cli.judging import PatientJudge
from imgsec.cli.options import (
    ADVISOR,
    IAM,
    KMS,
    NETWORK,
    PASSPHRASE,
    REGISTRY,
    SIGNATURES,
    TOOLS,
    own,
    with_options,
)
from imgsec.cli.output import Answer, Outputs, progress
from imgsec.cli.scan_gate import GATE_FORMATS
from imgsec.cli.signing import (
    SigningRun,
    both_hosts_option,
    expect_option,
    fingerprint_option,
    identity_option,
    key_option,
    remove_signatures_option,
    says_what_is_left,
)
from imgsec.config import DEFAULT_KMS_URL, GateSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from imgsec.cli.gating import GateRun
    from imgsec.domain.keys import Fingerprint, KeyLocation, PublicKey
    from imgsec.domain.policy import KeyReference
    from imgsec.domain.reference import ImageReference
    from imgsec.domain.report import ImageReport
    from imgsec.domain.verdict import Note
    from imgsec.errors import ImgsecError
    from imgsec.operations.publish_image import Publication
    from imgsec.operations.release_image import Release, Step
    from imgsec.operations.sign_image import SigningPlan
    from imgsec.ports import DetachedSigner, ManifestReader
    from imgsec.reasons import Reason
    from imgsec.wiring import World

# What is left of the time limit for signing and verifying, when scans took all they may.
_SIGNING_SECONDS = 60
_COMMAND = "release-image"

ImageArg = Annotated[
    str, typer.Argument(metavar="IMAGE", help="registry/path:tag, with or without @sha256:digest.")
]
KeyOpt = Annotated[str | None, key_option(_COMMAND)]
KeyReferenceOpt = Annotated[
    str | None,
    own(
        _COMMAND,
        "--key-reference",
        metavar="DIR",
        help="The Secret portieris-keys as a folder: KMS, key and fingerprint, where no option"
        " says them; the usual --kms-url says nothing.",
    ),
]
FingerprintOpt = Annotated[str | None, fingerprint_option(_COMMAND)]
ExpectOpt = Annotated[str | None, expect_option(_COMMAND, "Release")]
IdentityOpt = Annotated[list[str] | None, identity_option(_COMMAND)]
BothHostsOpt = Annotated[bool, both_hosts_option(_COMMAND)]
ToOpt = Annotated[
    str | None,
    own(
        _COMMAND,
        "--to",
        metavar="NAME:TAG",
        help="Copy IMAGE there once the gate has passed, and sign it there.",
    ),
]
RemoveSignaturesOpt = Annotated[bool, remove_signatures_option(_COMMAND)]
SignEvidenceOpt = Annotated[
    bool,
    own(
        _COMMAND,
        "--sign-evidence",
        help="Sign the record with the signing key, into FILE.asc, of a refusal, too.",
        rich_help_panel="Evidence",
    ),
]


@with_options(
    GATE,
    IAM,
    KMS,
    PASSPHRASE,
    ADVISOR,
    REGISTRY,
    SIGNATURES,
    NETWORK,
    TOOLS,
    results=(
        *("digest", "image", "released-image", "fingerprint", "scan-status", "verdict"),
        *("pushed-image", "pushed-digest"),
    ),
    formats=GATE_FORMATS,
)
def release_image(
    image: ImageArg,
    *,
    key: KeyOpt = None,
    key_reference: KeyReferenceOpt = None,
    fingerprint: FingerprintOpt = None,
    expect_digest: ExpectOpt = None,
    sign_identity: IdentityOpt = None,
    both_hosts: BothHostsOpt = False,
    to: ToOpt = None,
    remove_signatures: RemoveSignaturesOpt = False,
    evidence: EvidenceOpt = None,
    sign_evidence: SignEvidenceOpt = False,
    gate: GateSettings,
    settings: Settings,
    outputs: Outputs,
) -> Answer:
    """Resolve IMAGE, gate that digest, copy it if asked to, sign it and verify it: in one run.

    One digest goes through all of it, and the first step that does not pass ends it. Until the gate
    has passed the destination of --to receives nothing, and the signing key is not asked for, but
    with --sign-evidence for the record of a refusal.

    Example: imgsec release-image us.icr.io/team/app:1.0 --key kms://release

    Example: imgsec release-image us.icr.io/build/app:1.0 --to us.icr.io/prod/app:1.0
    --key kms://release --gate gate.yaml --exemptions exemptions.yaml
    """
    from imgsec.adapters.key_reference import read_key_reference
    from imgsec.cli.gating import GateRun
    from imgsec.cli.judging import judge_each
    from imgsec.cli.scan_gate import scan_status
    from imgsec.cli.sign_image import at_digest
    from imgsec.cli.signing import signing_plan, target_of
    from imgsec.domain.keys import SECRET_KEY_SCHEMES, Fingerprint, KeyLocation
    from imgsec.domain.policy import KeyReference
    from imgsec.domain.reference import Digest, ImageReference
    from imgsec.operations.release_image import Step
    from imgsec.wiring import wire

    said = read_key_reference(key_reference) if key_reference else KeyReference("", "", "", "")
    key, fingerprint = key or said.kms_key_id, fingerprint or said.fingerprint
    _require_sense(
        *(key, key_reference, to, evidence), removes=remove_signatures, signs=sign_evidence
    )
    source = ImageReference.parse(image).require_version()
    if expect_digest:
        source = at_digest(source, Digest.parse(expect_digest))
    target = target_of(to) if to is not None else None
    plan = signing_plan(sign_identity, None, both_hosts=both_hosts)
    _ = plan.names(target or source)
    where = KeyLocation.parse(key, allowed=SECRET_KEY_SCHEMES)
    expected = Fingerprint.parse(fingerprint) if fingerprint else None
    say = progress(outputs)
    with wire(_with_kms_of(said, settings)) as world:
        patience = max(settings.timeout - _SIGNING_SECONDS, settings.timeout / 2)
        _ = world.shelf(where.scheme)  # what is wrong with the KMS's options shows before any wait
        run = GateRun.prepare(gate, world, say, patience=patience)
        _require_earnest(gate, run)
        after = _AfterTheGate(world, where, expected, plan, target, not remove_signatures, say)
        gated = run.judge(world.link, [source])
        steps = (
            Step("gate", gated, gated.late),
            Step("sign", after.sign, after.late),
            Step("verify", after.verify),
        )
        answer = judge_each(
            _COMMAND,
            [source],
            _ReleaseJudge(steps, world.registry),
            lambda: (*run.notes, *after.notes, *world.notes()),
            say,
        )
        answer = run.with_unused_files(answer)
        if evidence is not None:
            answer = run.record(answer, evidence, after.find_signer if sign_evidence else None)
    results = {**answer.results, **scan_status(answer.report)}
    if after.key is not None:
        results["fingerprint"] = str(after.key.fingerprint)
    if answer.report.verdict.passed:
        results["released-image"] = (target or source).tagged_name
    return Answer(answer.report, results)


def _require_sense(
    key: str,
    folder: str | None,
    to: str | None,
    evidence: str | None,
    *,
    removes: bool,
    signs: bool,
) -> None:
    """Raises `ImgsecError` (invalid-option) for options that do not go together."""
    from imgsec.domain.reference import shown
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INVALID_OPTION

    wrong = (
        f"--key-reference {shown(folder)} has no vault-key-id that names the key"
        if not key and folder
        else "name the signing key with --key, or --key-reference"
        if not key
        else "--remove-signatures goes with --to"
        if removes and to is None
        else "--sign-evidence goes with --evidence"
        if signs and evidence is None
        else None
    )
    if wrong:
        raise ImgsecError(INVALID_OPTION(wrong))


def _require_earnest(gate: GateSettings, run: GateRun) -> None:
    """What is signed is judged as of now, and not by a file's leave: a signature tells nobody.

    Raises `ImgsecError` (invalid-option).
    """
    from imgsec.domain.gate import Mode
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INVALID_OPTION

    if gate.effective_time:
        raise ImgsecError(INVALID_OPTION("--effective-time is for scan-gate: a release is now"))
    if run.plan.rules.mode is Mode.WARN and not gate.mode:
        text = "the gate file says mode: warn, and what would refuse would be signed"
        raise ImgsecError(INVALID_OPTION(text, hint="Say --mode warn, if it is meant."))


def _with_kms_of(reference: KeyReference, settings: Settings) -> Settings:
    """The settings, with the KMS of the reference where they name none of their own."""
    is_usual = settings.kms_url in ("", DEFAULT_KMS_URL)
    return replace(
        settings,
        kms_url=reference.kms_url if reference.kms_url and is_usual else settings.kms_url,
        kms_instance=settings.kms_instance or reference.kms_instance or None,
    )


class _ReleaseJudge(PatientJudge):
    """Releases one image, and knows how far it came."""

    def __init__(self, steps: Sequence[Step], registry: ManifestReader) -> None:
        self._steps = steps
        self._registry = registry
        self._release: Release | None = None

    def __call__(self, image: ImageReference) -> ImageReport:
        """See `PatientJudge`."""
        from imgsec.operations.release_image import Release

        self._release = Release(image, self._steps, self._registry)
        return self._release.run()

    def late(self, image: ImageReference, why: Reason) -> ImageReport:
        """See `PatientJudge`."""
        from imgsec.domain.report import ImageReport
        from imgsec.domain.verdict import because

        return self._release.late(why) if self._release else ImageReport(image, because(why))


class _AfterTheGate:
    """The steps after the gate. The key is asked for when it is first needed, and once."""

    def __init__(
        self,
        world: World,
        where: KeyLocation,
        expected: Fingerprint | None,
        plan: SigningPlan,
        target: ImageReference | None,
        keeps_signatures: bool,
        say: Callable[[str], None],
    ) -> None:
        self._world = world
        self._where = where
        self._expected = expected
        self._plan = plan
        self._target = target
        self._keeps_signatures = keeps_signatures
        self._say = say
        self._publication: Publication | None = None
        self._trouble: ImgsecError | None = None
        self.key: PublicKey | None = None
        self.notes: tuple[Note, ...] = ()

    @property
    def signer(self) -> PublicKey:
        """The signing key. Raises what loading it raises, each time the same."""
        from imgsec.errors import ImgsecError
        from imgsec.operations.signing_key import load_signing_key

        if self._trouble is not None:
            raise self._trouble
        if self.key is None:
            world = self._world
            try:
                self.key, self.notes = load_signing_key(
                    self._where,
                    world.shelf(self._where.scheme),
                    world.keyring,
                    expected=self._expected,
                    now=world.clock.now(),
                )
            except ImgsecError as error:
                self._trouble = error
                raise
        return self.key

    def find_signer(self) -> tuple[DetachedSigner, Fingerprint]:
        """What signs the record. Raises what loading the key raises, and (timeout)."""
        from imgsec.cli.lifetime import is_time_up
        from imgsec.errors import ImgsecError
        from imgsec.reasons import TIMEOUT

        if self.key is None and is_time_up():
            raise ImgsecError(TIMEOUT("the time was up before there was a key for the record"))
        return self._world.keyring, self.signer.fingerprint

    def sign(self, image: ImageReference) -> ImageReport:
        """Sign the digest where it is, or copy it and sign it there."""
        signer = self.signer
        run = SigningRun(self._world, signer.fingerprint, self._plan, None, self.notes, self._say)
        if self._target is None:
            return run.sign_one(image)
        self._publication = run.publication(self._target)
        with says_what_is_left(self._publication):
            return self._publication.copy(
                image, self._world.container_tools(None), keeps_signatures=self._keeps_signatures
            )

    def verify(self, image: ImageReference) -> ImageReport:
        """Verify it as every consumer would, under every name, with the public half alone."""
        from imgsec.domain.identity import IdentityKind, IdentityRule
        from imgsec.domain.verifiers import PublishedKeys
        from imgsec.operations.trusted_keys import TrustedKeys
        from imgsec.operations.verify_image import verify_image

        key, world = self.signer, self._world
        published = PublishedKeys(1, (key,), (key,))
        named = [name.tagged_name for name in self._plan.names(image)]
        rules = [
            IdentityRule(),
            *(
                IdentityRule(IdentityKind.EXACT_REFERENCE, name)
                for name in named
                if name != image.tagged_name
            ),
        ]
        trusted = [TrustedKeys((key,), published, world.keyring, rule) for rule in rules]
        return verify_image(image, trusted, world.registry, now=world.clock.now())

    def late(self, image: ImageReference, why: Reason) -> ImageReport:
        """The report when the time is up: what stands somewhere unsigned is said."""
        from imgsec.domain.report import ImageReport
        from imgsec.domain.verdict import because

        if self._publication is not None:
            return self._publication.unsigned(why)
        return ImageReport(image, because(why))
