# SPDX-License-Identifier: Apache-2.0
"""The intent file, read and written: `imgsec-policy.yaml`, reviewed as any other change.

Strict: a field that nobody knows is an error, since a misspelt one would leave a demand out. A file
may hold several documents, each for the whole cluster or for some namespaces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from imgsec.domain.exemption import parse_day
from imgsec.domain.hosts import ServiceUrl
from imgsec.domain.policy import Namespace, ObjectName
from imgsec.domain.policy_intent import (
    DEFAULT_NAME,
    IDENTITIES,
    ImageNames,
    IntentKey,
    IntentRule,
    NameForm,
    PolicyIntent,
    RequiredSignature,
    Store,
    Unchecked,
    identity_document,
    identity_rule,
)
from imgsec.domain.policy_rules import AdvisorDemand, SignedIdentity, TrustDemand
from imgsec.domain.reference import ImageReference, RepositoryPattern, shown
from imgsec.domain.spelling import unknown_field
from imgsec.domain.verifiers import armoured_blocks, armoured_kinds
from imgsec.errors import ImgsecError

API_VERSION, KIND = "imgsec/v1", "PolicyIntent"
_WIDE = re.compile(r"[\x21-\x7e]{1,512}")  # ours; an image's name has at most 255, with its host
_KEY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ACCOUNT = re.compile(r"[A-Za-z0-9_-]{1,100}")
_TEXT_MAX_CHARS = 1000
_USUAL = "usual"
_TOP = ("apiVersion", "kind", "name", "namespaces", "mutateImage", "keys", "rules")
_RULE = (
    *map(str, NameForm),
    *("signedBy", "store", "trust", "advisor", "unchecked", "denied", "mutateImage"),
)
Read = TypeVar("Read")


def parse_intent(document: Any) -> PolicyIntent:
    """One document. Raises `ValueError` with a sentence, `ImgsecError` for a name that is none."""
    said = _fields(document, _TOP, required=("apiVersion", "kind", "rules"))
    if (said["apiVersion"], said["kind"]) != (API_VERSION, KIND):
        raise ValueError(f"it is not of apiVersion: {API_VERSION}, kind: {KIND}")
    keys = _in("keys", _keys, said.get("keys", {}))
    mutates = _in("mutateImage", _flag, said.get("mutateImage", True))
    rules = tuple(
        _in(f"rules[{place}]", _rule, one, keys, mutates)
        for place, one in enumerate(_list(said["rules"], "rules"))
    )
    used = {one.key.name for rule in rules for one in rule.signatures}
    if unused := sorted(set(keys) - used):
        raise ValueError(f"keys: {shown(unused[0])} signs nothing; take it out")
    named = _texts(said.get("namespaces", []), "namespaces")
    namespaces = tuple(_in("namespaces", Namespace.parse, one) for one in named)
    if "namespaces" in said and not namespaces:
        raise ValueError("namespaces: it is empty; leave it out for the whole cluster")
    if len(set(namespaces)) != len(namespaces):
        raise ValueError("namespaces: one stands twice")
    name = _in("name", ObjectName.parse, _text(said.get("name", DEFAULT_NAME), "name"))
    return PolicyIntent(rules, name, namespaces)


def intent_document(intent: PolicyIntent) -> dict[str, Any]:
    """What `parse_intent` reads the same of again. Only for rules of the user's own."""
    keys = {one.key.name: one.key for rule in intent.rules for one in rule.signatures}
    return _without_nothing(
        {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": str(intent.name),
            "namespaces": [str(one) for one in intent.namespaces],
            "keys": {name: _key_document(key) for name, key in keys.items()},
        }
    ) | {"rules": [_rule_document(rule) for rule in intent.rules]}


def _fields(
    value: Any, known: tuple[str, ...], *, required: tuple[str, ...] = ()
) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("it is no mapping")
    for name in value:
        if name not in known:
            raise unknown_field(str(name), known)
    for name in required:
        if name not in value:
            raise ValueError(f"{name} is missing")
    for name, member in value.items():
        if member is None:
            rest = "" if name in required else "; leave it out"
            raise ValueError(f"{name} is empty{rest}")
    return value


