# SPDX-License-Identifier: Apache-2.0
"""List what a registry holds, with what the advisor says of each image; nothing is judged.

The list is complete, or it says what is missing and why: then it is undecided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from imgsec.domain.image_list import (
    ListedImage,
    RegistryImage,
    ScanSummary,
    SecurityStatus,
    in_order,
)
from imgsec.domain.reference import RegistryScope
from imgsec.domain.verdict import Note, Verdict, because, passed
from imgsec.errors import ImgsecError
from imgsec.ports import Clock, ImageCatalogue, ImageLister, SummaryReader
from imgsec.reasons import ANSWER_MALFORMED, IMAGE_NOT_FOUND, NOTHING_CHECKED, TIMEOUT, Reason

_SHOWN_MAX = 3  # names that a note or a reason lists
_FAILURES_MAX = 3  # in a row; then nobody else is asked
_PROGRESS_EVERY = 100  # images


@dataclass(frozen=True, slots=True)
class ListRequest:
    """What is to be listed. untagged: digests without a tag, too. ibm: IBM's public images, too."""

    scope: RegistryScope
    untagged: bool = False
    ibm: bool = False


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """Until when the advisor is asked, by the clock's own seconds. say: told how far it is."""

    clock: Clock
    deadline: float
    say: Callable[[str], None] = lambda _: None


def list_images(
    request: ListRequest, *, registry: ImageLister, advisor: SummaryReader, limit: TimeLimit
) -> tuple[tuple[ListedImage, ...], Verdict]:
    """The rows in their order, and whether that is all there is to say.

    The advisor is asked once for all images, and once for each that it left out there. Raises
    `ImgsecError` where there is no list: (not-assessed, nothing-checked, image-not-found), and what
    the registry's answers end in.
    """
    scope = request.scope
    registry.require_served(scope.registry)
    ask = registry.list_digests if request.untagged else registry.list_images
    catalogue = ask(scope, ibm=request.ibm)
    images = in_order(catalogue.images)
    reasons = [*_unreadable(catalogue)]
    if not images:
        raise ImgsecError(reasons[0] if reasons else _nothing(request, registry))
    try:
        known = advisor.list_summaries(scope, ibm=request.ibm)
    except ImgsecError as error:
        reason = _of_all(error.reason, scope)
        rows = [ListedImage(one, SecurityStatus(reason=reason)) for one in images]
        reasons.append(reason)
    else:
        rows = [*_with_statuses(images, known, scope.registry, advisor, limit)]
        reasons += _unanswered(rows)
    notes = [*_foreign(catalogue)]
    return tuple(rows), because(*reasons, notes=notes) if reasons else passed(*notes)


def _with_statuses(
    images: Sequence[RegistryImage],
    known: Mapping[str, ScanSummary],
    registry: str,
    advisor: SummaryReader,
    limit: TimeLimit,
) -> Iterator[ListedImage]:
    """Each image with its status. A service that fails again and again is not asked any more."""
    left = sum(one.name not in known for one in images)
    failures: list[Reason] = []
    asked = 0
    for one in images:
        if one.name in known:
            yield ListedImage(one, SecurityStatus(known[one.name]))
            continue
        if len(failures) >= _FAILURES_MAX:
            yield ListedImage(one, SecurityStatus(reason=failures[-1]))
            continue
        if limit.clock.monotonic() >= limit.deadline:
            reason = TIMEOUT("the advisor was not asked about all images within the time limit")
            yield ListedImage(one, SecurityStatus(reason=reason))
            continue
        if asked and asked % _PROGRESS_EVERY == 0:
            limit.say(f"asked about {asked} of {left} images")
        asked += 1
        try:
            status = SecurityStatus(advisor.fetch_summary(registry, one))
            failures.clear()
        except ImgsecError as error:
            status = SecurityStatus(reason=error.reason)
            failures.append(error.reason)
        yield ListedImage(one, status)


def _of_all(reason: Reason, scope: RegistryScope) -> Reason:
    """Why there is no status at all; for a whole account the advisor may need too long."""
    if scope.repository is not None or not reason.retryable:
        return reason
    hint = f"{reason.hint} The advisor answers sooner about one repository: name it."
    return replace(reason, hint=hint)


def _unanswered(rows: Iterable[ListedImage]) -> Iterator[Reason]:
    """One reason for each code, with the first one's words."""
    found: dict[str, list[Reason]] = {}
    for row in rows:
        if (reason := row.status.reason) is not None:
            found.setdefault(reason.code, []).append(reason)
    for reasons in found.values():
        images = "1 image has" if len(reasons) == 1 else f"{len(reasons)} images have"
        yield replace(reasons[0], text=f"{images} no status: {reasons[0].text}")


def _unreadable(catalogue: ImageCatalogue) -> Iterator[Reason]:
    if catalogue.unreadable:
        count, which = len(catalogue.unreadable), _listed(catalogue.unreadable)
        yield ANSWER_MALFORMED(f"{count} entries of the registry's list cannot be read: {which}")


def _foreign(catalogue: ImageCatalogue) -> Iterator[Note]:
    if catalogue.foreign:
        text = f"the registry names images of another: {_listed(catalogue.foreign)}"
        yield Note("foreign-images", text)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_MAX
    return ", ".join(names[:_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def _nothing(request: ListRequest, registry: ImageLister) -> Reason:
    """Why there is no image: no such namespace, or nothing in it."""
    scope = request.scope
    if scope.namespace is not None and _is_unknown(scope.namespace, scope, registry):
        return IMAGE_NOT_FOUND(
            f"{scope.registry} lists no namespace {scope.namespace} for this account",
            hint="Check the name, the registry's host and --account.",
        )
    what = "image" if request.untagged else "tagged image"
    also = "" if request.untagged else " --include-untagged lists those without a tag."
    return NOTHING_CHECKED(
        f"{scope} holds no {what} that this account may see",
        hint=f"Check the name, or push an image.{also}",
    )


def _is_unknown(namespace: str, scope: RegistryScope, registry: ImageLister) -> bool:
    try:
        return namespace not in registry.list_namespaces(scope.registry)
    except ImgsecError:
        return False  # who may list images may not always list namespaces
