# SPDX-License-Identifier: Apache-2.0
"""What is believed of a registry's answers, and which credential goes where."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from imgsec.adapters._http import Answer
from imgsec.adapters.registry import RegistryClient
from imgsec.adapters.registry_auth import AuthFile, Credential
from imgsec.domain.keys import SecretBytes
from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.signature import SIGNATURES_MAX
from imgsec.errors import ImageNotFound
from tests.unit.refusals import refused

OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE = ImageReference.parse("r.example/team/app:1")
BASE = "https://r.example"
TAGGED = f"{BASE}/v2/team/app/manifests/1"
LOGIN = base64.b64encode(b"me:secret").decode()
BEARER = 'Bearer realm="https://r.example/token",service="r"'


@dataclass
class FakeHttp:
    """Answers by address; the last answer of several stays."""

    answers: dict[str, list[Answer]]
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    sent: list[Any] = field(default_factory=list)
    abroad: dict[str, Answer] = field(default_factory=dict)  # where a redirect was followed

    def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", url, headers=headers)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        **_: Any,
    ) -> Answer:
        assert (method == "PUT") is (body is not None)
        if body is not None:
            self.sent.append(json.loads(body))
        self.asked.append((url, (headers or {}).get("Authorization")))
        if url in self.abroad:
            return self.abroad[url]
        left = self.answers[url.partition("?")[0]]
        return replace(left.pop(0) if len(left) > 1 else left[0], url=url)


def answer(status: int = 200, body: Any = b"", **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, fields, content, "https://r.example")


def client(http: FakeHttp, *, login: str | None = LOGIN, realms: tuple[str, ...] = ()) -> Any:
    entries = {"r.example": Credential(SecretBytes(login.encode()))} if login else {}
    return RegistryClient(
        http,  # type: ignore[arg-type]
        auth_file=AuthFile("auth.json", entries),
        realms=realms,
    )


def manifest(body: Any = None, kind: str = OCI, **headers: str) -> FakeHttp:
    body = {"mediaType": OCI, "config": {}, "layers": []} if body is None else body
    return FakeHttp({TAGGED: [answer(200, body, content_type=kind, **headers)]})


def test_manifest_is_known_by_the_digest_of_its_bytes() -> None:
    http = manifest()
    found = client(http).fetch_manifest(IMAGE)
    assert found.digest == Digest.of(found.content)
    assert found.media_type == OCI


def test_other_bytes_than_asked_for_are_refused() -> None:
    asked = IMAGE.at(Digest.of(b"another"))
    http = FakeHttp(
        {f"{BASE}/v2/team/app/manifests/{asked.digest}": [answer(200, {}, content_type=OCI)]}
    )
    with refused("digest-mismatch"):
        client(http).fetch_manifest(asked)


@pytest.mark.parametrize("claimed", ["sha256:" + "0" * 64, "", "sha256:x", "md5:1"])
def test_other_name_than_the_bytes_have_is_refused(claimed: str) -> None:
    with refused("digest-mismatch"):
        client(manifest(docker_content_digest=claimed)).fetch_manifest(IMAGE)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", OCI),
        (b"<html>", "text/html"),
        ([], OCI),
        (None, "text/html"),
        (None, ""),
        (None, INDEX),
        ({"mediaType": INDEX, "manifests": []}, OCI),
        ({"mediaType": "application/x"}, "application/x"),
        ({"mediaType": ["x"]}, OCI),
        ({"mediaType": OCI, "config": {}, "layers": [], "manifests": []}, OCI),
        ({"mediaType": INDEX, "manifests": [], "layers": []}, INDEX),
        ({"mediaType": INDEX, "manifests": [], "config": {}}, INDEX),
        (b"[" * 100_000, OCI),
    ],
)
def test_document_that_is_two_things_at_once_is_malformed(body: Any, kind: str) -> None:
    with refused("answer-malformed"):
        client(manifest(body, kind)).fetch_manifest(IMAGE)


def test_manifest_without_its_own_type_has_that_of_the_answer() -> None:
    http = manifest({"config": {}, "layers": []}, OCI + "; charset=utf-8")
    assert client(http).fetch_manifest(IMAGE).media_type == OCI


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "credential-rejected"),
        (403, "permission-denied"),
        (429, "rate-limited"),
        (500, "service-unreachable"),
        (418, "answer-malformed"),
    ],
)
def test_trouble_is_never_taken_for_a_missing_image(status: int, code: str) -> None:
    with refused(code):
        client(FakeHttp({TAGGED: [answer(status)]})).fetch_manifest(IMAGE)


def test_missing_image_is_told_apart() -> None:
    with pytest.raises(ImageNotFound):
        client(FakeHttp({TAGGED: [answer(404)]})).fetch_manifest(IMAGE)


@pytest.mark.parametrize(
    "body",
    [
        {"errors": [{"code": "X", "message": "a\x1b[31m\n::error::"}]},
        {"errors": []},
        {"errors": "x"},
        {"errors": [None]},
        [],
        b"<html>",
    ],
)
def test_words_of_a_registry_are_shown_in_one_line(body: Any) -> None:
    with refused("permission-denied") as reasons:
        client(FakeHttp({TAGGED: [answer(403, body)]})).fetch_manifest(IMAGE)
    assert reasons[0].text.isprintable()


# --- Credentials ----------------------------------------------------------------------------------


def test_nothing_is_sent_before_it_is_asked_for() -> None:
    http = manifest()
    client(http).fetch_manifest(IMAGE)
    assert http.asked == [(TAGGED, None)]


def test_basic_challenge_is_answered_once() -> None:
    http = manifest()
    http.answers[TAGGED].insert(0, answer(401, www_authenticate='Basic realm="x"'))
    registry = client(http)
    registry.fetch_manifest(IMAGE)
    registry.fetch_manifest(IMAGE)
    assert [sent for _, sent in http.asked] == [None, f"Basic {LOGIN}", f"Basic {LOGIN}"]


@pytest.mark.parametrize("challenge", [BEARER, BEARER.replace('"', "")])
def test_bearer_challenge_is_answered_with_a_token_for_this_repository(challenge: str) -> None:
    http = manifest()
    http.answers[TAGGED].insert(0, answer(401, www_authenticate=challenge))
    http.answers[f"{BASE}/token"] = [answer(200, {"access_token": "t0k"})]
    client(http).fetch_manifest(IMAGE)
    (_, first), (token_url, second), (_, third) = http.asked
    assert (first, second, third) == (None, f"Basic {LOGIN}", "Bearer t0k")
    assert token_url == f"{BASE}/token?service=r&scope=repository%3Ateam%2Fapp%3Apull"


def test_credential_never_goes_to_a_foreign_token_service() -> None:
    challenge = BEARER.replace("r.example", "evil.example")
    http = FakeHttp({TAGGED: [answer(401, www_authenticate=challenge)]})
    with refused("auth-realm-refused"):
        client(http).fetch_manifest(IMAGE)
    assert [sent for _, sent in http.asked] == [None]


STRANGER = BEARER.replace("r.example", "evil.example")
PING = f"{BASE}/v2/"


def test_stranger_named_for_one_repository_keeps_nobody_from_another() -> None:
    other = ImageReference.parse("r.example/public/app:1")
    http = manifest()
    http.answers[f"{BASE}/v2/public/app/manifests/1"] = http.answers.pop(TAGGED)
    http.answers[TAGGED] = [answer(401, www_authenticate=STRANGER)]
    http.answers[PING] = [answer(401, www_authenticate=STRANGER)]
    registry = client(http)
    with refused("signature-store-missing"):
        registry.require_signature_store(other)
    for _ in range(2):
        with refused("auth-realm-refused"):
            registry.fetch_manifest(IMAGE)
        registry.fetch_manifest(other)
    with refused("auth-realm-refused"):
        registry.require_own_token_service(other)
    assert not any("evil" in url or sent for url, sent in http.asked)
    assert [url for url, _ in http.asked].count(PING) == 1


def test_tools_get_no_credential_that_they_would_carry_to_a_stranger() -> None:
    for status in (200, 401):
        http = FakeHttp({PING: [answer(status, www_authenticate=STRANGER)]})
        with refused("auth-realm-refused"):
            client(http).require_own_token_service(IMAGE)
        client(http, login=None).require_own_token_service(IMAGE)
        client(http, realms=("evil.example",)).require_own_token_service(IMAGE)


def test_challenge_of_a_storage_host_is_nobodys() -> None:
    blob = Digest.of(b"x")
    http = manifest()
    abroad = answer(401, www_authenticate=BEARER.replace("r.example", "blobs.example"))
    http.abroad[f"{BASE}/v2/team/app/blobs/{blob}"] = replace(abroad, url="https://blobs.example/x")
    registry = client(http)
    with refused("credential-rejected"):
        registry.fetch_config(IMAGE, blob)
    registry.fetch_manifest(IMAGE)
    assert [sent for _, sent in http.asked] == [None, None]


def test_rejected_credential_is_not_tried_for_ever() -> None:
    http = FakeHttp({TAGGED: [answer(401, www_authenticate="Basic")]})
    with refused("credential-rejected"):
        client(http).fetch_manifest(IMAGE)
    assert len(http.asked) == 2


@pytest.mark.parametrize("header", ["", "Negotiate", "Digest realm=x", "Basic"])
def test_without_an_answer_to_give_the_credential_is_missing(header: str) -> None:
    http = FakeHttp({TAGGED: [answer(401, www_authenticate=header)]})
    with refused("missing-credential") as reasons:
        client(http, login=None).fetch_manifest(IMAGE)
    assert len(http.asked) == 1
    assert "--authfile" in reasons[0].hint


@pytest.mark.parametrize(
    ("login", "code"), [(LOGIN, "credential-rejected"), (None, "missing-credential")]
)
def test_token_service_that_says_no_is_told_by_what_it_was_given(
    login: str | None, code: str
) -> None:
    http = FakeHttp(
        {
            TAGGED: [answer(401, www_authenticate=BEARER)],
            f"{BASE}/token": [answer(401)],
        }
    )
    with refused(code):
        client(http, login=login).fetch_manifest(IMAGE)


def test_permission_that_is_missing_is_named() -> None:
    with refused("permission-denied") as reasons:
        client(FakeHttp({TAGGED: [answer(403)]})).fetch_manifest(IMAGE)
    assert "pull r.example/team/app" in reasons[0].text
    assert "Reader" in reasons[0].text


@pytest.mark.parametrize(
    "token",
    [
        {},
        [],
        b"<html>",
        {"token": 1},
        {"token": None},
        {"token": ["x"]},
        {"token": "a\r\nX-Header: 1"},
        {"token": "\u65e5\u672c"},
        {"token": "caf\u00e9"},
    ],
)
def test_token_that_is_no_token_is_malformed(token: Any) -> None:
    http = FakeHttp(
        {
            TAGGED: [answer(401, www_authenticate=BEARER)],
            f"{BASE}/token": [answer(200, token)],
        }
    )
    with refused("answer-malformed"):
        client(http).fetch_manifest(IMAGE)


# --- Signatures -----------------------------------------------------------------------------------

CANONICAL = IMAGE.at(Digest.of(b""))
STORE = f"{BASE}/extensions/v2/team/app/signatures/{CANONICAL.digest}"
OFFERED = {f"{BASE}/v2/": [answer(401, **{"x-registry-supports-signatures": "1"})]}


def signatures(*entries: Any, status: int = 200, body: Any = None) -> tuple[bytes, ...]:
    content = {"signatures": list(entries)} if body is None else body
    http = FakeHttp({**OFFERED, STORE: [answer(status, content)]})
    found = client(http).fetch_signatures(CANONICAL)
    assert isinstance(found, tuple)
    return found


def entry(signature: bytes = b"x", **changes: Any) -> dict[str, Any]:
    encoded = base64.b64encode(signature).decode()
    return {"schemaVersion": 2, "type": "atomic", "name": "n", "content": encoded, **changes}


def test_signatures_come_in_their_order() -> None:
    assert signatures(entry(b"a"), entry(b"b")) == (b"a", b"b")
    assert signatures() == ()


def test_signatures_of_another_kind_are_passed_over() -> None:
    assert signatures(entry(type="cosign"), entry(schemaVersion=3), entry(b"b")) == (b"b",)


def test_nothing_there_is_unsigned_and_trouble_is_not() -> None:
    said = json.dumps({"errors": [{"code": "NAME_UNKNOWN", "message": "no"}]}).encode()
    assert signatures(status=404, body=said) == ()
    for page in (b"", b"<html>not here</html>", b"{}", b'{"signatures": []}'):
        with refused("answer-malformed"):
            signatures(status=404, body=page)
    empty = {STORE: [answer(404, b"", content_type="application/json")]}  # OpenShift
    assert client(FakeHttp({**OFFERED, **empty})).fetch_signatures(CANONICAL) == ()
    for status in (401, 403, 429, 500):
        with refused(
            "credential-rejected", "permission-denied", "rate-limited", "service-unreachable"
        ):
            signatures(status=status)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        [],
        {},
        {"signatures": None},
        {"signatures": "x"},
        {"signatures": [1]},
        {"signatures": [{"schemaVersion": "2"}]},
        {"signatures": [{"schemaVersion": 2.0, "type": "atomic"}]},
        {"signatures": [{"schemaVersion": 2, "type": 5}]},
        {"signatures": [entry(content="no base64!")]},
        {"signatures": [entry(content="caf\u00e9")]},
    ],
)
def test_what_is_no_list_of_signatures_is_malformed(body: Any) -> None:
    with refused("answer-malformed"):
        signatures(body=body)


def test_more_signatures_than_a_verifier_reads_are_refused() -> None:
    assert len(signatures(*[entry()] * SIGNATURES_MAX)) == SIGNATURES_MAX
    with refused("too-many-signatures"):
        signatures(*[entry()] * (SIGNATURES_MAX + 1))


@pytest.mark.parametrize("value", [None, "0", "yes", ""])
def test_registry_that_does_not_offer_the_extension_has_no_store(value: str | None) -> None:
    headers = {} if value is None else {"x-registry-supports-signatures": value}
    http = FakeHttp({f"{BASE}/v2/": [answer(200, **headers)]})
    registry = client(http)
    for ask in (registry.require_signature_store, registry.fetch_signatures):
        with refused("signature-store-missing"):
            ask(CANONICAL)
    assert len(http.asked) == 1


def test_registry_in_trouble_is_not_one_without_a_store() -> None:
    for status in (403, 500, 404):
        with refused("permission-denied", "service-unreachable", "answer-malformed"):
            client(FakeHttp({f"{BASE}/v2/": [answer(status)]})).require_signature_store(IMAGE)


def test_configuration_is_held_against_its_digest() -> None:
    digest = Digest.of(b"{}")
    url = f"{BASE}/v2/team/app/blobs/{digest}"
    assert client(FakeHttp({url: [answer(200, b"{}")]})).fetch_config(IMAGE, digest) == b"{}"
    with refused("digest-mismatch"):
        client(FakeHttp({url: [answer(200, b"other")]})).fetch_config(IMAGE, digest)


# --- Storing a signature --------------------------------------------------------------------------

TARGET = IMAGE.at(Digest.of(b"x"))
SHELF = f"{BASE}/extensions/v2/team/app/signatures/{TARGET.digest}"


def store(*answers: Answer, login: str | None = LOGIN, **more: list[Answer]) -> FakeHttp:
    http = FakeHttp({SHELF: list(answers), **more})
    client(http, login=login).store_signature(TARGET, b"\x90signature")
    return http


def test_signature_is_stored_as_the_extension_wants_it() -> None:
    (sent,) = store(answer(201)).sent
    name, _, own = sent.pop("name").partition("@")
    assert (name, len(own)) == (str(TARGET.digest), 32)
    content = base64.b64encode(b"\x90signature").decode()
    assert sent == {"schemaVersion": 2, "type": "atomic", "content": content}


def test_name_that_is_taken_is_our_own_of_an_answer_that_was_lost() -> None:
    store(answer(409, {"errors": [{"code": "SIGNATURE_EXISTS"}]}))


def test_two_signatures_have_names_of_their_own() -> None:
    assert store(answer(201)).sent[0]["name"] != store(answer(201)).sent[0]["name"]


def test_storing_asks_for_a_token_that_may_push() -> None:
    token = {f"{BASE}/token": [answer(200, {"token": "t"})]}
    http = store(answer(401, www_authenticate=BEARER), answer(201), **token)
    asked = [url for url, _ in http.asked if "/token" in url]
    assert asked == [f"{BASE}/token?service=r&scope=repository%3Ateam%2Fapp%3Apull%2Cpush"]
    assert http.asked[-1] == (SHELF, "Bearer t")


def test_token_that_may_only_pull_is_not_used_for_storing() -> None:
    http = FakeHttp(
        {
            SHELF: [
                answer(401, www_authenticate=BEARER),
                answer(200, {"signatures": []}),
                answer(201),
            ],
            f"{BASE}/v2/": [answer(200, x_registry_supports_signatures="1")],
            f"{BASE}/token": [answer(200, {"token": "pull"}), answer(200, {"token": "push"})],
        }
    )
    registry = client(http)
    registry.fetch_signatures(TARGET)
    registry.store_signature(TARGET, b"\x90")
    assert [key for url, key in http.asked if url == SHELF] == [
        *(None, "Bearer pull"),
        "Bearer push",  # asked for unasked, since the registry has said what it wants
    ]


def test_challenge_of_the_first_answer_is_met_before_the_next_question() -> None:
    for challenge, expected in ((BEARER, "Bearer t"), ('Basic realm="r"', "Basic ")):
        http = FakeHttp(
            {
                SHELF: [answer(200, {"signatures": []}), answer(200, {"signatures": []})],
                f"{BASE}/v2/": [
                    answer(401, www_authenticate=challenge, x_registry_supports_signatures="1")
                ],
                f"{BASE}/token": [answer(200, {"token": "t"})],
            }
        )
        registry = client(http)
        registry.fetch_signatures(TARGET)
        registry.fetch_signatures(TARGET)
        asked = [key or "" for url, key in http.asked if url == SHELF]
        assert len(asked) == 2
        assert all(key.startswith(expected) for key in asked)


@pytest.mark.parametrize(
    ("status", "login", "words"),
    [
        (403, LOGIN, "Writer"),
        (401, LOGIN, "Writer"),
        (401, None, "Writer"),
        (404, LOGIN, ""),
        (400, LOGIN, ""),
        (500, LOGIN, ""),
        (200, LOGIN, ""),
    ],
)
def test_image_whose_signature_is_not_taken_is_told_to_be_unsigned(
    status: int, login: str | None, words: str
) -> None:
    with refused("pushed-unsigned") as reasons:
        store(answer(status, {"errors": [{"code": "NO"}]}), login=login)
    assert str(TARGET) in reasons[0].text
    assert words in (reasons[0].hint or "")


# --- Another repository of the same registry ------------------------------------------------------

QUERY = f"mount=sha256%3A{'1a' * 32}&from=team%2Fapp"
MOUNT = f"{BASE}/v2/other/app/blobs/uploads/"


def mount(http: FakeHttp, **options: Any) -> bool:
    blob = Digest("sha256", "1a" * 32)
    target = ImageReference.parse("r.example/other/app:1")
    found: bool = client(http, **options).mount_blob(IMAGE, target, blob)
    return found


def test_blob_is_linked_with_a_token_for_both_repositories() -> None:
    token = f"{BASE}/token"
    http = FakeHttp(
        {
            MOUNT: [answer(401, www_authenticate=BEARER), answer(201)],
            token: [answer(200, {"token": "both"})],
        }
    )
    assert mount(http)
    (asked,) = [url for url, _ in http.asked if url.startswith(token)]
    assert "scope=repository%3Aother%2Fapp%3Apull%2Cpush" in asked
    assert "scope=repository%3Ateam%2Fapp%3Apull" in asked


@pytest.mark.parametrize(
    "location", ["/v2/other/app/blobs/uploads/1", f"{BASE}/v2/other/app/blobs/uploads/1"]
)
def test_upload_that_was_begun_instead_is_taken_back(location: str) -> None:
    upload = f"{BASE}/v2/other/app/blobs/uploads/1"
    http = FakeHttp({MOUNT: [answer(202, location=location)], upload: [answer(204)]})
    assert not mount(http)
    assert [url for url, _ in http.asked] == [f"{MOUNT}?{QUERY}", upload]


def test_upload_on_another_host_is_left_alone() -> None:
    http = FakeHttp({MOUNT: [answer(202, location="https://evil.example/v2/x")]})
    assert not mount(http)
    assert [url for url, _ in http.asked] == [f"{MOUNT}?{QUERY}"]


def test_credential_for_a_tool_needs_the_registrys_own_token_service() -> None:
    foreign = 'Bearer realm="https://evil.example/token",service="r"'
    for challenge, login, code in (
        (foreign, LOGIN, "auth-realm-refused"),
        (foreign, None, None),
        (BEARER, LOGIN, None),
        ('Basic realm="r"', LOGIN, None),
    ):
        http = FakeHttp({f"{BASE}/v2/": [answer(401, www_authenticate=challenge)]})
        registry = client(http, login=login)
        if code is None:
            registry.require_own_token_service(IMAGE)
        else:
            with refused(code):
                registry.require_own_token_service(IMAGE)


@pytest.mark.parametrize("location", ["http://[bad/x", "", "/", "https://r.example/other"])
def test_place_of_an_upload_that_means_nothing_is_left_alone(location: str) -> None:
    http = FakeHttp({MOUNT: [answer(202, location=location)]})
    assert not mount(http)
    assert len(http.asked) == 1
