# SPDX-License-Identifier: Apache-2.0
"""A registry's manifests and simple signatures: never a layer, and no new manifest.

Distribution API v2, and the signature extension ``X-Registry-Supports-Signatures`` (containers/
image, `docs/signature-protocols.md`; OpenShift and icr.io have it). Whatever a registry sends is
held against the digest that was asked for.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin

from imgsec.adapters._http import Answer, Http
from imgsec.adapters.registry_auth import API_HOSTS, Challenge, Credential, Credentials
from imgsec.domain.encoding import decode_base64
from imgsec.domain.manifest import MANIFEST_TYPES, media_type_of
from imgsec.domain.reference import Digest, ImageReference, shown
from imgsec.domain.signature import SIGNATURES_MAX
from imgsec.errors import ImageNotFound, ImgsecError
from imgsec.ports import Manifest
from imgsec.reasons import (
    AUTH_REALM_REFUSED,
    DIGEST_MISMATCH,
    IMAGE_NOT_FOUND,
    MISSING_CREDENTIAL,
    PUSHED_UNSIGNED,
    SIGNATURE_STORE_MISSING,
    TOO_MANY_SIGNATURES,
    Reason,
)

if TYPE_CHECKING:
    from imgsec.adapters.lookaside import Lookaside

MANIFEST_MAX_BYTES = 4 * 2**20  # distribution: the most that a registry stores
CONFIG_MAX_BYTES = 4 * 2**20  # containers/image, internal/iolimits: MaxConfigBodySize
SIGNATURE_LIST_MAX_BYTES = 4 * 2**20  # containers/image, internal/iolimits
_ACCEPTED = 202
_OK, _CREATED, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _CONFLICT = 200, 201, 401, 403, 404, 409
_PULL, _PUSH = "pull", "pull,push"  # a token's actions
_MAY_PUSH = "Signing needs a credential that may push (at icr.io, the role Writer)."


class RegistryClient:
    """Reads from registries and stores signatures there, with one connection pool.

    There is a token for each repository, and a second one where something is stored.

    auth_file: None to ask anonymously. realms: hosts that a registry may name as its token service.
    lookaside: where signatures are kept for a registry without the extension; as with containers
    tools, one that has it is asked alone.
    """

    def __init__(
        self,
        http: Http,
        *,
        auth_file: Credentials | None,
        realms: tuple[str, ...] = (),
        lookaside: Lookaside | None = None,
    ) -> None:
        self._http = http
        self._lookaside = lookaside
        self._auth_file = auth_file
        self._realms = realms
        self._authorization: dict[tuple[str, str], str] = {}  # by repository name and actions
        self._pings: dict[str, _Ping] = {}  # by registry
        self._challenges: dict[str, str] = {}  # by repository name: the last, answered unasked

    def fetch_manifest(self, image: ImageReference) -> Manifest:
        """See `imgsec.ports.ManifestReader`. Raises (digest-mismatch) for other bytes."""
        version = str(image.digest or image.tag)
        answer = self._get(
            image,
            f"/v2/{image.repository}/manifests/{version}",
            headers={"Accept": ", ".join(MANIFEST_TYPES)},
            max_bytes=MANIFEST_MAX_BYTES,
        )
        if answer.status == _NOT_FOUND:
            raise ImageNotFound(IMAGE_NOT_FOUND(f"{image} is not in the registry"))
        if answer.status != _OK:
            raise ImgsecError(self._failure(image, answer))
        digest = Digest.of(answer.body)
        claimed = answer.headers.get("docker-content-digest", str(digest))
        if digest != (image.digest or digest) or claimed != str(digest):
            raise ImgsecError(
                DIGEST_MISMATCH(
                    f"{image.registry} sent a manifest of {digest} for {image} and called it"
                    f" {shown(claimed)}"
                )
            )
        return Manifest(answer.body, _media_type(answer), digest)

    def fetch_config(self, image: ImageReference, digest: Digest) -> bytes:
        """See `imgsec.ports.ConfigReader`. A registry may keep blobs on a storage host."""
        answer = self._get(
            image,
            f"/v2/{image.repository}/blobs/{digest}",
            headers={"Accept": "*/*"},
            max_bytes=CONFIG_MAX_BYTES,
            follow_abroad=True,
        )
        if answer.status != _OK:
            raise ImgsecError(self._failure(image, answer))
        if Digest.of(answer.body) != digest:
            raise ImgsecError(DIGEST_MISMATCH(f"{image.registry} sent other bytes for {digest}"))
        return answer.body

    def require_signature_store(self, image: ImageReference, *, writable: bool = False) -> None:
        """See `imgsec.ports.SignatureReader`."""
        if self.has_extension(image):
            return
        if self._lookaside is None:
            raise ImgsecError(
                SIGNATURE_STORE_MISSING(f"{image.registry} does not offer the signature extension")
            )
        self._lookaside.require(writable=writable)

    def has_extension(self, image: ImageReference) -> bool:
        """Whether the registry keeps signatures itself. Raises `ImgsecError` as asking does."""
        return self._ping(image).offers_signatures

    def _ping(self, image: ImageReference) -> _Ping:
        if image.registry not in self._pings:
            answer = self._http.get(f"{_base(image)}/v2/")
            if answer.status not in (_OK, _UNAUTHORIZED):
                raise ImgsecError(answer.failure())
            self._pings[image.registry] = _Ping(
                answer.headers.get("x-registry-supports-signatures") == "1",
                _challenge(answer),
            )
        return self._pings[image.registry]

    def fetch_signatures(self, image: ImageReference) -> tuple[bytes, ...]:
        """See `imgsec.ports.SignatureReader`."""
        self.require_signature_store(image)
        if self._lookaside is not None and not self.has_extension(image):
            return self._lookaside.fetch_signatures(image)
        answer = self._get(
            image,
            f"/extensions/v2/{image.repository}/signatures/{image.digest}",
            headers={"Accept": "application/json"},
            max_bytes=SIGNATURE_LIST_MAX_BYTES,
        )
        if answer.status == _NOT_FOUND:
            # OpenShift says nothing, in JSON. A proxy's page, or another service's, is no "none".
            if not _said(answer) and (answer.body or answer.media_type != "application/json"):
                raise ImgsecError(answer.malformed("neither signatures nor a registry's error"))
            return ()
        if answer.status != _OK:
            raise ImgsecError(self._failure(image, answer))
        try:
            entries = [
                decode_base64(entry.get("content") or "")
                for entry in answer.json()["signatures"]
                if _is_ours(entry)
            ]
        except (KeyError, TypeError, AttributeError, ValueError):
            raise ImgsecError(answer.malformed("no list of signatures")) from None
        if len(entries) > SIGNATURES_MAX:
            raise ImgsecError(
                TOO_MANY_SIGNATURES(f"{image.canonical_name} carries {len(entries)} signatures")
            )
        return tuple(entries)

    def store_signature(self, image: ImageReference, signature: bytes) -> None:
        """See `imgsec.ports.SigningRegistry`.

        Sending it again is safe: its name is its own, and a registry keeps each name once.
        """
        if self._lookaside is not None and not self.has_extension(image):
            try:
                self._lookaside.store_signature(image, signature)
            except ImgsecError as error:
                raise ImgsecError(_unsigned(image, error.reason.text)) from error
            return
        body = {
            "schemaVersion": 2,
            "name": f"{image.digest}@{secrets.token_hex(16)}",
            "type": "atomic",
            "content": base64.b64encode(signature).decode("ascii"),
        }
        try:
            answer = self._ask(
                "PUT",
                image,
                f"/extensions/v2/{image.repository}/signatures/{image.digest}",
                headers={"Content-Type": "application/json"},
                max_bytes=SIGNATURE_LIST_MAX_BYTES,
                body=json.dumps(body).encode(),
            )
        except ImgsecError as error:
            raise ImgsecError(_unsigned(image, error.reason.text)) from error
        if answer.status in (_CREATED, _CONFLICT):
            return
        why = self._failure(image, answer, _PUSH)
        denied = answer.status in (_UNAUTHORIZED, _FORBIDDEN)
        raise ImgsecError(_unsigned(image, why.text, hint=_MAY_PUSH if denied else None))

    def require_own_token_service(self, image: ImageReference) -> None:
        """See `imgsec.ports.PublishingRegistry`.

        skopeo and buildah go wherever ``/v2/`` leads them, and by what is said of a repository
        later they change the scope only (containers/image, `docker/docker_client.go`).
        """
        challenge = Challenge.parse(self._ping(image).challenge)
        if challenge.scheme == "bearer" and self.credential_for(image) is not None:
            challenge.require_realm(_api_host(image), self._realms)

    def tag_manifest(self, image: ImageReference, manifest: Manifest) -> None:
        """See `imgsec.ports.PublishingRegistry`. The bytes are sent as they came, and once."""
        answer = self._ask(
            "PUT",
            image,
            f"/v2/{image.repository}/manifests/{image.tag}",
            headers={"Content-Type": manifest.media_type},
            max_bytes=MANIFEST_MAX_BYTES,
            body=manifest.content,
            once=True,
        )
        if answer.status != _CREATED:
            raise ImgsecError(self._failure(image, answer, _PUSH))

    def mount_blob(self, source: ImageReference, target: ImageReference, blob: Digest) -> bool:
        """See `imgsec.ports.PublishingRegistry`.

        Distribution API, "Mounting a blob from another repository": 201 for done, 202 for an
        upload that was begun instead, which is taken back, if the credential may (`distribution`
        wants the action ``delete`` for that). Asking again is safe.
        """
        query = urlencode({"mount": str(blob), "from": source.repository})
        answer = self._ask(
            "POST",
            target,
            f"/v2/{target.repository}/blobs/uploads/?{query}",
            headers={},
            max_bytes=CONFIG_MAX_BYTES,
            actions=f"{_PUSH} repository:{source.repository}:{_PULL}",
        )
        if answer.status == _ACCEPTED:
            try:
                place = urljoin(f"{_base(target)}/", answer.headers.get("location", ""))
            except ValueError:
                place = ""
            if place.startswith(f"{_base(target)}/v2/"):
                path = place.removeprefix(_base(target))
                with suppress(ImgsecError):  # the registry forgets it by itself, later
                    self._ask(
                        *("DELETE", target, path),
                        headers={},
                        max_bytes=CONFIG_MAX_BYTES,
                        actions=f"{_PUSH},delete",
                    )
        return answer.status == _CREATED

    def credential_for(self, image: ImageReference) -> Credential | None:
        """The credential that the auth file has for the image's repository."""
        return self._auth_file.credential_for(image) if self._auth_file else None

    def _failure(self, image: ImageReference, answer: Answer, actions: str = _PULL) -> Reason:
        """The reason for an unsuccessful answer about an image. actions: what was wanted."""
        if answer.status == _UNAUTHORIZED and self.credential_for(image) is None:
            return MISSING_CREDENTIAL(
                f"{image.registry} wants a credential for {image.name}, and there is none",
                hint="Log in to the registry, or name the file of a login with --authfile.",
            )
        verb, role = ("pull", "Reader") if actions == _PULL else ("push to", "Writer")
        needs = f"a credential that may {verb} {image.name} (at icr.io, the role {role})"
        return answer.failure(_said(answer), needs=needs)

    def _get(
        self,
        image: ImageReference,
        path: str,
        *,
        headers: Mapping[str, str],
        max_bytes: int,
        follow_abroad: bool = False,
    ) -> Answer:
        return self._ask(
            "GET", image, path, headers=headers, max_bytes=max_bytes, follow_abroad=follow_abroad
        )

    def _ask(
        self,
        method: str,
        image: ImageReference,
        path: str,
        *,
        headers: Mapping[str, str],
        max_bytes: int,
        body: bytes | None = None,
        follow_abroad: bool = False,
        actions: str | None = None,
        once: bool = False,
    ) -> Answer:
        """A request that answers one challenge; a token that has aged is asked for anew.

        What the registry asked for before is answered before it asks again, as containers tools do.
        actions: what a token must allow, if not reading for a GET and pushing else; further scopes
        behind a space. once: another attempt is the caller's to decide.
        """
        url = f"{_base(image)}{path}"
        actions = actions or (_PULL if method == "GET" else _PUSH)

        def ask(authorization: str | None) -> Answer:
            return self._http.request(
                method,
                url,
                headers=_with(headers, authorization),
                body=body,
                max_bytes=max_bytes,
                follow_abroad=follow_abroad,
                repeats=not once,
            )

        known = self._authorization.get((image.name, actions))
        if known is None:
            known = self._authorize_unasked(image, actions)
        answer = ask(known)
        if answer.status != _UNAUTHORIZED or not answer.url.startswith(f"{_base(image)}/"):
            return answer  # it is no challenge of a storage host's that is meant
        self._challenges[image.name] = _challenge(answer)
        authorization = self._authorize(image, actions, self._challenges[image.name])
        if authorization is None or (authorization == known and known.startswith("Basic ")):
            return answer
        return ask(authorization)

    def _authorize_unasked(self, image: ImageReference, actions: str) -> str | None:
        """By the repository's last challenge, or the registry's, if that may be answered.

        One that leads to a stranger is passed over: the repository may want nothing.
        """
        ping = self._pings.get(image.registry)
        challenge = self._challenges.get(image.name) or (ping.challenge if ping else "")
        try:
            return self._authorize(image, actions, challenge)
        except ImgsecError as error:
            if error.reason.code != AUTH_REALM_REFUSED.code:
                raise
            return None

    def _authorize(self, image: ImageReference, actions: str, challenge: str) -> str | None:
        """What a challenge wants for this repository; None for nothing."""
        authorization = self._answer_challenge(image, actions, Challenge.parse(challenge))
        if authorization is not None:
            kinds = {_PULL, _PUSH, actions} if authorization.startswith("Basic ") else (actions,)
            self._authorization |= {(image.name, kind): authorization for kind in kinds}
        return authorization

    def _answer_challenge(
        self, image: ImageReference, actions: str, challenge: Challenge
    ) -> str | None:
        credential = self.credential_for(image)
        if challenge.scheme == "basic":
            return credential.header() if credential else None
        if challenge.scheme != "bearer":
            return None
        realm = challenge.require_realm(_api_host(image), self._realms)
        scopes = f"repository:{image.repository}:{actions}".split(" ")
        query = [("service", challenge.service), *(("scope", scope) for scope in scopes)]
        token = self._http.get(
            f"{realm}?{urlencode(query)}",
            headers=_with({}, credential.header() if credential else None),
        )
        if token.status != _OK:
            raise ImgsecError(self._failure(image, token))
        document = token.json()
        try:
            text = document.get("token") or document["access_token"]
            if not isinstance(text, str) or not (text.isascii() and text.isprintable()):
                raise TypeError
        except (AttributeError, KeyError, TypeError):
            raise ImgsecError(token.malformed("no token")) from None
        return f"Bearer {text}"


