# SPDX-License-Identifier: Apache-2.0
"""Vulnerability Advisor v4 and the registry's image listing over HTTP: routes, login, errors.

Reached through the registry's front, since the advisor of an image has the image's own host.
An image name may come as one encoded segment, as IBM's clients send it, or with raw slashes.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from imgsec.sandbox.advisor.catalogue import Catalogue, created, images, labels
from imgsec.sandbox.advisor.exemptions import TYPES, Exemption, ExemptionStore
from imgsec.sandbox.advisor.exemptions import Scope as ExemptionScope
from imgsec.sandbox.advisor.reports import Assessment
from imgsec.sandbox.advisor.scenario import ImageRule, ScenarioFile
from imgsec.sandbox.asgi import (
    Headers,
    Receive,
    Scope,
    Send,
    answer,
    answer_json,
    header,
    read_body,
)
from imgsec.sandbox.front.names import DIGEST, REPOSITORY, REPOSITORY_MAX, TAG
from imgsec.sandbox.identity import Identity
from imgsec.sandbox.service import EXPIRED, NOTES
from imgsec.sandbox.tokens import KeyRing, Principal, TokenMint

_BODY_MAX = 2**20  # bytes
_VA, _V1 = "/va/api/v4/", "/api/v1/"
_IMAGE = re.compile(
    rf"(?:(?P<host>[^/]+)/)?(?P<repository>{REPOSITORY})"
    rf"(?::(?P<tag>{TAG}))?(?:@(?P<digest>{DIGEST}))?"
)


class _Refusal(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


class _Image(NamedTuple):
    repository: str
    tag: str | None
    digest: str | None

    @property
    def reference(self) -> str:
        return self.digest or self.tag or "latest"


class _Call(NamedTuple):
    """One request: what the path and query name, who asks, and the body."""

    names: dict[str, str]
    query: dict[str, str]
    who: Principal
    body: bytes
    spoken: str  # the image name as it was written


_Handler = Callable[[_Call], Awaitable[tuple[int, Any]]]


class Advisor:
    """The ASGI application."""

    def __init__(
        self,
        identity: Identity,
        keys: KeyRing,
        mint: TokenMint,
        *,
        catalogue: Catalogue,
        scenario: ScenarioFile,
        exemptions: ExemptionStore,
    ) -> None:
        self._identity = identity
        self._keys = keys
        self._mint = mint
        self._catalogue = catalogue
        self._scenario = scenario
        self._exemptions = exemptions
        self._hosts = (identity.registry, f"localhost:{identity.ports['registry']}")
        issue = r"issue/(?P<kind>[^/]+)/(?P<issue>[^/]+)"
        resource = "(?P<resource>.+)"
        table: list[tuple[str, str, bool, _Handler]] = [
            ("GET", rf"{_VA}report/account", False, self._account_reports),
            ("GET", rf"{_VA}report/account/status", False, self._account_summaries),
            ("GET", rf"{_VA}report/image/status/(?P<image>.+)", False, self._summary),
            ("GET", rf"{_VA}report/image/(?P<image>.+)", False, self._report),
            ("GET", rf"{_VA}exempt/types", False, self._types),
            ("GET", rf"{_VA}exempt/image", False, self._list_exemptions),
            ("GET", rf"{_VA}exempt/image/{issue}", False, self._get_exemption),
            ("POST", rf"{_VA}exempt/image/{issue}", True, self._add_exemption),
            ("DELETE", rf"{_VA}exempt/image/{issue}", True, self._remove_exemption),
            ("GET", rf"{_VA}exempt/image/{resource}/{issue}", False, self._get_exemption),
            ("POST", rf"{_VA}exempt/image/{resource}/{issue}", True, self._add_exemption),
            ("DELETE", rf"{_VA}exempt/image/{resource}/{issue}", True, self._remove_exemption),
            ("GET", rf"{_VA}exempt/image/{resource}", False, self._list_exemptions),
            ("GET", rf"{_VA}exemptions/account", False, self._all_exemptions),
            ("GET", rf"{_VA}exemptions/image/{resource}", False, self._applying_exemptions),
            ("POST", rf"{_VA}exemptions/images", False, self._exemptions_of_images),
            ("POST", rf"{_VA}exemptions/deleteAll", True, self._remove_all_exemptions),
            ("GET", rf"{_V1}images", False, self._list_images),
            ("POST", rf"{_V1}images/digests", False, self._list_digests),
            ("GET", rf"{_V1}namespaces", False, self._namespaces),
        ]
        self._table = [
            (method, re.compile(path), manages, handler) for method, path, manages, handler in table
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            who = self._admit(scope)
            names, manages, handler = self._route(scope)
            if manages and not who.role.manages:
                raise _Refusal(403, "CRG0009E", "Not authorised to change exemptions")
            body = await read_body(receive, _BODY_MAX)
            if body is None:
                raise _Refusal(413, "CRG0000E", "The request is too large")
            query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
            status, value = await handler(
                _Call(names, query, who, body, names.get("image", names.get("resource", "")))
            )
        except _Refusal as refusal:
            value = _error(refusal.code, refusal.message)
            await answer_json(send, refusal.status, value)
        else:
            if value is None:
                await answer(send, status, b"")
            else:
                await answer_json(send, status, value)

    def _admit(self, scope: Scope) -> Principal:
        authorization = header(scope, b"authorization")
        who = self._mint.bearer(authorization) or self._basic(authorization)
        if who is None or scope.get(EXPIRED):
            raise _Refusal(401, "CRG0014E", "Authentication of the request failed")
        scope[NOTES].update(role=who.role.name, iam_id=who.iam_id)
        account = header(scope, b"account")
        if account is None:
            raise _Refusal(400, "CRG0020E", "The header Account is needed")
        if who.account != self._identity.account or account != who.account:
            raise _Refusal(403, "CRG0009E", "Not authorised for this account")
        return who

    def _basic(self, authorization: str | None) -> Principal | None:
        """Portieris may log in with an API key, as to the registry."""
        scheme, _, encoded = (authorization or "").partition(" ")
        try:
            text = base64.b64decode(encoded, validate=True).decode()
        except ValueError:
            return None
        user, _, secret = text.partition(":")
        is_key = scheme.lower() == "basic" and user == "iamapikey"
        return self._keys.find(secret) if is_key else None

    def _route(self, scope: Scope) -> tuple[dict[str, str], bool, _Handler]:
        path = scope["raw_path"].decode("latin-1")
        known = False
        for method, pattern, manages, handler in self._table:
            if found := pattern.fullmatch(path):
                known = True
                if method == scope["method"]:
                    names = {name: unquote(text) for name, text in found.groupdict().items()}
                    return names, manages, handler
        if known:
            raise _Refusal(405, "CRG0000E", "Method not allowed")
        raise _Refusal(404, "CRG0000E", "No such path")

    # --- Reports ------------------------------------------------------------------------------

    async def _report(self, call: _Call) -> tuple[int, Any]:
        return 200, (await self._assess(call)).report()

    async def _summary(self, call: _Call) -> tuple[int, Any]:
        return 200, (await self._assess(call)).summary()

    async def _assess(self, call: _Call) -> Assessment:
        image = self._parse_image(call.names["image"])
        digest, rule, exemptions = await asyncio.to_thread(self._look_up, image)
        if digest is None and not rule.assume_pushed:
            raise _Refusal(404, "CRG0020E", "Image was not found")
        key = f"{image.repository}@{digest or image.reference}"
        status = rule.status(self._scenario.poll(key))
        if status is None:
            raise _Refusal(404, "CRG0000E", "No report for this image")
        return Assessment(call.spoken, status, rule, exemptions)

    def _look_up(self, image: _Image) -> tuple[str | None, ImageRule, tuple[Exemption, ...]]:
        """Digest, rule and exemptions of one image; asks for tags only where they matter."""
        scenario = self._scenario.current()
        digest = self._catalogue.digest(image.repository, image.reference)
        exemptions = self._exemptions.all()
        tags: tuple[str, ...] = () if image.digest else (image.reference,)
        if (
            image.digest
            and digest
            and (
                any(rule.tag != "*" for rule in scenario.rules)
                or any(exemption.scope.reference for exemption in exemptions)
            )
        ):
            tags = self._catalogue.tags_of(image.repository, digest)
        references = frozenset({*tags, digest or image.reference})
        return (
            digest,
            scenario.rule(image.repository, tags, digest),
            tuple(e for e in exemptions if e.scope.covers(image.repository, references)),
        )

    async def _account_reports(self, call: _Call) -> tuple[int, Any]:
        found = await asyncio.to_thread(self._assess_all, call.query.get("repository"))
        return 200, {"assessments": {name: item.report() for name, item, _ in found}}

    async def _account_summaries(self, call: _Call) -> tuple[int, Any]:
        found = await asyncio.to_thread(self._assess_all, call.query.get("repository"))
        return 200, {
            "images": [
                {"name": name, "created_time": made, **item.summary()} for name, item, made in found
            ]
        }

    def _assess_all(self, wanted: str | None) -> list[tuple[str, Assessment, int]]:
        found = []
        for repository, digest, tags in images(self._catalogue, self._repositories(wanted)):
            manifest = self._catalogue.manifest(repository, digest)
            made = created(self._catalogue.config(repository, manifest)) if manifest else 0
            for tag in tags:
                assessment = self._peek(repository, tag, digest)
                if assessment is not None:
                    found.append((assessment.image, assessment, made))
        return found

    def _peek(self, repository: str, tag: str, digest: str) -> Assessment | None:
        """The assessment that a list shows; asking for a list counts as no poll."""
        rule = self._scenario.current().rule(repository, (tag,), digest)
        status = rule.status(self._scenario.peek(f"{repository}@{digest}"))
        if status is None:
            return None
        references = frozenset({tag, digest})
        exemptions = tuple(
            e for e in self._exemptions.all() if e.scope.covers(repository, references)
        )
        name = f"{self._identity.registry}/{repository}:{tag}"
        return Assessment(name, status, rule, exemptions)

    def _repositories(self, wanted: str | None, namespace: str | None = None) -> list[str]:
        if wanted is not None:
            return [self._parse_image(wanted).repository]
        names = self._catalogue.repositories()
        if namespace is not None:
            names = [name for name in names if name.partition("/")[0] == namespace]
        return names

    def _parse_image(self, text: str) -> _Image:
        found = _IMAGE.fullmatch(text)
        if found is None or len(found["repository"]) > REPOSITORY_MAX:
            raise _Refusal(400, "CRG0000E", "The image name is not valid")
        repository, host = found["repository"], found["host"]
        if host is not None and not any(sign in host for sign in ".:") and host != "localhost":
            repository, host = f"{host}/{repository}", None  # the first part of a path, no host
        if host is not None and host not in self._hosts:
            raise _Refusal(404, "CRG0020E", "Image was not found: another registry's host")
        return _Image(repository, found["tag"], found["digest"])

    # --- Exemptions ---------------------------------------------------------------------------

    async def _types(self, _call: _Call) -> tuple[int, Any]:
        return 200, [
            {
                "identifier": word,
                "display_name": display,
                "translationKey": f"exemption.type.{word}",
                "validation_regex": pattern,
            }
            for word, (display, pattern) in TYPES.items()
        ]

    async def _list_exemptions(self, call: _Call) -> tuple[int, Any]:
        scope = self._scope(call.names.get("resource", "*"))
        found = [item for item in self._exemptions.all() if item.scope == scope]
        return 200, [item.to_json(call.who.account) for item in found]

    async def _get_exemption(self, call: _Call) -> tuple[int, Any]:
        wanted = self._exemption(call)
        if wanted not in self._exemptions.all():
            raise _Refusal(404, "CRG0000E", "No such exemption")
        return 200, wanted.to_json(call.who.account)

    async def _add_exemption(self, call: _Call) -> tuple[int, Any]:
        exemption = self._exemption(call)
        self._exemptions.add(exemption)
        return 201, exemption.to_json(call.who.account)

    async def _remove_exemption(self, call: _Call) -> tuple[int, Any]:
        if not self._exemptions.remove(self._exemption(call)):
            raise _Refusal(404, "CRG0000E", "No such exemption")
        return 200, None

    async def _all_exemptions(self, call: _Call) -> tuple[int, Any]:
        return 200, [item.to_json(call.who.account) for item in self._exemptions.all()]

    async def _applying_exemptions(self, call: _Call) -> tuple[int, Any]:
        with_scope = call.query.get("includeScope", "false").lower() == "true"
        return 200, self._applying(call.names["resource"], call.who, with_scope=with_scope)

    async def _exemptions_of_images(self, call: _Call) -> tuple[int, Any]:
        value = _json(call.body)
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise _Refusal(400, "CRG0000E", "The body must be a list of image names")
        return 200, {name: self._applying(name, call.who, with_scope=True) for name in value}

    def _applying(self, resource: str, who: Principal, *, with_scope: bool) -> list[Any]:
        """The exemptions of a scope and of every wider one."""
        wanted = self._scope(resource)
        return [
            item.to_json(who.account, with_scope=with_scope)
            for item in self._exemptions.all()
            if item.scope == wanted
            or (
                not (item.scope.reference and not wanted.reference)
                and item.scope.covers(wanted.path, frozenset({wanted.reference}))
            )
        ]

    async def _remove_all_exemptions(self, _call: _Call) -> tuple[int, Any]:
        return 200, {"number_of_exemptions_deleted": self._exemptions.clear()}

    def _scope(self, resource: str) -> ExemptionScope:
        try:
            return ExemptionScope.parse(resource, self._hosts)
        except ValueError as error:
            raise _Refusal(400, "CRG0000E", str(error)) from error

    def _exemption(self, call: _Call) -> Exemption:
        kind, issue = call.names["kind"], call.names["issue"]
        if kind not in TYPES or not re.fullmatch(TYPES[kind][1], issue):
            raise _Refusal(400, "CRG0000E", "Issue id does not fit the type")
        return Exemption(kind, issue, self._scope(call.names.get("resource", "*")))

    # --- Registry API v1 ----------------------------------------------------------------------

    async def _list_images(self, call: _Call) -> tuple[int, Any]:
        return 200, await asyncio.to_thread(self._images, call.query)

    def _images(self, query: dict[str, str]) -> list[dict[str, Any]]:
        repositories = self._repositories(query.get("repository"), query.get("namespace"))
        lists = query.get("includeManifestLists", "true").lower() != "false"
        counts = query.get("vulnerabilities", "false").lower() == "true"
        found = []
        for repository, digest, tags in images(self._catalogue, repositories):
            manifest = self._catalogue.manifest(repository, digest)
            if manifest is None or (manifest.is_list and not lists):
                continue
            name = f"{self._identity.registry}/{repository}"
            config = self._catalogue.config(repository, manifest)
            repo_tags = [f"{name}:{tag}" for tag in tags]
            entry: dict[str, Any] = {
                "Id": digest,
                "ParentId": "",
                "DigestTags": {digest: repo_tags},
                "RepoTags": repo_tags,
                "RepoDigests": [f"{name}@{digest}"],
                "Created": created(config),
                "Size": manifest.size,
                "VirtualSize": manifest.size,
                "Labels": labels(config),
                "ManifestType": manifest.media_type,
            }
            if counts:
                numbers = self._counts(repository, tags[0], digest)
                entry |= {name[0].upper() + name[1:]: number for name, number in numbers.items()}
            found.append(entry)
        return found

    async def _list_digests(self, call: _Call) -> tuple[int, Any]:
        value = _json(call.body) if call.body else {}
        if not isinstance(value, dict):
            raise _Refusal(400, "CRG0000E", "The body must be an object")
        names = value.get("repositories") or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise _Refusal(400, "CRG0000E", "repositories must be a list of names")
        return 200, await asyncio.to_thread(
            self._digests,
            names,
            exclude_tagged=value.get("exclude_tagged") is True,
            exclude_va=value.get("exclude_va") is True,
        )

    def _digests(
        self, wanted: list[str], *, exclude_tagged: bool, exclude_va: bool
    ) -> list[dict[str, Any]]:
        repositories = [self._parse_image(name).repository for name in wanted]
        found = []
        for repository in repositories or self._repositories(None):
            tags_by_digest = {
                digest: tags for _, digest, tags in images(self._catalogue, [repository])
            }
            for digest in self._catalogue.digests(repository):
                tags = tags_by_digest.get(digest, [])
                manifest = self._catalogue.manifest(repository, digest)
                if manifest is None or (tags and exclude_tagged):
                    continue
                by_tag = {
                    tag: {} if exclude_va else self._counts(repository, tag, digest) for tag in tags
                }
                found.append(
                    {
                        "id": digest,
                        "created": created(self._catalogue.config(repository, manifest)),
                        "manifestType": manifest.media_type,
                        "size": manifest.size,
                        "repoTags": {f"{self._identity.registry}/{repository}": by_tag},
                    }
                )
        return found

    def _counts(self, repository: str, tag: str, digest: str) -> dict[str, Any]:
        """Numbers only: an image that is not scanned looks like one without issues."""
        assessment = self._peek(repository, tag, digest)
        summary = assessment.summary() if assessment else {}
        issues = int(summary.get("issue_count", 0))
        return {
            "configurationIssueCount": 0,
            "exemptIssueCount": summary.get("exempt_issue_count", 0),
            "issueCount": issues,
            "vulnerabilityCount": issues,
            "vulnerable": "true" if issues else "false",
        }

    async def _namespaces(self, _call: _Call) -> tuple[int, Any]:
        names = await asyncio.to_thread(self._catalogue.repositories)
        return 200, sorted({name.partition("/")[0] for name in names})


def error_body(_scope: Scope, status: int) -> tuple[bytes, Headers]:
    """What the service says when a fault is asked for; the real codes are not known."""
    words = {429: "Too many requests", 500: "Internal error", 503: "Try again later"}
    body = json.dumps(_error("CRG0000E", words.get(status, "Error"))).encode()
    return body, [(b"content-type", b"application/json")]


def _error(code: str, message: str) -> dict[str, str]:
    request = f"{secrets.token_hex(2)}-{time.time():.3f}-{secrets.randbelow(1000)}"
    return {"code": code, "message": message, "request-id": request}


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _Refusal(400, "CRG0000E", "The body is not JSON") from error
