# SPDX-License-Identifier: Apache-2.0
"""What the registry's lists become, whatever they hold, and who is asked for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from imgsec.adapters._account import AccountApi
from imgsec.adapters._http import Answer
from imgsec.adapters.icr import LIST_MAX_BYTES, ContainerRegistry
from imgsec.domain.reference import RegistryScope
from imgsec.ports import ImageCatalogue
from tests.unit.adapters.test_va import Tokens
from tests.unit.refusals import refused

DIGEST = "sha256:" + "4f" * 32
OTHER = "sha256:" + "5a" * 32
TEAM = RegistryScope.parse("us.icr.io/team")


@dataclass
class FakeHttp:
    """Answers always the same, after some refusals of the token."""

    answer: Answer
    refusals: int = 0
    asked: list[tuple[str, str, Mapping[str, str], bytes | None]] = field(default_factory=list)
    options: list[dict[str, Any]] = field(default_factory=list)

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None,
        **options: Any,
    ) -> Answer:  # fmt: skip
        self.asked.append((method, url, headers, body))
        self.options.append(options)
        if len(self.asked) <= self.refusals:
            return Answer(401, {}, b"{}", url)
        return self.answer


def answer(body: Any, status: int = 200) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, {"content-type": "application/json"}, content, "https://us.icr.io/x")


def api(tokens: Tokens | None = None, **options: Any) -> AccountApi:
    own = tokens or Tokens()
    return AccountApi(lambda: own, **options)  # type: ignore[arg-type, return-value]


def registry(http: FakeHttp, tokens: Tokens | None = None, **options: Any) -> ContainerRegistry:
    return ContainerRegistry(http, api(tokens, **options))  # type: ignore[arg-type]


def listed(body: Any, scope: RegistryScope = TEAM, *, ibm: bool = False) -> ImageCatalogue:
    return registry(FakeHttp(answer(body))).list_images(scope, ibm=ibm)


def digests(body: Any, scope: RegistryScope = TEAM, *, ibm: bool = False) -> ImageCatalogue:
    return registry(FakeHttp(answer(body))).list_digests(scope, ibm=ibm)


def entry(name: str = "us.icr.io/team/app:1", **changes: Any) -> dict[str, Any]:
    return {
        "Id": DIGEST,
        "ParentId": "",
        "DigestTags": {DIGEST: [name]},
        "RepoTags": [name],
        "RepoDigests": [f"{name.rpartition(':')[0]}@{DIGEST}"],
        "Created": 1780995600,
        "Size": 48210331,
        "Labels": {},
        "ManifestType": "application/vnd.oci.image.manifest.v1+json",
        "Vulnerable": "false",
        "VulnerabilityCount": 0,
        "IssueCount": 0,
        **changes,
    }


def digest_entry(**changes: Any) -> dict[str, Any]:
    return {
        "id": DIGEST,
        "created": 1780995600,
        "manifestType": "application/x",
        "size": 7,
        "repoTags": {"us.icr.io/team/app": {"1": {"issueCount": 0}}},
        **changes,
    }


def without(entry: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != name}


def names(found: ImageCatalogue) -> list[str]:
    return [str(one.image) for one in found.images]


@pytest.mark.parametrize(
    ("scope", "query"),
    [
        ("us.icr.io", ""),
        ("us.icr.io/team", "&namespace=team"),
        ("us.icr.io/team/app", "&repository=us.icr.io%2Fteam%2Fapp"),
        ("private.us.icr.io/team/app", "&repository=us.icr.io%2Fteam%2Fapp"),
        ("us.icr.io:443/team", "&namespace=team"),
    ],
)
def test_list_is_asked_for_where_it_is_and_narrowed(scope: str, query: str) -> None:
    http, place = FakeHttp(answer([])), RegistryScope.parse(scope)
    registry(http, account="mine").list_images(place, ibm=False)
    ((method, url, headers, body),) = http.asked
    base = f"https://{place.registry}/api/v1/images?includeIBM=false&includeManifestLists=true"
    assert (method, url, body) == ("GET", base + query, None)
    assert (headers["Account"], headers["Authorization"]) == ("mine", "Bearer t0")
    assert http.options[0]["max_bytes"] == LIST_MAX_BYTES


def test_counts_of_vulnerabilities_are_not_even_asked_for() -> None:
    http = FakeHttp(answer([]))
    registry(http).list_images(TEAM, ibm=True)
    registry(http).list_digests(TEAM, ibm=True)
    assert "vulnerabilities" not in http.asked[0][1]
    assert "includeIBM=true" in http.asked[0][1]
    sent = json.loads(http.asked[1][3] or b"")
    assert sent == {"exclude_tagged": False, "exclude_va": True, "include_ibm": True}


def test_digests_of_one_repository_are_asked_for_and_may_be_asked_for_again() -> None:
    http = FakeHttp(answer([]))
    registry(http).list_digests(RegistryScope.parse("us.icr.io/team/app"), ibm=False)
    ((method, url, headers, body),) = http.asked
    assert (method, url) == ("POST", "https://us.icr.io/api/v1/images/digests")
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body or b"")["repositories"] == ["us.icr.io/team/app"]
    assert http.options[0]["repeats"] is True


def test_image_comes_with_all_that_the_registry_says_of_it() -> None:
    (found,) = listed([entry()]).images
    assert str(found.image) == f"us.icr.io/team/app:1@{DIGEST}"
    assert found.created == datetime.fromtimestamp(1780995600, UTC)
    assert (found.size, found.media_type.rpartition(".")[2]) == (48210331, "v1+json")


def test_each_tag_is_an_image_with_the_digest_that_it_names() -> None:
    body = entry(
        RepoTags=["us.icr.io/team/app:1", "us.icr.io/team/app:2", "us.icr.io/team/web:1"],
        DigestTags={DIGEST: ["us.icr.io/team/app:1", "us.icr.io/team/web:1"], OTHER: ["2"]},
    )
    assert names(listed([body])) == [
        f"us.icr.io/team/app:1@{DIGEST}",
        f"us.icr.io/team/app:2@{OTHER}",
        f"us.icr.io/team/web:1@{DIGEST}",
    ]


def test_digest_may_stand_with_the_repository_or_nowhere() -> None:
    assert names(listed([entry(DigestTags=None)])) == [f"us.icr.io/team/app:1@{DIGEST}"]
    assert names(listed([entry(DigestTags=None, RepoDigests=None)])) == ["us.icr.io/team/app:1"]
    assert names(listed([entry(RepoTags=None)])) == []


def test_untagged_digest_has_no_tag() -> None:
    for none in ({}, None, {"": {}}):
        found = digests(
            [digest_entry(), digest_entry(id=OTHER, repoTags={"us.icr.io/team/b": none})]
        )
        assert names(found) == [f"us.icr.io/team/app:1@{DIGEST}", f"us.icr.io/team/b@{OTHER}"]


def test_digest_can_have_a_tag_here_and_none_there() -> None:
    tags = {"us.icr.io/team/a": {"1": {}, "2": None}, "us.icr.io/team/b": {}}
    assert names(digests([digest_entry(repoTags=tags)])) == [
        f"us.icr.io/team/a:1@{DIGEST}",
        f"us.icr.io/team/a:2@{DIGEST}",
        f"us.icr.io/team/b@{DIGEST}",
    ]


@pytest.mark.parametrize("scope", ["private.us.icr.io/team", "us.icr.io/team"])
@pytest.mark.parametrize("host", ["private.us.icr.io", "us.icr.io"])
def test_names_have_the_host_that_was_asked(scope: str, host: str) -> None:
    place = RegistryScope.parse(scope)
    (found,) = listed([entry(f"{host}/team/app:1")], place).images
    assert (found.image.registry, found.name) == (place.registry, "us.icr.io/team/app:1")


def test_list_is_narrowed_even_where_the_registry_did_not() -> None:
    body = [entry(f"us.icr.io/{path}:1") for path in ("team/app", "teammates/app", "other/app")]
    assert names(listed(body)) == [f"us.icr.io/team/app:1@{DIGEST}"]
    assert listed(body).foreign == ()


def test_image_of_another_registry_is_named_and_not_listed() -> None:
    body = [entry(), entry("evil.example/team/app:1"), entry("de.icr.io/team/app:1")]
    found = listed(body)
    assert names(found) == [f"us.icr.io/team/app:1@{DIGEST}"]
    assert len(found.foreign) == 2


def test_public_images_of_ibm_may_have_its_other_host() -> None:
    body = [entry("icr.io/ibm/liberty:1"), entry("evil.example/ibm/x:1"), entry()]
    found = listed(body, RegistryScope.parse("us.icr.io"), ibm=True)
    assert names(found) == [f"icr.io/ibm/liberty:1@{DIGEST}", f"us.icr.io/team/app:1@{DIGEST}"]
    assert found.foreign == (f"evil.example/ibm/x:1@{DIGEST}",)
    assert names(listed(body, ibm=True)) == [f"us.icr.io/team/app:1@{DIGEST}"]


HUGE = 10**400
HOSTILE = ["\x1b[31mus.icr.io/team/app:1", "us.icr.io/team/app:1\n", "us.icr.io/team/APP:1", "",
           "us.icr.io/team/app", f"us.icr.io/team/app:1@{DIGEST}", "app:1", "\ud800"]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        *(entry(RepoTags=[name]) for name in HOSTILE),
        *(entry(RepoTags=value) for value in ("x", 1, {}, [None], [1], True)),
        *(entry(DigestTags=value) for value in ("x", [1], {"x": []}, {DIGEST: "x"}, {DIGEST: 1})),
        *(entry(RepoDigests=value) for value in ("x", [1], ["x"], {})),
        entry(DigestTags={DIGEST: ["us.icr.io/team/app:1"], OTHER: ["us.icr.io/team/app:1"]}),
        entry(ManifestType=["x"]),
        without(entry(), "RepoTags"),
        None,
        "x",
        [],
        {},
    ],
)
def test_entry_that_is_none_does_not_hide_the_others(body: Any) -> None:
    found = listed([entry("us.icr.io/team/first:1"), body, entry("us.icr.io/team/last:1")])
    assert [one.image.repository for one in found.images] == ["team/first", "team/last"]
    assert found.unreadable == ("entry 2",)


@pytest.mark.parametrize(
    "body",
    [
        *(digest_entry(id=value) for value in (None, 1, "x", DIGEST.upper(), DIGEST + "\n", [])),
        *(digest_entry(repoTags=value) for value in ("x", 1, [], {"x": {}}, {"us.icr.io/a/b": 1})),
        digest_entry(repoTags={"us.icr.io/team/app:1": {}}),
        digest_entry(repoTags={f"us.icr.io/team/app@{DIGEST}": {}}),
        *(digest_entry(repoTags={"us.icr.io/team/app": {tag: {}}}) for tag in ("a b", "a:b", "@")),
        without(digest_entry(), "id"),
        without(digest_entry(), "repoTags"),
        None,
        7,
    ],
)
def test_digest_that_is_none_does_not_hide_the_others(body: Any) -> None:
    found = digests([digest_entry(), body])
    assert len(found.images) == 1
    assert found.unreadable == ("entry 2",)


@pytest.mark.parametrize("value", ["x", None, True, -1, 0, HUGE, 1e308, [], {}, float("nan")])
def test_time_and_size_that_are_none_are_left_out(value: Any) -> None:
    for found in (listed([entry(Created=value, Size=value)]),
                  digests([digest_entry(created=value, size=value)])):  # fmt: skip
        (image,) = found.images
        assert image.created is None
        assert image.size == (0 if value == 0 and value is not False else None)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[", b"[" * 100_000, b"9" * 5000, {}, {"images": []}, None, "x", 1]
)
def test_what_is_no_list_is_malformed(body: Any) -> None:
    for ask in (listed, digests):
        with refused("answer-malformed"):
            ask(body)


def test_ten_thousand_images_are_read() -> None:
    body = [entry(f"us.icr.io/team/app{number}:1") for number in range(10_000)]
    assert len(listed(body).images) == 10_000


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "credential-rejected"),
        (403, "permission-denied"),
        (429, "rate-limited"),
        (500, "service-unreachable"),
        (302, "redirect-refused"),
        (400, "answer-malformed"),
    ],
)
def test_trouble_has_its_reason(status: int, code: str) -> None:
    bodies: list[Any] = [{"code": "CRG0009E", "message": "a\nb"}, b"<html>", [], {"code": 1}]
    for body in bodies:
        with refused(code) as reasons:
            registry(FakeHttp(answer(body, status))).list_images(TEAM, ibm=False)
        assert reasons[0].text.isprintable()
        if status == 403:
            assert "Reader or Manager for us.icr.io/team" in reasons[0].text
            assert "Writer alone" in reasons[0].text


def test_not_found_by_the_service_is_an_empty_list_and_by_a_page_is_none() -> None:
    client = registry(FakeHttp(answer({"code": "CRG0020E", "message": "x"}, 404)))
    assert client.list_images(TEAM, ibm=False).images == ()
    with refused("answer-malformed"):
        registry(FakeHttp(answer(b"<html>", 404))).list_images(TEAM, ibm=False)


def test_namespaces_are_words() -> None:
    client = registry(FakeHttp(answer(["team", 1, None, "other"])))
    assert client.list_namespaces("us.icr.io") == {"team", "other"}


@pytest.mark.parametrize("host", ["docker.io", "xicr.io", "icr.io.evil.example", "quay.io"])
def test_foreign_registry_is_not_assessed_and_nobody_is_asked(host: str) -> None:
    http, tokens = FakeHttp(answer([])), Tokens()
    client = registry(http, tokens)
    for ask in (client.list_images, client.list_digests):
        with refused("not-assessed"):
            ask(RegistryScope.parse(host), ibm=True)
    with refused("not-assessed") as reasons:
        client.require_served(host)
    assert "us.icr.io" in reasons[0].hint
    assert (http.asked, tokens.asked) == ([], 0)


def test_trusted_host_and_loopback_are_asked() -> None:
    http = FakeHttp(answer([]))
    registry(http, trusted=("r.example",)).list_images(RegistryScope("r.example"), ibm=False)
    registry(http).list_images(RegistryScope("127.0.0.1:5000"), ibm=False)
    assert len(http.asked) == 2


@pytest.mark.parametrize(("refusals", "is_enough"), [(1, True), (2, False)])
def test_token_that_is_refused_is_replaced_once(refusals: int, is_enough: bool) -> None:
    http = FakeHttp(answer([entry()]), refusals)
    with nullcontext() if is_enough else refused("credential-rejected"):
        assert len(registry(http).list_images(TEAM, ibm=False).images) == 1
    assert [sent["Authorization"] for _, _, sent, _ in http.asked] == ["Bearer t0", "Bearer t1"]
