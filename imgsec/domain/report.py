# SPDX-License-Identifier: Apache-2.0
"""What a command found and decided, ready to be shown: one report, with one part per image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from imgsec.domain.keys import Fingerprint, PublicKey
from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.verdict import Verdict

if TYPE_CHECKING:  # most commands neither scan nor predict
    from imgsec.domain.admission import Admission, AdmissionChange
    from imgsec.domain.admission_review import ReviewAnswer
    from imgsec.domain.admission_suite import TestResult
    from imgsec.domain.exemption import Exemption
    from imgsec.domain.gate import JudgedScan
    from imgsec.domain.image_list import ImageListing
    from imgsec.domain.policy_diff import MeaningChange
    from imgsec.domain.policy_lint import Lint
    from imgsec.domain.rotation import Rotation


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """What a reference names now. platforms: ``os/architecture[/variant]``, as listed."""

    image: ImageReference
    media_type: str
    is_index: bool
    platforms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScannedImage:
    """The scans behind a gate's verdict: one, or one for each platform of an index."""

    image: ImageReference
    scans: tuple[JudgedScan, ...]


@dataclass(frozen=True, slots=True)
class SignedImage:
    """A digest that is signed, and what it lists with it, under each of the names.

    names: ``repository:tag``. is_new: this run made a signature. is_pushed: it brought the image.
    """

    image: ImageReference
    signer: Fingerprint
    is_new: bool
    digests: tuple[Digest, ...]
    names: tuple[str, ...]
    is_pushed: bool = False


@dataclass(frozen=True, slots=True)
class PushedImage:
    """A digest that this run brought to its repository, and did not sign."""

    image: ImageReference


@dataclass(frozen=True, slots=True)
class VerifiedImage:
    """A digest whose signature counts. signed_at is in UTC and the signer's own claim."""

    image: ImageReference
    signer: Fingerprint
    identity: str
    signed_at: datetime


@dataclass(frozen=True, slots=True)
class UncheckedImage:
    """A digest that a policy lets through without a look at its signatures."""

    image: ImageReference


Finding = ResolvedImage | ScannedImage | SignedImage | PushedImage | VerifiedImage | UncheckedImage


@dataclass(frozen=True, slots=True)
class VerifierAnswer:
    """What one verifier would say: to an image, or to a key as it is published."""

    verifier: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ImageReport:
    """One image: as it was asked for, what was decided, and what was found if anything was.

    answers: those of the image's consumers, where they were asked for. steps: the parts of a
    release, by name, in their order.
    """

    asked: ImageReference
    verdict: Verdict
    found: Finding | None = None
    answers: tuple[VerifierAnswer, ...] = ()
    steps: tuple[tuple[str, ImageReport], ...] = ()

    @property
    def scan(self) -> ScannedImage | None:
        """What the gate found in it, be it as a step of a release."""
        for one in (self, *(step for _, step in self.steps)):
            if isinstance(one.found, ScannedImage):
                return one.found
        return None


@dataclass(frozen=True, slots=True)
class KeySummary:
    """A signing key, without anything secret. expires: None for a key without an end date."""

    alias: str
    key_id: str
    public_key_id: str
    fingerprint: Fingerprint
    algorithm: str
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class PublishedAt:
    """Where a public half is published: a Secret as ``NAMESPACE/NAME``, and who trusts it."""

    secret: str
    trusted_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One signing key of the inventory. public: None where no public half is stored beside it.

    verdict: why it must not sign now; passed for a usable one. published: None if nobody looked.
    state: the KMS's word, such as ``active``. days_left: whole days, None for no end date.
    """

    alias: str
    key_id: str
    created: datetime | None
    public: PublicKey | None
    verdict: Verdict
    further_aliases: tuple[str, ...] = ()
    published: tuple[PublishedAt, ...] | None = None
    state: str = ""
    days_left: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what was found, or the verdict why it will not work."""

    name: str
    found: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one file, object or key.

    state: created, updated, unchanged, adopted, moved, retired, revoked, taken-back or restored;
    of an exemption added, updated, unchanged, removed, kept, or to-add and to-remove, as planned.
    """

    target: str
    state: str


@dataclass(frozen=True, slots=True)
class ExemptionLine:
    """One exemption as it stands somewhere. entry: of the ledger; None for one it does not have.

    state: in-force, expired, or advisor-only. kept: the advisor has it; None if nobody asked it.
    """

    issue: str
    type: str
    scope: str
    state: str
    entry: Exemption | None = None
    kept: bool | None = None


@dataclass(frozen=True, slots=True)
class ExemptionType:
    """One kind of issue that can be exempt: the advisor's word, and what people call it."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class RunningImage:
    """An image that runs in a cluster, and what a policy would say to it. image: as it stands."""

    image: str
    namespaces: tuple[str, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that one run has to say."""

    command: str
    verdict: Verdict
    images: tuple[ImageReport, ...] = ()
    key: KeySummary | None = None
    changes: tuple[Change, ...] = ()
    running: tuple[RunningImage, ...] = ()
    keys: tuple[KeyEntry, ...] = ()
    verifiers: tuple[VerifierAnswer, ...] = ()
    checks: tuple[Check, ...] = ()
    rotation: Rotation | None = None
    exemptions: tuple[ExemptionLine, ...] = ()
    listing: ImageListing | None = None
    exemption_types: tuple[ExemptionType, ...] = ()
    admissions: tuple[Admission, ...] = ()
    meaning_changes: tuple[MeaningChange, ...] = ()
    admission_changes: tuple[AdmissionChange, ...] = ()
    review: ReviewAnswer | None = None
    tests: tuple[TestResult, ...] = ()
    lint: Lint | None = None


def is_of_policies(report: Report) -> bool:
    """Whether it tells of policies, or of what an admission engine decides."""
    parts = (report.admissions, report.meaning_changes, report.admission_changes, report.tests)
    return report.lint is not None or any(parts)


def with_scans_apart(report: Report) -> Report:
    """The same, with the scan of a release in place of the image, for what shows findings.

    The verdict stays the image's: a release that failed after the gate did not go well.
    """
    images = (
        replace(part, found=scan, steps=()) if (scan := part.scan) is not None else part
        for part in report.images
    )
    return replace(report, images=tuple(images))
