# SPDX-License-Identifier: Apache-2.0
"""What is said to help fits what the engine says, for each of its texts."""

from __future__ import annotations

import pytest

from imgsec.domain import engine_texts as texts
from imgsec.domain.engine_hints import hint_for
from imgsec.domain.engines import Layer

IMAGE = "us.icr.io/team/app:1"
# The answers to requests, which are no layer's, and parts of further texts.
_PARTS = {
    *("quoted", "denied", "failed", "response", "as_users_see_it", "advisor_unhandled"),
    *("UNHANDLED_CONTAINER_TYPE", "NO_REQUEST", "undecodable", "invalid_patch"),
}
# Name -> the text as a layer says it, and a part of what helps.
SAID: dict[str, tuple[str, str]] = {
    "no_policies": (texts.no_policies(IMAGE), "publish-policy"),
    "no_cluster_rule": (texts.no_cluster_rule(IMAGE, "shop"), "near misses"),
    "no_own_rule": (texts.no_own_rule(IMAGE), "near misses"),
    "cise_no_rule": (texts.cise_no_rule(IMAGE), "near misses"),
    "invalid_image": (texts.invalid_image("icr.io/T/a"), "registry/path:tag, in lower case"),
    "unsupported_resource": (texts.unsupported_resource("apps/v9/jobs"), "apps/v1 or batch/v1"),
    "KEY_SECRET_MISSING": (texts.KEY_SECRET_MISSING, "keySecret"),
    "KEY_EMPTY": (texts.KEY_EMPTY, "imgsec keys export"),
    "secret_not_found": (texts.secret_not_found("k"), "Create the Secret"),
    "no_key_attribute": (texts.no_key_attribute("k", "shop"), "imgsec keys export"),
    "undecodable_key": (texts.undecodable_key(), "imgsec keys export"),
    "no_public_key_block": (texts.no_public_key_block("PGP MESSAGE"), "imgsec keys export"),
    "invalid_identity_type": (texts.invalid_identity_type("x"), "policy lint"),
    "invalid_requirement_type": (texts.invalid_requirement_type("x"), "policy lint"),
    "invalid_prefix": (texts.invalid_prefix("a b"), "policy lint"),
    "bare_reference": (texts.bare_reference("a/b"), "policy lint"),
    "invalid_claim": (
        texts.invalid_claim("dockerRepository", "A b", texts.INVALID_REFERENCE_FORMAT),
        "policy lint",
    ),
    "no_web_address": (texts.no_web_address("ftp://store.example"), "storeURL with https://"),
    "no_username": (texts.no_username("s"), "storeSecret"),
    "no_password": (texts.no_password("s"), "storeSecret"),
    "NO_SIGNATURE": (texts.NO_SIGNATURE, "Sign the digest"),
    "TAG_AND_DIGEST": (texts.TAG_AND_DIGEST, "by its tag or by its digest"),
    "INVALID_REFERENCE_FORMAT": (texts.INVALID_REFERENCE_FORMAT, "64 hexadecimal digits"),
    "NO_OBJECT": (texts.NO_OBJECT, "Sign it again"),
    "identity_not_accepted": (texts.identity_not_accepted(IMAGE), "--sign-identity"),
    "digest_does_not_match": (texts.digest_does_not_match("sha256:0"), "Sign it again"),
    "none_accepted": (texts.none_accepted(["a", texts.NO_SIGNATURE]), "verify-image"),
    "rejected": (texts.rejected(IMAGE), "rejects"),
    "key_not_found": (texts.key_not_found(0xA1), "says who signed"),
    "signature_expired": (texts.signature_expired("2026-01-01 00:00:00 UTC"), "Sign it again"),
    "unknown_key": (texts.unknown_key("x"), "Sign it again"),
    "unrecognized_signature": (texts.unrecognized_signature("https://s/1", 1), "Take away"),
    "unsupported_key": (texts.unsupported_key(22), "RSA"),
    "no_pull_secret": (texts.no_pull_secret(IMAGE, 0), "bare host"),
    "manifest_unread": (texts.manifest_unread("1", "a/b", "manifest unknown"), "not in its reg"),
    "registry_unreached": (texts.registry_unreached("a.io", "Get x"), "registry answers"),
    "NO_TRUST_SERVER": (texts.trust_misconfigured(texts.NO_TRUST_SERVER), "trustServer"),
    "trust_misconfigured": (texts.trust_misconfigured(texts.NO_TRUST_SERVER), "trustServer"),
    "NO_AUTH_ENDPOINT": (
        texts.auth_endpoint_unresolved(IMAGE, texts.NO_AUTH_ENDPOINT),
        "asks for logins",
    ),
    "auth_endpoint_unresolved": (texts.auth_endpoint_unresolved(IMAGE, "x"), "asks for logins"),
    "NO_SIGNED_TARGETS": (texts.trust_unread(IMAGE, texts.NO_SIGNED_TARGETS), "Content Trust"),
    "OTHER_PUBLIC_KEY": (texts.trust_unread(IMAGE, texts.OTHER_PUBLIC_KEY), "has now"),
    "OTHER_DIGEST": (texts.trust_unread(IMAGE, texts.OTHER_DIGEST), "same digest"),
    "NO_VALID_PUBLIC_KEY": (texts.trust_unread(IMAGE, texts.NO_VALID_PUBLIC_KEY), "has now"),
    "TRUST_UNAUTHORIZED": (texts.trust_unread(IMAGE, texts.TRUST_UNAUTHORIZED), "may not read"),
    "trust_unread": (texts.trust_unread(IMAGE, texts.no_trusted_tag("1")), "Content Trust"),
    "trust_no_pull_secret": (texts.trust_no_pull_secret(IMAGE), "bare host"),
    "signer_unread": (texts.signer_unread(IMAGE, texts.secret_not_found("s")), "Create the Secret"),
    "no_trusted_tag": (texts.trust_unread(IMAGE, texts.no_trusted_tag("1")), "Content Trust"),
    "no_collection": (texts.trust_unread(IMAGE, texts.no_collection("n:443", "a/b")), "Content"),
    "trust_server_unavailable": (
        texts.trust_unread(IMAGE, texts.trust_server_unavailable(503)),
        "trust server answers",
    ),
    "no_trust_file": (texts.trust_unread(IMAGE, texts.no_trust_file("root")), "Content Trust"),
    "signer_secret_empty": (
        texts.signer_unread(IMAGE, texts.signer_secret_empty("s")),
        "items name and publicKey",
    ),
    "signer_key_missing": (
        texts.trust_unread(IMAGE, texts.signer_key_missing("s")),
        "every signer",
    ),
    "signature_of_signer_missing": (
        texts.trust_unread(IMAGE, texts.signature_of_signer_missing("s")),
        "every signer",
    ),
    "conflicting": (texts.conflicting("0" * 64, "0" * 64), "either signatures or trust"),
    "advisor_foreign": (texts.advisor_foreign(IMAGE), "IBM's registries"),
    "ADVISOR_NO_CREDENTIALS": (texts.ADVISOR_NO_CREDENTIALS, "asks the advisor with it"),
    "advisor_denied": (texts.advisor_denied(IMAGE, "FAIL"), "mend or exempt"),
    "advisor_unauthorised": (texts.advisor_unauthorised(IMAGE), "may not read"),
    "advisor_failed": (texts.advisor_failed(IMAGE, "Not found"), "knows the image"),
    "CISE_TRUST_FOREIGN": (texts.CISE_TRUST_FOREIGN, "trust for IBM's registries"),
    "CISE_ADVISOR_FOREIGN": (texts.CISE_ADVISOR_FOREIGN, "IBM's registries"),
    "CISE_ADVISOR_DENIED": (texts.CISE_ADVISOR_DENIED, "mend or exempt"),
    "cise_no_trust_data": (texts.cise_no_trust_data(texts.no_trusted_tag("1")), "Content Trust"),
    "older_no_pull_secret": (texts.older_no_pull_secret(IMAGE, "shop"), "bare host"),
    "older_no_valid_pull_secret": (texts.older_no_valid_pull_secret(IMAGE, "a.io"), "bare host"),
}
_LAYERS = {
    Layer.RESOLUTION: ("no_polic", "no_cluster", "no_own", "cise_no_rule", "invalid_image"),
    Layer.ADVISOR: ("advisor", "ADVISOR", "CISE_ADVISOR"),
    Layer.TRUST: (
        *("NO_TRUST", "trust", "NO_AUTH", "auth", "NO_SIGNED", "OTHER", "NO_VALID", "TRUST"),
        *("signer", "no_trust", "no_coll", "signature_of", "conflict", "CISE_TRUST", "cise_no_t"),
        "older",
    ),
}


