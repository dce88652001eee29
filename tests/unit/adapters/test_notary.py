# SPDX-License-Identifier: Apache-2.0
"""What is trusted of a trust server's answers, and which credential it gets."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest

from imgsec.adapters import notary
from imgsec.adapters._http import Answer, Http
from imgsec.adapters.clock import SystemClock
from imgsec.adapters.notary import NotaryClient
from imgsec.domain.content_trust import (
    NO_CREDENTIAL,
    Stop,
    TrustAnswer,
    TrustStop,
    judge_trust,
)
from imgsec.domain.engine_name import EngineName
from imgsec.domain.keys import SecretBytes
from imgsec.domain.pull_secrets import PullCredential
from imgsec.errors import ImgsecError
from imgsec.reasons import ANSWER_TOO_LARGE
from tests.trust_cases import DENIED, PAST, TRUSTED
from tests.trust_collection import GUN, Delegation, Key, TrustCollection, canonical, digest_of
from tests.unit.adapters.servers import Request, Script, Server, closed_port, files, raw, reply
from tests.unit.refusals import refused

IMAGE = EngineName.parse("app:v1")
BASE = f"/v2/{GUN}/_trust/tuf/"
ALICE = PullCredential("a", "docker.io", SecretBytes(b"alice:s&cret=\xc3\xa4:"))
BOB = PullCredential("b", "docker.io", SecretBytes(b"bob:other"))
V1 = digest_of("v1")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)


def asked(
    script: Script, image: EngineName = IMAGE, *credentials: PullCredential
) -> tuple[TrustAnswer, Server]:
    with Server([script]) as server:
        answer = _client(server.authority).fetch_trusted(server.url, image, credentials)
    return answer, server


def _client(*realms: str) -> NotaryClient:
    return NotaryClient(Http(), SystemClock(), realms=realms)


def answered(made: TrustCollection, image: EngineName = IMAGE) -> TrustAnswer:
    return asked(files(made.paths()), image)[0]


def digest(answer: TrustAnswer) -> str | None:
    return judge_trust(answer, [], datetime.now(UTC)).digest


@pytest.mark.parametrize("name", TRUSTED)
def test_sound_collection_is_trusted(name: str) -> None:
    assert digest(answered(TRUSTED[name]())) == V1


@pytest.mark.parametrize("name", DENIED)
def test_unsound_collection_is_denied_in_the_clients_words(name: str) -> None:
    make, words = DENIED[name]
    with Server([files(make().paths())]) as server:
        answer = _client().fetch_trusted(server.url, IMAGE, [])
        words = words.replace("HOST", server.authority)
    assert answer.targets == ()
    assert answer.stop is not None
    assert answer.stop.at is Stop.READING
    assert words in answer.stop.text


def test_each_role_that_signs_the_tag_is_told_parents_first() -> None:
    alice, team, bob = Key.ecdsa().certified("alice"), Key.rsa(), Key.ed25519()
    tags = {"v1": V1}
    made = TrustCollection(
        delegations=[
            Delegation("targets/releases", [alice, bob], {"v1": digest_of("r")}, signers=[bob]),
            Delegation("targets/alice", [alice], tags, paths=["v", "w"]),
            Delegation("targets/alice/team", [team], tags, paths=["v1"]),
            Delegation("targets/alice/astray", [team], tags, paths=["", "x"]),
            Delegation("targets/elsewhere", [bob], tags, paths=["w"]),
            Delegation("targets/elsewhere/below", [bob], tags, paths=["w", "v1"]),
            Delegation("targets/nowhere", [bob], tags, paths=[]),
        ]
    )
    answer = answered(made)
    assert [(each.role, each.sha256, each.key_ids) for each in answer.targets] == [
        ("targets", V1, {made.targets.id}),
        ("targets/releases", digest_of("r"), {alice.id, bob.id}),
        ("targets/alice", V1, {alice.id}),
        ("targets/alice/team", V1, {team.id}),
    ]
    assert digest(answer) == digest_of("r"), "what was released counts more"


def test_child_of_a_role_that_is_passed_over_is_not_looked_at() -> None:
    key = Key.ecdsa()
    made = TrustCollection(
        delegations=[
            Delegation("targets/alice", [key], signers=[Key.ecdsa()]),
            Delegation("targets/alice/team", [key], {"v1": V1}),
        ]
    )
    answer = answered(made)
    assert [each.role for each in answer.targets] == ["targets"]
    text = "valid signatures did not meet threshold for targets/alice"
    assert answer.notes == (f"targets/alice is passed over: {text}",)


def test_delegation_that_is_out_of_date_is_passed_over() -> None:
    made = TrustCollection(
        delegations=[Delegation("targets/releases", [Key.ecdsa()], {"v1": digest_of("old")})],
        edits={"targets/releases": lambda signed: signed.update(expires=PAST)},
    )
    assert digest(answered(made)) == V1


def test_threshold_counts_keys_and_not_signatures() -> None:
    one, two = Key.ecdsa(), Key.rsa()
    tags = {"v2": digest_of("v2")}
    signers: tuple[tuple[Key, ...], ...] = ((one, two), (one, one))
    found = [
        answered(
            TrustCollection(
                delegations=[
                    Delegation("targets/releases", [one, two], tags, threshold=2, signers=by)
                ]
            ),
            EngineName.parse("app:v2"),
        ).targets
        for by in signers
    ]
    assert [len(each) for each in found] == [1, 0]


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("app:v2", "No valid trust data for v2"),
        ("app@sha256:" + "0" * 64, "No valid trust data for latest"),
        ("app:V1", "No valid trust data for V1"),
    ],
)
def test_tag_that_nobody_signed_is_denied(image: str, words: str) -> None:
    answer = answered(TrustCollection(), EngineName.parse(image))
    assert answer.stop == TrustStop(Stop.READING, words)


def test_released_tag_without_a_sha256_has_an_empty_digest() -> None:
    def change(signed: dict[str, Any]) -> None:
        signed["targets"]["v1"]["hashes"] = {"sha512": "AAAA"}

    assert digest(answered(TrustCollection(edits={"targets": change}))) == ""


def test_root_that_is_replaced_while_it_is_read_is_read_anew() -> None:
    old = TrustCollection()
    new = TrustCollection(
        root=old.root,
        tags={"v1": digest_of("new")},
        edits={"root": lambda signed: signed.update(version=2)},
        snapshot=old.snapshot,
        timestamp=old.timestamp,
    )
    mixed = new.paths() | {f"{BASE}root.json": old.paths()[f"{BASE}root.json"]}
    assert digest(answered_by(mixed)) == digest_of("new"), "by its hash"


def answered_by(bodies: Mapping[str, bytes]) -> TrustAnswer:
    return asked(files(bodies))[0]


def _root_then(first: bytes, then: Mapping[str, bytes]) -> Script:
    seen: list[str] = []

    def answer(connection: socket.socket, request: Request) -> None:
        seen.append(request.path)
        if seen.count(f"{BASE}root.json") == 1 and request.path == f"{BASE}root.json":
            return reply(200, first)(connection, request)
        return files(then)(connection, request)

    return answer


def test_root_that_changes_hands_while_it_is_read_is_no_answer() -> None:
    script = _root_then(TrustCollection().paths()[f"{BASE}root.json"], TrustCollection().paths())
    with refused("answer-malformed"):
        asked(script)


def test_root_that_goes_back_while_it_is_read_is_no_answer() -> None:
    old = TrustCollection()
    new = TrustCollection(root=old.root, edits={"root": lambda signed: signed.update(version=2)})
    with refused("answer-malformed") as why:
        asked(_root_then(new.paths()[f"{BASE}root.json"], old.paths()))
    assert "older version" in why[0].text


def test_timestamp_that_goes_back_while_it_is_read_is_no_answer() -> None:
    old = TrustCollection()
    new = TrustCollection(
        timestamp=old.timestamp, edits={"timestamp": lambda signed: signed.update(version=5)}
    )
    bodies, path = old.paths(), f"{BASE}timestamp.json"
    newer = new.paths()[path]  # of a snapshot that the server does not have
    seen: list[str] = []

    def script(connection: socket.socket, request: Request) -> None:
        seen.append(request.path)
        first = request.path == path and seen.count(path) == 1
        (reply(200, newer) if first else files(bodies))(connection, request)

    with refused("answer-malformed") as why:
        asked(script)
    assert "timestamp went back" in why[0].text


_ODD = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"\xef\xbb\xbf{}",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"signed":null,"signatures":[]}',
    b'{"signed":{},"signed":{},"signatures":[]}',
    b'{"Signed":{},"signatures":[]}',
    b'{"signed":{"_type":"\\ud800"},"signatures":[]}',
    b'{"signed":{"version":1.5},"signatures":[]}',
    b'{"signed":{"version":1e400},"signatures":[]}',
    b'{"signed":{"version":90071992547409930},"signatures":[]}',
    b'{"signed":{"version":NaN},"signatures":[]}',
    b"<html>Sign in</html>",
]


@pytest.mark.parametrize("body", _ODD, ids=range(len(_ODD)))
@pytest.mark.parametrize("role", ["root", "timestamp"])
def test_what_cannot_be_read_is_no_answer(role: str, body: bytes) -> None:
    with refused("answer-malformed"):
        answered(TrustCollection(served={role: lambda _: body}))


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    below = [
        place
        for name, item in inner
        if isinstance(item, dict | list)
        for place in _places(item, (*path, name))
    ]
    names = value if isinstance(value, dict) else range(len(value))
    return [*((*path, name) for name in names), *below]


def test_no_value_of_another_kind_is_trusted() -> None:
    """Each value of each file replaced by others, signed all the same."""
    key = Key.ecdsa()
    keys = {name: Key.ecdsa() for name in ("targets", "snapshot", "timestamp")}
    root = Key.ecdsa().certified(GUN)
    plan = [Delegation("targets/a", [key], {"v1": V1})]
    plain = TrustCollection(root=root, delegations=plan, **keys)
    for role in ("root", "timestamp", "snapshot", "targets", "targets/a"):
        signed = json.loads(plain.files()[role])["signed"]
        for place in _places(signed):
            for value in (None, [], {}, "", "x", -1, 0, 2**60, True, [None], {"x": None}):

                def change(
                    fields: Any, place: tuple[Any, ...] = place, value: object = value
                ) -> None:
                    for name in place[:-1]:
                        fields = fields[name]
                    fields[place[-1]] = value

                made = TrustCollection(root=root, delegations=plan, edits={role: change}, **keys)
                _local(made.paths())


class _Local:
    """Stands in for HTTP: the fuzz asks some thousand times."""

    def __init__(self, bodies: Mapping[str, bytes]) -> None:
        self._bodies = bodies

    def get(self, url: str, *, max_bytes: int, **_: Any) -> Answer:
        body = self._bodies.get(url.removeprefix("https://trust.example"))
        if body is not None and len(body) > max_bytes:
            raise ImgsecError(ANSWER_TOO_LARGE("as Http says it"))
        return Answer(404 if body is None else 200, {}, body or b"", url)


def _local(bodies: Mapping[str, bytes]) -> str | None:
    """The digest, which is the signed one or none; nothing but `ImgsecError` escapes."""
    client = NotaryClient(_Local(bodies), SystemClock())  # type: ignore[arg-type]
    try:
        answer = client.fetch_trusted("https://trust.example", IMAGE, [])
    except ImgsecError as error:
        return f"no answer: {error.reason.code}"
    found = digest(answer)
    assert found in (None, "", V1)
    return found


def test_no_flipped_byte_makes_anything_else_trusted() -> None:
    made = TrustCollection(delegations=[Delegation("targets/a", [Key.ecdsa()], {"v1": V1})])
    bodies = made.paths()
    chance = random.Random(1)
    for path in bodies:
        for _ in range(150):
            body = bytearray(bodies[path])
            body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
            assert _local(bodies | {path: bytes(body)}) != ""


def test_too_large_a_file_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notary, "TIMESTAMP_MAX_BYTES", 1000)
    with refused("answer-too-large"):
        answered(TrustCollection(served={"timestamp": lambda body: body + b" " * 1000}))
    with refused("answer-too-large"):
        answered(TrustCollection(served={"targets": lambda body: body + b" "}))
    monkeypatch.setattr(notary, "FILE_MAX_BYTES", 100)
    with refused("answer-too-large"):
        answered(TrustCollection())


@pytest.mark.parametrize("length", [-5, 2**50])
def test_absurd_size_is_no_answer(length: int) -> None:
    def change(signed: dict[str, Any]) -> None:
        signed["meta"]["targets"]["length"] = length

    with refused("answer-too-large"):
        answered(TrustCollection(edits={"snapshot": change}))


def test_too_many_delegations_are_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notary, "DELEGATIONS_MAX", 3)
    key = Key.ecdsa()
    made = TrustCollection(delegations=[Delegation(f"targets/{each}", [key]) for each in "abc"])
    with refused("answer-too-large"):
        answered(made)


def test_collection_that_is_large_in_its_parts_is_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notary, "COLLECTION_MAX_BYTES", 1500)
    key = Key.ecdsa()
    made = TrustCollection(delegations=[Delegation(f"targets/{each}", [key]) for each in "abc"])
    with refused("answer-too-large"):
        answered(made)


def test_collection_that_takes_too_long_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notary, "COLLECTION_SECONDS", -1.0)
    with refused("timeout"):
        answered(TrustCollection())


def test_too_many_paths_are_no_answer() -> None:
    paths = [f"v{each}" for each in range(1001)]
    with refused("answer-malformed"):
        answered(TrustCollection(delegations=[Delegation("targets/a", [Key.ecdsa()], paths=paths)]))


def test_too_many_roles_are_no_answer() -> None:
    key = Key.ecdsa()
    made = TrustCollection(
        delegations=[Delegation(f"targets/{n}", [key], in_snapshot=False) for n in range(1001)]
    )
    with refused("answer-malformed"):
        answered(made)


def test_too_many_signatures_are_no_answer() -> None:
    def change(document: dict[str, Any]) -> None:
        document["signatures"] *= 1001

    with refused("answer-malformed"):
        answered(TrustCollection(tampers={"timestamp": change}))


@pytest.mark.parametrize(
    "pieces",
    [
        (b"",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",),
        (b"not http at all\r\n\r\n",),
    ],
)
def test_cut_answer_is_no_answer(pieces: tuple[bytes, ...]) -> None:
    with refused("service-unreachable", "timeout", "answer-malformed"):
        asked(raw(*pieces))


def test_server_that_is_not_there_is_no_answer() -> None:
    with refused("service-unreachable"):
        _client().fetch_trusted(f"http://127.0.0.1:{closed_port()}", IMAGE, [])


@pytest.mark.parametrize("target", ["https://elsewhere.example/x", f"{BASE}other.json"])
def test_redirect_is_no_answer(target: str) -> None:
    bodies = TrustCollection().paths()
    bodies[f"{BASE}other.json"] = bodies.pop(f"{BASE}timestamp.json")

    def script(connection: socket.socket, request: Request) -> None:
        moved = request.path == f"{BASE}timestamp.json"
        (reply(307, b"", Location=target) if moved else files(bodies))(connection, request)

    with refused("redirect-refused"):
        asked(script)


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("http://trust.example", "insecure-address"),
        ("ftp://trust.example", "invalid-option"),
        ("https://user:password@trust.example", "invalid-option"),
        ("trust.example", "invalid-option"),
        ("https://trust.example/?x=", "invalid-option"),
        ("", "invalid-option"),
    ],
)
def test_address_that_is_none_is_never_asked(address: str, code: str) -> None:
    with refused(code):
        _client().fetch_trusted(address, IMAGE, [ALICE])


@pytest.mark.parametrize(
    ("status", "stop"),
    [
        (500, TrustStop(Stop.UNAVAILABLE, "unable to reach trust server at this time: 500.")),
        (503, TrustStop(Stop.UNAVAILABLE, "unable to reach trust server at this time: 503.")),
        (204, TrustStop(Stop.UNAVAILABLE, "unable to reach trust server at this time: 204.")),
        (403, NO_CREDENTIAL),
    ],
)
@pytest.mark.parametrize("file", ["root", "timestamp"])
def test_other_status_is_the_engines_error(file: str, status: int, stop: TrustStop) -> None:
    bodies = TrustCollection().paths()

    def script(connection: socket.socket, request: Request) -> None:
        fails = request.path == f"{BASE}{file}.json"
        (reply(status) if fails else files(bodies))(connection, request)

    answer, _ = asked(script)
    assert judge_trust(answer, [], datetime.now(UTC)).stop == stop


def test_refused_request_is_no_answer() -> None:
    with refused("answer-malformed"):
        asked(reply(400, {"errors": [{"detail": {"Name": "ErrValidation"}}]}))


# --- Credentials ---------------------------------------------------------------------------------


class Guarded:
    """A trust server that wants a token, and its token service. tokens: by user, else a status."""

    def __init__(self, tokens: Mapping[str, Any], **challenge: str) -> None:
        self.tokens = tokens
        self.bodies = TrustCollection().paths()
        self.challenge = challenge
        self.good = {"Bearer good"}
        self.authority = ""

    def __call__(self, connection: socket.socket, request: Request) -> None:
        self._answer(request)(connection, request)

    def _answer(self, request: Request) -> Script:
        if request.path.startswith("/token"):
            form = parse_qs(request.body.decode())
            made = self.tokens[form.get("username", [""])[0]]
            return reply(made) if isinstance(made, int) else reply(200, made)
        if request.headers.get("authorization") in self.good:
            return files(self.bodies)
        realm = f'realm="http://{self.authority}/token",service="s",scope="repository:{GUN}:pull"'
        return reply(401, WWW_Authenticate=self.challenge.get("header", f"Bearer {realm}"))


def guarded(
    script: Guarded, *credentials: PullCredential, realms: tuple[str, ...] = ()
) -> tuple[TrustAnswer, Server]:
    with Server([script]) as server:
        script.authority = server.authority
        client = _client(*realms)
        return client.fetch_trusted(server.url, IMAGE, credentials), server


GOOD = {"token": "good"}


def test_token_is_asked_for_as_the_engine_asks() -> None:
    answer, server = guarded(Guarded({"alice": GOOD}), ALICE)
    assert digest(answer) == V1
    (asking,) = [each for each in server.requests if each.path == "/token"]
    assert asking.method == "POST"
    assert parse_qs(asking.body.decode()) == {
        "service": ["s"],
        "scope": [f"repository:{GUN}:pull"],
        "grant_type": ["password"],
        "client_id": ["imgsec"],
        "username": ["alice"],
        "password": ["s&cret=ä:"],
    }
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    "first", [400, 401, 403, {}, {"access_token": "good"}, {"token": "wrong"}, {"token": None}]
)
def test_credential_without_success_gives_way_to_the_next(first: Any) -> None:
    script = Guarded({"alice": first, "bob": GOOD})
    assert digest(guarded(script, ALICE, BOB)[0]) == V1
    assert guarded(script, ALICE)[0].stop == NO_CREDENTIAL


def test_without_a_pull_secret_a_guarded_server_is_not_read() -> None:
    answer, server = guarded(Guarded({}))
    assert answer.stop == NO_CREDENTIAL
    assert len(server.requests) == 1


def test_empty_credential_is_sent_to_nobody() -> None:
    answer, server = guarded(Guarded({}), PullCredential("a", "docker.io", SecretBytes(b":")))
    assert answer.stop == NO_CREDENTIAL
    assert not [each for each in server.requests if each.path == "/token"]


def test_open_server_gets_no_credential() -> None:
    answer, server = asked(files(TrustCollection().paths()), IMAGE, ALICE, BOB)
    assert digest(answer) == V1
    assert all("authorization" not in each.headers for each in server.requests)
    assert all(each.method == "GET" and not each.body for each in server.requests)


@pytest.mark.parametrize("status", [500, 429])
def test_token_service_that_fails_is_no_refusal(status: int) -> None:
    with refused("service-unreachable", "rate-limited"):
        guarded(Guarded({"alice": status}), ALICE, BOB)


@pytest.mark.parametrize("token", [{"token": "a\r\nb"}, {"token": "ä"}, {"token": 5}])
def test_token_that_is_none_is_not_used(token: Any) -> None:
    with refused("answer-malformed"):
        guarded(Guarded({"alice": token}), ALICE)


@pytest.mark.parametrize("status", [404, 405])
def test_token_service_that_knows_no_post_is_asked_without_the_credential(status: int) -> None:
    class Older(Guarded):
        def _answer(self, request: Request) -> Script:
            if request.method == "POST":
                return reply(status)
            if request.path.startswith("/token"):
                return reply(200, GOOD)
            return super()._answer(request)

    answer, server = guarded(Older({}), ALICE)
    assert digest(answer) == V1
    assert all("authorization" not in each.headers for each in server.requests if "?" in each.path)


@pytest.mark.parametrize(
    "header",
    ["", "Basic realm=x", 'Bearer realm="https://x/token"', 'Bearer realm="https://x",service="s"'],
)
def test_challenge_without_all_parts_is_the_engines_error(header: str) -> None:
    answer, _ = guarded(Guarded({}, header=header), ALICE)
    assert answer.stop == TrustStop(Stop.AUTH_ENDPOINT, "no supported auth-endpoint found")


def test_credential_goes_to_no_stranger() -> None:
    header = 'Bearer realm="https://evil.example/token",service="s",scope="x"'
    with refused("auth-realm-refused"):
        guarded(Guarded({}, header=header), ALICE)


def test_docker_hubs_own_token_service_is_known() -> None:
    from imgsec.adapters.registry_auth import Challenge

    challenge = Challenge.parse('Bearer realm="https://auth.docker.io/token",service="n",scope="x"')
    assert challenge.require_realm("notary.docker.io", ()) == "https://auth.docker.io/token"
    assert challenge.scope == "x"


def test_text_with_401_in_it_makes_the_engine_go_on() -> None:
    """It looks for the number anywhere in the text, so the tag's name decides."""
    for tag in ("v401", "1403"):
        answer, _ = asked(files(TrustCollection().paths()), EngineName.parse(f"app:{tag}"))
        assert judge_trust(answer, [], datetime.now(UTC)).stop == NO_CREDENTIAL


def test_canonical_form_is_compared_and_not_the_bytes() -> None:
    made = TrustCollection().paths()
    path = f"{BASE}timestamp.json"
    document = json.loads(made[path])
    assert canonical(document) == made[path]
    made[path] = json.dumps(document, indent=3, sort_keys=False).encode()
    assert digest(answered_by(made)) == V1
