# SPDX-License-Identifier: Apache-2.0
"""Publish what an intent was rendered to: all of it, or nothing where something is in the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from imgsec.domain.intent_rendering import Target
from imgsec.domain.intent_rendering.rendered import Rendered
from imgsec.domain.kubernetes import secret_value
from imgsec.domain.policy_intent import IntentKey, PolicyIntent
from imgsec.domain.report import Change
from imgsec.domain.verifiers import Verifier, key_flaws
from imgsec.errors import ImgsecError
from imgsec.operations.published_keys import read_published
from imgsec.ports import FileSink, Keyring, ManifestSink, object_id
from imgsec.reasons import KEY_UNREADABLE, Reason

_DATA_KEY = "key"
_READERS = {Target.PORTIERIS: Verifier.PORTIERIS, Target.CONTAINERS: Verifier.GPGME}


def key_reasons(
    intents: Iterable[PolicyIntent],
    target: Target,
    keyring: Callable[[], Keyring],
    secrets: ManifestSink | None,
    now: datetime,
) -> tuple[Reason, ...]:
    """Why the engine would not read the keys, as far as they are at hand.

    secrets: where manifests of Secrets may lie. keyring: made only if there is a key to look at.
    """
    verifier = _READERS.get(target)
    if verifier is None:
        return ()
    keys = {one.key for part in intents for rule in part.rules for one in rule.signatures}
    reasons: list[Reason] = []
    for key in sorted(keys, key=lambda one: one.name):
        contents = [key.content.encode()] if key.content else []
        if secrets is not None and target is Target.PORTIERIS:
            contents += _in_secret(key, secrets)
        for content in contents:
            reasons += _unread(key, content, verifier, keyring(), now)
    return tuple(dict.fromkeys(reasons))


def publish_rendered(
    rendered: Rendered,
    objects: ManifestSink | None,
    files: FileSink | None,
    *,
    adopt: bool = False,
) -> tuple[tuple[Change, ...], Reason | None]:
    """Write or apply everything; what is in the way is found before anything is written.

    Gives what was done, and why not all of it was. Raises `ImgsecError` (foreign-object,
    output-unwritable) before anything is done.
    """
    names = [object_id(one) for one in rendered.documents]
    if objects is not None and names:
        objects.require_ready(*names, adopt=adopt)
    if files is not None:
        files.require_ready(*(one.name for one in rendered.files), adopt=adopt)
    changes: list[Change] = []
    try:
        if files is not None:
            for file in rendered.files:
                changes.append(files.publish(file.name, file.content, adopt=adopt))
        if objects is not None:
            for document in rendered.documents:
                changes.append(objects.publish(document, adopt=adopt))
    except ImgsecError as error:
        return tuple(changes), error.reason
    return tuple(changes), None


def _in_secret(key: IntentKey, secrets: ManifestSink) -> list[bytes]:
    if not key.secret or not key.namespace:
        return []
    held = secrets.fetch("Secret", key.secret, key.namespace)
    content = secret_value(held, _DATA_KEY) if held is not None else None
    return [] if content is None else [content]


def _unread(
    key: IntentKey, content: bytes, verifier: Verifier, keyring: Keyring, now: datetime
) -> list[Reason]:
    """Of each key in it; where one of several cannot be read, nobody may count on the others."""
    try:
        published = read_published(content, keyring)
    except ImgsecError as error:
        return [KEY_UNREADABLE(f"{key.name}: {error.reason.text}", hint=error.reason.hint)]
    found = [
        reason
        for one in published.every
        for reason in key_flaws(verifier, one.fingerprint, published, now)
    ]
    if not published.every:
        found.append(KEY_UNREADABLE("there is no key in it"))
    return [
        Reason(one.code, one.outcome, f"{key.name}: {one.text}", one.hint, one.retryable)
        for one in found
    ]
