# SPDX-License-Identifier: Apache-2.0
"""What an engine makes of an image's text, besides comparing it with rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsec.domain.engine_name import EngineName, Panic

HEX = "0" * 64
D = f"@sha256:{HEX}"
SHA512 = "@sha512:" + "a" * 128
SHA384 = "@sha384:" + "a" * 96


@pytest.mark.parametrize(
    ("text", "repository", "tag"),
    [
        ("nginx", "docker.io/library/nginx", "latest"),
        ("nginx:1", "docker.io/library/nginx", "1"),
        ("team/app", "docker.io/team/app", "latest"),
        ("docker.io/nginx", "docker.io/library/nginx", "latest"),
        ("docker.io/library/nginx:1", "docker.io/library/nginx", "1"),
        ("docker.io/team/app", "docker.io/team/app", "latest"),
        ("index.docker.io/nginx", "docker.io/library/nginx", "latest"),
        ("index.docker.io/team/app", "docker.io/team/app", "latest"),
        ("registry-1.docker.io/nginx", "registry-1.docker.io/nginx", "latest"),
        ("docker.io:443/nginx", "docker.io:443/nginx", "latest"),
        ("library/nginx", "docker.io/library/nginx", "latest"),
        # What is a host.
        ("localhost/app", "localhost/app", "latest"),
        ("localhost:5000", "docker.io/library/localhost", "5000"),
        ("localhost", "docker.io/library/localhost", "latest"),
        ("icr.io", "docker.io/library/icr.io", "latest"),
        ("icr.io:1", "docker.io/library/icr.io", "1"),
        ("host:5000/app", "host:5000/app", "latest"),
        ("host:5000/app:2", "host:5000/app", "2"),
        ("Host/app", "Host/app", "latest"),
        ("HOST.example/app", "HOST.example/app", "latest"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c", "latest"),
        ("[::1]/app", "[::1]/app", "latest"),
        ("[2001:db8::1]:5000/app:1", "[2001:db8::1]:5000/app", "1"),
        ("a--b.example/app", "a--b.example/app", "latest"),
        ("host:0123456789/app", "host:0123456789/app", "latest"),
        # A tag beside a digest, and latest beside a digest.
        (f"icr.io/ns/app:1{D}", "icr.io/ns/app", "1"),
        (f"icr.io/ns/app{D}", "icr.io/ns/app", "latest"),
        (f"icr.io/ns/app:1{SHA512}", "icr.io/ns/app", "1"),
        (f"icr.io/ns/app:1{SHA384}", "icr.io/ns/app", "1"),
        # Separators.
        ("a.b/a_b/a__b/a.b/a-b/a---b", "a.b/a_b/a__b/a.b/a-b/a---b", "latest"),
        ("nginx:A.b_c-D", "docker.io/library/nginx", "A.b_c-D"),
        ("nginx:_", "docker.io/library/nginx", "_"),
        # One digit less or more than an id.
        (HEX[1:], f"docker.io/library/{HEX[1:]}", "latest"),
        (HEX + "0", f"docker.io/library/{HEX}0", "latest"),
        (f"{HEX}:1", f"docker.io/library/{HEX}", "1"),
        (f"team/{HEX}", f"docker.io/team/{HEX}", "latest"),
    ],
)
def test_name_gets_docker_hub_s_defaults(text: str, repository: str, tag: str) -> None:
    name = EngineName.parse(text)
    assert (name.text, name.repository, name.tag) == (text, repository, tag)
    assert name.tagged == f"{repository}:{tag}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "?",
        " ",
        " nginx",
        "nginx ",
        "nginx\n",
        "\tnginx",
        ":1",
        "/nginx",
        "nginx/",
        "nginx:",
        "a//b",
        "a.b//c",
        "a.b/",
        "https://icr.io/ns/app",
        "docker://nginx",
        "Nginx",
        "team/App",
        "icr.io/NS/app",
        "icr.io/ns/App:1",
        "-host.example/app",
        "host-.example/app",
        ".example/app",
        "host./app",
        "host..example/app",
        "host:/app",
        "host:x/app",
        "host:5000:6000/app",
        "::1/app",
        "[::1/app",
        "[::g]/app",
        "[]/app",
        "[::1]x/app",
        "icr.io/-app",
        "icr.io/app-",
        "icr.io/_app",
        "icr.io/a..b",
        "icr.io/a___b",
        "icr.io/a._b",
        "icr.io/ns/app:1:2",
        "icr.io/ns/app:.1",
        "icr.io/ns/app:-1",
        "icr.io/ns/app:1/2",
        "icr.io/ns/äpp",
        "icr.io/ns/app:ä",
        "icr.io/ns/app\x00",
        HEX,
        "abcdef01" * 8,
        f"{HEX}{D}",
        D,
        "@",
        "nginx@",
        "nginx@sha256",
        "nginx@md5:" + "0" * 32,
        "nginx@sha512:" + "a" * 127,
        "nginx@sha512:" + "A" * 128,
        "nginx@SHA256:" + HEX,
        "nginx@sha384:" + "a" * 128,
        f"nginx{SHA512}{SHA384}",
        f"{HEX}{SHA512}x",
        "nginx:" + "a" * 129,
        "icr.io/" + "a" * 256,
        "a" * 256,
        "a" * 248,  # library/ counts
        "a/" * 127 + "ab" + "/c",
        "a_b.example:5000/app",  # an underscore is no host's, and a port no path's
        "A_b.example/app",
    ],
)
def test_what_the_engine_calls_an_invalid_name_is_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"it is no|64 hex"):
        EngineName.parse(text)


def test_tag_may_have_128_characters() -> None:
    assert EngineName.parse("nginx:" + "a" * 128).tag == "a" * 128


@pytest.mark.parametrize(
    "text", ["icr.io/" + "a" * 255, "a" * 247, f"{'h.' * 200}h:5000/" + "a" * 255]
)
def test_path_may_have_255_characters_and_the_host_counts_for_none(text: str) -> None:
    assert EngineName.parse(text).tag == "latest"


@pytest.mark.parametrize(
    "text", [f"nginx{SHA512}", f"icr.io/ns/app{SHA512}", f"h:5000/a{SHA384}", f"nginx{SHA512}{D}"]
)
def test_digest_of_another_algorithm_without_a_tag_breaks_the_engine(text: str) -> None:
    with pytest.raises(Panic):
        EngineName.parse(text)


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        (f"nginx{D}", HEX),
        (f"nginx:1{D}", HEX),
        ("nginx@sha256:abc", "abc"),
        ("nginx@sha256:", ""),
        ("nginx@sha256:a@sha256:b", "a"),
        ("nginx@sha256:@sha256:b", ""),
        ("nginx@sha256:what it says/@:", "what it says/@:"),
        ("nginx@sha256:" + "A" * 64, "A" * 64),
        ("nginx@sha256:abc@sha512:d", "abc@sha512:d"),
        (f"nginx:1{SHA512}", ""),
        ("nginx", ""),
    ],
)
def test_digest_is_what_stands_behind_its_mark_unchecked(text: str, digest: str) -> None:
    name = EngineName.parse(text)
    assert name.digest == digest
    assert name.repository == "docker.io/library/nginx"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("docker.io/library/nginx:latest", "docker.io/library/nginx:latest"),
        ("nginx:1", "docker.io/library/nginx:1"),
        ("nginx@sha256:abc", "docker.io/library/nginx:abc"),
        ("nginx:1@sha256:abc", "docker.io/library/nginx:abc"),
        ("nginx:1@sha256:", "docker.io/library/nginx:1"),
        (f"nginx:1{SHA512}", "docker.io/library/nginx:1"),
    ],
)
def test_denials_are_filed_under_the_normalised_name(text: str, key: str) -> None:
    assert EngineName.parse(text).denial_key == key


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("nginx", "docker.io"),
        ("index.docker.io/nginx", "docker.io"),
        ("icr.io:5000/ns/app", "icr.io"),
        ("Host/app", "Host"),
        ("[2001:db8::1]/app", "2001:db8::1"),
        ("[2001:db8::1]:5000/app", "2001:db8::1"),
        ("127.0.0.1:5000/app", "127.0.0.1"),
    ],
)
def test_host_is_without_its_port(text: str, host: str) -> None:
    assert EngineName.parse(text).host == host


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("icr.io/ns/app", True),
        ("us.icr.io/ns/app", True),
        ("us.icr.io:443/ns/app", True),
        ("xicr.io/ns/app", True),
        ("icr.io.evil.example/ns/app", False),
        ("evil.example/icr.io", False),
        ("ICR.IO/ns/app", False),
        ("registry.ng.bluemix.net/ns/app", True),
        ("registry.bluemix.net/ns/app", True),
        ("registry-evil.bluemix.net/ns/app", True),
        ("x.registry.bluemix.net/ns/app", False),
        ("registrybluemix.net/ns/app", False),
        ("icr.io", False),
        ("nginx", False),
        ("[::1]/app", False),
    ],
)
def test_registry_is_ibm_s_by_the_letters_that_it_ends_in(text: str, expected: bool) -> None:
    assert EngineName.parse(text).is_at_ibm is expected


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("nginx", "https://notary.docker.io"),
        ("docker.io/team/app", "https://notary.docker.io"),
        ("notdocker.io/team/app", "https://notary.docker.io"),
        ("quay.io/team/app", "https://quay.io:443"),
        ("notquay.io/team/app", "https://quay.io:443"),
        ("quay.io:5000/team/app", "https://quay.io:443"),
        ("us.icr.io/ns/app", None),
        ("registry.ng.bluemix.net/ns/app", None),
        ("localhost/docker.io", None),
    ],
)
def test_trust_server_is_known_for_two_hosts_by_their_ends(text: str, server: str | None) -> None:
    assert EngineName.parse(text).trust_server == server


@pytest.mark.parametrize("text", ["a_b.example/app", "a_b.example/team/app:1", "a__b.c/app"])
def test_host_with_an_underscore_is_read_as_part_of_the_path(text: str) -> None:
    name = EngineName.parse(text)
    assert (name.domain, name.host) == ("", "")
    assert name.repository == text.removesuffix(":1")
    assert name.trust_server is None
    assert not name.is_at_ibm


def test_such_a_host_counts_in_the_path_s_length() -> None:
    assert EngineName.parse("a_b.c/" + "a" * 249).tag == "latest"
    with pytest.raises(ValueError, match=r"it is no|64 hex"):
        EngineName.parse("a_b.c/" + "a" * 250)


def test_host_with_an_underscore_and_no_dot_is_docker_hub_s_team() -> None:
    assert EngineName.parse("a_b/app").repository == "docker.io/a_b/app"


# What upstream's own tests of `helpers/image` look at, with today's results.
@pytest.mark.parametrize(
    ("text", "repository", "host", "tag", "digest", "is_at_ibm"),
    [
        ("test.com/namespace/name", "test.com/namespace/name", "test.com", "latest", "", False),
        (
            "test.com:8080/namespace/name@sha256:1234567890",
            "test.com:8080/namespace/name",
            "test.com",
            "latest",
            "1234567890",
            False,
        ),
        ("test.com/namespace/name:v1", "test.com/namespace/name", "test.com", "v1", "", False),
        (
            "test.com:8080/namespace/name:v1@sha256:1234567890",
            "test.com:8080/namespace/name",
            "test.com",
            "v1",
            "1234567890",
            False,
        ),
        (
            "namespace/name:v1@sha256:1234567890",
            "docker.io/namespace/name",
            "docker.io",
            "v1",
            "1234567890",
            False,
        ),
        (
            "ubuntu:v1@sha256:1234567890",
            "docker.io/library/ubuntu",
            "docker.io",
            "v1",
            "1234567890",
            False,
        ),
        (
            "registry.ng.bluemix.net/namespace/name",
            "registry.ng.bluemix.net/namespace/name",
            "registry.ng.bluemix.net",
            "latest",
            "",
            True,
        ),
        ("quay.io/namespace/name", "quay.io/namespace/name", "quay.io", "latest", "", False),
        ("us.icr.io/namespace/name", "us.icr.io/namespace/name", "us.icr.io", "latest", "", True),
        (
            "stg.icr.io/namespace/name",
            "stg.icr.io/namespace/name",
            "stg.icr.io",
            "latest",
            "",
            True,
        ),
        (
            "de.icr.io:8080/namespace/name",
            "de.icr.io:8080/namespace/name",
            "de.icr.io",
            "latest",
            "",
            True,
        ),
    ],
)
def test_upstream_s_examples_are_read_as_upstream_reads_them(
    text: str, repository: str, host: str, tag: str, digest: str, is_at_ibm: bool
) -> None:
    name = EngineName.parse(text)
    assert (name.repository, name.host, name.tag) == (repository, host, tag)
    assert (name.digest, name.is_at_ibm) == (digest, is_at_ibm)


near_names = st.text("ab0A./:@-_[]é \n", max_size=30) | st.lists(
    st.sampled_from(
        ["docker.io", "icr.io", "localhost", "ns", "App", "/", ":", "1", D, SHA512, "_", "-", "."]
    ),
    max_size=6,
).map("".join)


@given(near_names | st.text(max_size=30))
def test_any_text_is_a_name_or_invalid_or_breaks_the_engine(text: str) -> None:
    try:
        name = EngineName.parse(text)
    except (ValueError, Panic):
        return
    assert name.text == text
    assert name.repository.isascii()
    assert name.tag
    # What the engine would write into a workload is read again as what it is.
    again = EngineName.parse(f"{name.tagged}@sha256:{HEX}")
    assert (again.repository, again.domain, again.tag) == (name.repository, name.domain, name.tag)
