# SPDX-License-Identifier: Apache-2.0
"""Replace a signing key by a new one, with an overlap in which both are trusted.

Every run reads off the KMS and off what is published how far the rotation is, and goes on from
there as far as it may: publish both halves, switch, move the alias, sign again, retire.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from imgsec.domain.keys import (
    RETIRED_PREFIX,
    Fingerprint,
    KeyAlias,
    KeyRequest,
    PublicKey,
    SecretBytes,
    is_key_name,
    marked,
    unwrapped,
)
from imgsec.domain.policy import KeyReference, KeySecret
from imgsec.domain.reference import ImageReference
from imgsec.domain.report import Change, ImageReport, RunningImage, VerifiedImage
from imgsec.domain.rotation import KeySide, Rotation, Stage, When, stage_of
from imgsec.domain.verdict import Note, Verdict, all_of, because, passed
from imgsec.errors import ImgsecError, KeyNotFound
from imgsec.operations.preview_policy import images_that_need
from imgsec.operations.published_keys import (
    PublishedSecret,
    find_published,
    require_all_ours,
    take_back_revoked,
)
from imgsec.operations.setup_signing_keys import Wanted, store_signing_key
from imgsec.operations.sign_image import SigningPlan, digests_to_sign, sign_digests
from imgsec.operations.signing_key import (
    find_or_none,
    load_public_half,
    require_fit,
)
from imgsec.operations.succession import (
    Pair,
    Site,
    find_pair,
    free_mark,
    has_moved,
    mark_predecessor,
    move_alias,
    other_names,
    publish_keys,
    read_reference,
    require_able,
    require_named,
    require_not_cancelled,
    spare_copies,
    switch_to,
    tidy_up,
)
from imgsec.operations.verify_digest import verify_digest
from imgsec.ports import (
    KeyReader,
    Keyring,
    ObjectId,
    StoredKey,
)
from imgsec.reasons import (
    INVALID_OPTION,
    KEY_CONFLICT,
    KEY_EXPIRED,
    KEY_FINGERPRINT_MISMATCH,
    KEY_MOVING,
    KEY_REVOKED,
    KEY_UNPUBLISHED,
    RUNNING_IMAGES_REFUSED,
)


@dataclass(frozen=True, slots=True)
class RotationPlan:
    """What is to be done, and from when.

    replaced: the key that is to go; where it is gone, nothing is to be done, and never a second
    rotation is begun. reference: the Secret that names the signing key. switch, retire: None for
    not in this run. images: what must stay deployable without the old key.
    """

    alias: KeyAlias
    replaced: Fingerprint
    reference: KeySecret
    request: KeyRequest
    switch: When | None = None
    retire: When | None = None
    images: tuple[ImageReference, ...] = ()
    accept_lockout: bool = False

    def __post_init__(self) -> None:
        """Raises `ImgsecError` (invalid-option) for dates that leave no overlap."""
        first = self.switch.moment if self.switch else None
        last = self.retire.moment if self.retire else None
        if first and self.retire and last is None:
            text = f"--retire now beside --switch {self.switch} leaves no overlap"
            hint = "Give both a date. Once the switch is done: --retire now alone."
            raise ImgsecError(INVALID_OPTION(text, hint=hint))
        if first and last and last <= first:
            text = f"the retirement ({self.retire}) must come after the switch ({self.switch})"
            hint = "Leave time in between, in which every node learns what is published."
            raise ImgsecError(INVALID_OPTION(text, hint=hint))


@dataclass(frozen=True, slots=True)
class Rotated:
    """Where the rotation stands after the run, and what the run did."""

    rotation: Rotation
    verdict: Verdict
    changes: tuple[Change, ...] = ()
    images: tuple[ImageReport, ...] = ()
    running: tuple[RunningImage, ...] = ()


@dataclass(slots=True)
class _View:
    """The state of a rotation, as it was just seen.

    is_late: it is over elsewhere, and this folder or cluster is behind.
    """

    pair: Pair
    old: PublicKey | None
    new: PublicKey | None
    secrets: tuple[PublishedSecret, ...]
    stage: Stage
    is_late: bool = False


@dataclass(slots=True)
class _Run:
    """What one run did so far."""

    plan: RotationPlan
    site: Site
    changes: list[Change] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    images: tuple[ImageReport, ...] = ()
    running: tuple[RunningImage, ...] = ()
    has_published: bool = False
    has_switched: bool = False


def show_rotation(
    alias: KeyAlias, reference: KeySecret, site: Site, replaced: Fingerprint | None = None
) -> Rotation:
    """How far the rotation of a key is. Reads public halves and metadata only.

    replaced: as in `RotationPlan`; None for whatever is being replaced here.
    """
    return _rotation(alias, _look(alias, reference, site, replaced))


def rotate_key(plan: RotationPlan, site: Site) -> Rotated:
    """Go on with the rotation as far as the plan allows; every step that is done stays done.

    Undecided (key-moving) while the alias is on its way; refused if the old key cannot be retired
    yet. Raises `ImgsecError` (key-conflict, key-revoked, key-unpublished, key-unreadable,
    foreign-object, invalid-option and what the ports raise).
    """
    run = _Run(plan, site)
    site.place.require_ready()
    view = _look_now(run)
    verdict = passed()
    if _is_over(run, view):
        note = Note("nothing-to-do", f"{plan.replaced} has been replaced already")
        return Rotated(_rotation(plan.alias, view), passed(note, *_left_published(run, view)))
    if plan.retire and not (plan.images or site.cluster or plan.accept_lockout):
        raise ImgsecError(
            INVALID_OPTION(
                "--retire needs to know what must stay deployable",
                hint="Name the images with --resign-from FILE, or work on the cluster (--apply).",
            )
        )
    require_not_cancelled(plan.alias, view.pair.new)
    run.notes += other_names(plan.alias, view.pair.old)
    _require_unrevoked(run, view)
    if view.stage in (Stage.NONE, Stage.MADE, Stage.PUBLISHED):
        view = _prepared(run, view)
    view = _without_revoked(run, view)
    if plan.images:
        run.images = _signed_again(run, view)
        verdict = all_of(part.verdict for part in run.images)
    try:
        view, verdict = _gone_on(run, view, verdict)
    except ImgsecError as error:
        if error.reason.code != KEY_MOVING.code:
            raise
        verdict = all_of([*([] if verdict.passed else [verdict]), because(error.reason)])
        view = _look_now(run)
    notes = (*verdict.notes, *run.notes, *_left_published(run, view))
    verdict = Verdict(verdict.outcome, verdict.reasons, notes)
    rotation = _rotation(plan.alias, view)
    return Rotated(rotation, verdict, tuple(run.changes), run.images, run.running)


def _gone_on(run: _Run, view: _View, verdict: Verdict) -> tuple[_View, Verdict]:
    """Enter one stage after the other, as long as the plan and the images allow it.

    verdict: of the images that were signed again. Raises `ImgsecError` (key-moving).
    """
    plan, site = run.plan, run.site
    while True:
        match view.stage:
            case Stage.MADE if view.is_late:
                view = _prepared(run, view)
                continue
            case Stage.PUBLISHED if _may(run, plan.switch, "switch", too_soon=_is_new(run, view)):
                run.changes.append(_switch(run, view))
            case Stage.SWITCHING:
                run.has_switched = True  # it is over only now
                run.changes += move_alias(plan.alias, site)
            case Stage.SWITCHED if _may(run, plan.retire, "retirement", too_soon=run.has_switched):
                verdict = _retirable(run, view, verdict)
                if not verdict.passed:
                    return view, verdict
                view = _look_now(run)  # much time may have passed since
                _require_unrevoked(run, view)
                if view.stage is Stage.SWITCHED:
                    run.changes += _unpublish(run, view)
            case Stage.RETIRING:
                _tidy_up(run)
            case _:
                return view, verdict
        view = _look_now(run)
        require_not_cancelled(plan.alias, view.pair.new)


# --- Where it stands ------------------------------------------------------------------------------


def _look_now(run: _Run) -> _View:
    return _look(run.plan.alias, run.plan.reference, run.site, run.plan.replaced)


def _look(alias: KeyAlias, reference: KeySecret, site: Site, replaced: Fingerprint | None) -> _View:
    kms, keyring, place = site.kms, site.keyring, site.place
    pair, published = find_pair(alias, kms), find_published(place, keyring)
    said = read_reference(reference, place)
    old = _public(alias, pair.old, kms, keyring)
    is_late = False
    if pair.new is None and old is not None:
        left = _left_behind(old.fingerprint, said, published, replaced, kms)
        if left is not None:
            pair, is_late = Pair(left, pair.old), True
            old = _public(alias, pair.old, kms, keyring)
    try:
        new = _public(alias, pair.new, kms, keyring)
    except KeyNotFound:  # a run was cut short between storing its halves
        new = None
    if old is not None and new is not None and old.fingerprint == new.fingerprint:
        raise ImgsecError(
            KEY_CONFLICT(
                f"kms://{alias} is being renewed",
                hint=f"Finish that first: imgsec keys renew {alias}; or take it back: --cancel",
            )
        )
    seen = [(pair.old, old), (pair.new, new)]
    keys = [(stored, key.fingerprint) for stored, key in seen if key is not None]
    named = require_named(said, reference, keys, kms)
    own = {fingerprint for _, fingerprint in keys}
    secrets = tuple(one for one in published if own & set(one.fingerprints))
    if not secrets and is_late:
        secrets = _only_retired(published, kms)
    if not secrets:
        require_all_ours(own, place, keyring)
        listed = " or ".join(map(str, own))
        raise ImgsecError(KEY_UNPUBLISHED(f"no Secret here holds the public half of {listed}"))
    stage = Stage.NONE
    if pair.new is not None:
        stage = stage_of(
            old_is_published=any(old and old.fingerprint in one.fingerprints for one in secrets),
            new_is_published=all(new and new.fingerprint in one.fingerprints for one in secrets),
            new_is_named=named == pair.new.id,
            alias_has_moved=is_late or (named == pair.new.id and has_moved(alias, kms)),
            old_is_retired=not is_late and _is_retired(pair.old, old),
        )
    return _View(pair, old, new, secrets, stage, is_late)


def _only_retired(
    published: Iterable[PublishedSecret], kms: KeyReader
) -> tuple[PublishedSecret, ...]:
    """The one Secret of a place that is behind which publishes retired keys and nothing else.

    As when both keys of a rotation were revoked in it, or it went another way than the others. With
    several nothing would tell which of them is this alias's.
    """
    found = [
        one
        for one in published
        if one.fingerprints
        and all(find_or_none(kms, str(KeyAlias.retired(key))) for key in one.fingerprints)
    ]
    return tuple(found) if len(found) == 1 else ()


def _left_behind(
    current: Fingerprint,
    said: KeyReference | None,
    published: Iterable[PublishedSecret],
    replaced: Fingerprint | None,
    kms: KeyReader,
) -> StoredKey | None:
    """The retired key that this folder or cluster still publishes or names; None if it does not.

    It was replaced in another one, and nobody came by here. replaced: None to take the word of the
    Secret that names the signing key, or of one with a retired key beside the current one.
    """
    named = find_or_none(kms, said.kms_key_id) if said and said.kms_key_id else None
    meant = marked(RETIRED_PREFIX, filter(is_key_name, named.aliases)) if named else None
    replaced = replaced or meant or _lingering(current, published, kms)
    if replaced is None or replaced == current:
        return None
    if meant == replaced or any(replaced in one.fingerprints for one in published):
        return find_or_none(kms, str(KeyAlias.retired(replaced)))
    return None


def _lingering(
    current: Fingerprint, published: Iterable[PublishedSecret], kms: KeyReader
) -> Fingerprint | None:
    beside = dict.fromkeys(
        other
        for one in published
        if current in one.fingerprints
        for other in one.fingerprints
        if other != current
    )
    retired = (one for one in beside if find_or_none(kms, str(KeyAlias.retired(one))))
    return next(retired, None)


def _public(
    alias: KeyAlias, stored: StoredKey | None, kms: KeyReader, keyring: Keyring
) -> PublicKey | None:
    if stored is None:
        return None
    return load_public_half(str(alias), stored, kms, keyring)


def _is_retired(stored: StoredKey | None, key: PublicKey | None) -> bool:
    if stored is None or key is None:
        return True
    return marked(RETIRED_PREFIX, stored.aliases) == key.fingerprint


def _is_over(run: _Run, view: _View) -> bool:
    """Whether the key that is to go was retired before, and its names are tidied up.

    Raises `ImgsecError` (key-fingerprint-mismatch) if it is not the one that is being replaced.
    """
    wanted, old = run.plan.replaced, view.old
    if old is not None and old.fingerprint == wanted:
        return False
    is_retired = find_or_none(run.site.kms, str(KeyAlias.retired(wanted))) is not None
    if is_retired and (view.stage is Stage.NONE or old is None):
        return view.stage is Stage.NONE
    held = old or view.new
    text = f"the key {wanted} is to be replaced, and kms://{run.plan.alias} is"
    hint = None
    if old is None and held is not None and held.fingerprint == wanted:
        text, hint = f"{text} being renewed:", f"Finish that: imgsec keys renew {run.plan.alias}"
    told = f"{text} {held.fingerprint if held else 'none'}"
    raise ImgsecError(KEY_FINGERPRINT_MISMATCH(told, hint=hint))


def _rotation(alias: KeyAlias, view: _View) -> Rotation:
    def side(stored: StoredKey | None, key: PublicKey | None) -> KeySide | None:
        return KeySide(stored.id, key.fingerprint, key.expires) if stored and key else None

    old, new = side(view.pair.old, view.old), side(view.pair.new, view.new)
    if view.stage is Stage.NONE:
        old, new = None, old
    return Rotation(
        str(alias),
        view.stage,
        old=old,
        new=new,
        secrets=tuple(one.name for one in view.secrets),
    )


def _is_new(run: _Run, view: _View) -> bool:
    """Whether nobody had a day to learn the new key, in this place or anywhere."""
    made = view.pair.new.created if view.pair.new is not None and not view.is_late else None
    is_young = made is not None and run.site.clock.now() - made < timedelta(days=1)
    return run.has_published or is_young


def _may(run: _Run, when: When | None, what: str, *, too_soon: bool) -> bool:
    """Whether a stage may be entered now; one that is to come is noted.

    too_soon: the stage before it has only just been entered. Then a date that is past, as when a
    nightly job did not run for a while, would leave no overlap: a later run goes on.
    """
    if when is None:
        return False
    if not when.is_due(run.site.clock.now()):
        run.notes.append(Note("not-yet-due", f"the {what} is due on {when}"))
        return False
    if too_soon and when.moment is not None:
        text = f"the {what} was due on {when}; it is left to a run a day later, so that all can"
        run.notes.append(Note("not-yet-due", f"{text} learn first what is published"))
        return False
    return True


def _left_published(run: _Run, view: _View) -> list[Note]:
    """The retired keys that are trusted here all the same, once the rotation is over."""
    if view.stage is not Stage.NONE:
        return []
    site, found = run.site, list[Note]()
    for secret in find_published(site.place, site.keyring):
        for one in secret.fingerprints:
            if find_or_none(site.kms, str(KeyAlias.retired(one))) is not None:
                text = f"{one} was replaced elsewhere, and {secret.name} publishes it still"
                found.append(Note("retired-key-published", text))
    return found


# --- The stages -----------------------------------------------------------------------------------


def _prepared(run: _Run, view: _View) -> _View:
    """Make the new key, or find it and prove that it can sign; publish it beside the old one."""
    site, plan = run.site, run.plan
    own = {key.fingerprint for key in (view.old, view.new) if key is not None}
    require_all_ours(own, site.place, site.keyring)
    if view.pair.new is None:  # what cannot be published is noticed before there is a key
        places = [(str(one.where.name), str(one.where.namespace)) for one in view.secrets]
        site.place.require_ready(*(ObjectId("Secret", *place) for place in places))
    _import_published(view.secrets, site.keyring)  # first: it comes first in the block
    if view.is_late:
        _, key = _both(view)
    else:
        done = store_signing_key(
            Wanted(plan.alias.successor, plan.request, is_successor=True),
            kms=site.kms,
            keyring=site.keyring,
            now=site.clock.now(),
        )
        run.changes += done.changes
        key = done.key
    for secret in view.secrets:
        wanted = dict.fromkeys([*secret.fingerprints, key.fingerprint])
        change = _republished(run, secret, wanted)
        run.has_published |= change.state != "unchanged"
        run.changes.append(change)
    return _look_now(run)


def _require_unrevoked(run: _Run, view: _View) -> None:
    """Raises `ImgsecError` (key-revoked) for a new key that nothing may go on with."""
    if view.new and view.new.is_revoked and view.stage is not Stage.RETIRING:
        hint = f"Take it back: imgsec keys rotate {run.plan.alias} --cancel"
        raise ImgsecError(KEY_REVOKED(f"the new key {view.new.fingerprint} is revoked", hint=hint))


def _without_revoked(run: _Run, view: _View) -> _View:
    """Publish no longer what the KMS says is revoked: a run at the same time may have said so."""
    site = run.site
    every = {one for secret in view.secrets for one in secret.fingerprints}
    own = {key.fingerprint for key in (view.old, view.new) if key is not None}
    now = site.clock.now()
    changes = take_back_revoked(every | own, site.place, site.kms, site.keyring, now=now)
    run.changes += changes
    return _look_now(run) if changes else view


def _import_published(secrets: Iterable[PublishedSecret], keyring: Keyring) -> None:
    for secret in secrets:
        keyring.import_public_keys(secret.content)


def _republished(run: _Run, secret: PublishedSecret, wanted: Iterable[Fingerprint]) -> Change:
    change, *further = publish_keys(secret, list(wanted), run.site)
    run.changes += further
    return change


def _both(view: _View) -> tuple[StoredKey, PublicKey]:
    """The new key, which is there once it was made. Raises `ImgsecError` (key-moving)."""
    if view.pair.new is None or view.new is None:
        raise ImgsecError(KEY_MOVING("another run has taken the new key away just now"))
    return view.pair.new, view.new


def _switch(run: _Run, view: _View) -> Change:
    stored, key = _both(view)
    site = run.site
    if not view.is_late:
        require_able(run.plan.alias, run.plan.reference, site)
        mark_predecessor(run.plan.alias, view.pair, site)
    run.has_switched = True
    return switch_to(stored.id, key.fingerprint, run.plan.reference, site.kms, site.place)


def _signed_again(run: _Run, view: _View) -> tuple[ImageReport, ...]:
    """A signature of the new key for each image that one of the two keys vouches for already.

    Raises `ImgsecError` (key-expired) if the old one cannot vouch for anything any more.
    """
    ends = view.old.expires if view.old is not None else None
    if view.old and ends and ends <= run.site.clock.now() and not run.plan.accept_lockout:
        text = f"key {view.old.fingerprint} ended on {ends:%Y-%m-%d}, and vouches for no image"
        hint = "Take the rotation back (--cancel --accept-lockout), renew the key, and rotate it."
        raise ImgsecError(KEY_EXPIRED(text, hint=hint))
    stored, new = _both(view)
    site = run.site
    registry = site.registry()
    _, payload = site.kms.fetch_key(stored.id)
    key = site.keyring.import_secret_key(SecretBytes(unwrapped(payload.reveal())))
    require_fit(key, new.fingerprint, f"the KMS key {stored.id}", site.clock.now())
    keys = [key for key in (new, view.old) if key is not None]
    found = []
    for number, image in enumerate(run.plan.images, start=1):
        site.progress(f"signing again: {image} ({number} of {len(run.plan.images)})")
        try:
            report = verify_digest(image, keys, registry, site.keyring, now=site.clock.now())
            if isinstance(report.found, VerifiedImage):
                canonical = _as_it_was_signed(report.found)
                manifest = registry.fetch_manifest(canonical)
                signed = sign_digests(
                    canonical,
                    digests_to_sign(canonical, manifest, SigningPlan(), registry),
                    new.fingerprint,
                    registry=registry,
                    keyring=site.keyring,
                    clock=site.clock,
                )
                report = ImageReport(image, passed(), signed)
        except ImgsecError as error:
            report = ImageReport(image, because(error.reason))
        found.append(report)
    return tuple(found)


def _as_it_was_signed(found: VerifiedImage) -> ImageReference:
    """The digest under the name that its signature has, which stays with it when the tag moves on.

    What is deployed by its digest has no other name. Raises `ImgsecError` (tag-required).
    """
    if found.image.tag is not None or found.image.digest is None:
        return found.image
    return ImageReference.parse(found.identity).at(found.image.digest)


def _retirable(run: _Run, view: _View, images: Verdict) -> Verdict:
    """Whether everything that must stay deployable is signed by the new key."""
    if run.plan.accept_lockout:
        return passed()
    if run.site.cluster is not None:
        _, new = _both(view)
        registry = run.site.registry()

        def verify(image: ImageReference) -> Verdict:
            now = run.site.clock.now()
            return verify_digest(image, [new], registry, run.site.keyring, now=now).verdict

        names = {one.name for one in view.secrets}
        run.running = images_that_need(names, run.site.cluster, verify)
        if bad := [one for one in run.running if not one.verdict.passed]:
            text = f"{len(bad)} of {len(run.running)} running images need the old key"
            hint = "Sign them again: --resign-from FILE. Or say --accept-lockout."
            images = because(RUNNING_IMAGES_REFUSED(text, hint=hint), *images.reasons)
    return images


def _unpublish(run: _Run, view: _View) -> list[Change]:
    """Publish what is left without the old key."""
    _import_published(view.secrets, run.site.keyring)
    gone = view.old.fingerprint if view.old is not None else None
    return [
        _republished(run, secret, [one for one in secret.fingerprints if one != gone])
        for secret in view.secrets
        if gone in secret.fingerprints
    ]


def _tidy_up(run: _Run) -> None:
    """Give the old key the name of a retired one, and take away the names of the rotation."""
    alias, gone, kms = run.plan.alias, run.plan.replaced, run.site.kms
    for copy in spare_copies(gone, kms):
        kms.add_alias(copy.id, str(KeyAlias.retired(gone, copy.id)))
    spent = KeyAlias.retired(gone)
    if (old := find_or_none(kms, str(alias.predecessor))) is not None:
        spent = free_mark(spent, KeyAlias.retired(gone, old.id), old, kms)
    tidy_up(alias, alias.predecessor, spent, kms)
    run.changes.append(Change(f"kms://{spent}", "retired"))