def _in(where: str, read: Callable[..., Read], *values: Any) -> Read:
    """What is read there; an error says where."""
    try:
        return read(*values)
    except ValueError as error:
        joint = "" if str(error).startswith("[") else ": "
        raise ValueError(f"{where}{joint}{error}") from None
    except ImgsecError as error:
        raise told_where(where, error) from None


def told_where(where: str, error: ImgsecError) -> ImgsecError:
    """The same refusal, with the place of what is refused."""
    return ImgsecError(replace(error.reason, text=f"{where}: {error.reason.text}"))


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name}: it is no text")
    if len(value) > _TEXT_MAX_CHARS:
        raise ValueError(f"{name}: it has more than {_TEXT_MAX_CHARS} characters")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("it is true or false")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{name}: it is no list")
    return value


def _texts(value: Any, name: str) -> list[str]:
    return [_text(one, name) for one in _list(value, name)]


def _keys(value: Any) -> dict[str, IntentKey]:
    if not isinstance(value, Mapping):
        raise ValueError("it is no mapping of names to keys")
    return {name: _in(str(name), _key, name, value[name]) for name in value}


def _key(name: Any, value: Any) -> IntentKey:
    if not isinstance(name, str) or not _KEY_NAME.fullmatch(name):
        raise ValueError("a key's name has letters, digits, dots, dashes and underscores")
    said = _fields(value, ("secret", "keyPath", "publicKey"))
    if not said:
        raise ValueError("it says none of secret, keyPath, publicKey")
    namespace = secret = path = content = ""
    if "secret" in said:
        namespace, slash, secret = _text(said["secret"], "secret").rpartition("/")
        secret = str(ObjectName.parse(secret))
        namespace = str(Namespace.parse(namespace)) if slash else ""
    if "keyPath" in said:
        path = _text(said["keyPath"], "keyPath")
        if not path.startswith("/") or not path.isprintable():
            raise ValueError("keyPath: it is no absolute path")
    if "publicKey" in said:
        content = said["publicKey"]
        if not isinstance(content, str) or not _is_public(content.encode()):
            raise ValueError("publicKey: it is no armoured PGP PUBLIC KEY BLOCK")
    return IntentKey(name, secret, namespace, path, content)


def _is_public(content: bytes) -> bool:
    kinds = set(armoured_kinds(content))
    return kinds == {"PUBLIC KEY BLOCK"} and bool(armoured_blocks(content))


def _rule(value: Any, keys: Mapping[str, IntentKey], mutates: bool) -> IntentRule:
    said = _fields(value, _RULE)
    names = [
        _in(str(form), _name, text, form)
        for form in NameForm
        for text in (_texts(said[form], form) if form in said else ())
    ]
    unchecked = _in("unchecked", _unchecked, said.get("unchecked"))
    denied = _in("denied", _denied, said.get("denied"))
    if "mutateImage" in said:
        if unchecked is not None or denied:
            raise ValueError("mutateImage: nothing is checked, so nothing is replaced")
        mutates = _in("mutateImage", _flag, said["mutateImage"])
    return IntentRule(
        tuple(dict.fromkeys(names)),
        tuple(
            _in(f"signedBy[{place}]", _signature, one, keys)
            for place, one in enumerate(_list(said.get("signedBy", []), "signedBy"))
        ),
        _in("store", _store, said.get("store")),
        _in("trust", _trust, said.get("trust")),
        _in("advisor", _advisor, said.get("advisor")),
        unchecked,
        denied,
        mutates or unchecked is not None or bool(denied),
    )


def _name(text: str, form: NameForm) -> ImageNames:
    if form is NameForm.PATTERN:
        return ImageNames(RepositoryPattern.parse(text).text)
    if form is NameForm.EXACT:
        return ImageNames(str(ImageReference.parse(text).require_version()), form)
    if not _WIDE.fullmatch(text):
        raise ValueError(f"wide: {shown(text)} is no pattern")
    return ImageNames(text, form)


def _signature(value: Any, keys: Mapping[str, IntentKey]) -> RequiredSignature:
    said = _fields(
        {"key": value} if isinstance(value, str) else value, ("key", "identity"), required=("key",)
    )
    name = said["key"]
    if not isinstance(name, str) or name not in keys:
        raise ValueError(f"{shown(str(name))} is none of the keys")
    identity = said.get("identity")
    return RequiredSignature(keys[name], _in("identity", lambda: parse_identity(identity)))


