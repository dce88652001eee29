# SPDX-License-Identifier: Apache-2.0
"""Every case of the corpus, for imgsec and for the real skopeo."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from imgsec.adapters._http import Answer, Http
from imgsec.adapters._process import Tools
from imgsec.adapters.files import KEY_FILE_MAX_BYTES, POLICY_MAX_BYTES, read_file
from imgsec.adapters.gpg import gpg_keyring
from imgsec.adapters.image_folder import ImageFolder
from imgsec.adapters.lookaside import Lookaside
from imgsec.adapters.private_dir import PrivateDir
from imgsec.adapters.registry import RegistryClient
from imgsec.domain.hosts import SignatureAddress
from imgsec.domain.reference import ImageReference
from imgsec.domain.report import ImageReport, VerifierAnswer
from imgsec.domain.trust_policy import TrustPolicy
from imgsec.domain.verdict import because
from imgsec.domain.verifiers import Verifier
from imgsec.errors import ImgsecError
from imgsec.operations.trusted_keys import load_requirements
from imgsec.operations.verify_image import verify_image
from imgsec.ports import Keyring, Registry
from tests.corpus.server import CASES, configure, served
from tests.support import ROOT, plain_environment, short_folder

pytestmark = pytest.mark.once

NAMES = sorted(path.parent.name for path in CASES.glob("*/case.json"))
# What differs from skopeo on purpose, each with its reason in the case: nothing else may.
DIFFERENT = {
    "index-too-long_fail",
    "secret-key-published_fail",
    "too-many_fail",
    "unpacks-to-megabytes_fail",
}


@dataclass(frozen=True)
class Case:
    name: str
    document: dict[str, Any]

    @property
    def folder(self) -> Path:
        return CASES / self.name

    @property
    def image(self) -> ImageReference:
        return ImageReference.parse(self.document["image"])

    @property
    def platforms(self) -> tuple[str, ...]:
        return tuple(self.document.get("platforms", ()))

    @property
    def has_extension(self) -> bool:
        return bool(self.document.get("served", {}).get("extension"))

    @property
    def expected(self) -> dict[str, str]:
        found = self.document["expected"]
        assert set(found) == {"portieris", "podman", "strict"}
        return dict(found)


@cache
def case_of(name: str) -> Case:
    return Case(name, json.loads((CASES / name / "case.json").read_text()))


@pytest.fixture(scope="module")
def hosts() -> Iterator[dict[bool, str]]:
    """The server, and the one whose registry has the extension."""
    with served(extension=False) as plain, served(extension=True) as extended:
        yield {False: plain, True: extended}


class _ToServer(Http):
    """Leads every registry to the case's part of the server; failures are not tried again."""

    def __init__(self, host: str, case: str) -> None:
        super().__init__()
        self._repeating = self._single
        self._where = (host, case)

    def request(self, method: str, url: str, **rest: Any) -> Answer:
        host, case = self._where
        if url.startswith("https://"):
            path = url.split("/", 3)[3]
            for api in ("v2/", "extensions/v2/"):
                if path.startswith(api) and path != api:
                    path = f"{api}{case}/{path.removeprefix(api)}"
                    break
            url = f"http://{host}/{path}"
        return super().request(method, url, **rest)


def over_http(case: Case, hosts: dict[bool, str]) -> Registry:
    host = hosts[case.has_extension]
    http = _ToServer(host, case.name)
    store = SignatureAddress.parse(f"http://{host}/lookaside/{case.name}")
    return RegistryClient(http, auth_file=None, lookaside=Lookaside(http, store))


def report(case: Case, registry: Registry, new_keyring: Callable[[], Keyring]) -> ImageReport:
    """What imgsec says, for every consumer. Key files are named relative to the case."""
    try:
        policy = TrustPolicy.parse(
            read_file(str(case.folder / "policy.json"), max_bytes=POLICY_MAX_BYTES)
        )
        wanted = load_requirements(
            policy,
            [case.image],
            lambda path: read_file(str(case.folder / path), max_bytes=KEY_FILE_MAX_BYTES),
            new_keyring,
        )[case.image]
        if isinstance(wanted, ImgsecError):
            raise wanted
        return verify_image(
            *(case.image, wanted, registry),
            platforms=case.platforms,
            now=datetime.now(UTC),
        )
    except ImgsecError as error:
        verdict = because(error.reason)
        answers = tuple(VerifierAnswer(str(one), verdict) for one in Verifier)
        return ImageReport(case.image, verdict, None, answers)


