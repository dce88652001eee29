# SPDX-License-Identifier: Apache-2.0
"""Copying and pushing images, by skopeo and buildah: layers are their business, signatures ours.

They see a configuration of this run alone: registries without mirrors or short names, a policy that
leaves the judging to imgsec, the credentials of the two repositories and no others, and an empty
place for signatures, since skopeo would write over those of other signers.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from imgsec.adapters._http import waits
from imgsec.adapters._process import Completed, Tools, proxy_variables, run
from imgsec.adapters.files import read_file
from imgsec.adapters.private_dir import PrivateDir
from imgsec.adapters.registry_auth import AuthFile
from imgsec.domain.manifest import ManifestContent
from imgsec.domain.reference import Digest, ImageReference, shown
from imgsec.errors import ImageNotFound, ImgsecError
from imgsec.ports import LocalImage
from imgsec.reasons import (
    ANSWER_MALFORMED,
    CREDENTIAL_REJECTED,
    IMAGE_NOT_FOUND,
    PUSHED_UNSIGNED,
    RATE_LIMITED,
    SERVICE_UNREACHABLE,
    STORAGE_UNAVAILABLE,
    TOOL_FAILED,
    ReasonKind,
)

COPY_SECONDS = 6 * 3600.0  # the command's own time limit comes first
_ATTEMPTS = 5
LOOK_SECONDS = 30.0
_NO_LIST = "is not a manifest list"  # what buildah says of an image, with another exit code than 1
_DIGEST_MAX_BYTES = 200
_ACCEPT_ALL = {"default": [{"type": "insecureAcceptAnything"}]}
# What tells buildah where the images of this user are; their home does not, for logins lie there.
_STORAGE_VARIABLES = (
    *("XDG_DATA_HOME", "XDG_RUNTIME_DIR", "TMPDIR"),
    *("CONTAINERS_STORAGE_CONF", "STORAGE_DRIVER", "STORAGE_OPTS", "BUILDAH_ISOLATION"),
)
# Patterns of what they print (skopeo 1.9 to 1.22, buildah 1.28), and the reason that it is. None
# fits a part of a name or a path, which they print as well.
_MEANINGS: tuple[tuple[str, ReasonKind], ...] = (
    ("manifest unknown", IMAGE_NOT_FOUND),
    ("image not known", IMAGE_NOT_FOUND),
    ("unable to find", IMAGE_NOT_FOUND),
    ("authentication required", CREDENTIAL_REJECTED),
    (r"(?:^|: |\s)unauthorized(?:: |\s|$)", CREDENTIAL_REJECTED),
    (r"(?:^|: |\s)(?<!permission )denied: ", CREDENTIAL_REJECTED),
    (r"(?:^|: |\s)toomanyrequests: ", RATE_LIMITED),
    (r"\b429 \(?Too Many", RATE_LIMITED),
    ("too many requests to registry", RATE_LIMITED),
    ("connection re(?:fused|set)", SERVICE_UNREACHABLE),
    ("no such host", SERVICE_UNREACHABLE),
    (r"\bEOF\b", SERVICE_UNREACHABLE),
    ("TLS handshake timeout|i/o timeout", SERVICE_UNREACHABLE),
    (r"\b50[0234] \(?[A-Z]", SERVICE_UNREACHABLE),
    # A 5xx or a cut at /v2/, where /v1/ asks for a login as every path does. No registry of that
    # old API comes so far: we speak the new one with both before.
    ("can't talk to a V1 container registry", SERVICE_UNREACHABLE),
)

# skopeo's last line; what buildah says, which may have several, and warnings behind them.
_ENDS = re.compile(r'level=fatal msg="((?:.|\n)*?)"$|^Error: ((?:(?!time=).*\n?)*)', re.MULTILINE)


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

    def require_copying(self) -> None:
        """See `imgsec.ports.ImageCopier`."""
        _ = self._tools.find("skopeo")

    def require_pushing(self) -> None:
        """See `imgsec.ports.ImagePusher`."""
        _ = self._tools.find("buildah")

    def copy(self, source: ImageReference, target: ImageReference) -> None:
        """Copy an image by its digest, with everything that it lists and without signatures.

        Raises `ImgsecError` (tool-missing, tool-failed, credential-rejected, rate-limited,
        service-unreachable) and `ImageNotFound`.
        """
        conf = self._configured(source, target)
        certs, to = str(conf / "certs"), target.canonical_name
        _patiently(
            lambda: run(
                [
                    *(str(self._tools.find("skopeo")), "--policy", str(conf / "policy.json")),
                    *("--registries-conf", str(conf / "registries.conf")),
                    *("--registries.d", str(conf / "registries.d")),
                    *("copy", "--quiet", "--all", "--preserve-digests", "--remove-signatures"),
                    *("--authfile", str(conf / "auth.json")),
                    *("--src-cert-dir", certs, "--dest-cert-dir", certs),
                    *(f"docker://{source.canonical_name}", f"docker://{to}"),
                ],
                environment=self._environment(conf),
                timeout=COPY_SECONDS,
                ends_with_us=True,
            ),
            f"copying {source.canonical_name} to {to}",
        )

    def inspect(self, name: str) -> LocalImage:
        """See `imgsec.ports.ImagePusher`.

        Raises `ImgsecError` (tool-missing, tool-failed, answer-malformed) and `ImageNotFound`.
        """
        conf = self._configured()
        doing = f"looking for {shown(name)} in local storage"
        asked = self._buildah(conf, "manifest", "exists", name, timeout=LOOK_SECONDS)
        is_list = asked.exit_code == 0
        if not is_list and asked.exit_code != 1 and _NO_LIST not in asked.message:
            _require(asked, doing)
        words = ("manifest", "inspect") if is_list else ("inspect", "--type", "image")
        told = self._buildah(conf, *words, name, timeout=LOOK_SECONDS)
        _require(told, doing)
        try:
            return LocalImage(name, is_list, _platforms(told.stdout, is_list=is_list))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ImgsecError):
            text = f"{doing}: buildah described nothing that is known"
            raise ImgsecError(ANSWER_MALFORMED(text)) from None

    def push(self, image: LocalImage, target: ImageReference) -> Digest:
        """See `imgsec.ports.ImagePusher`. Raises as `copy`, and (pushed-unsigned)."""
        conf = self._configured(target)
        digest_file = conf / "digest"
        digest_file.unlink(missing_ok=True)
        words = ("manifest", "push", "--all") if image.is_list else ("push",)
        completed = self._buildah(
            *(conf, *words, "--quiet", "--remove-signatures"),
            *("--signature-policy", str(conf / "policy.json")),
            *("--authfile", str(conf / "auth.json"), "--cert-dir", str(conf / "certs")),
            *("--digestfile", str(digest_file), image.name, f"docker://{target.tagged_name}"),
            timeout=COPY_SECONDS,
        )
        _require(completed, f"pushing {shown(image.name)} to {target.tagged_name}")
        try:
            told = read_file(str(digest_file), max_bytes=_DIGEST_MAX_BYTES)
            return Digest.parse(told.decode("ascii", "replace").strip())
        except ImgsecError:
            text = f"{target.tagged_name} was pushed, and buildah did not say as which digest"
            raise ImgsecError(PUSHED_UNSIGNED(text)) from None

    def _buildah(self, conf: Path, *words: str, timeout: float) -> Completed:
        driver = ("--storage-driver", self._storage_driver) if self._storage_driver else ()
        return run(
            [str(self._tools.find("buildah")), *driver, *words],
            environment=self._environment(conf) | _storage_of_user(),
            timeout=timeout,
            ends_with_us=True,
        )

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
            (conf / "certs").mkdir(exist_ok=True)  # stays empty, in place of the machine's
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

    def _environment(self, conf: Path) -> dict[str, str]:
        found = {
            **{"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"},
            **{"HOME": str(conf), "XDG_RUNTIME_DIR": str(conf)},
            "CONTAINERS_REGISTRIES_CONF": str(conf / "registries.conf"),
            **proxy_variables(),
        }
        if self._ca_file:  # Go (crypto/x509, root_unix.go): both, or the usual ones count as well
            found |= {"SSL_CERT_FILE": str(Path(self._ca_file).absolute())}
            found |= {"SSL_CERT_DIR": str(conf / "certs")}
        return found


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


def _platforms(told: bytes, *, is_list: bool) -> tuple[str, ...]:
    """In what buildah prints of a list (its manifest) or of an image (its own description)."""
    document = json.loads(told)
    if is_list:
        content = ManifestContent.parse(told, document["mediaType"])
        return tuple(child.platform for child in content.children)
    described = document["OCIv1"]
    names = [described.get(name) for name in ("os", "architecture", "variant")]
    return ("/".join(name for name in names if name),)


def _patiently(attempt: Callable[[], Completed], doing: str) -> None:
    """Run it again where a registry was busy or away: what is there already is not sent twice."""
    for wait in itertools.islice(waits(), _ATTEMPTS - 1):
        completed = attempt()
        if completed.exit_code == 0 or not _meaning(_last_words(completed.message)).retryable:
            break
        time.sleep(wait)
    else:
        completed = attempt()
    _require(completed, doing)


def _require(completed: Completed, doing: str) -> None:
    if completed.exit_code == 0:
        return
    said = _last_words(completed.message)
    kind = _meaning(said)
    error = ImageNotFound if kind is IMAGE_NOT_FOUND else ImgsecError
    raise error(kind(f"{doing}: {completed.tool} ended with {completed.exit_code}: {said}"))


def _meaning(said: str) -> ReasonKind:
    return next((kind for pattern, kind in _MEANINGS if re.search(pattern, said)), TOOL_FAILED)


def _last_words(message: str) -> str:
    """The error that ended it, without the warnings around it and the log's own frame."""
    found = list(_ENDS.finditer(message))
    if not found:
        return message.rpartition("\n")[2]
    said = found[-1][1] or found[-1][2] or ""
    return " ".join(said.replace(r"\n", "\n").replace(r"\"", '"').split("\n")).strip()


def _write(path: Path, document: object) -> None:
    path.write_text(json.dumps(document), encoding="utf-8")
    path.chmod(0o600)
