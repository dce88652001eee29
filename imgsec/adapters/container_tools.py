# SPDX-License-Identifier: Apache-2.0
"""Copying and pushing images, by skopeo and buildah: layers are their business, signatures ours.

They see a configuration of this run alone: registries without mirrors or short names, a policy that
leaves the judging to imgsec, the credentials of the two repositories and no others, and an empty
place for signatures, since skopeo would write over those of other signers.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from imgsec.adapters._process import Completed, Tools, proxy_variables, run
from imgsec.adapters.files import read_file
from imgsec.adapters.private_dir import PrivateDir
from imgsec.adapters.registry_auth import AuthFile
from imgsec.domain.reference import Digest, ImageReference, shown
from imgsec.errors import ImageNotFound, ImgsecError
from imgsec.reasons import (
    ANSWER_MALFORMED,
    CREDENTIAL_REJECTED,
    IMAGE_NOT_FOUND,
    SERVICE_UNREACHABLE,
    STORAGE_UNAVAILABLE,
    TOOL_FAILED,
    ReasonKind,
)

COPY_SECONDS = 6 * 3600.0  # the command's own time limit comes first
LOOK_SECONDS = 30.0
_DIGEST_MAX_BYTES = 200
_ACCEPT_ALL = {"default": [{"type": "insecureAcceptAnything"}]}
# What tells buildah where the images of this user are; their home does not, for logins lie there.
_STORAGE_VARIABLES = (
    *("XDG_DATA_HOME", "XDG_RUNTIME_DIR", "TMPDIR"),
    *("CONTAINERS_STORAGE_CONF", "STORAGE_DRIVER", "STORAGE_OPTS", "BUILDAH_ISOLATION"),
)
# Fragments of what they print (skopeo 1.9 to 1.22, buildah 1.28), and the reason that it is.
_MEANINGS: tuple[tuple[str, ReasonKind], ...] = (
    ("manifest unknown", IMAGE_NOT_FOUND),
    ("image not known", IMAGE_NOT_FOUND),
    ("unable to find", IMAGE_NOT_FOUND),
    ("authentication required", CREDENTIAL_REJECTED),
    ("unauthorized", CREDENTIAL_REJECTED),
    ("denied: ", CREDENTIAL_REJECTED),
    ("connection refused", SERVICE_UNREACHABLE),
    ("no such host", SERVICE_UNREACHABLE),
    ("toomanyrequests", SERVICE_UNREACHABLE),
    ("unexpected EOF", SERVICE_UNREACHABLE),
)


class ContainerTools:
    """Runs skopeo and buildah. storage_driver: buildah's own option, None for its default."""

    def __init__(
        self,
        tools: Tools,
        directory: PrivateDir,
        *,
        auth_file: AuthFile | None,
        ca_file: str | None,
        storage_driver: str | None = None,
    ) -> None:
        self._tools = tools
        self._directory = directory
        self._auth_file = auth_file
        self._ca_file = ca_file
        self._storage_driver = storage_driver

    def copy(self, source: ImageReference, target: ImageReference) -> None:
        """Copy an image by its digest, with everything that it lists and without signatures.

        target: by the same digest, or by a tag, which names the image afterwards. Raises
        `ImgsecError` (tool-missing, tool-failed, credential-rejected, service-unreachable) and
        `ImageNotFound`.
        """
        conf = self._configured(source, target)
        to = target.canonical_name if target.is_canonical else target.tagged_name
        completed = run(
            [
                *(str(self._tools.find("skopeo")), "--policy", str(conf / "policy.json")),
                *("--registries-conf", str(conf / "registries.conf")),
                *("--registries.d", str(conf / "registries.d")),
                *("copy", "--quiet", "--all", "--preserve-digests", "--remove-signatures"),
                *("--authfile", str(conf / "auth.json"), *self._certificates("src", "dest")),
                *(f"docker://{source.canonical_name}", f"docker://{to}"),
            ],
            environment=self._environment(conf),
            timeout=COPY_SECONDS,
        )
        _require(completed, f"copying {source.canonical_name} to {to}")

    def push(self, name: str, target: ImageReference) -> Digest:
        """Push an image, or a list of images, from local storage to a tag; gives its digest.

        Raises as `copy`.
        """
        conf = self._configured(target)
        digest_file = conf / "digest"
        digest_file.unlink(missing_ok=True)
        driver = ("--storage-driver", self._storage_driver) if self._storage_driver else ()
        buildah = [str(self._tools.find("buildah")), *driver]
        environment = self._environment(conf) | _storage_of_user()
        words = ["push"]
        if _is_list(buildah, name, environment):
            words = ["manifest", "push", "--all"]
        completed = run(
            [
                *(*buildah, *words, "--quiet", "--remove-signatures"),
                *("--signature-policy", str(conf / "policy.json")),
                *("--authfile", str(conf / "auth.json"), *self._certificates("")),
                *("--digestfile", str(digest_file), name, f"docker://{target.tagged_name}"),
            ],
            environment=environment,
            timeout=COPY_SECONDS,
        )
        _require(completed, f"pushing {shown(name)} to {target.tagged_name}")
        text = read_file(str(digest_file), max_bytes=_DIGEST_MAX_BYTES).decode("ascii", "replace")
        try:
            return Digest.parse(text.strip())
        except ImgsecError:
            raise ImgsecError(ANSWER_MALFORMED("buildah wrote no digest")) from None

    def _configured(self, *images: ImageReference) -> Path:
        """The folder with everything that the tools read, for these images."""
        conf = self._directory.folder("tools")
        try:
            places = conf / "registries.d"
            places.mkdir(exist_ok=True)
            empty = {"lookaside": f"file://{conf}/none", "sigstore": f"file://{conf}/none"}
            _write(places / "default.yaml", {"default-docker": empty})
            _write(conf / "policy.json", _ACCEPT_ALL)
            (conf / "registries.conf").write_text(
                "".join(map(_registry_entry, images)), encoding="ascii"
            )
            _write(conf / "auth.json", self._logins(images))
            if self._ca_file:
                (conf / "certs").mkdir(exist_ok=True)
                shutil.copyfile(self._ca_file, conf / "certs" / "ca.crt")
        except OSError as error:
            raise ImgsecError(STORAGE_UNAVAILABLE(f"{conf}: {error.strerror}")) from None
        return conf

    def _logins(self, images: Sequence[ImageReference]) -> dict[str, object]:
        found = {}
        for image in images:
            credential = self._auth_file.credential_for(image) if self._auth_file else None
            if credential is not None:
                found[image.name] = {"auth": credential.basic.reveal().decode("ascii")}
        return {"auths": found}

    def _certificates(self, *sides: str) -> list[str]:
        if not self._ca_file:
            return []
        folder = str(self._directory.folder("tools") / "certs")
        names = [f"--{side}-cert-dir" if side else "--cert-dir" for side in sides]
        return [word for name in names for word in (name, folder)]

    def _environment(self, conf: Path) -> dict[str, str]:
        return {
            **{"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"},
            **{"HOME": str(conf), "XDG_RUNTIME_DIR": str(conf)},
            "CONTAINERS_REGISTRIES_CONF": str(conf / "registries.conf"),
            **proxy_variables(),
        }