@dataclass(frozen=True, slots=True)
class _Ping:
    """What a registry says of itself. challenge: the header, empty for none."""

    offers_signatures: bool
    challenge: str


def _challenge(answer: Answer) -> str:
    return str(answer.headers.get("www-authenticate", ""))


def _is_ours(entry: dict[str, Any]) -> bool:
    """Whether an entry of the extension is a simple signature; others are passed over."""
    version = entry.get("schemaVersion", 0)
    if not isinstance(version, int) or not isinstance(entry.get("type", ""), str):
        raise TypeError("not as the extension has it")
    return (version, entry.get("type")) == (2, "atomic")


def _unsigned(image: ImageReference, why: str, *, hint: str | None = None) -> Reason:
    return PUSHED_UNSIGNED(f"{image} is not signed: {why}", hint=hint)


def _with(headers: Mapping[str, str], authorization: str | None) -> dict[str, str]:
    return {**headers, **({"Authorization": authorization} if authorization else {})}


def _api_host(image: ImageReference) -> str:
    return API_HOSTS.get(image.registry, image.registry)


def _base(image: ImageReference) -> str:
    return f"https://{_api_host(image)}"


def _media_type(answer: Answer) -> str:
    """Raises `ImgsecError` (answer-malformed) where header and content contradict each other."""
    try:
        return media_type_of(answer.body, answer.media_type)
    except ValueError:
        text = "no manifest, or one of contradictory or unknown type"
        raise ImgsecError(answer.malformed(text)) from None


def _said(answer: Answer) -> str:
    try:
        error = answer.json()["errors"][0]
        return shown(f"{error['code']}: {error.get('message', '')}")
    except (ImgsecError, KeyError, IndexError, TypeError, AttributeError):
        return ""
