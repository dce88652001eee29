# SPDX-License-Identifier: Apache-2.0
"""Files that a user names: read with a limit, written whole or not at all, never through a link."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from imgsec.domain.keys import KeyLocation, SecretBytes
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import (
    ANSWER_TOO_LARGE,
    INPUT_MALFORMED,
    INPUT_UNREADABLE,
    KEY_NOT_FOUND,
    OUTPUT_UNWRITABLE,
    ReasonKind,
)

KEY_FILE_MAX_BYTES = 256 * 1024  # ours; a large keyring export has a tenth of it
POLICY_MAX_BYTES = 1 * 2**20  # ours; a signature policy that lists hundreds of scopes
_FILE_MODE = 0o644


def read_file(path: str, *, max_bytes: int) -> bytes:
    """Raises `ImgsecError` (input-unreadable, input-malformed)."""
    return _read(lambda: Path(path).open("rb"), shown(path), max_bytes)


def read_regular(
    path: Path, *, max_bytes: int, too_large: ReasonKind = ANSWER_TOO_LARGE
) -> bytes | None:
    """A regular file, through links; None where there is none. Never waits, as for a pipe.

    Raises `ImgsecError` (input-unreadable, and that for one that is too large).
    """
    name = shown(str(path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ImgsecError(INPUT_UNREADABLE(f"{name} cannot be read: {why}")) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ImgsecError(INPUT_UNREADABLE(f"{name} is not a regular file"))
    return _read(lambda: os.fdopen(descriptor, "rb"), name, max_bytes, too_large)


def read_descriptor(number: int, max_bytes: int) -> bytes:
    """What an inherited descriptor gives; it is not opened anew, which may not be allowed.

    Raises `ImgsecError` (input-unreadable, input-malformed).
    """
    return _read(lambda: os.fdopen(os.dup(number), "rb"), f"descriptor {number}", max_bytes)


def _read(
    opened: Callable[[], BinaryIO],
    name: str,
    max_bytes: int,
    too_large: ReasonKind = INPUT_MALFORMED,
) -> bytes:
    try:
        with opened() as file:
            content = file.read(max_bytes + 1)
    except (OSError, ValueError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ImgsecError(INPUT_UNREADABLE(f"{name} cannot be read: {why}")) from None
    if len(content) > max_bytes:
        raise ImgsecError(too_large(f"{name} has more than {max_bytes} bytes"))
    return content


def require_writable(path: str) -> None:
    """Fail before the work instead of after it. Raises `ImgsecError` (output-unwritable)."""
    target = Path(path)
    try:
        is_link, is_there, is_file = target.is_symlink(), target.exists(), target.is_file()
    except OSError as error:  # a folder on the way that may not be looked into
        raise ImgsecError(
            OUTPUT_UNWRITABLE(f"{shown(path)} cannot be written: {error.strerror}")
        ) from None
    if is_link:
        raise ImgsecError(OUTPUT_UNWRITABLE(f"{shown(path)} is a link, and links are not followed"))
    if is_there and not is_file:
        raise ImgsecError(OUTPUT_UNWRITABLE(f"{shown(path)} is not a regular file"))
    probe = target if is_there else target.absolute().parent
    if not os.access(probe, os.W_OK):
        raise ImgsecError(OUTPUT_UNWRITABLE(f"{shown(path)} cannot be written"))


def remove_file(path: str) -> None:
    """Take a file away, if it is there. Raises `ImgsecError` (output-unwritable)."""
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise ImgsecError(
            OUTPUT_UNWRITABLE(f"{shown(path)} cannot be replaced: {error.strerror}")
        ) from None


def write_file(path: str | Path, content: bytes, *, keeps_mode: bool = False) -> None:
    """Replace the file whole, by a rename. Raises `ImgsecError` (output-unwritable).

    keeps_mode: who may read it stays as it was, where there was one.
    """
    target = Path(path)
    require_writable(str(target))
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".imgsec-", dir=target.absolute().parent)
        with os.fdopen(descriptor, "wb") as file:
            is_kept = keeps_mode and target.exists()
            os.fchmod(descriptor, target.stat().st_mode & 0o777 if is_kept else _FILE_MODE)
            file.write(content)
        Path(temporary).replace(target)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise ImgsecError(
            OUTPUT_UNWRITABLE(f"{shown(str(path))} cannot be written: {error.strerror}")
        ) from None


def require_space(folder: Path, size: int) -> None:
    """Raises `ImgsecError` (output-unwritable) if no file of so many bytes can be made there."""
    try:
        with tempfile.TemporaryFile(prefix=".imgsec-", dir=folder) as file:
            file.write(b"\0" * size)
            file.flush()
    except OSError as error:
        raise ImgsecError(
            OUTPUT_UNWRITABLE(f"{shown(str(folder))} cannot be written: {error.strerror}")
        ) from None


def update_file(path: str, content: bytes) -> str:
    """Let the file hold this: created, updated or unchanged. Raises (output-unwritable)."""
    require_writable(path)
    target = Path(path)
    if not target.exists():
        write_file(path, content)
        return "created"
    if target.stat().st_size == len(content) and target.read_bytes() == content:
        return "unchanged"
    write_file(path, content)
    return "updated"


def append_file(path: str, content: bytes) -> None:
    """Append to a file that another program reads. Raises `ImgsecError` (output-unwritable)."""
    # Without waiting: a named pipe that nobody reads would hold the run for ever.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, _FILE_MODE)
        with os.fdopen(descriptor, "ab") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(0, "not a regular file")
            file.write(content)
    except OSError as error:
        raise ImgsecError(
            OUTPUT_UNWRITABLE(f"{shown(path)} cannot be written: {error.strerror}")
        ) from None


class KeyFiles:
    """Keys outside the KMS; see `imgsec.ports.SecretSource`."""

    def read_secret_key(self, location: KeyLocation) -> SecretBytes:
        """From file: or env:; the variable is taken out of this process's own environment."""
        if location.scheme == "env":
            value = os.environ.pop(location.name, "")
            if not value:
                raise ImgsecError(
                    KEY_NOT_FOUND(
                        f"the variable {shown(location.name)} is not set",
                        hint="Set the variable to the secret key, and export it.",
                    )
                )
            return SecretBytes(value.encode("utf-8", "surrogateescape"))
        return SecretBytes(read_file(location.name, max_bytes=KEY_FILE_MAX_BYTES))

    def read_public_key(self, location: KeyLocation) -> bytes:
        """From file:, or from the data key ``key`` of a Secret manifest (secret:)."""
        content = read_file(location.name, max_bytes=KEY_FILE_MAX_BYTES)
        if location.scheme != "secret":
            return content
        from imgsec.domain.encoding import decode_base64

        document = load_yaml(content, location.name)
        try:
            if document["kind"] != "Secret":
                raise KeyError("kind")
            text = (document.get("stringData") or {}).get("key")
            if text is None:  # what the cluster takes where there are both
                return decode_base64(document["data"]["key"])
            if not isinstance(text, str):
                raise TypeError("key")
            return text.encode()
        except (KeyError, TypeError, AttributeError, ValueError):
            raise ImgsecError(
                INPUT_MALFORMED(f"{shown(location.name)} is no Secret with a data key named key")
            ) from None

    def store_public_key(self, path: str, content: bytes) -> str:
        """Let the file hold it: created, updated or unchanged. Raises (output-unwritable)."""
        return update_file(path, content)


def load_yaml(content: bytes, name: str, *, keeps_dates: bool = False) -> Any:
    """One YAML document, without aliases, tags or repeated keys. Raises (input-malformed).

    Empty ones beside it do not count. keeps_dates: as the texts that they are.
    """
    found = load_yaml_stream(content, name, keeps_dates=keeps_dates)
    documents = [one for one in found if one is not None]
    if len(documents) > 1:
        raise ImgsecError(INPUT_MALFORMED(f"{shown(name)} is not plain YAML: several documents"))
    return documents[0] if documents else None


def load_yaml_stream(content: bytes, name: str, *, keeps_dates: bool = False) -> list[Any]:
    """All YAML documents of a file, as `load_yaml` reads one. Raises (input-malformed)."""
    import yaml

    from imgsec.adapters._yaml import StrictLoader, UndatedLoader

    loader = UndatedLoader if keeps_dates else StrictLoader
    try:
        return list(yaml.load_all(content, Loader=loader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImgsecError(INPUT_MALFORMED(f"{shown(name)} is not plain YAML: {why}")) from None
