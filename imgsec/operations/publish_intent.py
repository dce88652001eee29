# SPDX-License-Identifier: Apache-2.0
"""Publish what an intent was rendered to: all of it, or nothing where something is in the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from imgsec.domain.intent_rendering import Target
from imgsec.domain.intent_rendering.containers import unwritten_files
from imgsec.domain.intent_rendering.rendered import Rendered
from imgsec.domain.kubernetes import named_key_secrets, secret_value
from imgsec.domain.left_behind import NO_PRUNING, LeftBehind, Pruning, id_of
from imgsec.domain.policy_intent import PolicyIntent
from imgsec.domain.report import Change
from imgsec.domain.verifiers import Verifier, key_flaws
from imgsec.errors import ImgsecError
from imgsec.operations.published_keys import read_published
from imgsec.ports import FileSink, Keyring, ManifestSink, ObjectId, PolicyKeeper, object_id
from imgsec.reasons import KEY_SECRET_MISSING, KEY_UNREADABLE, Reason

_DATA_KEY = "key"
_READERS = {Target.PORTIERIS: Verifier.PORTIERIS, Target.CONTAINERS: Verifier.GPGME}


def key_reasons(
    intents: Iterable[PolicyIntent],
    target: Target,
    keyring: Callable[[], Keyring],
    now: datetime,
) -> tuple[Reason, ...]:
    """Why the engine would not read the keys that stand in the intent itself.

    keyring: made only if there is a key to look at.
    """
    verifier = _READERS.get(target)
    if verifier is None:
        return ()
    keys = {one.key for part in intents for rule in part.rules for one in rule.signatures}
    reasons: list[Reason] = []
    for key in sorted(keys, key=lambda one: one.name):
        if key.content:
            reasons += _unread(key.name, key.content.encode(), verifier, keyring(), now)
    return tuple(dict.fromkeys(reasons))


def secret_reasons(
    documents: Iterable[dict[str, Any]],
    place: ManifestSink,
    keyring: Callable[[], Keyring],
    now: datetime,
    *,
    must_exist: bool,
) -> tuple[Reason, ...]:
    """Why Portieris would not read the keys that policies name, as they are in this place.

    A rule without a namespace means the Secret beside each pod, which is not looked for here.
    must_exist: there is no other place that could have them.
    """
    names = {name for document in documents for name in named_key_secrets(document)}
    reasons: list[Reason] = []
    for name in sorted(names):
        namespace, _, secret = name.partition("/")
        held = place.fetch("Secret", secret, namespace) if namespace else None
        if held is not None and (content := secret_value(held, _DATA_KEY)) is not None:
            reasons += _unread(name, content, Verifier.PORTIERIS, keyring(), now)
        elif held is not None:
            text = f"the Secret {name} has nothing readable under the data key {_DATA_KEY!r}"
            reasons.append(KEY_UNREADABLE(text))
        elif namespace and must_exist:
            reasons.append(KEY_SECRET_MISSING(f"there is no Secret {name}"))
    return tuple(dict.fromkeys(reasons))


def publish_rendered(
    rendered: Rendered,
    objects: PolicyKeeper,
    files: FileSink,
    *,
    adopt: bool = False,
    pruning: Pruning = NO_PRUNING,
) -> tuple[tuple[Change, ...], Reason | None, LeftBehind]:
    """Write everything; what is in the way is found before anything is written.

    Gives what was done, why not all of it was, and what is left of earlier runs. Raises
    `ImgsecError` (foreign-object, output-unwritable) before anything is done.
    """
    pruning.require_unpublished(rendered.documents)
    names = [object_id(one) for one in rendered.documents]
    if names:
        objects.require_ready(*names, adopt=adopt)
    for document in rendered.documents:
        objects.rehearse(document, adopt=adopt)
    files.require_ready(*(one.name for one in rendered.files), adopt=adopt)
    older = [name for name in unwritten_files(rendered.files) if files.is_made(name)]
    left = LeftBehind.of(objects.list_made_policies(), rendered.documents, pruning, older)
    gone = pruning.names | left.removed
    objects.require_ready(*(ObjectId(one.kind, one.name, one.namespace or None) for one in gone))
    changes: list[Change] = []
    try:
        for file in rendered.files:
            changes.append(files.publish(file.name, file.content, adopt=adopt))
        for document in rendered.documents:
            changes.append(objects.publish(document, adopt=adopt))
        for one in map(id_of, left.pruned):
            changes.append(objects.remove(one.kind, one.name, one.namespace or None))
        for name in left.files if left.removes_files else ():
            changes.append(files.remove(name))
    except ImgsecError as error:
        return tuple(changes), error.reason, left
    return tuple(changes), None, left


def _unread(
    name: str, content: bytes, verifier: Verifier, keyring: Keyring, now: datetime
) -> list[Reason]:
    """Of each key in it; where one of several cannot be read, nobody may count on the others."""
    try:
        published = read_published(content, keyring)
    except ImgsecError as error:
        return [KEY_UNREADABLE(f"{name}: {error.reason.text}", hint=error.reason.hint)]
    found = [
        reason
        for one in published.every
        for reason in key_flaws(verifier, one.fingerprint, published, now)
    ]
    if not published.every:
        found.append(KEY_UNREADABLE("there is no key in it"))
    return [
        Reason(one.code, one.outcome, f"{name}: {one.text}", one.hint, one.retryable)
        for one in found
    ]
