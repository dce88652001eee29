# SPDX-License-Identifier: Apache-2.0
"""skopeo signs images in place: by digest on both sides, so that no tag can be moved by it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from imgsec.adapters._process import Completed, Tools, pipe_with, run
from imgsec.adapters.private_dir import PrivateDir
from imgsec.adapters.registry_auth import Credential
from imgsec.domain.keys import Fingerprint, SecretBytes
from imgsec.domain.reference import ImageReference
from imgsec.errors import ImgsecError
from imgsec.reasons import IMAGE_NOT_FOUND, KEY_UNUSABLE, PERMISSION_DENIED, PUSHED_UNSIGNED, Reason

SIGN_SECONDS = 300.0
# Found in skopeo's words at or after the moment when the manifest was pushed (skopeo 1.8 to 1.22).
_AFTER_PUSH = (b"creating signature", b"uploading signature", b"writing signatures")
# gpg's words, which skopeo repeats, when trying again cannot help (gpgme's error texts).
_NO_USABLE_KEY = (
    *(b"Inappropriate ioctl", b"Bad passphrase", b"No pinentry"),
    *(b"No secret key", b"Unusable secret key"),
)

# A registry's words, which skopeo repeats (distribution's error codes).
_MAY_PUSH = "Signing needs a credential that may push (at icr.io, the role Writer)."
_NOT_ALLOWED = (b"unauthorized:", b"denied:", b"authentication required")


def sign_argv(
    skopeo: Path,
    image: ImageReference,
    signer: Fingerprint,
    configuration: Path,
    *,
    passphrase: int | None = None,
) -> list[str]:
    """Sign a canonical image in place, as its tagged name, with every manifest that it lists.

    Repository and digest stand on both sides: a concurrent push is not reverted, and an index keeps
    all its platforms. Every file that skopeo reads comes from our own folder. passphrase: the
    descriptor to read the key's from.
    """
    at = f"docker://{image.canonical_name}"
    return [
        str(skopeo),
        *("--policy", str(configuration / "policy.json")),
        *("--registries.d", str(configuration / "registries.d")),
        *("copy", "--all", "--quiet", "--preserve-digests"),
        *("--authfile", str(configuration / "auth.json")),
        *("--sign-by", str(signer), "--sign-identity", image.tagged_name),
        *(["--sign-passphrase-file", f"/dev/fd/{passphrase}"] if passphrase is not None else []),
        *(at, at),
    ]


CredentialLookup = Callable[[ImageReference], Credential | None]


class SkopeoSigner:
    """Signs with the key in gpg_home. environment: what the child may see besides our own names."""

    def __init__(
        self,
        tools: Tools,
        directory: PrivateDir,
        *,
        gpg_home: Path,
        credential_for: CredentialLookup,
        environment: Mapping[str, str],
        passphrase: SecretBytes | None = None,
    ) -> None:
        self._tools = tools
        self._directory = directory
        self._gpg_home = gpg_home
        self._credential_for = credential_for
        self._environment = environment
        self._passphrase = passphrase

    def sign_image(self, image: ImageReference, signer: Fingerprint) -> None:
        """See `imgsec.ports.Signer`. Raises (key-unusable, pushed-unsigned, tool-failed)."""
        configuration = self._configure(image)
        home = self._home()
        with pipe_with(self._passphrase) as descriptor:
            completed = self._run(
                sign_argv(
                    self._tools.find("skopeo"), image, signer, configuration, passphrase=descriptor
                ),
                home,
                () if descriptor is None else (descriptor,),
            )
        if completed.exit_code != 0:
            raise ImgsecError(_failure(completed, image))

    def _run(self, argv: list[str], home: Path, descriptors: tuple[int, ...]) -> Completed:
        return run(
            argv,
            environment={
                **self._environment,
                "PATH": "/usr/bin:/bin",
                "LC_ALL": "C.UTF-8",
                "HOME": str(home),
                "XDG_RUNTIME_DIR": str(home),
                "TMPDIR": str(home),
                "GNUPGHOME": str(self._gpg_home),
            },
            timeout=SIGN_SECONDS,
            pass_fds=descriptors,
        )

    def _home(self) -> Path:
        """A home with a registries.conf that says nothing, so that the system's is not read.

        It could send us to a mirror, or to a registry without TLS. The user's file replaces the
        system's, with its folder of further files (containers-registries.conf(5)).
        """
        home = self._directory.folder("home")
        containers = home / ".config" / "containers"
        containers.mkdir(mode=0o700, parents=True, exist_ok=True)
        (containers / "registries.conf").write_text("", encoding="ascii")
        return home

    def _configure(self, image: ImageReference) -> Path:
        """The files that skopeo reads: no trust, no foreign credential, no lookaside."""
        folder = self._directory.folder("skopeo")
        (folder / "registries.d").mkdir(mode=0o700, exist_ok=True)
        # Copying a digest that we hold; who may sign it is decided when the signature is read back.
        policy = {"default": [{"type": "insecureAcceptAnything"}]}
        (folder / "policy.json").write_text(json.dumps(policy), encoding="ascii")
        credential = self._credential_for(image)
        auths = {image.registry: {"auth": credential.basic.reveal().decode()}} if credential else {}
        (folder / "auth.json").write_text(json.dumps({"auths": auths}), encoding="ascii")
        return folder


def _failure(completed: Completed, image: ImageReference) -> Reason:
    if any(words in completed.stderr for words in _NO_USABLE_KEY):
        # Whatever was pushed was there before: we copy a digest onto itself.
        return KEY_UNUSABLE(
            f"{image} is not signed, gpg could not use the key: {completed.message}",
            hint="Store the key without a passphrase, with its secret half.",
        )
    if any(words in completed.stderr for words in _AFTER_PUSH):
        denied = any(words in completed.stderr for words in _NOT_ALLOWED)
        return PUSHED_UNSIGNED(
            f"{image} is not signed: {completed.message}", hint=_MAY_PUSH if denied else None
        )
    if b"manifest unknown" in completed.stderr:
        return IMAGE_NOT_FOUND(
            f"{image} is not signed, the registry hides it: {completed.message}",
            hint="Try again: a registry may hide a manifest while another run writes it.",
        )
    if any(words in completed.stderr for words in _NOT_ALLOWED):
        return PERMISSION_DENIED(
            f"{image} is not signed, the registry refused: {completed.message}",
            hint=_MAY_PUSH,
        )
    return completed.failure()
