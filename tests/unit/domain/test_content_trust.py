# SPDX-License-Identifier: Apache-2.0
"""What the engine says about signed tags: each of its words is met here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from imgsec.domain.content_trust import (
    NO_CREDENTIAL,
    NO_SERVER,
    RELEASES,
    Signer,
    Stop,
    TrustAnswer,
    TrustedTarget,
    TrustJudgement,
    TrustStop,
    judge_trust,
    trust_server_of,
)
from imgsec.domain.engine_name import EngineName, Panic
from imgsec.domain.engines import CISE, NEWEST
from tests.trust_collection import Key

NOW = datetime.now(UTC)
D, OTHER = "d" * 64, "e" * 64
ALICE, BOB = Key.ecdsa(), Key.rsa()
BY_ALICE, BY_BOB = Signer("alice", ALICE.pem), Signer("bob", BOB.pem)


def target(role: str, sha256: str = D, *keys: Key) -> TrustedTarget:
    return TrustedTarget(role, frozenset(key.id for key in keys), sha256)


def judged(targets: list[TrustedTarget], *signers: Signer, bare: bool = False) -> TrustJudgement:
    answer = TrustAnswer("v1", tuple(targets), has_bare_keys=bare)
    return judge_trust(answer, signers, NOW)


def text(judgement: TrustJudgement) -> str:
    assert judgement.digest is None
    assert not judgement.is_let_in
    assert judgement.stop is not None
    assert judgement.stop.at is Stop.READING
    return judgement.stop.text


@pytest.mark.parametrize("role", ["targets", RELEASES])
def test_released_digest_lets_in(role: str) -> None:
    judgement = judged([target(role)])
    assert (judgement.digest, judgement.is_let_in, judgement.notes) == (D, True, ())


def test_releases_count_more_than_targets() -> None:
    assert judged([target("targets"), target(RELEASES, OTHER)]).digest == OTHER


def test_tag_that_delegations_alone_signed_is_let_in_without_a_digest() -> None:
    judgement = judged([target("targets/alice", D, ALICE)])
    assert (judgement.digest, judgement.is_let_in) == ("", True)
    assert judgement.notes


def test_nothing_signed() -> None:
    assert text(judged([])) == "No signed targets found"


def test_every_signer_has_to_have_signed_the_released_digest() -> None:
    both = [
        target("targets"),
        target("targets/alice", D, BOB, ALICE),
        target("targets/bob", D, BOB),
    ]
    assert judged(both, BY_ALICE, BY_BOB).digest == D
    assert judged(both, BY_ALICE).digest == D
    assert text(judged(both[:2], BY_ALICE, BY_BOB)) == "no signature found for role bob"


def test_signer_with_another_key() -> None:
    listed = [target("targets"), target("targets/alice", D, BOB)]
    assert text(judged(listed, BY_ALICE)) == "Public keys are different"


def test_signer_of_another_digest() -> None:
    listed = [target("targets"), target("targets/alice", OTHER, ALICE)]
    assert text(judged(listed, BY_ALICE)) == "Incompatible digest"


def test_pinned_tag_that_nobody_released_is_not_let_in() -> None:
    listed = [target("targets/alice", D, ALICE)]
    assert text(judged(listed, BY_ALICE)) == "Incompatible digest"


def test_key_is_compared_before_the_digest_in_the_order_of_the_walk() -> None:
    listed = [
        target("targets"),
        target("targets/bob", OTHER, BOB),
        target("targets/alice", OTHER, BOB),
    ]
    assert text(judged(listed, BY_ALICE, BY_BOB)) == "Incompatible digest"
    assert text(judged(listed[::2], BY_ALICE)) == "Public keys are different"


def test_certificate_and_bare_key_are_different_keys() -> None:
    certified = ALICE.certified("alice")
    listed = [target("targets"), target("targets/alice", D, certified)]
    assert judged(listed, Signer("alice", certified.pem)).digest == D
    assert text(judged(listed, BY_ALICE)) == "Public keys are different"


def test_of_two_secrets_for_one_role_the_last_counts() -> None:
    listed = [target("targets"), target("targets/alice", D, ALICE)]
    wrong = Signer("alice", BOB.pem)
    assert judged(listed, wrong, BY_ALICE).digest == D
    assert text(judged(listed, BY_ALICE, wrong)) == "Public keys are different"


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("alice", "targets/alice"),
        (".", "targets"),
        ("/a//b/", "targets/a/b"),
        ("../x", "x"),
        ("..", "."),
    ],
)
def test_signers_name_is_joined_as_a_path(name: str, role: str) -> None:
    assert Signer(name, b"").role == role


def test_several_missing_signers_are_named_in_no_order() -> None:
    judgement = judged([target("targets")], BY_ALICE, BY_BOB)
    assert text(judgement) == "no signature found for role alice"
    assert judgement.stop
    assert judgement.stop.others == ("no signature found for role bob",)


@pytest.mark.parametrize(
    ("pem", "words"),
    [
        (b"", "PublicKey not found in role alice"),
        (b"no key", "no valid public key found"),
        (b"-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n", "no valid public key found"),
        (
            BOB.pem.replace(b"PUBLIC KEY", b"RSA PUBLIC KEY"),
            'unsupported PEM block type "RSA PUBLIC KEY", expected CERTIFICATE or PUBLIC KEY',
        ),
        (Key.ed25519().pem, "unknown public key format"),
        (
            ALICE.certified("alice", days=(-9, -1)).pem,
            "invalid certificate: certificate with CN alice is expired",
        ),
        (
            ALICE.certified("alice", days=(2, 9)).pem,
            "invalid certificate: certificate with CN alice is expired",
        ),
        (
            Key.rsa(1024).certified("alice").pem,
            "invalid certificate: RSA bit length is too short",
        ),
    ],
    ids="none no-pem no-base64 other-block ed25519 expired early short".split(),
)
def test_key_that_the_engine_cannot_read(pem: bytes, words: str) -> None:
    listed = [target("targets"), target("targets/alice", D, ALICE)]
    assert text(judged(listed, Signer("alice", pem))) == words


def test_key_of_a_signer_who_did_not_sign_is_not_read() -> None:
    words = "no signature found for role alice"
    assert text(judged([target("targets")], Signer("alice", b"no key"))) == words


def test_certificate_of_an_ed25519_key_breaks_the_engine() -> None:
    listed = [target("targets"), target("targets/alice", D, ALICE)]
    with pytest.raises(Panic):
        judged(listed, Signer("alice", Key.ed25519().certified("alice").pem))


@pytest.mark.parametrize(
    "block", [b"AAAA", b"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE"], ids=["short", "cut"]
)
@pytest.mark.parametrize("label", [b"PUBLIC KEY", b"CERTIFICATE"])
def test_key_about_which_the_words_are_unknown_is_no_answer(label: bytes, block: bytes) -> None:
    pem = b"-----BEGIN " + label + b"-----\n" + block + b"\n-----END " + label + b"-----\n"
    with pytest.raises(ValueError, match=r".+"):
        judged([target("targets/alice", D, ALICE)], Signer("alice", pem))


def test_text_before_the_key_and_windows_line_ends_are_passed_over() -> None:
    listed = [target("targets"), target("targets/alice", D, ALICE)]
    pem = b"# alice\n-----BEGIN X-----\n" + ALICE.pem.replace(b"\n", b"\r\n") + BOB.pem
    assert judged(listed, Signer("alice", pem)).digest == D


def test_number_anywhere_in_the_text_sends_the_engine_on() -> None:
    assert judged([target("targets")], Signer("ci-401", b"x")).stop == NO_CREDENTIAL
    stop = TrustStop(Stop.READING, "No valid trust data for 1.403")
    assert judge_trust(TrustAnswer("1.403", stop=stop), [], NOW).stop == NO_CREDENTIAL
    stop = TrustStop(Stop.AUTH_ENDPOINT, "401")
    assert judge_trust(TrustAnswer("1", stop=stop), [], NOW).stop == stop


# --- Keys without their certificates -------------------------------------------------------------


def test_bare_keys_are_compared_without_certificates() -> None:
    listed = [target("targets"), target("targets/alice", D, ALICE)]
    for pem in (ALICE.pem, ALICE.certified("alice").pem):
        judgement = judged(listed, Signer("alice", pem), bare=True)
        assert judgement.digest == D
        assert judgement.notes
    assert text(judged(listed, Signer("alice", BOB.pem), bare=True)) == "Public keys are different"


def test_signer_who_is_not_listed_there_may_have_signed_something_else() -> None:
    judgement = judged([target("targets")], BY_ALICE, bare=True)
    assert judgement.stop
    assert judgement.stop.others == ("Public keys are different", "Incompatible digest")


# --- Whole messages ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stop", "is_error", "message"),
    [
        (
            TrustStop(Stop.READING, "Incompatible digest"),
            False,
            'trust: policy denied the request: Deny "a:1", failed to get content trust information:'
            " Incompatible digest",
        ),
        (
            TrustStop(Stop.UNAVAILABLE, "unable to reach trust server at this time: 500."),
            True,
            'trust: Deny "a:1", failed to get content trust information: unable to reach trust'
            " server at this time: 500.",
        ),
        (
            NO_CREDENTIAL,
            False,
            'trust: policy denied the request: Deny "a:1", no valid ImagePullSecret defined for'
            " a:1",
        ),
        (
            TrustStop(Stop.AUTH_ENDPOINT, "no supported auth-endpoint found"),
            True,
            'trust: Deny "a:1", could not resolve the auth-endpoint, no supported auth-endpoint'
            " found",
        ),
        (
            Signer.of_secret("s", None),
            True,
            'trust: Deny "a:1", could not get signerSecret from your cluster, secrets "s" not'
            " found",
        ),
        (
            Signer.of_secret("s", {"name": b"", "publicKey": b"x"}),
            True,
            'trust: Deny "a:1", could not get signerSecret from your cluster, name or publicKey'
            " field in secret s is empty",
        ),
        (
            NO_SERVER,
            True,
            "trust: Trust Server/Image Configuration Error: no trust server could be found",
        ),
    ],
)
def test_whole_message(stop: TrustStop, is_error: bool, message: str) -> None:
    assert (stop.is_error, stop.message("a:1", NEWEST)) == (is_error, message)


def test_image_is_quoted_as_go_quotes() -> None:
    message = TrustStop(Stop.READING, "x").message('a@sha256:"\n\x00é\u200b\U000e0001', NEWEST)
    assert 'Deny "a@sha256:\\"\\n\\x00é\\u200b\\U000e0001", ' in message


def test_braces_in_a_text_stay() -> None:
    assert TrustStop(Stop.READING, "{x}").message("{image}", NEWEST).endswith(": {x}")


def test_cise_has_shorter_messages() -> None:
    stop = TrustStop(Stop.READING, "No valid trust data for latest")
    words = "Deny, failed to get content trust information: No valid trust data for latest"
    assert stop.message("a", CISE) == words
    unsupported = "Trust is not supported for images from this registry"
    assert NO_SERVER.message("a", CISE) == unsupported
    assert trust_server_of(EngineName.parse("a"), "https://mine", CISE) == NO_SERVER


# --- Signers and servers -------------------------------------------------------------------------


def test_signer_is_read_from_its_secret() -> None:
    signer = Signer.of_secret("s", {"name": b"alice", "publicKey": b"key"})
    assert signer == Signer("alice", b"key")


@pytest.mark.parametrize("data", [{}, {"name": b"a"}, {"publicKey": b"k"}, {"key": b"k"}])
def test_secret_without_its_items_stops_the_engine(data: dict[str, bytes]) -> None:
    assert isinstance(Signer.of_secret("s", data), TrustStop)


@pytest.mark.parametrize(
    ("image", "server"),
    [
        ("nginx", "https://notary.docker.io"),
        ("quay.io/a/b", "https://quay.io:443"),
        ("icr.io/a/b", NO_SERVER),
    ],
)
def test_trust_server_is_known_by_the_host(image: str, server: object) -> None:
    name = EngineName.parse(image)
    assert trust_server_of(name, "", NEWEST) == server
    assert trust_server_of(name, "https://mine", NEWEST) == "https://mine"


def test_cise_knew_ibms_own_servers() -> None:
    assert trust_server_of(EngineName.parse("de.icr.io/a/b"), "", CISE) == "https://de.icr.io:4443"


def test_expiry_of_a_signers_certificate_is_that_of_the_moment_given() -> None:
    certified = ALICE.certified("alice", days=(-1, 30))
    listed = [target("targets"), target("targets/alice", D, certified)]
    answer = TrustAnswer("v1", tuple(listed))
    later = judge_trust(answer, [Signer("alice", certified.pem)], NOW + timedelta(days=31))
    assert text(later) == "invalid certificate: certificate with CN alice is expired"