def _registry_entry(image: ImageReference) -> str:
    """The repository as it is: what else the machine says of its registry is less specific."""
    return (
        f'[[registry]]\nprefix = "{image.name}"\nlocation = "{image.name}"\n'
        "insecure = false\nblocked = false\n"
    )


def _storage_of_user() -> dict[str, str]:
    """Where the local storage is, without the rest of the user's home."""
    found = {name: os.environ[name] for name in _STORAGE_VARIABLES if os.environ.get(name)}
    home = os.environ.get("HOME", "")
    if home.startswith("/"):
        found.setdefault("XDG_DATA_HOME", f"{home}/.local/share")
        conf = Path(os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config", "containers")
        if (conf / "storage.conf").is_file():
            found.setdefault("CONTAINERS_STORAGE_CONF", str(conf / "storage.conf"))
    return found


def _is_list(buildah: list[str], name: str, environment: dict[str, str]) -> bool:
    words = ["manifest", "exists", name]
    return run([*buildah, *words], environment=environment, timeout=LOOK_SECONDS).exit_code == 0


def _require(completed: Completed, doing: str) -> None:
    if completed.exit_code == 0:
        return
    meant = (kind for fragment, kind in _MEANINGS if fragment in completed.message)
    kind = next(meant, TOOL_FAILED)
    error = ImageNotFound if kind is IMAGE_NOT_FOUND else ImgsecError
    raise error(kind(f"{doing}: {completed.failure().text}"))


def _write(path: Path, document: object) -> None:
    path.write_text(json.dumps(document), encoding="utf-8")
    path.chmod(0o600)
