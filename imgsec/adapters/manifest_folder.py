# SPDX-License-Identifier: Apache-2.0
"""Manifests in a folder: one file for each object, and nobody else's file is touched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from imgsec.adapters.files import (
    load_yaml,
    read_file,
    require_space,
    require_writable,
    write_file,
)
from imgsec.domain.kubernetes import holds_public_key, is_ours
from imgsec.domain.reference import shown
from imgsec.domain.report import Change
from imgsec.errors import ImgsecError
from imgsec.ports import ObjectId
from imgsec.reasons import FOREIGN_OBJECT, INPUT_MALFORMED, INPUT_UNREADABLE, OUTPUT_UNWRITABLE

MANIFEST_FILE_MAX_BYTES = 1 * 2**20
_SPACE_BYTES = 64 * 1024  # more than all that set-up writes


class FolderSink:
    """Writes manifests to a folder, one file each; see `imgsec.ports.ManifestSink`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def require_ready(self, *names: ObjectId, adopt: bool = False) -> None:
        """See `imgsec.ports.ManifestSink`. Nothing stays: the folder may be still to be made."""
        folder = self._folder.absolute()
        present = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
        if not present.is_dir():
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
        if not path.exists():
            return None
        held = _load(path)
        return held if _identity(held) == _identity(wanted) else None

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
                text = f"{shown(str(other))} and {shown(str(path))} hold the same Secret"
                raise ImgsecError(INPUT_MALFORMED(text, hint="Remove one of the two."))
            secrets.append(held)
        return secrets

    def list_policies(self, kind: str) -> tuple[dict[str, Any], ...]:
        """See `imgsec.ports.PublishedReader`."""
        return tuple(held for _, held in self._documents() if held.get("kind") == kind)

    def _documents(self) -> list[tuple[Path, dict[str, Any]]]:
        """What the manifests of the folder hold. Raises (input-unreadable, input-malformed)."""
        if not self._folder.is_dir():
            raise ImgsecError(INPUT_UNREADABLE(f"{shown(str(self._folder))} is not a folder"))
        found = [(path, _load(path)) for path in sorted(self._folder.glob("*.yaml"))]
        return [(path, held) for path, held in found if _identity(held) is not None]

    def _path_of(self, document: dict[str, Any]) -> Path:
        """The object's file: the usual one, unless only another file holds the object."""
        usual, wanted = self._folder / file_name(document), _identity(document)
        others = (path for path in sorted(self._folder.glob("*.yaml")) if path != usual)
        holding = (path for path in (usual, *others) if _holds(path, wanted))
        return next(holding, usual)

    def publish(self, document: dict[str, Any], *, adopt: bool = False) -> Change:
        """The file is the one that holds the object, or `file_name`'s; equal bytes stay."""
        import yaml

        from imgsec.adapters._yaml import PlainDumper

        path = self._path_of(document)
        text = yaml.dump(document, Dumper=PlainDumper, sort_keys=False, width=2**16)
        content = text.encode()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImgsecError(
                OUTPUT_UNWRITABLE(f"the folder {shown(str(self._folder))}: {error.strerror}")
            ) from None
        present = self._held(document, adopt=adopt)
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
        content = read_file(str(path), max_bytes=MANIFEST_FILE_MAX_BYTES)
        held = load_yaml(content, str(path))
        if not is_ours(held) and not adopt:
            raise ImgsecError(FOREIGN_OBJECT(f"{path} exists and was not made by imgsec"))
        if _identity(held) != _identity(document):
            raise ImgsecError(FOREIGN_OBJECT(f"{path} exists and holds another object"))
        return content


def file_name(document: dict[str, Any]) -> str:
    """``NAME.KIND.yaml``, and ``NAME.NAMESPACE.KIND.yaml`` for an ImagePolicy.

    One policy name stands in many namespaces, and a namespace has no dot. set-up's Secrets stand in
    one namespace; pipelines know their files by the shorter name.
    """
    metadata, kind = document["metadata"], document["kind"]
    namespace = metadata["namespace"] if kind == "ImagePolicy" else None
    return ".".join(filter(None, [metadata["name"], namespace, kind.lower(), "yaml"]))


def _load(path: Path) -> Any:
    return load_yaml(read_file(str(path), max_bytes=MANIFEST_FILE_MAX_BYTES), str(path))


def _holds(path: Path, wanted: tuple[Any, Any, Any] | None) -> bool:
    """Whether the file holds that object; one that nobody can read does not."""
    try:
        return path.is_file() and _identity(_load(path)) == wanted
    except ImgsecError:
        return False


def _identity(document: Any) -> tuple[Any, Any, Any] | None:
    """Kind, namespace and name; None for what is no object."""
    try:
        metadata = document["metadata"]
        return document["kind"], metadata.get("namespace"), metadata["name"]
    except (KeyError, TypeError, AttributeError):
        return None
