# SPDX-License-Identifier: Apache-2.0
"""Signing an image on its way: copied between repositories, or pushed from local storage."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Bench, SigningKey
from tests.support import short_folder

pytestmark = pytest.mark.once


def tags_of(bench: Bench, name: str) -> list[str]:
    """The tags of a name's repository; none where there is no such repository."""
    done = subprocess.run(
        ["skopeo", "list-tags", f"docker://{name.rpartition(':')[0]}"],
        env=bench.environment,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return list(json.loads(done.stdout)["Tags"] or []) if done.returncode == 0 else []


def signature(report: dict[str, Any]) -> dict[str, Any]:
    found = report["images"][0]["signature"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("platforms", [("amd64",), ("amd64", "arm64")])
def test_image_is_copied_whole_and_signed_under_its_new_name(
    bench: Bench, key: SigningKey, platforms: tuple[str, ...]
) -> None:
    source, digest = bench.push(bench.repository(), platforms=platforms)
    target = f"{bench.sandbox.registry}/{bench.repository()}:release"
    run = ("sign-image", source, "--to", target, "--key", key.location)
    before = len(bench.log("registry"))
    done = bench.imgsec(*run).expect(0)
    assert done.json["images"][0]["canonical"] == f"{target.rpartition(':')[0]}@{digest}"
    assert (signature(done.json)["pushed"], signature(done.json)["new"]) == (True, True)
    asked = [(line["method"], line["path"]) for line in bench.log("registry")[before:]]
    assert not [path for method, path in asked if method in ("PATCH", "PUT") and "/blobs/" in path]
    bench.imgsec("verify-image", target, "--key", key.location).expect(0)
    bench.imgsec("verify-image", source, "--key", key.location).expect(1, "signature-missing")
    count = len(bench.signatures(target, digest))
    again = bench.imgsec(*run).expect(0)
    assert (signature(again.json)["pushed"], signature(again.json)["new"]) == (False, False)
    assert len(bench.signatures(target, digest)) == count


def test_registry_that_gives_out_tokens_gets_one_for_each_repository(
    bench: Bench, key: SigningKey, storage: dict[str, str]
) -> None:
    source, _ = bench.push(bench.repository(), platforms=("amd64", "arm64"))
    target = f"{bench.sandbox.registry}/{bench.repository()}:release"
    bench.fault("registry", "bearer")
    before = len(bench.log("registry"))
    run = ("sign-image", source, "--to", target, "--key", key.location)
    bench.imgsec(*run).expect(0)
    asked = [(line["method"], line["path"]) for line in bench.log("registry")[before:]]
    assert not [path for method, path in asked if method in ("PATCH", "PUT") and "/blobs/" in path]
    local = f"{bench.sandbox.registry}/{bench.repository()}:1"
    pushed = ("sign-image", local, "--from-storage", "localhost/app", "--key", key.location)
    bench.imgsec(*pushed, env=place(storage)).expect(0)
    bench.imgsec("verify-image", local, target, "--key", key.location).expect(0)


def test_patience_of_a_registry_that_is_busy_is_enough(bench: Bench, key: SigningKey) -> None:
    source, _ = bench.push(bench.repository(), platforms=("amd64", "arm64"))
    target = f"{bench.sandbox.registry}/{bench.repository()}:release"
    bench.fault("registry", "429", every=3, count=6, retry_after=0)
    before = len(bench.log("registry"))
    run = ("sign-image", source, "--to", target, "--key", key.location)
    bench.imgsec(*run).expect(0)
    asked = [(line["method"], line["path"]) for line in bench.log("registry")[before:]]
    assert not [path for method, path in asked if method == "PATCH"]
    bench.clear_faults()
    bench.imgsec("verify-image", target, "--key", key.location).expect(0)


def test_registry_that_is_away_for_a_moment_is_no_old_one(bench: Bench, key: SigningKey) -> None:
    source, _ = bench.push(bench.repository())
    target = f"{bench.sandbox.registry}/{bench.repository()}:release"
    bench.fault("registry", "503", path="^/v2/$", every=2, count=1)
    run = ("sign-image", source, "--to", target, "--key", key.location)
    before = len(bench.log("registry"))
    bench.imgsec(*run).expect(0)
    asked = [(line["path"], line["status"]) for line in bench.log("registry")[before:]]
    assert ("/v2/", 503) in asked
    assert ("/v1/_ping", 401) in asked


def test_tag_names_the_image_only_when_it_is_signed(bench: Bench, key: SigningKey) -> None:
    source, digest = bench.push(bench.repository())
    target = f"{bench.sandbox.registry}/{bench.repository()}:release"
    run = ("sign-image", source, "--to", target, "--key", key.location)
    bench.fault("registry", "signatures-500", method="PUT")
    done = bench.imgsec(*run)
    done.expect(3, "pushed-unsigned")
    assert "release does not name it" in done.stderr
    assert tags_of(bench, target) == []
    bench.clear_faults()
    bench.imgsec(*run).expect(0)
    assert tags_of(bench, target) == ["release"]
    assert len(bench.signatures(target, digest)) == 1


def test_nothing_is_copied_where_it_could_not_be_signed(bench: Bench, key: SigningKey) -> None:
    source, digest = bench.push(bench.repository())
    target = f"{bench.sandbox.registry}/{bench.repository()}:release"
    run = ("sign-image", source, "--to", target, "--key", key.location)
    other = "sha256:" + "1a" * 32
    bench.imgsec(*run, "--expect-digest", other).expect(1, "digest-drift")
    bench.imgsec(*run, "--platform", "linux/s390x").expect(1, "platform-missing")
    bench.imgsec(*run[:-1], "kms://none").expect(3, "key-not-found")
    bench.imgsec("sign-image", f"{source}9", *run[2:]).expect(3, "image-not-found")
    bench.fault("registry", "no-extension")
    bench.imgsec(*run).expect(3, "signature-store-missing")
    bench.clear_faults()
    assert tags_of(bench, target) == []
    bench.imgsec(*run, "--expect-digest", digest).expect(0)


def test_signatures_of_the_source_come_along_or_stay(bench: Bench, key: SigningKey) -> None:
    source, digest = bench.push(bench.repository())
    bench.imgsec("sign-image", source, "--key", key.location).expect(0)
    for words, count in (((), 2), (("--remove-signatures",), 1)):
        target = f"{bench.sandbox.registry}/{bench.repository()}:release"
        run = ("sign-image", source, "--to", target, "--key", key.location, *words)
        for _ in range(2):
            bench.imgsec(*run).expect(0)
            assert len(bench.signatures(target, digest)) == count
    assert len(bench.signatures(source, digest)) == 1


def test_signatures_go_to_the_lookaside_store_and_nothing_is_written_over(
    bench: Bench, key: SigningKey, tmp_path: Path
) -> None:
    bench.fault("registry", "no-extension")
    store = tmp_path / "store"
    store.mkdir()
    source, digest = bench.push(bench.repository())
    target = f"{bench.sandbox.registry}/{bench.repository()}:release"
    path = target.partition("/")[2].rpartition(":")[0]
    held = store / f"{path}@{digest.replace(':', '=')}"
    held.mkdir(parents=True)
    (held / "signature-1").write_bytes(b"\x90 somebody else's")
    run = ("sign-image", source, "--to", target, "--key", key.location, "--lookaside", str(store))
    bench.imgsec(*run).expect(0)
    assert (held / "signature-1").read_bytes() == b"\x90 somebody else's"
    assert sorted(one.name for one in held.iterdir()) == ["signature-1", "signature-2"]
    verify = ("verify-image", target, "--key", key.location, "--lookaside", str(store))
    bench.imgsec(*verify).expect(0)


def test_tag_that_names_another_image_moves_to_the_signed_one(
    bench: Bench, key: SigningKey
) -> None:
    source, digest = bench.push(bench.repository())
    target, other = bench.push(bench.repository(), "release")
    assert digest != other
    bench.imgsec("sign-image", source, "--to", target, "--key", key.location).expect(0)
    found = bench.imgsec("resolve", target).expect(0).json["images"][0]
    assert found["digest"] == digest


@pytest.mark.parametrize(
    "words",
    [
        ("--to", "r.example/team/app"),
        ("--to", f"r.example/team/app:1@sha256:{'1a' * 32}"),
        ("--to", "r.example/a:1", "--from-storage", "app"),
        ("--remove-signatures",),
        ("--storage-driver", "vfs"),
        ("--from-storage", "-x"),
        ("--from-storage", "app", "--expect-digest", "sha256:" + "1a" * 32),
        ("--from-storage", "app", "--workers", "2", "--to", "r.example/b:1"),
        ("r.example/team/other:1", "--to", "r.example/a:1"),
    ],
)
def test_question_without_sense_is_refused(bench: Bench, words: tuple[str, ...]) -> None:
    run = ("sign-image", "r.example/team/app:1", "--key", "kms://release", *words)
    bench.imgsec(*run).expect(2, "invalid-option")


# --- From local storage ---------------------------------------------------------------------------


@pytest.fixture
def storage(bench: Bench) -> Iterator[dict[str, str]]:
    """A user's local storage, by environment, with an image ``localhost/app`` in it."""
    with short_folder() as folder:
        conf = folder / "storage.conf"
        conf.write_text(
            f'[storage]\ndriver = "vfs"\nrunroot = "{folder}/run"\ngraphroot = "{folder}/root"\n'
        )
        environment = {**bench.environment, "CONTAINERS_STORAGE_CONF": str(conf)}
        environment |= {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
        (folder / "Containerfile").write_text("FROM scratch\nCOPY Containerfile /\n")
        buildah("bud", "--isolation", "chroot", "-t", "localhost/app", str(folder), env=environment)
        yield environment


def buildah(*words: str, env: dict[str, str]) -> bytes:
    done = subprocess.run(
        ["buildah", *words], env=env, capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def place(storage: dict[str, str]) -> dict[str, str]:
    """Where the storage is, as a user's environment says it."""
    names = ("CONTAINERS_STORAGE_CONF", "HOME", "XDG_RUNTIME_DIR")
    return {name: storage[name] for name in names}


def test_image_of_local_storage_is_pushed_and_signed(
    bench: Bench, key: SigningKey, storage: dict[str, str]
) -> None:
    target = f"{bench.sandbox.registry}/{bench.repository()}:1"
    environment = place(storage)
    run = ("sign-image", target, "--from-storage", "localhost/app", "--key", key.location)
    done = bench.imgsec(*run, "--storage-driver", "vfs", env=environment).expect(0)
    assert signature(done.json)["pushed"] is True
    digest = done.json["images"][0]["digest"]
    assert bench.imgsec("resolve", target).expect(0).json["images"][0]["digest"] == digest
    bench.imgsec("verify-image", target, "--key", key.location).expect(0)
    again = bench.imgsec(*run, env=environment).expect(0)
    assert signature(again.json)["new"] is False
    missing = (*run[:3], "localhost/none", *run[4:])
    bench.imgsec(*missing, env=environment).expect(3, "image-not-found")
    absent = bench.imgsec(*run, "--platform", "linux/s390x", env=environment)
    absent.expect(1, "platform-missing")
    bench.fault("registry", "signatures-500", method="PUT")
    other = (run[0], f"{target}2", *run[2:])
    done = bench.imgsec(*other, "--sign-identity", "r.example/x:1", env=environment)
    done.expect(3, "pushed-unsigned")
    assert done.json["images"][0]["digest"] == digest
    bench.clear_faults()
    bench.fault("registry", "hang", path="/extensions/", method="PUT")
    late = (run[0], f"{target}3", *run[2:], "--timeout", "8")
    done = bench.imgsec(*late, env=environment).expect(3, "pushed-unsigned")
    assert done.json["images"][0]["digest"] == digest
    ended = bench.imgsec.start(*run[:1], f"{target}4", *run[2:], env=environment)
    await_until(lambda: "14" in tags_of(bench, target))
    ended.terminate()
    assert "was pushed as" in ended.communicate()[1]
    assert ended.returncode == 143
    assert sorted(tags_of(bench, target)) == ["1", "12", "13", "14"]


def test_push_whose_end_goes_wrong_is_told_by_what_it_did(
    bench: Bench, key: SigningKey, storage: dict[str, str]
) -> None:
    target = f"{bench.sandbox.registry}/{bench.repository()}:1"
    run = ("sign-image", target, "--from-storage", "localhost/app", "--key", key.location)
    bench.fault("registry", "500", path="/extensions/")
    bench.imgsec(*run, env=place(storage)).expect(3, "service-unreachable")
    assert tags_of(bench, target) == []
    bench.clear_faults()
    bench.fault("registry", "500-after", method="PUT", path="/manifests/")
    done = bench.imgsec(*run, env=place(storage)).expect(3, "pushed-unsigned")
    assert "may have been pushed" in done.stderr
    bench.clear_faults()
    digest = bench.imgsec("resolve", target).expect(0).json["images"][0]["digest"]
    assert digest in done.stderr
    bench.imgsec(*run, env=place(storage)).expect(0)


def test_list_of_local_storage_is_pushed_whole(
    bench: Bench, key: SigningKey, storage: dict[str, str]
) -> None:
    buildah("manifest", "create", "localhost/list", "localhost/app", env=storage)
    target = f"{bench.sandbox.registry}/{bench.repository()}:1"
    run = ("sign-image", target, "--from-storage", "localhost/list", "--key", key.location)
    done = bench.imgsec(*run, "--platform", "linux/amd64", env=place(storage)).expect(0)
    assert len(signature(done.json)["digests"]) == 2
    absent = bench.imgsec(*run, "--platform", "linux/s390x", env=place(storage))
    absent.expect(1, "platform-missing")
    bench.imgsec("verify-image", target, "--key", key.location).expect(0)


def test_copy_that_hangs_ends_at_the_deadline_and_leaves_no_skopeo(
    bench: Bench, key: SigningKey
) -> None:
    source, _ = bench.push(bench.repository())
    target = f"{bench.sandbox.registry}/{bench.repository()}:release"
    bench.fault("registry", "hang", method="PUT")
    run = ("sign-image", source, "--to", target, "--key", key.location, "--timeout", "4")
    bench.imgsec(*run).expect(3, "timeout")
    repository = target.rpartition(":")[0]
    assert not [line for line in running_commands() if repository in line]
    killed = bench.imgsec.start(*run[:-2])
    await_until(lambda: any(map(is_skopeo_for(repository), running_commands())))
    killed.kill()
    killed.communicate()
    await_until(lambda: not any(map(is_skopeo_for(repository), running_commands())))
    bench.clear_faults()
    assert tags_of(bench, target) == []
    bench.imgsec(*run[:-2]).expect(0)


def is_skopeo_for(repository: str) -> Callable[[str], bool]:
    return lambda line: line.startswith("/") and "skopeo\0" in line and repository in line


def await_until(is_so: Callable[[], bool]) -> None:
    for _ in range(200):
        if is_so():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to that")


def running_commands() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().decode("utf-8", "replace"))
        except OSError:
            continue
    return found
