# SPDX-License-Identifier: Apache-2.0
"""Manifests in a folder: one file for each object, and nobody else's file is touched."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imgsec.adapters.files import (
    load_yaml_stream,
    read_file,
    read_regular,
    require_space,
    require_writable,
    write_file,
)
from imgsec.adapters.manifest_files import MANIFEST_MAX_BYTES, parse_documents
from imgsec.domain.kubernetes import holds_public_key, is_ours
from imgsec.domain.policy_rules import POLICY_KINDS
from imgsec.domain.reference import shown
from imgsec.domain.report import Change
from imgsec.errors import ImgsecError
from imgsec.ports import ObjectId
from imgsec.reasons import FOREIGN_OBJECT, INPUT_MALFORMED, INPUT_UNREADABLE, OUTPUT_UNWRITABLE

OBJECT_MAX_BYTES = 1_500_000  # etcd, --max-request-bytes: 1.5 MiB, with what a cluster adds
_SPACE_BYTES = 64 * 1024  # more than all that set-up writes
_SUFFIXES = (".json", ".yaml", ".yml")


class FolderSink:
    """Writes manifests to a folder, one file each; see `imgsec.ports.ManifestSink`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, tuple[bytes, list[dict[str, Any]]]] = {}

    def require_ready(self, *names: ObjectId, adopt: bool = False) -> None:
        """See `imgsec.ports.ManifestSink`. Nothing stays: the folder may be still to be made."""
        folder = self._folder.absolute()
        present = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
        if not os.path.isdir(present):
            raise ImgsecError(OUTPUT_UNWRITABLE(f"{shown(str(present))} is not a folder"))
        if not os.access(present, os.W_OK | os.X_OK):
            raise ImgsecError(OUTPUT_UNWRITABLE(f"{shown(str(present))} cannot be written"))
        require_space(present, _SPACE_BYTES)
        for one in names if present == folder else ():
            metadata = {"name": one.name, "namespace": one.namespace}
            self._held({"kind": one.kind, "metadata": metadata}, adopt=adopt)

    def fetch(self, kind: str, name: str, namespace: str | None) -> dict[str, Any] | None:
        """See `imgsec.ports.ManifestSink`. Another object in the file is no such object."""
        wanted = {"kind": kind, "metadata": {"name": name, "namespace": namespace}}
        path = self._path_of(wanted)
        return next((one for one in self._objects(path) if _is_same(one, wanted)), None)

    def list_key_secrets(self) -> tuple[dict[str, Any], ...]:
        """See `imgsec.ports.PublishedReader`."""
        return tuple(one for one in self._key_secrets() if is_ours(one))

    def list_foreign_key_secrets(self) -> tuple[dict[str, Any], ...]:
        """See `imgsec.ports.PublishedReader`."""
        return tuple(one for one in self._key_secrets() if not is_ours(one))

    def _key_secrets(self) -> list[dict[str, Any]]:
        found: dict[Any, Path] = {}
        secrets = []
        for path, held in self._documents():
            if not holds_public_key(held):
                continue
            if (other := found.setdefault(_identity(held), path)) != path:
                raise _twice(other, path)
            secrets.append(held)
        return secrets

    def list_policies(self, kind: str) -> tuple[dict[str, Any], ...]:
        """See `imgsec.ports.PublishedReader`."""
        return tuple(held for _, held in self._documents() if held.get("kind") == kind)

    def rehearse(self, document: dict[str, Any], *, adopt: bool = False) -> None:
        """See `imgsec.ports.PolicyKeeper`. Raises (output-unwritable) for what is too large."""
        if self._folder.exists():
            self._held(document, adopt=adopt)
        _bytes_of(document)

    def list_made_policies(self) -> tuple[dict[str, Any], ...]:
        """See `imgsec.ports.PolicyKeeper`. Files that nobody can read hold none of ours."""
        found: list[dict[str, Any]] = []
        for path in self._files():
            try:
                found += [one for one in self._objects(path) if one["kind"] in POLICY_KINDS]
            except ImgsecError:
                continue
        return tuple(one for one in found if is_ours(one))

    def remove(self, kind: str, name: str, namespace: str | None) -> Change:
        """See `imgsec.ports.PolicyKeeper`. A file with other objects in it is foreign, too."""
        wanted = {"kind": kind, "metadata": {"name": name, "namespace": namespace}}
        path = self._path_of(wanted)
        if self._held(wanted, adopt=False) is None:
            return Change(str(path), "unchanged")
        try:
            path.unlink()
        except OSError as error:
            raise ImgsecError(OUTPUT_UNWRITABLE(f"{shown(str(path))}: {error.strerror}")) from None
        return Change(str(path), "removed")

    def _documents(self) -> list[tuple[Path, dict[str, Any]]]:
        """What the manifests of the folder hold. Raises (input-unreadable, input-malformed)."""
        if not os.path.isdir(self._folder):
            raise ImgsecError(INPUT_UNREADABLE(f"{shown(str(self._folder))} is not a folder"))
        return [(path, held) for path in self._files() for held in self._objects(path)]

    def _files(self) -> list[Path]:
        """What kubectl takes from a folder, in its order."""
        if not os.path.isdir(self._folder):
            return []
        return sorted(path for path in self._folder.iterdir() if path.suffix in _SUFFIXES)

    def _objects(self, path: Path) -> list[dict[str, Any]]:
        """The Kubernetes objects in a file: of each document, and the items of a List.

        Parsed once, as long as the file holds the same.
        """
        content = read_regular(path, max_bytes=MANIFEST_MAX_BYTES, too_large=INPUT_MALFORMED)
        if content is None:
            return []
        if path not in self._read or self._read[path][0] != content:
            found = (one.content for one in parse_documents(content, str(path)))
            self._read[path] = content, [one for one in found if _identity(one) is not None]
        return self._read[path][1]

    def _holds(self, path: Path, wanted: dict[str, Any]) -> bool:
        """Whether the file holds that object; one that nobody can read does not."""
        try:
            return path.is_file() and any(_is_same(one, wanted) for one in self._objects(path))
        except ImgsecError:
            return False

    def _path_of(self, document: dict[str, Any]) -> Path:
        """The object's file: the usual one, unless only another file holds the object.

        Raises (input-malformed) if two do.
        """
        usual = self._folder / file_name(document)
        holding = [path for path in self._files() if self._holds(path, document)]
        if len(holding) > 1:
            raise _twice(holding[0], holding[1])
        return holding[0] if holding else usual

    def publish(self, document: dict[str, Any], *, adopt: bool = False) -> Change:
        """The file is the one that holds the object, or `file_name`'s; equal bytes stay.

        Labels and annotations that others gave it stay, too.
        """
        path = self._path_of(document)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImgsecError(
                OUTPUT_UNWRITABLE(f"the folder {shown(str(self._folder))}: {error.strerror}")
            ) from None
        present = self._held(document, adopt=adopt)
        if present is not None and (held := self._objects(path)):
            document = _with_what_others_said(document, held[0])
        content = _bytes_of(document)
        if present == content:
            return Change(str(path), "unchanged")
        write_file(path, content)
        return Change(str(path), "created" if present is None else "updated")

    def _held(self, document: dict[str, Any], *, adopt: bool) -> bytes | None:
        """What the object's file holds; None where there is none. Raises (foreign-object)."""
        path = self._path_of(document)
        require_writable(str(path))
        if not path.exists():
            return None
        content = read_file(str(path), max_bytes=MANIFEST_MAX_BYTES)
        objects = self._objects(path)
        held = next((one for one in objects if _is_same(one, document)), None)
        if held is None and (len(objects) != 1 or is_ours(objects[0])):
            hint = "Use another folder or name: what the file holds is not replaced by this."
            raise ImgsecError(FOREIGN_OBJECT(f"{path} exists and holds another object", hint=hint))
        if held is None or not (is_ours(held) or adopt):
            raise ImgsecError(FOREIGN_OBJECT(f"{path} exists and was not made by imgsec"))
        if not (adopt or _is_of_group(held, document)):
            text = f"{path} holds {document['metadata']['name']} for the engine of another API"
            hint = "Use another folder, or give --adopt to put this in its place."
            raise ImgsecError(FOREIGN_OBJECT(text, hint=hint))
        if len(objects) > 1 or _is_wrapped(content, str(path)):
            text = f"{path} holds {document['metadata']['name']} together with other objects"
            raise ImgsecError(FOREIGN_OBJECT(text, hint="Put it into a file of its own."))
        return content


