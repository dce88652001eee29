# SPDX-License-Identifier: Apache-2.0
"""IBM Cloud Container Registry, API v1: which images and namespaces an account has.

Not here: manifests (`registry`), and what is wrong with an image. The counts of vulnerabilities
that this API can add are not even asked for: those of an image that nobody scanned are zero.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlencode

from imgsec.adapters._account import AccountApi, is_plain_no, moment, said
from imgsec.adapters._http import Answer, Http
from imgsec.adapters.scan_reports import MALFORMED
from imgsec.adapters.scan_reports._parts import as_list, as_mapping, as_text
from imgsec.domain.hosts import is_icr_host, public_icr_host
from imgsec.domain.image_list import RegistryImage
from imgsec.domain.reference import Digest, ImageReference, RegistryScope
from imgsec.errors import ImgsecError
from imgsec.ports import ImageCatalogue, ImageLister
from imgsec.reasons import NOT_ASSESSED

LIST_MAX_BYTES = 64 * 2**20  # ours; some 60,000 images with usual labels
_SIZE_MAX = 2**63  # bytes
_OK = 200
_ROLES = (
    "the role Reader or Manager for {} at Container Registry; Writer alone does not list images"
)


class ContainerRegistry(ImageLister):
    """Lists what the account has."""

    def __init__(self, http: Http, account: AccountApi) -> None:
        self._http = http
        self._account = account

    def require_served(self, registry: str) -> None:
        """See `imgsec.ports.ImageLister`."""
        try:
            self._account.require_served(registry)
        except ImgsecError as error:
            hint = "Name a registry of IBM Cloud, such as us.icr.io; others have no such list."
            raise ImgsecError(NOT_ASSESSED(error.reason.text, hint=hint)) from None

    def list_images(self, scope: RegistryScope, *, ibm: bool) -> ImageCatalogue:
        """See `imgsec.ports.ImageLister`."""
        query = {"includeIBM": _word(ibm), "includeManifestLists": "true"}
        if scope.repository is not None:
            query["repository"] = f"{public_icr_host(scope.registry)}/{scope.repository}"
        elif scope.namespace is not None:
            query["namespace"] = scope.namespace
        entries = self._fetch(scope, f"/api/v1/images?{urlencode(query)}")
        return _catalogue(scope, entries, _tagged_images, ibm=ibm)

    def list_digests(self, scope: RegistryScope, *, ibm: bool) -> ImageCatalogue:
        """See `imgsec.ports.ImageLister`. A POST that changes nothing, so it may be repeated.

        The tagged ones are asked for as well: a digest may have a tag in one repository and none
        in another.
        """
        body: dict[str, Any] = {"exclude_tagged": False, "exclude_va": True, "include_ibm": ibm}
        if scope.repository is not None:
            body["repositories"] = [f"{public_icr_host(scope.registry)}/{scope.repository}"]
        entries = self._fetch(scope, "/api/v1/images/digests", json.dumps(body).encode())
        return _catalogue(scope, entries, _digest_images, ibm=ibm)

    def list_namespaces(self, registry: str) -> frozenset[str]:
        """See `imgsec.ports.ImageLister`."""
        names = self._fetch(RegistryScope(registry), "/api/v1/namespaces")
        return frozenset(name for name in names if isinstance(name, str))

    def _fetch(self, scope: RegistryScope, path: str, body: bytes | None = None) -> list[Any]:
        def send(headers: Any) -> Answer:
            return self._http.request(
                "GET" if body is None else "POST",
                f"https://{scope.registry}{path}",
                headers=headers if body is None else {**headers, "Content-Type": _JSON},
                body=body,
                max_bytes=LIST_MAX_BYTES,
                repeats=True,
            )

        answer = self._account.ask(scope.registry, send)
        if is_plain_no(answer):
            return []
        if answer.status != _OK:
            raise ImgsecError(answer.failure(said(answer), needs=_ROLES.format(scope)))
        found = answer.json()
        if not isinstance(found, list):
            raise ImgsecError(answer.malformed("no list"))
        return found


_JSON = "application/json"


def _word(value: bool) -> str:
    return "true" if value else "false"


def _catalogue(
    scope: RegistryScope,
    entries: Iterable[Any],
    read: Callable[[Any], Iterator[RegistryImage]],
    *,
    ibm: bool,
) -> ImageCatalogue:
    """What is in the scope, under the host that was asked. An entry is read whole or not at all."""
    images: list[RegistryImage] = []
    unreadable: list[str] = []
    foreign: list[str] = []
    for number, entry in enumerate(entries, start=1):
        try:
            found = list(read(entry))
        except (*MALFORMED, ImgsecError):
            unreadable.append(f"entry {number}")
            continue
        for one in found:
            image = one.image
            if public_icr_host(image.registry) == public_icr_host(scope.registry):
                if scope.covers(image.repository):
                    images.append(_at(one, scope.registry))
            elif ibm and is_icr_host(image.registry):  # IBM's own may be those of icr.io itself
                if scope.covers(image.repository):
                    images.append(one)
            else:
                foreign.append(str(image))
    return ImageCatalogue(tuple(images), tuple(unreadable), tuple(foreign))


def _at(one: RegistryImage, registry: str) -> RegistryImage:
    image = one.image
    moved = ImageReference(registry, image.repository, image.tag, image.digest)
    return RegistryImage(moved, one.created, one.size, one.media_type)


def _tagged_images(entry: Any) -> Iterator[RegistryImage]:
    """One entry of the list of images: one for each tag. Raises `MALFORMED`, `ImgsecError`."""
    fields = as_mapping(entry)
    tagged = {
        Digest.parse(as_text(digest)): as_list(names)
        for digest, names in as_mapping(fields.get("DigestTags")).items()
    }
    by_repository: dict[str, set[Digest]] = {}
    for text in as_list(fields.get("RepoDigests")):
        image = ImageReference.parse(as_text(text))
        if image.digest is not None:
            by_repository.setdefault(image.name, set()).add(image.digest)
    names = as_list(fields["RepoTags"])
    for name in names:
        image = ImageReference.parse(as_text(name))
        if image.tag is None or image.digest is not None:
            raise ValueError("no tagged name")
        # Whole names, or bare tags: nobody says which.
        digests = {one for one, its in tagged.items() if name in its or image.tag in its}
        digests = digests or by_repository.get(image.name, set())
        if len(digests) > 1:
            raise ValueError("one tag, several digests")
        yield RegistryImage(
            ImageReference(image.registry, image.repository, image.tag, next(iter(digests), None)),
            moment(fields.get("Created")),
            _size(fields.get("Size")),
            as_text(fields.get("ManifestType")),
        )


def _digest_images(entry: Any) -> Iterator[RegistryImage]:
    """One entry of the list of digests. Raises `MALFORMED`, `ImgsecError`."""
    fields = as_mapping(entry)
    digest = Digest.parse(as_text(fields["id"]))
    for name, tags in as_mapping(fields["repoTags"]).items():
        repository = ImageReference.parse(name)
        if not repository.is_bare:
            raise ValueError("no repository's name")
        tagged = [ImageReference.parse(f"{name}:{tag}") for tag in as_mapping(tags) if tag]
        for image in tagged or [repository]:
            yield RegistryImage(
                image.at(digest),
                moment(fields.get("created")),
                _size(fields.get("size")),
                as_text(fields.get("manifestType")),
            )


def _size(value: object) -> int | None:
    is_one = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _SIZE_MAX
    return value if is_one and isinstance(value, int) else None
