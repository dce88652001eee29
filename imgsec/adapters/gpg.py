# SPDX-License-Identifier: Apache-2.0
"""OpenPGP by GnuPG, in a home of its own inside the run's private directory.

python-gnupg makes, imports, lists and exports keys. Signatures are opened with gpgv through the
process door instead: python-gnupg reads status lines from standard error, where a user id that
spells out a status line would stand beside the real ones; here they have a descriptor of their own.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imgsec.adapters._cleanup import surely
from imgsec.adapters._process import Tools, await_ends, pipe_with, run_briefly, signals_wait
from imgsec.adapters.private_dir import GPG_HOME_MAX_CHARS, PrivateDir
from imgsec.domain.keys import Fingerprint, KeyRequest, PublicKey, SecretBytes, Subkey
from imgsec.domain.openpgp import shape_of
from imgsec.domain.reference import shown
from imgsec.domain.signature import PAYLOAD_MAX_BYTES, SIGNATURE_MAX_BYTES, OpenPGPMessage
from imgsec.errors import ImgsecError
from imgsec.reasons import (
    KEY_CREATION_FAILED,
    KEY_MALFORMED,
    KEY_UNUSABLE,
    SIGNATURE_INVALID,
    SIGNATURE_UNTRUSTED,
    STORAGE_UNAVAILABLE,
    TOOL_FAILED,
    Reason,
)

GPGV_SECONDS = 20.0
KEY_CHANGE_SECONDS = 30.0
SIGN_SECONDS = 60.0
AGENT_ANSWER_SECONDS = 10.0
AGENT_END_SECONDS = 1.0  # it needs milliseconds
_GPG_CONF = "no-auto-key-retrieve\nno-auto-key-locate\ndisable-dirmngr\nno-greeting\nno-tty\n"
# The key is used within seconds: no card daemon, and nothing remembered longer than the run.
_AGENT_CONF = "disable-scdaemon\nmax-cache-ttl 600\n"
# For a key that is imported, whose passphrase is at hand here: else each use of it costs 0.4 s. One
# that is made here goes out into the world, with gpg's own count.
_FEW_ITERATIONS = "s2k-count 65536\n"
_NO_SPACE = "No space left on device"  # gpg's words for a full disk, in our locale
_STATUS_MAX_BYTES = 64 * 1024
_GPGV_EXIT_CODES = (0, 1, 2)  # good, bad, cannot check; anything else is no judgment
_ALGORITHMS = {"1": "rsa", "16": "elgamal", "17": "dsa", "18": "ecdh", "19": "ecdsa", "22": "eddsa"}
_DIGESTS = {  # RFC 4880, 9.4
    **{"1": "MD5", "2": "SHA1", "3": "RIPEMD160"},
    **{"8": "SHA256", "9": "SHA384", "10": "SHA512", "11": "SHA224"},
}
_SIGNATURE_STATES = ("GOODSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG")
# Its last word, in front of the cause, on input that holds no signature over embedded content.
_NO_SIGNATURE = re.compile(
    rb"^gpgv: (?:verify signatures failed: |can't hash datafile: |Fatal: (?:zlib|bz2lib) )", re.M
)
_BINARY_DOCUMENT = "00"  # RFC 4880, 5.2.1: the class of a signature over a binary document


class GpgKeyring:
    """A keyring in a private home. `start` before use, and `end_agent` before the home goes away.

    Even if the start fails: gpg runs in it for the first time, and may hang.
    """

    def __init__(self, tools: Tools, home: Path, *, passphrase: SecretBytes | None = None) -> None:
        # At DEBUG it writes the first bytes of every key that it imports.
        logging.getLogger("gnupg").disabled = True
        if len(str(home)) > GPG_HOME_MAX_CHARS:
            raise ImgsecError(STORAGE_UNAVAILABLE(f"the path {home} is too long for gpg's agent"))
        self._tools = tools
        self._passphrase = passphrase
        self.home = home
        (home / "gpg.conf").write_text(_GPG_CONF, encoding="ascii")
        (home / "gpg-agent.conf").write_text(_AGENT_CONF, encoding="ascii")
        self._environment = {
            "GNUPGHOME": str(home),
            "HOME": str(home),
            "PATH": "/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
        }
        self._started: list[Any] = []

    def start(self) -> None:
        """Let gpg say which one it is. Raises `ImgsecError` (tool-missing, tool-failed)."""
        import gnupg

        started = self._started

        class Gnupg(gnupg.GPG):  # type: ignore[misc]
            """Remembers its processes: it lets go of one that runs when a signal ends the call."""

            def _open_subprocess(self, *arguments: Any, **options: Any) -> Any:
                with signals_wait():
                    started.append(super()._open_subprocess(*arguments, **options))
                return started[-1]

        try:
            self._gpg: Any = Gnupg(
                gnupghome=str(self.home),
                gpgbinary=str(self._tools.find("gpg")),
                options=["--no-tty", "--pinentry-mode", "loopback"],
                env=self._environment,
            )
        except (OSError, ValueError) as error:  # it cannot be run; it ended with an error
            raise ImgsecError(TOOL_FAILED(f"gpg does not start: {shown(str(error))}")) from None
        self._gpg.encoding = "latin-1"

    def twin(self, home: Path, signer: Fingerprint) -> GpgKeyring:
        """Another keyring with the same keys, and an agent of its own, to sign and verify with.

        To be used in another process; whoever gets it ends its agent.
        """
        self._keyring_file(signer)
        twin = GpgKeyring(self._tools, home, passphrase=self._passphrase)
        for path in self.home.rglob("*"):
            target = home / path.relative_to(self.home)
            if path.is_dir():
                target.mkdir(mode=0o700, exist_ok=True)
            elif path.is_file() and not path.name.endswith((".lock", "~")):
                target.write_bytes(path.read_bytes())
        return twin

    def generate_key(self, request: KeyRequest) -> PublicKey:
        """See `imgsec.ports.Keyring`."""
        fields: dict[str, str | None] = (
            {"key_type": "RSA", "key_length": request.algorithm.removeprefix("rsa")}
            if request.algorithm.startswith("rsa")
            else {"key_type": "ECDSA", "key_curve": request.algorithm}
        )
        if request.mail:
            fields["name_email"] = request.mail
        if self._passphrase is not None:
            fields["passphrase"] = _text(self._passphrase)
        batch = self._gpg.gen_key_input(
            key_usage="sign",
            name_real=request.name,
            expire_date=f"{request.valid_days}d",
            no_protection=self._passphrase is None,
            **fields,
        )
        if not request.mail:  # python-gnupg would put login and host name into a public key
            lines = batch.splitlines(keepends=True)
            batch = "".join(line for line in lines if not line.startswith("Name-Email:"))
        result = self._gpg.gen_key(batch)
        if not result.fingerprint:
            raise ImgsecError(KEY_CREATION_FAILED(f"gpg made no key: {_last_line(result.stderr)}"))
        return self._listed(Fingerprint.parse(result.fingerprint))

    def import_secret_key(self, content: SecretBytes) -> PublicKey:
        """See `imgsec.ports.Keyring`."""
        (self.home / "gpg-agent.conf").write_text(_AGENT_CONF + _FEW_ITERATIONS, encoding="ascii")
        result = self._gpg.import_keys(content.reveal())
        if _NO_SPACE in result.stderr:
            raise ImgsecError(STORAGE_UNAVAILABLE(f"gpg cannot keep the key: {_NO_SPACE}"))
        if result.sec_read != 1 or len(set(result.fingerprints)) != 1:
            raise ImgsecError(KEY_MALFORMED(f"it holds {result.sec_read or 'no'} secret keys"))
        if self._is_protected():
            self._require_passphrase(result.fingerprints[0])
        return self._listed(Fingerprint.parse(result.fingerprints[0]))

    def _require_passphrase(self, fingerprint: str) -> None:
        """Prove by a signature that the passphrase opens the key. Raises (key-unusable)."""
        if self._passphrase is None:
            raise ImgsecError(
                KEY_UNUSABLE(
                    "the secret key asks for a passphrase, and none was given",
                    hint="Give --passphrase-file, or store the key without a passphrase: what"
                    " protects it is the place that it is in.",
                )
            )
        signed = self._gpg.sign(
            b"", keyid=fingerprint, passphrase=_text(self._passphrase), clearsign=False
        )
        if signed.fingerprint is None:
            raise ImgsecError(
                KEY_UNUSABLE(
                    "the passphrase does not open the secret key",
                    hint="Check the content of --passphrase-file.",
                )
            )

    def _is_protected(self) -> bool:
        """Whether a secret key here asks for a passphrase to sign.

        The agent knows: ``S KEYINFO KEYGRIP TYPE SERIAL ID CACHED PROTECTION``, P for a passphrase.
        """
        completed = run_briefly(
            [str(self._tools.find("gpg-connect-agent")), "keyinfo --list", "/bye"],
            environment=self._environment,
            timeout=AGENT_ANSWER_SECONDS,
        )
        rows = [line.split() for line in completed.stdout.splitlines()]
        kinds = [row[7] for row in rows if row[:2] == [b"S", b"KEYINFO"] and len(row) > 7]
        if not kinds:
            raise ImgsecError(completed.failure())
        return b"P" in kinds

    def inspect_public_key(self, content: bytes) -> PublicKey:
        """See `imgsec.ports.Keyring`."""
        keys = self.inspect_public_keys(content)
        if len(keys) != 1:
            raise ImgsecError(KEY_MALFORMED(f"it holds {len(keys)} public keys"))
        return keys[0]

    def inspect_public_keys(self, content: bytes) -> tuple[PublicKey, ...]:
        """See `imgsec.ports.Keyring`."""
        rows = self._gpg.scan_keys_mem(content)
        if any(row["type"] != "pub" for row in rows):
            raise ImgsecError(KEY_MALFORMED("it holds a secret key where a public one is expected"))
        if not rows:
            raise ImgsecError(KEY_MALFORMED("it holds no public keys"))
        return tuple(map(_public_key, rows))

    def import_public_keys(self, content: bytes) -> tuple[PublicKey, ...]:
        """See `imgsec.ports.Keyring`. A secret key is refused, and does not enter the keyring."""
        wanted = dict.fromkeys(key.fingerprint for key in self.inspect_public_keys(content))
        result = self._gpg.import_keys(content)
        if set(result.fingerprints) != set(map(str, wanted)):
            raise ImgsecError(KEY_MALFORMED(f"gpg imported {result.count} of {len(wanted)} keys"))
        return tuple(self._listed(fingerprint) for fingerprint in wanted)

    def extend_key(self, fingerprint: Fingerprint, until: datetime) -> PublicKey:
        """See `imgsec.ports.Keyring`."""
        with pipe_with(self._passphrase) as descriptor:
            passphrase = ("0",) if descriptor is None else (str(descriptor),)
            completed = run_briefly(
                [
                    *(str(self._tools.find("gpg")), "--no-tty", "--quiet", "--batch"),
                    *("--pinentry-mode", "loopback", "--passphrase-fd", *passphrase),
                    *("--quick-set-expire", str(fingerprint), f"{until:%Y%m%dT%H%M%S}"),
                ],
                environment=self._environment,
                timeout=KEY_CHANGE_SECONDS,
                pass_fds=() if descriptor is None else (descriptor,),
            )
        if completed.exit_code != 0:
            raise ImgsecError(
                KEY_CREATION_FAILED(f"gpg gave the key no later end date: {completed.message}")
            )
        return self._listed(fingerprint)

    def revoke_key(self, fingerprint: Fingerprint, certificate: bytes) -> PublicKey:
        """See `imgsec.ports.Keyring`."""
        self._gpg.import_keys(certificate)
        key = self._listed(fingerprint)
        if not key.is_revoked:
            raise ImgsecError(KEY_MALFORMED(f"the certificate does not revoke {fingerprint}"))
        return key

    def export_secret_key(self, fingerprint: Fingerprint) -> SecretBytes:
        """See `imgsec.ports.Keyring`."""
        passphrase = _text(self._passphrase)
        content = self._gpg.export_keys(
            str(fingerprint),
            secret=True,
            armor=False,
            passphrase=passphrase,
            expect_passphrase=passphrase is not None,
        )
        if not content:
            raise ImgsecError(KEY_CREATION_FAILED(f"gpg did not export {fingerprint}"))
        return SecretBytes(bytes(content))

    def make_revocation(self, fingerprint: Fingerprint) -> bytes:
        """See `imgsec.ports.Keyring`. Without a reason, which means for every reason."""
        with pipe_with(self._passphrase) as descriptor:
            passphrase = () if descriptor is None else ("--passphrase-fd", str(descriptor))
            completed = run_briefly(
                [
                    *(str(self._tools.find("gpg")), "--no-tty", "--quiet", "--armor"),
                    *("--pinentry-mode", "loopback", *passphrase, "--command-fd", "0"),
                    *("--gen-revoke", str(fingerprint)),
                ],
                environment=self._environment,
                timeout=KEY_CHANGE_SECONDS,
                stdin=b"y\n0\n\ny\n",  # make one; no reason specified; no text; yes
                pass_fds=() if descriptor is None else (descriptor,),
            )
        if b"-----BEGIN PGP PUBLIC KEY BLOCK-----" not in completed.stdout:
            raise ImgsecError(
                KEY_CREATION_FAILED(f"gpg made no revocation certificate: {completed.message}")
            )
        return completed.stdout

    def export_public_key(self, fingerprint: Fingerprint) -> bytes:
        """See `imgsec.ports.Keyring`."""
        return self._keyring_file(fingerprint).read_bytes()

    def export_block(self, fingerprints: Sequence[Fingerprint]) -> bytes:
        """See `imgsec.ports.Keyring`. In the order in which they were imported."""
        return self._exported(*fingerprints, armour=True)

    def sign_message(self, content: bytes, signer: Fingerprint) -> bytes:
        """See `imgsec.ports.Keyring`.

        Uncompressed, so that what is signed stands in it as it is.
        """
        return self._signed(content, signer, "--compress-algo", "none", "--no-armor", "--sign")

    def sign_detached(self, content: bytes, signer: Fingerprint) -> bytes:
        """See `imgsec.ports.DetachedSigner`."""
        return self._signed(content, signer, "--armor", "--detach-sign")

    def _signed(self, content: bytes, signer: Fingerprint, *how: str) -> bytes:
        """What gpg makes of it, on standard output: it deletes a file when it fails.

        The mark behind the fingerprint keeps gpg from choosing a subkey. Of the SHA-2 family gpg
        takes one that fits the key, as it does for skopeo. Raises (key-unusable).
        """
        with pipe_with(self._passphrase) as descriptor:
            passphrase = () if descriptor is None else ("--passphrase-fd", str(descriptor))
            completed = run_briefly(
                [
                    *(str(self._tools.find("gpg")), "--no-tty", "--quiet", "--batch"),
                    *("--pinentry-mode", "loopback", *passphrase),
                    *("--local-user", f"{signer}!", *how),
                ],
                environment=self._environment,
                timeout=SIGN_SECONDS,
                stdin=content,
                pass_fds=() if descriptor is None else (descriptor,),
            )
        if completed.exit_code != 0 or not completed.stdout:
            raise ImgsecError(
                KEY_UNUSABLE(f"gpg could not sign with {signer}: {completed.message}")
            )
        return completed.stdout

    def open_message(
        self, message: bytes, signers: Sequence[Fingerprint]
    ) -> OpenPGPMessage | Reason:
        """See `imgsec.ports.Keyring`."""
        if not signers:
            raise ValueError("a signature is checked against at least one key")
        if len(message) > SIGNATURE_MAX_BYTES:
            return SIGNATURE_INVALID(f"a signature has {len(message)} bytes")
        shape = shape_of(message)
        if shape is None:
            return SIGNATURE_INVALID("a signature is not one signed OpenPGP message and no more")
        found = self._gpgv(self._keyring_of(signers), message, signers)
        if isinstance(found, Reason):
            return found
        return replace(found, form=shape.form, unknown_to_go=shape.unknown_to_go)

    def _keyring_of(self, fingerprints: Sequence[Fingerprint]) -> Path:
        """A file with all of these public keys; a keyring is one behind the other."""
        if len(fingerprints) == 1:
            return self._keyring_file(fingerprints[0])
        parts = [self._keyring_file(one).read_bytes() for one in sorted(fingerprints, key=str)]
        content = b"".join(parts)
        path = self.home / f"{hashlib.sha256(content).hexdigest()}.gpg"
        if not path.exists():
            new = path.with_suffix(f".{os.getpid()}")  # a forked process may be at it, too
            new.write_bytes(content)
            new.replace(path)
        return path

    def _keyring_file(self, fingerprint: Fingerprint) -> Path:
        """The binary public key in a file, which is what gpgv takes as a keyring; exported once."""
        path = self.home / f"{fingerprint}.gpg"
        if not path.exists():
            path.write_bytes(self._exported(fingerprint, armour=False))
        return path

    def _exported(self, *fingerprints: Fingerprint, armour: bool) -> bytes:
        # Minimal: with the newest end date only, and the same bytes whichever copies were merged.
        if not fingerprints:
            raise ValueError("gpg exports everything where nothing is named")
        names = list(map(str, fingerprints))
        content = self._gpg.export_keys(names, armor=armour, minimal=True)
        if not content:
            listed = ", ".join(map(str, fingerprints))
            raise ImgsecError(KEY_CREATION_FAILED(f"gpg did not export {listed}"))
        return content.encode("ascii") if isinstance(content, str) else bytes(content)

    def _gpgv(
        self, keyring: Path, message: bytes, signers: Sequence[Fingerprint]
    ) -> OpenPGPMessage | Reason:
        with (
            _bounded_pipe(_STATUS_MAX_BYTES) as (status_fd, status),
            _bounded_pipe(PAYLOAD_MAX_BYTES) as (content_fd, content),
        ):
            completed = run_briefly(
                [
                    str(self._tools.find("gpgv")),
                    *("--status-fd", str(status_fd), "--keyring", str(keyring)),
                    *("--output", f"/dev/fd/{content_fd}"),
                ],
                environment=self._environment,
                timeout=GPGV_SECONDS,
                stdin=message,
                pass_fds=(status_fd, content_fd),
            )
        if len(status) > _STATUS_MAX_BYTES or len(content) > PAYLOAD_MAX_BYTES:
            return SIGNATURE_INVALID("a signature unpacks to more than any payload has")
        judged = b"[GNUPG:] " in status or _NO_SIGNATURE.search(completed.stderr)
        broken = completed.exit_code not in _GPGV_EXIT_CODES
        if broken or not judged or b"ERROR add_keyblock_resource" in status:
            # It always says something about its input; silence is a broken tool, not a refusal.
            raise ImgsecError(completed.failure())
        return judge_status(bytes(status), bytes(content), signers)

    def end_agent(self) -> None:
        """End what gpg left running in this home; the key is gone from memory then.

        By a signal that nothing can delay: gpgconf starts two processes to ask a favour that a
        hanging agent does not do, and an agent that may finish takes its time, with nothing to
        finish in a home that is thrown away. Raises `ImgsecError` (tool-failed) if something
        cannot be found or ended.
        """
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait()
        for _ in range(2):  # what was just starting shows the second time
            found = _processes(self.home)
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await_ends(found, AGENT_END_SECONDS)
            if not _processes(self.home):
                return
        raise ImgsecError(TOOL_FAILED("gpg's agent cannot be ended"))

    def _listed(self, wanted: Fingerprint) -> PublicKey:
        """What the keyring has of a key that was just imported or changed."""
        (self.home / f"{wanted}.gpg").unlink(missing_ok=True)  # see `_keyring_file`
        for row in self._gpg.list_keys():  # of secret keys it tells less about the subkeys
            if row["fingerprint"] == str(wanted):
                return _public_key(row)
        raise ImgsecError(KEY_MALFORMED("gpg imported a key that it does not list"))


@contextmanager
def gpg_keyring(
    tools: Tools,
    directory: PrivateDir,
    *,
    passphrase: SecretBytes | None = None,
    folder: str = "gpg",
) -> Iterator[GpgKeyring]:
    """A keyring in the private directory for the life of the block; its agent is ended after.

    Raises what `GpgKeyring.start` does; and what `GpgKeyring.end_agent` does, unless the block
    itself was left by an exception.
    """
    try:
        keyring = GpgKeyring(tools, directory.folder(folder), passphrase=passphrase)
    except OSError as error:
        raise ImgsecError(STORAGE_UNAVAILABLE(f"gpg's home: {error.strerror}")) from None
    with _agent_ended(keyring):
        keyring.start()
        yield keyring


@contextmanager
def twin_keyrings(
    keyring: GpgKeyring, directory: PrivateDir, signer: Fingerprint, count: int
) -> Iterator[list[GpgKeyring]]:
    """Further keyrings for the life of the block, for a process each. Raises as `gpg_keyring`."""
    with ExitStack() as stack:
        twins = []
        for number in range(count):
            try:
                twin = keyring.twin(directory.folder(f"g{number}"), signer)
            except OSError as error:
                text = f"gpg's home: {error.strerror}"
                raise ImgsecError(STORAGE_UNAVAILABLE(text)) from None
            twins.append(twin)
            stack.enter_context(_agent_ended(twin))
        yield twins


@contextmanager
def _agent_ended(keyring: GpgKeyring) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(ImgsecError):
            surely(keyring.end_agent)
        raise
    surely(keyring.end_agent)


def _processes(home: Path) -> list[int]:
    """Everything that gpg started for this home: it names it as an argument or by GNUPGHOME.

    Raises `ImgsecError` (tool-failed) where /proc shows other processes than ours.
    """
    named = {os.fsencode(home), b"GNUPGHOME=" + os.fsencode(home)}
    found = []
    try:
        if Path("/proc/self").readlink().name != str(os.getpid()):
            raise OSError
        for name in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208 - a tenth of the time
            words: set[bytes] = set()
            for part in ("cmdline", "environ"):
                # It may have ended in between, or be somebody else's.
                with suppress(OSError), open(f"/proc/{name}/{part}", "rb") as file:  # noqa: PTH123
                    words.update(file.read().split(b"\0"))
            if words & named:
                found.append(int(name))
    except OSError:
        raise ImgsecError(
            TOOL_FAILED("/proc does not show this process, so gpg's agent cannot be found")
        ) from None
    return found


def judge_status(
    status: bytes, content: bytes, signers: Sequence[Fingerprint]
) -> OpenPGPMessage | Reason:
    """Read gpgv's status lines; its exit code is 0 for expired and revoked keys, too.

    A message is: exactly one signature that fits, VALIDSIG and one word on its state, by one of
    these primary keys, over exactly one document (GnuPG `doc/DETAILS`).
    """
    lines = [
        line[9:].split(" ")
        for line in status.decode("utf-8", "replace").split("\n")
        if line.startswith("[GNUPG:] ")
    ]
    words = [line[0] for line in lines]
    if "BADSIG" in words:
        return SIGNATURE_INVALID("the signature does not fit its content")
    valid = [line for line in lines if line[0] == "VALIDSIG" and len(line) >= 11]
    if "NO_PUBKEY" in words and words.count("NEWSIG") == 1:
        return SIGNATURE_UNTRUSTED("the signature was made by another key")
    states = [word for word in words if word in _SIGNATURE_STATES]
    whole = (words.count("NEWSIG"), len(states), len(valid), words.count("PLAINTEXT"))
    if whole != (1, 1, 1, 1) or "ERRSIG" in words:
        return SIGNATURE_INVALID("the signature is not one message signed by one key")
    fields = valid[0]
    if fields[10] not in map(str, signers):
        return SIGNATURE_UNTRUSTED("the signature was made by another key")
    if len(content) > PAYLOAD_MAX_BYTES:
        return SIGNATURE_INVALID(f"the signed content has {len(content)} bytes")
    return OpenPGPMessage(
        content,
        signer=Fingerprint.parse(fields[10]),
        signed_at=datetime.fromtimestamp(int(fields[3]), UTC),
        made_by=Fingerprint.parse(fields[1]),
        digest_algorithm=_DIGESTS.get(fields[8], f"digest algorithm {fields[8]}"),
        is_binary=fields[9] == _BINARY_DOCUMENT,
        has_expired=states == ["EXPSIG"],
        key_has_ended=states == ["EXPKEYSIG"],
        key_is_revoked=states == ["REVKEYSIG"],
    )


@contextmanager
def _bounded_pipe(max_bytes: int) -> Iterator[tuple[int, bytearray]]:
    """A descriptor to write to, and what came out of it once the block is left.

    A thread drains it. Whoever writes more than max_bytes finds it closed, and is ended by that: a
    few kilobytes of a message can unpack to gigabytes.
    """
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    collected = bytearray()

    def drain() -> None:
        while len(collected) <= max_bytes and (piece := os.read(reading, 4096)):
            collected.extend(piece)
        os.close(reading)

    thread = threading.Thread(target=drain, daemon=True)
    thread.start()
    try:
        yield writing, collected
    finally:
        os.close(writing)
        thread.join(timeout=GPGV_SECONDS)


def _public_key(row: dict[str, Any]) -> PublicKey:
    """From a row of python-gnupg's key listing (GnuPG `doc/DETAILS`, colon format)."""
    subkeys = row.get("subkey_info", {}).values()  # by short id: two of one id are one
    if len(subkeys) != len(row["subkeys"]):
        raise ImgsecError(KEY_MALFORMED("it holds two subkeys of one id"))
    return PublicKey(
        fingerprint=Fingerprint.parse(row["fingerprint"]),
        algorithm=_algorithm(row),
        created=datetime.fromtimestamp(int(row["date"]), UTC),
        expires=datetime.fromtimestamp(int(row["expires"]), UTC) if row["expires"] else None,
        can_sign="s" in re.sub(r"[A-Z]", "", row["cap"]),
        is_revoked=row["trust"] == "r",
        subkeys=tuple(Subkey(_algorithm(info), "s" in info["cap"]) for info in subkeys),
    )


def _algorithm(row: dict[str, Any]) -> str:
    kind = _ALGORITHMS.get(row["algo"], f"algorithm-{row['algo']}")
    curve = row.get("curve") or ""
    return f"{kind}{row['length']}" if kind in ("rsa", "dsa") else (curve or kind)


def _text(passphrase: SecretBytes | None) -> str | None:
    """As python-gnupg takes it, which sends the very bytes on: its encoding is set to latin-1."""
    return passphrase.reveal().decode("latin-1") if passphrase else None


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line and not line.startswith("[GNUPG:]")]
    return lines[-1] if lines else "it gave no reason"
