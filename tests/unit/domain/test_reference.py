# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from imgsec.domain.reference import Digest, ImageReference, RegistryScope, RepositoryPattern, shown
from tests.unit.refusals import refused

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEX,
        "sha256:",
        f"sha256:{HEX[:-1]}",
        f"sha256:{HEX}0",
        f"sha256:{HEX.upper()}",
        f"SHA256:{HEX}",
        f"sha512:{HEX}{HEX}",
        "sha256:../../../../etc/passwd",
        f"sha256:{HEX}\n",
        f" sha256:{HEX}",
        f"sha256:{HEX[:-1]}\u0660",
    ],
)
def test_only_a_whole_lower_case_sha256_is_a_digest(text: str) -> None:
    with refused("invalid-digest"):
        Digest.parse(text)


def test_digest_of_bytes_is_their_sha256() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert str(Digest.of(b"")) == f"sha256:{empty}"


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag"),
    [
        ("us.icr.io/team/app:1.0", "us.icr.io", "team/app", "1.0"),
        ("localhost/app:1", "localhost", "app", "1"),
        ("registry:5000/app:1", "registry:5000", "app", "1"),
        ("127.0.0.1:5000/a/b/c/d:v", "127.0.0.1:5000", "a/b/c/d", "v"),
        ("docker.io/library/nginx:_x.Y-9", "docker.io", "library/nginx", "_x.Y-9"),
        ("r.example/a__b/c--d/e.f:1", "r.example", "a__b/c--d/e.f", "1"),
        ("r.example/app", "r.example", "app", None),
    ],
)
def test_host_path_and_tag_are_told_apart(
    text: str, registry: str, repository: str, tag: str | None
) -> None:
    image = ImageReference.parse(text)
    assert (image.registry, image.repository, image.tag, image.digest) == (
        registry,
        repository,
        tag,
        None,
    )
    canonical = ImageReference.parse(f"{text}@{DIGEST}")
    assert canonical == image.at(Digest.parse(DIGEST))
    assert canonical.canonical_name == f"{registry}/{repository}@{DIGEST}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nginx",
        "nginx:1.25",
        "library/nginx:1",
        "-oProxyCommand=x/app:1",
        "--help/app:1",
        "https://r.example/app:1",
        "docker://r.example/app:1",
        "R.EXAMPLE/app:1",
        "r.example./app:1",
        ".r.example/app:1",
        "r..example/app:1",
        "r.example/",
        "r.example//app:1",
        "r.example/app/:1",
        "r.example/App:1",
        "r.example/app:",
        "r.example/app:.1",
        "r.example/app:-1",
        "r.example/app:1:2",
        f"r.example/app:{'a' * 129}",
        f"r.example/{'a' * 256}:1",
        "r.example:/app:1",
        "r.example:123456/app:1",
        "r.example:port/app:1",
        "r.example/../app:1",
        "r.example/a/../b:1",
        "r.example/app:1\n",
        "r.example/app:1 --sign-by",
        "r.example/app;id:1",
        "r.example/$(id):1",
        "r.example/\u0430pp:1",
        "user@r.example/app:1",
        "[::1]:5000/app:1",
    ],
)
def test_malformed_reference_is_refused(text: str) -> None:
    with refused("invalid-reference", "invalid-digest") as reasons:
        ImageReference.parse(text)
    assert "\n" not in reasons[0].text


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:../../x", DIGEST.upper(), DIGEST + "@"])
def test_reference_with_a_bad_digest_is_refused_for_its_digest(digest: str) -> None:
    with refused("invalid-digest"):
        ImageReference.parse(f"r.example/app:1@{digest}")


def test_bare_reference_is_never_taken_for_latest() -> None:
    bare = ImageReference.parse("r.example/app")
    with refused("tag-required"):
        bare.require_version()
    with refused("tag-required"):
        _ = bare.at(Digest.parse(DIGEST)).tagged_name


def test_hostile_text_is_shown_in_one_bounded_line() -> None:
    text = shown("x\n\x1b[31m::error::" + "a" * 500)
    assert len(text) < 150
    assert text.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "us.icr.io/team/*",
        "us.icr.io/*",
        "*.icr.io/team/app",
        "us.icr.io/team/app",
        "us.icr.io/team/app:1.*",
        "localhost:5000/*",
        "localhost:*/*",
        "us.icr.io/*/app",
    ],
)
def test_meant_pattern_is_taken_as_it_is(text: str) -> None:
    assert str(RepositoryPattern.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "*/*",
        "reg.example*",
        "team/*",
        "team/app",
        "reg.example*/team/*",
        "*icr.io/team/*",
        "a*.icr.io/team/*",
        "*.icr.*/team/*",
        "*.icr.*:5000/team/*",
        "*.icr.*.com/team/*",
        "*.*/team/*",
        "us.icr.io/",
        "us.icr.io/team/",
        "us.icr.io//team",
        "us.icr.io/team/app*",
        "us.icr.io/team/app@*",
        "us.icr.io/team/app@" + DIGEST,
        "-x.icr.io/team/*",
        "us.icr.io/-team/*",
        "US.icr.io/team/*",
        "us.icr.io/te am/*",
        "us.icr.io/team/*\n",
    ],
)
def test_pattern_that_foreign_images_could_meet_is_refused(text: str) -> None:
    with refused("invalid-pattern"):
        RepositoryPattern.parse(text)


@pytest.mark.parametrize(
    ("text", "registry", "namespace", "repository"),
    [
        ("us.icr.io", "us.icr.io", None, None),
        ("us.icr.io/team", "us.icr.io", "team", None),
        ("private.de.icr.io/team/app", "private.de.icr.io", "team", "team/app"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000", "a", "a/b/c"),
        ("localhost/a", "localhost", "a", None),
    ],
)
def test_scope_is_a_registry_a_namespace_or_a_repository(
    text: str, registry: str, namespace: str | None, repository: str | None
) -> None:
    scope = RegistryScope.parse(text)
    assert (scope.registry, scope.namespace, scope.repository) == (registry, namespace, repository)
    assert str(scope) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "team",
        "team/app",
        "us.icr.io/",
        "us.icr.io/team/",
        "us.icr.io//app",
        "us.icr.io/team/app:1",
        f"us.icr.io/team/app@{DIGEST}",
        "us.icr.io/Team",
        "US.icr.io/team",
        "us.icr.io/..",
        "us.icr.io/a b",
        "us.icr.io/team\n",
        "https://us.icr.io/team",
        "user@us.icr.io/team",
        "us.icr.io/team?x=1",
        "us.icr.io/" + "a" * 250,
    ],
)
def test_anything_else_is_no_scope(text: str) -> None:
    with refused("invalid-option"):
        RegistryScope.parse(text)


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        ("r.io", {"team/app", "team/app/sub", "teammates/app", "team"}),
        ("r.io/team", {"team/app", "team/app/sub", "team"}),
        ("r.io/team/app", {"team/app"}),
    ],
)
def test_scope_covers_whole_parts_of_a_path(scope: str, covered: set[str]) -> None:
    names = {"team/app", "team/app/sub", "teammates/app", "team"}
    assert {name for name in names if RegistryScope.parse(scope).covers(name)} == covered