def layer_of(name: str) -> Layer:
    """Whose text it is."""
    for layer, starts in _LAYERS.items():
        if name.startswith(starts):
            return layer
    return Layer.SIMPLE


def test_every_text_of_the_engines_is_asked_about() -> None:
    every = {one for one in vars(texts) if not one.startswith("_") and one != "annotations"}
    assert every == {*SAID, *_PARTS}


@pytest.mark.parametrize("name", SAID)
def test_hint_fits_the_text_with_whatever_stands_before_it(name: str) -> None:
    text, helps = SAID[name]
    layer = layer_of(name)
    said = [text]
    if layer in (Layer.SIMPLE, Layer.TRUST):
        said += [texts.denied(layer, text), texts.failed(layer, text)]
    for one in said:
        assert helps in (hint_for(one, layer) or ""), one


def test_hint_of_one_text_is_not_told_by_a_word_of_another() -> None:
    """An image, a Secret or a file may be called as an engine's text goes."""
    for text, _ in SAID.values():
        image = f'a"{text}"'
        assert hint_for(texts.no_own_rule(image)) == hint_for(SAID["no_own_rule"][0])
        assert hint_for(texts.secret_not_found(image)) == hint_for(SAID["secret_not_found"][0])
        assert hint_for(texts.invalid_image(f"{image}\n")) == hint_for(SAID["invalid_image"][0])


def test_what_nobody_knows_has_the_hint_of_its_layer_alone() -> None:
    assert hint_for("something new") is None
    assert {hint_for("something new", layer) for layer in Layer} == {
        hint_for(SAID[name][0], layer_of(name))
        for name in ("no_own_rule", "advisor_denied", "NO_SIGNATURE", "NO_SIGNED_TARGETS")
    }


def test_key_that_holds_nothing_is_published_again() -> None:
    """A text of the engine's library, which comes through as it is."""
    told = hint_for("simple: policy denied the request: No public keys imported", Layer.SIMPLE)
    assert told == hint_for(texts.KEY_EMPTY)
