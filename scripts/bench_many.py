# SPDX-License-Identifier: Apache-2.0
"""The figures of many images, of large ones and of slow registries, for scripts/bench."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
MANY, THOUSAND, FEW = 100, 1000, 20
SIGNATURES_EACH = 5
LARGE, SMALL = 2**30, 10 * 2**20
SLOW_SECONDS = 0.02
Run = Callable[[list[str]], None]


@dataclass(frozen=True, slots=True)
class Bench:
    """A comparison to run. The callables run once per call and raise on any failure.

    target: the most that the ratio should be. runs: the most pairs that are counted.
    """

    name: str
    what: str
    against: str
    target: float
    subject: Callable[[int], None]
    reference: Callable[[int], None]
    runs: int = 1000


class Shelf:
    """The sandbox's registry: images made by plain HTTP, each in a repository of its own."""

    def __init__(self, folder: Path) -> None:
        import requests

        self.folder = folder
        self.registry = os.environ["IMGSEC_SANDBOX_REGISTRY"]
        auth = json.loads(Path(os.environ["REGISTRY_AUTH_FILE"]).read_text(encoding="utf-8"))
        user, _, password = (
            base64.b64decode(auth["auths"][self.registry]["auth"]).decode().partition(":")
        )
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.auth = (user, password)
        self._session.verify = os.environ["IMGSEC_CA_FILE"]
        self._numbers = itertools.count()

    def image(self, repository: str, size: int = 1024, *, layers: int = 1, seed: str = "") -> str:
        """Push an image of so many random bytes in all; gives its name."""
        parts = []
        for _ in range(layers):
            path = self.folder / f"layer-{next(self._numbers)}"
            hashed = hashlib.sha256()
            with path.open("wb") as file:
                left = size // layers
                while left > 0:
                    piece = os.urandom(min(left, 2**20))
                    hashed.update(piece)
                    file.write(piece)
                    left -= len(piece)
            parts.append((path, f"sha256:{hashed.hexdigest()}"))
        config = json.dumps(
            {
                **{"architecture": "amd64", "os": "linux", "config": {"Labels": {"seed": seed}}},
                "rootfs": {"type": "layers", "diff_ids": [digest for _, digest in parts]},
            }
        ).encode()
        manifest = {
            **{"schemaVersion": 2, "mediaType": MANIFEST},
            "config": self._described(config, CONFIG),
            "layers": [
                {"mediaType": LAYER, "digest": digest, "size": path.stat().st_size}
                for path, digest in parts
            ],
        }
        self._upload(repository, config)
        for path, digest in parts:
            with path.open("rb") as file:
                self._upload(repository, file, digest=digest)
            path.unlink()
        return self._tag(repository, json.dumps(manifest).encode())

    def images(self, count: int) -> list[str]:
        """So many small images, no two of one digest, in repositories of their own."""
        names = []
        for _ in range(count):
            number = next(self._numbers)
            names.append(self.image(f"bench/n{number}", seed=str(number)))
        return names

    def listed(self, names: Sequence[str]) -> str:
        """A file with these names."""
        path = self.folder / f"images-{next(self._numbers)}.txt"
        path.write_text("".join(f"{name}\n" for name in names), encoding="ascii")
        return str(path)

    def signatures(self, name: str) -> tuple[bytes, list[bytes]]:
        """The manifest of an image, and its signatures."""
        repository = name.partition("/")[2].rpartition(":")[0]
        base = f"https://{self.registry}"
        manifest = self._session.get(
            f"{base}/v2/{repository}/manifests/1", headers={"Accept": MANIFEST}, timeout=60
        ).content
        digest = hashlib.sha256(manifest).hexdigest()
        answer = self._session.get(
            f"{base}/extensions/v2/{repository}/signatures/sha256:{digest}", timeout=60
        )
        found = [base64.b64decode(one["content"]) for one in answer.json()["signatures"]]
        return manifest, found

    def _described(self, content: bytes, kind: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return {"mediaType": kind, "digest": digest, "size": len(content)}

    def _upload(self, repository: str, content: Any, *, digest: str | None = None) -> None:
        digest = digest or f"sha256:{hashlib.sha256(content).hexdigest()}"
        base = f"https://{self.registry}"
        begun = self._session.post(f"{base}/v2/{repository}/blobs/uploads/", timeout=60)
        place = begun.headers["Location"]
        place = place if place.startswith("https://") else base + place
        joint = "&" if "?" in place else "?"
        done = self._session.put(f"{place}{joint}digest={digest}", data=content, timeout=600)
        if done.status_code != 201:
            raise SystemExit(f"bench: a blob was not taken: {done.status_code}")

    def _tag(self, repository: str, manifest: bytes) -> str:
        done = self._session.put(
            f"https://{self.registry}/v2/{repository}/manifests/1",
            data=manifest,
            headers={"Content-Type": MANIFEST},
            timeout=60,
        )
        if done.status_code != 201:
            raise SystemExit(f"bench: a manifest was not taken: {done.status_code}")
        return f"{self.registry}/{repository}:1"


@dataclass
class Signer:
    """A key in the KMS, and the same in a gpg home for skopeo."""

    alias: str
    home: Path
    fingerprint: str


def all_many(imgsec: str, folder: Path, run: Run, shell_sign: str) -> Iterator[Bench]:
    """shell_sign: the shell script of the figure ``sign``, which takes an image."""
    shelf = Shelf(folder)
    signers: dict[str, Signer] = {}

    def signer(algorithm: str) -> Signer:
        if algorithm not in signers:
            signers[algorithm] = make_signer(imgsec, folder, run, algorithm)
        return signers[algorithm]

    def sign_many(key: Signer, names: Sequence[str], *more: str) -> None:
        words = ["--key", f"kms://{key.alias}", "--images-file", shelf.listed(names), *more]
        run([imgsec, "sign-image", *words])

    def against_skopeo(algorithm: str, target: float, backend: str = "") -> Bench:
        more = ("--backend", backend) if backend else ()
        return _pair(
            shelf,
            f"many-{backend or algorithm}",
            f"sign-image of {MANY} small images, {' '.join((algorithm, *more))}",
            "a loop of skopeo copy --sign-by",
            1 / target,
            MANY,
            lambda names: sign_many(signer(algorithm), names, *more),
            lambda names: skopeo_loop(run, signer(algorithm), names),
        )

    for algorithm, target in (("rsa4096", 3.5), ("rsa3072", 4.0), ("nistp256", 6.0)):
        yield against_skopeo(algorithm, target)
    yield against_skopeo("rsa4096", 7.0, "sequoia")

    def measured(names: Sequence[str]) -> None:
        key = signer("nistp256")
        words = ["--key", f"kms://{key.alias}", "--images-file", shelf.listed(names)]
        peak = peak_memory([imgsec, "sign-image", *words])
        print(f"{'':10} {len(names)} images: at most {peak:.0f} MB in all processes together")

    hundred = [shelf.images(MANY) for _ in range(2)] if _is_wanted("thousand") else []
    thousand = [shelf.images(THOUSAND) for _ in range(2)] if _is_wanted("thousand") else []
    yield Bench(
        "thousand",
        f"sign-image of {THOUSAND} images",
        f"of {MANY}",
        11,
        lambda number: measured(thousand[number]),
        lambda number: measured(hundred[number]),
        runs=1,
    )

    def slowly(work: Callable[[], None]) -> None:
        _slow_down()
        try:
            work()
        finally:
            _speed_up()

    yield _pair(
        shelf,
        "slow",
        f"sign-image of {FEW} images, 20 ms on each request, 4 workers",
        "a loop of skopeo copy --sign-by",
        1 / 4,
        FEW,
        lambda names: slowly(lambda: sign_many(signer("rsa3072"), names, "--workers", "4")),
        lambda names: slowly(lambda: skopeo_loop(run, signer("rsa3072"), names)),
    )

    if _is_wanted("verify"):
        key = signer("rsa3072")
        names = shelf.images(MANY)
        for name in names:
            further = [f"r.example/x:{n}" for n in range(SIGNATURES_EACH - 1)]
            given = [word for one in further for word in ("--sign-identity", one)]
            run([imgsec, "sign-image", "--key", f"kms://{key.alias}", name, *given])
        checked = standalone_script(shelf, folder, key, names)
        yield Bench(
            "verify",
            f"verify-image of {MANY} images with {SIGNATURES_EACH} signatures each",
            "a loop of skopeo inspect --raw and standalone-verify of all five",
            1 / 15,
            lambda _: run(
                [
                    *(imgsec, "verify-image", "--key", f"kms://{key.alias}"),
                    *("--images-file", shelf.listed(names)),
                ]
            ),
            lambda _: run(["/bin/sh", "-e", checked]),
            runs=3,
        )

    def in_place(label: str, size: int) -> Bench:
        made = [
            shelf.image(f"bench/large{number}-{size}", size, layers=4, seed=str(number))
            for number in range(4)
        ]
        return Bench(
            f"large-{label.replace(' ', '').lower()}",
            f"sign-image of an image of {label}",
            "the same by shell: curl, gpg, skopeo",
            1.5,
            lambda number: run([imgsec, "sign-image", "--key", "kms://bench", made[2 * number]]),
            lambda number: run(["/bin/sh", "-e", "-c", shell_sign, "sh", made[2 * number + 1]]),
            runs=1,
        )

    if _is_wanted("large"):
        yield in_place("10 MB", SMALL)
        yield in_place("1 GB", LARGE)

    if _is_wanted("copy"):
        source = shelf.image("bench/origin", LARGE, layers=8)
        key = signer("rsa3072")
        yield Bench(
            "copy",
            "sign-image --to another repository, 1 GB",
            "skopeo copy --sign-by with a cold cache",
            1 / 5,
            lambda number: run(
                [
                    *(imgsec, "sign-image", "--key", f"kms://{key.alias}", source),
                    *("--to", f"{shelf.registry}/bench/copied-a{number}:1"),
                ]
            ),
            lambda number: cold_copy(
                run, key, source, f"{shelf.registry}/bench/copied-b{number}:1"
            ),
            runs=2,
        )


wanted: list[str] = []  # the figures that were asked for; none for all


def _is_wanted(prefix: str) -> bool:
    """Whether figures of this family are asked for: making their images takes minutes."""
    return not wanted or any(name.startswith(prefix) for name in wanted)


def _pair(
    shelf: Shelf,
    name: str,
    what: str,
    against: str,
    target: float,
    count: int,
    subject: Callable[[Sequence[str]], None],
    reference: Callable[[Sequence[str]], None],
) -> Bench:
    """Each run signs images that nobody has signed."""
    made: dict[tuple[str, int], list[str]] = {}
    if not wanted or name in wanted:
        for number in range(4):
            made["subject", number] = shelf.images(count)
            made["reference", number] = shelf.images(count)
    return Bench(
        name,
        what,
        against,
        target,
        lambda number: subject(made["subject", number]),
        lambda number: reference(made["reference", number]),
        runs=3,
    )


def _slow_down() -> None:
    from imgsec.sandbox.faults import set_rule
    from imgsec.sandbox.folder import StateFolder

    folder = StateFolder(Path(os.environ["IMGSEC_SANDBOX_DIR"]))
    set_rule(folder, "registry", {"kind": "slow", "delay": SLOW_SECONDS})


def _speed_up() -> None:
    from imgsec.sandbox.faults import clear_rules
    from imgsec.sandbox.folder import StateFolder

    clear_rules(StateFolder(Path(os.environ["IMGSEC_SANDBOX_DIR"])), "registry")


_homes: list[Path] = []


def make_signer(imgsec: str, folder: Path, run: Run, algorithm: str) -> Signer:
    home = Path(tempfile.mkdtemp(prefix="bench-", dir="/dev/shm"))
    _homes.append(home)
    environment = {**os.environ, "GNUPGHOME": str(home)}

    def gpg(*words: str) -> bytes:
        given = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
        return subprocess.run(
            [*given, *words], env=environment, check=True, capture_output=True
        ).stdout

    gpg("--quick-generate-key", f"bench {algorithm}", algorithm, "sign", "1y")
    rows = gpg("--with-colons", "--list-keys").decode().splitlines()
    fingerprint = next(row.split(":")[9] for row in rows if row.startswith("fpr:"))
    path = folder / f"key-{algorithm}"
    path.write_bytes(gpg("--export-secret-keys", fingerprint))
    alias = f"bench-{algorithm}"
    run(
        [
            *(imgsec, "setup-signing-keys", "--alias", alias, "--import-key", str(path)),
            *("--repository", "r.example/bench/*", "--render", str(folder / f"m-{algorithm}")),
        ]
    )
    return Signer(alias, home, fingerprint)


def end_signers() -> None:
    """End the agents of the homes that were made, and remove them."""
    end = ["gpgconf", "--kill", "all"]
    for home in _homes:
        environment = {**os.environ, "GNUPGHOME": str(home)}
        subprocess.run([*end], env=environment, check=False)
        shutil.rmtree(home, ignore_errors=True)


def skopeo_loop(run: Run, key: Signer, names: Sequence[str]) -> None:
    lines = [
        f"skopeo copy --quiet --sign-by {key.fingerprint} docker://{name} docker://{name}"
        for name in names
    ]
    script = f"export GNUPGHOME={shlex.quote(str(key.home))}\n" + "\n".join(lines)
    run(["/bin/sh", "-e", "-c", script])


def cold_copy(run: Run, key: Signer, source: str, target: str) -> None:
    """As in a fresh pod, where no earlier copy has told which repository has which blobs.

    What skopeo remembers of that is in its user's home, but of root's in /var.
    """
    copy = (
        f"skopeo copy --quiet --sign-by {key.fingerprint} --sign-identity {target}"
        f" docker://{source} docker://{target}"
    )
    script = f"export GNUPGHOME={shlex.quote(str(key.home))} HOME=$(mktemp -d)\n{copy}\nrm -r $HOME"
    if os.getuid() == 0:
        hidden = f"mount -t tmpfs none /var/lib/containers/cache\n{script}"
        run(["unshare", "--mount", "/bin/sh", "-e", "-c", hidden])
    else:
        run(["/bin/sh", "-e", "-c", script])


def standalone_script(shelf: Shelf, folder: Path, key: Signer, names: Sequence[str]) -> str:
    """A script that reads each manifest and verifies all signatures, which lie in files."""
    lines = [f"export GNUPGHOME={shlex.quote(str(key.home))}"]
    for number, name in enumerate(names):
        _, signatures = shelf.signatures(name)
        manifest = folder / f"manifest-{number}"
        lines.append(f"skopeo inspect --raw docker://{name} > {manifest}")
        for place, content in enumerate(signatures):
            path = folder / f"signature-{number}-{place}"
            path.write_bytes(content)
            identity = name if place == 0 else f"r.example/x:{place - 1}"
            lines.append(f"skopeo standalone-verify {manifest} {identity} {key.fingerprint} {path}")
    script = folder / "verify-all.sh"
    script.write_text("\n".join(lines), encoding="ascii")
    return str(script)


def peak_memory(argv: list[str]) -> float:
    """The most megabytes that a program and all that it starts held at once (their shares of
    common pages counted once), looked at twenty times a second."""
    with subprocess.Popen(
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        most = 0.0
        ended = threading.Event()

        def look() -> None:
            nonlocal most
            while not ended.is_set():
                most = max(most, sum(map(_share, _family(process.pid))))
                time.sleep(0.05)

        watcher = threading.Thread(target=look)
        watcher.start()
        process.wait()
        ended.set()
        watcher.join()
        if process.returncode != 0:
            raise SystemExit(f"bench: {argv[:3]} ended with {process.returncode}")
    return most / 1024


def _family(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="latin-1").rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, left = [], [pid]
    while left:
        one = left.pop()
        found.append(one)
        left += parents.get(one, [])
    return found


def _share(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
