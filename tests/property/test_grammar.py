# SPDX-License-Identifier: Apache-2.0
"""What is parsed comes out as it went in; what is not parsed is refused with a reason."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsec.domain.keys import (
    SECRET_KEY_SCHEMES,
    Fingerprint,
    KeyAlias,
    KeyLocation,
    SecretBytes,
    unwrapped,
)
from imgsec.domain.policy import Namespace, ObjectName
from imgsec.domain.reference import Digest, ImageReference, RegistryScope, RepositoryPattern, shown
from imgsec.domain.signature import SimpleSigningPayload
from imgsec.errors import ImgsecError
from imgsec.reasons import Outcome, Reason
from imgsec.render.text import clean

digests = st.binary(max_size=8).map(Digest.of)
references = st.from_regex(
    r"[a-z][a-z0-9-]{0,8}[a-z0-9]\.[a-z]{2,5}(:[1-9][0-9]{0,3})?"
    r"(/[a-z0-9]{1,6}([._-][a-z0-9]{1,4})?){1,3}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,9})?",
    fullmatch=True,
)
patterns = st.from_regex(
    r"(\*\.)?[a-z][a-z0-9]{0,8}\.[a-z]{2,5}(:[0-9]{1,4})?/([a-z0-9]{1,6}/){0,2}(\*|[a-z]{1,6})",
    fullmatch=True,
)
near_references = st.text(alphabet="ab0./:@-_*A\n\x00 \u0430sha256", max_size=40)


def attempt(parse: Callable[[Any], Any], given: Any) -> tuple[Any, Reason | None]:
    """The value, or the reason why there is none."""
    try:
        return parse(given), None
    except ImgsecError as error:
        return None, error.reason


@given(references, st.none() | digests)
def test_reference_is_what_was_written(text: str, digest: Digest | None) -> None:
    whole = text if digest is None else f"{text}@{digest}"
    image = ImageReference.parse(whole)
    assert str(image) == whole
    assert ImageReference.parse(str(image)) == image


@given(references)
def test_scope_is_what_was_written_and_covers_its_own(text: str) -> None:
    image = ImageReference.parse(text)
    scope = RegistryScope.parse(image.name)
    assert str(scope) == image.name
    assert scope.covers(image.repository)
    assert RegistryScope.parse(image.registry).covers(image.repository)
    assert RegistryScope.parse(f"{image.registry}/{scope.namespace}").covers(image.repository)


@given(patterns)
def test_pattern_is_what_was_written(text: str) -> None:
    assert str(RepositoryPattern.parse(text)) == text


@given(digests)
def test_digest_is_what_was_written(digest: Digest) -> None:
    assert Digest.parse(str(digest)) == digest


@given(st.text(string.hexdigits, min_size=40, max_size=40))
def test_fingerprint_is_what_was_written_in_capitals(text: str) -> None:
    assert str(Fingerprint.parse(text)) == text.upper()


@given(
    st.from_regex(r"(file|env):[A-Za-z0-9_./-]{1,20}", fullmatch=True)
    | st.from_regex(r"kms://[A-Za-z0-9_-]{2,90}", fullmatch=True)
)
def test_location_is_what_was_written(text: str) -> None:
    assert str(KeyLocation.parse(text, allowed=SECRET_KEY_SCHEMES)) == text


GRAMMARS: tuple[Callable[[str], object], ...] = (
    Digest.parse,
    ImageReference.parse,
    RegistryScope.parse,
    RepositoryPattern.parse,
    Fingerprint.parse,
    KeyAlias.parse,
    ObjectName.parse,
    Namespace.parse,
    lambda text: KeyLocation.parse(text, allowed=SECRET_KEY_SCHEMES),
)


@pytest.mark.parametrize("parse", GRAMMARS)
@given(text=st.text(max_size=60) | near_references)
def test_any_text_is_taken_as_it_is_or_refused_as_a_usage_error(
    parse: Callable[[str], object], text: str
) -> None:
    value, reason = attempt(parse, text)
    if reason is not None:
        assert reason.outcome is Outcome.USAGE
        assert reason.text.isprintable()
        return
    assert str(value).upper() == text.upper()
    assert text.isascii()
    assert "\n" not in text


@given(references, digests)
def test_payload_is_what_was_signed(name: str, digest: Digest) -> None:
    document = {
        "optional": {"creator": "imgsec", "timestamp": 1},
        "critical": {
            "identity": {"docker-reference": name},
            "image": {"docker-manifest-digest": str(digest)},
            "type": "atomic container signature",
        },
    }
    payload = SimpleSigningPayload.parse(json.dumps(document).encode())
    assert (payload.identity, payload.digest) == (name, digest)


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda part: (
            st.lists(part, max_size=3)
            | st.dictionaries(
                st.sampled_from(["critical", "optional", "type", "image", "identity"]), part
            )
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode())
)
def test_anything_else_is_a_malformed_payload(content: bytes) -> None:
    with pytest.raises(ImgsecError) as caught:
        SimpleSigningPayload.parse(content)
    assert caught.value.reason.code == "payload-malformed"


@given(st.text())
def test_cleaned_text_is_one_line_that_can_be_written(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned.splitlines()) <= 1
    assert cleaned.encode() is not None
    assert clean(cleaned) == cleaned
    assert "##[" not in cleaned


@given(st.text())
def test_shown_text_is_short_and_printable(text: str) -> None:
    assert shown(text).isprintable()
    assert len(shown(text)) < 1400


@given(st.binary(min_size=1, max_size=60))
def test_secret_bytes_are_never_shown(content: bytes) -> None:
    assert repr(SecretBytes(content)) == f"SecretBytes({len(content)} bytes)"


@given(st.binary(max_size=60))
def test_any_payload_is_a_key_or_malformed(content: bytes) -> None:
    found, reason = attempt(unwrapped, content)
    if reason is None:
        assert found[0] >= 0x80 or found.startswith(b"-----BEGIN PGP ")
    else:
        assert reason.code == "key-malformed"