@contextmanager
def alone_in(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Keep other runs out of a folder that is to be changed, for the length of the block.

    waiting: called if there is one. A file system without locks, and a folder that is still to be
    made, keep nobody out.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            pass
        yield
    finally:
        os.close(descriptor)


def file_name(document: dict[str, Any]) -> str:
    """``NAME.KIND.yaml``, and ``NAME.NAMESPACE.KIND.yaml`` for an ImagePolicy.

    One policy name stands in many namespaces, and a namespace has no dot. set-up's Secrets stand in
    one namespace; pipelines know their files by the shorter name.
    """
    metadata, kind = document["metadata"], document["kind"]
    namespace = metadata["namespace"] if kind == "ImagePolicy" else None
    return ".".join(filter(None, [metadata["name"], namespace, kind.lower(), "yaml"]))


def _bytes_of(document: dict[str, Any]) -> bytes:
    """Raises `ImgsecError` (output-unwritable) for what no cluster takes."""
    import yaml

    from imgsec.adapters._yaml import PlainDumper

    text: str = yaml.dump(document, Dumper=PlainDumper, sort_keys=False, width=2**16)
    content = text.encode()
    if len(content) > OBJECT_MAX_BYTES:
        name = f"{document['kind']} {document['metadata']['name']}"
        text = f"{name} would have {len(content)} bytes, and a cluster takes {OBJECT_MAX_BYTES}"
        raise ImgsecError(OUTPUT_UNWRITABLE(text, hint="Spread the rules over several documents."))
    return content


def _is_list(document: object) -> bool:
    return isinstance(document, dict) and str(document.get("kind", "")).endswith("List")


def _is_wrapped(content: bytes, name: str) -> bool:
    return b"items" in content and any(map(_is_list, load_yaml_stream(content, name)))


def _is_of_group(held: dict[str, Any], document: dict[str, Any]) -> bool:
    """Whether both are of one API, if the second says which."""
    wanted = document.get("apiVersion")
    return (
        wanted is None or str(held.get("apiVersion")).partition("/")[0] == wanted.partition("/")[0]
    )


def _is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return _identity(one) == _identity(other)


def _twice(one: Path, other: Path) -> ImgsecError:
    text = f"{shown(str(one))} and {shown(str(other))} hold the same object"
    return ImgsecError(INPUT_MALFORMED(text, hint="Remove one of the two."))


def _with_what_others_said(document: dict[str, Any], held: dict[str, Any]) -> dict[str, Any]:
    metadata, before = dict(document["metadata"]), held["metadata"]
    for kind in ("labels", "annotations"):
        if isinstance(before.get(kind), dict):
            metadata[kind] = {**before[kind], **metadata.get(kind, {})}
    return {**document, "metadata": metadata}


def _identity(document: Any) -> tuple[Any, Any, Any] | None:
    """Kind, namespace and name; None for what is no object."""
    try:
        metadata = document["metadata"]
        return document["kind"], metadata.get("namespace"), metadata["name"]
    except (KeyError, TypeError, AttributeError):
        return None