def parse_identity(value: Any) -> SignedIdentity | None:
    """As Portieris writes it, or ``type: usual``; None for the usual one.

    Raises `ValueError`, `ImgsecError` (input-malformed).
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ValueError("it must be a mapping, such as {type: matchExact}")
    kind = value.get("type")
    if kind == _USUAL:
        _fields(value, ("type",))
        return None
    if not isinstance(kind, str) or kind not in IDENTITIES:
        known = ", ".join((_USUAL, *IDENTITIES))
        raise ValueError(f"type: {shown(str(kind))} is not one of {known}")
    members = IDENTITIES[kind][0]
    said = _fields(value, ("type", *members), required=members)
    identity = SignedIdentity(
        kind,
        said.get("dockerReference", ""),
        said.get("dockerRepository", ""),
        said.get("prefix", ""),
        said.get("signedPrefix", ""),
    )
    identity_rule(identity)
    return identity


def _store(value: Any) -> Store | None:
    if value is None:
        return None
    said = _fields(value, ("url", "secret"), required=("url",))
    # Without TLS, too: engines take it, and what lies there proves itself.
    url = str(ServiceUrl.parse(_text(said["url"], "url"), strip="", needs_tls=False))
    secret = str(ObjectName.parse(_text(said["secret"], "secret"))) if "secret" in said else ""
    return Store(url, secret)


def _trust(value: Any) -> TrustDemand | None:
    if value is None or value is True:
        return None if value is None else TrustDemand()
    said = _fields(value, ("server", "signers"))
    server = ""
    if "server" in said:
        server = str(ServiceUrl.parse(_text(said["server"], "server"), strip=""))
    signers = _texts(said.get("signers", []), "signers")
    return TrustDemand(server, tuple(str(ObjectName.parse(one)) for one in signers))


def _advisor(value: Any) -> AdvisorDemand | None:
    if value is None or value is True:
        return None if value is None else AdvisorDemand()
    account = _text(_fields(value, ("account",)).get("account"), "account")
    if not _ACCOUNT.fullmatch(account):
        raise ValueError("account: it is no id")
    return AdvisorDemand(account)


def _denied(value: Any) -> str:
    if value is None:
        return ""
    return _text(_fields(value, ("reason",), required=("reason",))["reason"], "reason")


def _unchecked(value: Any) -> Unchecked | None:
    if value is None:
        return None
    said = _fields(value, ("reason", "until"), required=("reason",))
    until = parse_day(said["until"]) if "until" in said else None
    return Unchecked(_text(said["reason"], "reason"), until)


# --- Writing ----------------------------------------------------------------------------------


def _without_nothing(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value not in ("", [], {}, None)}


def _key_document(key: IntentKey) -> dict[str, str]:
    secret = f"{key.namespace}/{key.secret}" if key.namespace else key.secret
    return _without_nothing({"secret": secret, "keyPath": key.path, "publicKey": key.content})


def _rule_document(rule: IntentRule) -> dict[str, Any]:
    names = {str(form): [one.text for one in rule.names if one.form is form] for form in NameForm}
    return _without_nothing(
        {
            **names,
            "signedBy": [_signature_document(one) for one in rule.signatures],
            "store": rule.store
            and _without_nothing({"url": rule.store.url, "secret": rule.store.secret}),
            "trust": rule.trust and (_trust_document(rule.trust) or True),
            "advisor": rule.advisor
            and (_without_nothing({"account": rule.advisor.account}) or True),
            "unchecked": rule.unchecked
            and _without_nothing(
                {
                    "reason": rule.unchecked.reason,
                    "until": rule.unchecked.until and rule.unchecked.until.isoformat(),
                }
            ),
            "denied": _without_nothing({"reason": rule.denied}),
            "mutateImage": None if rule.mutates else False,
        }
    )


def _signature_document(one: RequiredSignature) -> str | dict[str, Any]:
    if one.identity is None:
        return one.key.name
    return {"key": one.key.name, "identity": identity_document(one.identity)}


def _trust_document(trust: TrustDemand) -> dict[str, Any]:
    return _without_nothing({"server": trust.server, "signers": list(trust.signer_secrets)})
