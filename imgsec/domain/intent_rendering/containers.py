# SPDX-License-Identifier: Apache-2.0
"""The intent for Podman, CRI-O and skopeo: `policy.json` and `registries.d`.

Scopes are prefixes by whole parts, ``host``, ``host/path``, ``host/path:tag`` and ``*.host``, and
the longest one that an image has decides (containers-policy.json(5), containers-registries.d(5)).
No image is rewritten, so a demand holds for tags and digests alike.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace
from typing import Any

from imgsec.domain.identity import USUAL_RULE, ClaimedName
from imgsec.domain.intent_rendering.coherence import Scope, scopes_of
from imgsec.domain.intent_rendering.rendered import Findings, PlainFile
from imgsec.domain.pattern_sets import samples_of
from imgsec.domain.policy_intent import (
    IDENTITIES,
    ImageNames,
    IntentKey,
    IntentRule,
    NameForm,
    PolicyIntent,
    RequiredSignature,
    has_tag_and_digest,
    identity_document,
    identity_rule,
)
from imgsec.domain.reference import ImageReference
from imgsec.domain.trust_policy import Blanket, Requirement, SignedBy, TrustPolicy
from imgsec.domain.verifiers import armoured_blocks
from imgsec.errors import ImgsecError
from imgsec.reasons import INTENT_CONTRADICTS, INTENT_INEXPRESSIBLE, INTENT_MISREAD

POLICY_FILE, STORES_FILE = "policy.json", "registries.d/imgsec.yaml"
_EVERYTHING = "*"
_REJECT = [{"type": str(Blanket.REJECT)}]


def containers_files(intents: Sequence[PolicyIntent], findings: Findings) -> tuple[PlainFile, ...]:
    """`policy.json`, and a file in `registries.d` where signatures lie beside a registry."""
    scopes: dict[str, list[dict[str, Any]]] = {}
    said: set[ImageNames] = set()
    stores: dict[str, dict[str, str]] = {}
    for intent in intents:
        if intent.namespaces:
            text = f"{intent.name} is for namespaces, which a machine does not have"
            findings.refuse(INTENT_INEXPRESSIBLE(text))
        for rule in intent.rules:
            _check_rule(rule, findings)
            for name in rule.names:
                scope = _scope(name, rule, findings)
                if scope is None:
                    continue
                said.add(name)
                requirements = _requirements(rule)
                if scopes.setdefault(scope, requirements) != requirements:
                    text = f"{name.text} and another name are one scope, {scope or 'everything'}"
                    findings.refuse(INTENT_CONTRADICTS(f"{text}, with other demands"))
                if rule.store is not None:
                    # The second is the first one's name up to skopeo 1.8.
                    stores[scope] = {"lookaside": rule.store.url, "sigstore": rule.store.url}
    policy: dict[str, Any] = {"default": _REJECT}
    if scopes:
        policy["transports"] = {"docker": scopes}
    if not findings.reasons:
        _hold(policy, scopes_of(intents), said, findings)
    text = "images that come from no registry (archives, folders) are rejected, too"
    findings.note("other-transports-rejected", text)
    files = (PlainFile(POLICY_FILE, policy),)
    return (*files, PlainFile(STORES_FILE, {"docker": stores})) if stores else files


def unwritten_files(files: Iterable[PlainFile]) -> tuple[str, ...]:
    """What an earlier intent may have needed, and this one does not."""
    names = {one.name for one in files}
    return (STORES_FILE,) if POLICY_FILE in names and STORES_FILE not in names else ()


def _check_rule(rule: IntentRule, findings: Findings) -> None:
    named = ", ".join(one.text for one in rule.names)
    missing = {
        "there is no content trust": bool(rule.trust),
        "there is no advisor to ask": bool(rule.advisor),
        "a signature store's credentials have no place": bool(rule.store and rule.store.secret),
    }
    for text in (text for text, is_so in missing.items() if is_so):
        findings.refuse(INTENT_INEXPRESSIBLE(f"{named}: in {POLICY_FILE} {text}"))
    for one in rule.signatures:
        if not one.key.path and not one.key.content:
            text = f"the key {one.key.name} is in a Secret only, which no machine reads"
            hint = "Add keyPath: /PATH/ON/THE/MACHINE or publicKey: | to it."
            findings.blame(rule, INTENT_INEXPRESSIBLE, f"{named}: {text}", hint)


def _scope(name: ImageNames, rule: IntentRule, findings: Findings) -> str | None:
    """The scope that decides about these images; None where there is none, so all is denied."""
    if has_tag_and_digest(name):
        text = f"{name.text}: images are pulled by tag or by digest, and by both by nobody"
        findings.refuse(INTENT_INEXPRESSIBLE(text, hint="Leave the tag out."))
        return None
    if name.text == _EVERYTHING:
        return ""
    text = name.text.removesuffix(":*")
    whole = text.removesuffix("/*")
    host, slash, path = whole.partition("/")
    if host.startswith("*.") and not slash and "*" not in host[2:] and whole != text:
        return host
    if "*" in whole or ("." not in host and ":" not in host and host != "localhost"):
        what = "a scope has no star but that of *.host, and begins with a host"
        findings.blame(rule, INTENT_INEXPRESSIBLE, f"{name.text}: {what}")
        return None
    if not path:
        return host
    scope = _normalised(whole, is_folder=whole != text)
    if scope is None:
        findings.blame(rule, INTENT_INEXPRESSIBLE, f"{name.text}: it is no image's name to them")
        return None
    _tell_more(name, whole, text, findings)
    return scope


def _tell_more(name: ImageNames, whole: str, text: str, findings: Findings) -> None:
    """What a scope has besides the images that the name means."""
    if whole != text:
        more = f"the repository {whole} itself"
    elif name.text != text:
        more = f"{text} by digest, and repositories below it"
    elif name.form is not NameForm.EXACT and ":" not in whole.rpartition("/")[2]:
        more = f"repositories below {whole}"
    else:
        return
    text = f"{name.text}: the same is said of {more}"
    findings.note("scope-is-wider", text, alike="scope")


def _normalised(text: str, *, is_folder: bool) -> str | None:
    """As containers/image looks for it. is_folder: repositories lie below it."""
    end = "/any" if is_folder else ""
    try:
        return str(ClaimedName.parse(text + end)).removesuffix(end)
    except ValueError:
        return None


def _requirements(rule: IntentRule) -> list[dict[str, Any]]:
    if rule.unchecked is not None:
        return [{"type": str(Blanket.ACCEPT)}]
    if rule.denied:
        return list(_REJECT)
    return [_signed_by(one) for one in rule.signatures]


def _signed_by(one: RequiredSignature) -> dict[str, Any]:
    document: dict[str, Any] = {"type": "signedBy", "keyType": "GPGKeys"}
    if one.key.path:
        document["keyPath"] = one.key.path
    else:
        document["keyData"] = base64.b64encode(_keyring(one.key)).decode("ascii")
    if one.identity is not None:
        kind = IDENTITIES[one.identity.kind][1]
        document["signedIdentity"] = identity_document(one.identity) | {"type": kind}
    return document


def _keyring(key: IntentKey) -> bytes:
    """The keys in binary, which the builds without GnuPG take alone; the armour if it is odd."""
    content = key.content.encode()
    try:
        return b"".join(map(_dearmoured, armoured_blocks(content)))
    except (ValueError, binascii.Error):
        return content


def _dearmoured(block: bytes) -> bytes:
    lines = [line.strip() for line in block.splitlines()][1:-1]
    body = lines[lines.index(b"") + 1 :] if b"" in lines else lines
    return base64.b64decode(b"".join(line for line in body if line[:1] != b"="), validate=True)


def _hold(
    policy: dict[str, Any], scopes: Sequence[Scope], said: Set[ImageNames], findings: Findings
) -> None:
    """What these tools would decide otherwise than is meant, by their own reading of the file."""
    read = TrustPolicy.parse(json.dumps(policy).encode())
    for scope in scopes:
        for name, rule in (one for one in scope.named if one[0] in said):
            for image in _images(name):
                meant = [one for _, one in scope.meant_for(str(image))]
                if not any(one.demand == rule.demand for one in meant):
                    continue
                if read.requirements_for(image) != _expected(rule):
                    text = f"{image} is meant for {name.text}, and another scope decides about it"
                    findings.blame(rule, INTENT_MISREAD, text)
                    break
            _hold_below(read, scope, name, rule, findings)


def _hold_below(
    read: TrustPolicy, scope: Scope, name: ImageNames, rule: IntentRule, findings: Findings
) -> None:
    """A scope has what lies below a repository, too; something else may be meant for that."""
    for image in _images(name):
        below = replace(image, repository=f"{image.repository}/below")
        meant = [one for _, one in scope.meant_for(str(below))]
        found = read.requirements_for(below)
        if meant and not any(_expected(one) == found for one in meant):
            text = f"{below} is meant otherwise than {name.text}, and has the same scope"
            hint = "A repository cannot be told from those below it there: name images, exactly."
            findings.blame(rule, INTENT_MISREAD, text, hint)
            return


def _images(name: ImageNames) -> Iterator[ImageReference]:
    for sample in samples_of(name.text):
        try:
            image = ImageReference.parse(sample)
        except ImgsecError:
            continue
        if (image.tag is None) is not (image.digest is None):  # tools take no other reference
            yield image


def _expected(rule: IntentRule) -> tuple[Requirement, ...]:
    if rule.unchecked is not None:
        return (Blanket.ACCEPT,)
    if rule.denied:
        return (Blanket.REJECT,)
    return tuple(
        SignedBy(
            (one.key.path,) if one.key.path else (),
            None if one.key.path else _keyring(one.key),
            identity_rule(one.identity) if one.identity else USUAL_RULE,
        )
        for one in rule.signatures
    )