def answers_in(found: ImageReport) -> dict[str, str]:
    return {answer.verifier: answer.verdict.outcome.word for answer in found.answers}


@pytest.fixture
def new_keyring() -> Iterator[Callable[[], Keyring]]:
    with short_folder() as folder, ExitStack() as stack:
        directory = PrivateDir(folder, in_memory=True)
        numbers = count()

        def make() -> Keyring:
            opened = gpg_keyring(Tools(), directory, folder=f"k{next(numbers)}")
            return stack.enter_context(opened)

        yield make


@pytest.mark.parametrize("name", NAMES)
def test_imgsec_says_what_each_consumer_would(
    name: str, hosts: dict[bool, str], new_keyring: Callable[[], Keyring]
) -> None:
    case = case_of(name)
    found = report(case, over_http(case, hosts), new_keyring)
    assert answers_in(found) == case.expected
    if "reason" in case.document:
        assert case.document["reason"] in [reason.code for reason in found.verdict.reasons]
    if "served" not in case.document:  # what is in the folder is all that there is
        offline = report(case, ImageFolder(case.folder), new_keyring)
        assert answers_in(offline) == case.expected


@pytest.mark.parametrize("name", NAMES)
def test_skopeo_agrees(name: str, hosts: dict[bool, str], tmp_path: Path) -> None:
    """For each platform that is pulled, since a consumer pulls one."""
    case = case_of(name)
    conf, places = configure(tmp_path, hosts[case.has_extension], name, case.image.registry)
    no_login = tmp_path / "auth.json"
    no_login.write_text("{}")
    accepted = []
    for platform in case.platforms or pulled_of(case):
        system, architecture, variant = [*platform.split("/"), ""][:3]
        done = subprocess.run(
            [
                *("skopeo", "--registries-conf", conf, "--registries.d", places),
                *("--policy", "policy.json", "--override-os", system),
                *("--override-arch", architecture, "--override-variant", variant),
                *("--command-timeout", "50s"),
                *("copy", f"docker://{case.image}", f"dir:{tmp_path / architecture}"),
            ],
            cwd=case.folder,
            env=plain_environment(tmp_path, REGISTRY_AUTH_FILE=str(no_login)),
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert b"panic" not in done.stderr
        accepted.append(done.returncode == 0)
    agrees = all(accepted) == (case.expected["podman"] == "pass")
    assert agrees is (name not in DIFFERENT), done.stderr
    assert bool(case.document.get("skopeo")) is (name in DIFFERENT)


def pulled_of(case: Case) -> list[str]:
    manifest = json.loads((case.folder / "manifest.json").read_bytes())
    listed = [child["platform"] for child in manifest.get("manifests", ()) if "platform" in child]
    named = [f"{one['os']}/{one['architecture']}" for one in listed]
    return [name for name in named if name != "unknown/unknown"] or ["linux/amd64"]


def test_corpus_is_what_it_promises() -> None:
    assert len(NAMES) >= 80
    attacks = {number for name in NAMES for number in case_of(name).document.get("attacks", ())}
    elsewhere = {1, 2, 16, 24}  # they need a registry that changes, or a passphrase
    assert attacks | elsewhere >= set(range(1, 26))
    for name in NAMES:
        case = case_of(name)
        assert name.endswith("_fail") is (case.expected["strict"] != "pass")
        assert (case.folder / "policy.json").is_file()


@pytest.mark.parametrize("name", ["tag-as-tag", "index-only_fail", "digest-sha1_fail"])
def test_command_line_reads_a_case(name: str, tmp_path: Path) -> None:
    case = case_of(name)
    for consumer, outcome in case.expected.items():
        done = subprocess.run(
            [
                *(sys.executable, "-m", "imgsec", "verify-image", str(case.image)),
                *("--policy", "policy.json", "--image-dir", ".", "--as", consumer),
            ],
            cwd=case.folder,
            env=plain_environment(tmp_path),
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == (0 if outcome == "pass" else 1), done.stderr


def test_corpus_is_made_by_its_script(tmp_path: Path) -> None:
    """With other keys, but the same cases, files and expectations."""
    made = tmp_path / "cases"
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make-corpus"), str(made)],
        env=plain_environment(tmp_path),
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr

    def listed(folder: Path, what: Callable[[Path], bytes]) -> dict[str, bytes]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): what(path) for path in files}

    assert set(listed(made, Path.read_bytes)) == set(listed(CASES, Path.read_bytes))
    for name in NAMES:
        for file in ("case.json", "manifest.json"):
            assert (made / name / file).read_bytes() == (CASES / name / file).read_bytes()
