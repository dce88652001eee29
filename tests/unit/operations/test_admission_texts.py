# SPDX-License-Identifier: Apache-2.0
"""Every text that an engine answers comes out of the predictor, exactly, in the case it is for.

`FACTS` are the engine's own formats (Portieris 0.14 and containers/image, as Go writes them); one
that no case produces fails. Those of Docker Content Trust have tests of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imgsec.domain import engine_texts as texts
from imgsec.domain.admission import LayerOutcome, LayerTrace
from imgsec.domain.engines import CISE, NEWEST, Engine, Layer
from imgsec.errors import ImgsecError
from imgsec.reasons import (
    CREDENTIAL_REJECTED,
    IMAGE_NOT_FOUND,
    MISSING_CREDENTIAL,
    SERVICE_UNREACHABLE,
    Outcome,
)
from tests.support import Gpg, short_folder
from tests.unit.operations.admission_town import (
    CISE_API,
    NAMESPACE,
    SIGNED_BY,
    Town,
    deployment,
    digest_of,
    open_town,
    payload,
    pod,
    policy,
    rule,
    signed,
)

IMAGE = "us.icr.io/team/app:1"
DENIED = "simple: policy denied the request: "
LONG_AGO = ("--faked-system-time", "20200102T000000!")

FACTS = (
    # Resolution
    "Deny %q, no image policies or cluster polices",
    "Deny %q, no matching repositories in ClusterImagePolicy and no ImagePolicies in the %q"
    " namespace",
    "Deny %q, no matching repositories in the ImagePolicies",
    # The flow
    "Deny %q, invalid image name",
    'The resource "%s/%s/%s" is not supported. Make sure that you are using a supported kubectl'
    " version, and that you are using a supported Kubernetes workload type",
    # Simple signing, set-up
    "KeySecret missing in signedBy requirement",
    'secret %q in %q does not contain a "key" attribute',
    'secrets "%s" not found',
    "Key: empty",
    "Unable to decode key: %v",
    'Expected "PGP PUBLIC KEY BLOCK" not found: %s',
    "prefix %q is not valid",
    "dockerReference %q contains neither a tag nor digest",
    "Invalid format of dockerRepository %q: %s",
    "expecting https:// or http:// URL, got: %s",
    "secret: %s, does not contain username",
    "secret: %s, does not contain password",
    # Simple signing, denials
    f"{DENIED}A signature was required, but no signature exists",
    f"{DENIED}Signature for identity %q is not accepted",
    f"{DENIED}Signature for digest %s does not match",
    f"{DENIED}None of the signatures were accepted, reasons: %s; %s",
    f"{DENIED}Running image docker://%s is rejected by policy.",
    # Simple signing, errors
    "simple: Key not found for key ID %s in signature",
    "simple: Signature expired on %s",
    "simple: Unknown key %q",
    "simple: JSON object expected, got <nil>",
    "simple: parsing signature %s: unrecognized signature format, starting with binary 0x%s",
    "simple: openpgp: unsupported feature: public key type: 22",
    "simple: Docker references with both a tag and digest are currently not supported",
    "simple: invalid reference format",
    "simple: Deny %q, no valid ImagePullSecret, %d tried",
    "simple: reading manifest %s in %s: manifest unknown",
    "simple: reading manifest %s in %s: unauthorized",
    "simple: pinging container registry %s: Get %s",
    # Vulnerability Advisor
    "Cannot use Vulnerability Advisor for IBM Cloud Container Registry with image %q",
    "No credentials on client to call Vulnerability Advisor for IBM Cloud Container Registry with",
    "Image %s CANNOT DEPLOY with Vulnerability Advisor for IBM Cloud Container Registry status %q",
    "Not authorised to get Vulnerability Advisor for IBM Cloud Container Registry scan result for"
    " %q: unauthorised",
    "Failed to get Vulnerability Advisor for IBM Cloud Container Registry scan result for %q:"
    " Not found",
    "Failed to get Vulnerability Advisor for IBM Cloud Container Registry scan result for %q:"
    " Internal server error",
    # Simple signing and trust together
    "Notary signs conflicting digest: %v simple: %v",
    # CISE
    "Deny, no image policies or cluster polices for %s",
    "The Vulnerability Advisor image scan assessment found issues with the container image that are"
    " not exempted. Refer to your image vulnerability report for more details by using the command"
    " `ibmcloud cr va`.",
)
# Those that no prediction has: why, and what makes them.
ELSEWHERE = {
    "Unhandled container type": (
        "no path of the engine leads there: it walks over its own two types",
        texts.UNHANDLED_CONTAINER_TYPE,
    ),
    "Invalid Patch: %s": (
        "the engine could not serialise its own list of texts",
        texts.invalid_patch("x"),
    ),
    "invalid SignedIdentity Type: %s": (
        "the CRD's enum refuses the policy, and so does its reader here",
        texts.invalid_identity_type("x"),
    ),
    "simple policy invalid Type: %s": (
        "the CRD's enum refuses the policy, and so does its reader here",
        texts.invalid_requirement_type("x"),
    ),
    "Failed to get Vulnerability Advisor for IBM Cloud Container Registry scan result for %q:"
    " Bad request": (
        "a status of the advisor's API v3, which is never asked",
        texts.advisor_failed(IMAGE, "Bad request"),
    ),
    "Unhandled response from Vulnerability Advisor for IBM Cloud Container Registry: %d": (
        "a status of the advisor's API v3, which is never asked",
        texts.advisor_unhandled(418),
    ),
    "Deny %q, no ImagePullSecret defined for %s": (
        "of Portieris 0.5, which is not predicted",
        texts.older_no_pull_secret(IMAGE, NAMESPACE),
    ),
    "Deny %q, no valid ImagePullSecret defined for %s": (
        "of Portieris 0.5, which is not predicted",
        texts.older_no_valid_pull_secret(IMAGE, "us.icr.io"),
    ),
}


class Cast:
    """Keys, made once."""

    def __init__(self, home: Path) -> None:
        self.gpg = Gpg(home)
        self.good = self.gpg.make_key("good key")
        self.other = self.gpg.make_key("other key")
        self.edwards = self.gpg.make_key("edwards key", "ed25519")
        self.gpg.run(*LONG_AGO, "--quick-generate-key", "old key", "rsa2048", "sign", "0")
        self.old = self.gpg.fingerprint("old key")
        self.revoked = self.gpg.make_key("revoked key")
        self.by_revoked = self.gpg.sign(payload(IMAGE, digest_of(IMAGE)), self.revoked)
        note = (home / "openpgp-revocs.d" / f"{self.revoked}.rev").read_text()
        self.gpg.run("--import", stdin=note.replace(":-----BEGIN", "-----BEGIN").encode())

    def public(self, *names: str) -> bytes:
        return self.gpg.run("--armor", "--export", *names)

    def sign(self, name: str = IMAGE, *, by: str = "good", digest: str = IMAGE) -> bytes:
        return self.gpg.sign(payload(name, digest_of(digest)), getattr(self, by))


@pytest.fixture(scope="module")
def cast() -> Iterator[Cast]:
    with short_folder() as folder:
        home = folder / "h"
        home.mkdir(mode=0o700)
        yield Cast(home)


@pytest.fixture
def town() -> Iterator[Town]:
    with short_folder() as folder, open_town(folder) as opened:
        yield opened


Prepare = Callable[[Town, Cast], None]


@dataclass(frozen=True)
class Case:
    """says: all messages of the denial. open_: of a layer whose answer may yet be another."""

    name: str
    prepare: Prepare
    says: tuple[str, ...] = ()
    open_: str = ""
    workload: Any = None
    engine: Engine = NEWEST

    def __str__(self) -> str:
        return self.name


def ruled(*rules: dict[str, Any], **rest: Any) -> Prepare:
    def prepare(town: Town, _: Cast) -> None:
        town.policies.append(policy(*rules, **rest))

    return prepare


def nothing(_town: Town, _cast: Cast) -> None:
    pass


def simply(*requirements: dict[str, Any], **simple: Any) -> Prepare:
    """A rule that wants signatures, the good key, and the image unsigned."""

    def prepare(town: Town, cast: Cast) -> None:
        town.policies.append(policy(rule("*", simple=signed(*requirements, **simple))))
        town.secret("key", key=cast.public("good key"))
        town.images.push(IMAGE)

    return prepare


def keyed(**data: Any) -> Prepare:
    def prepare(town: Town, cast: Cast) -> None:
        simply()(town, cast)
        town.secret("key", **data)

    return prepare


def carrying(*make: Callable[[Cast], bytes], key: str = "good key") -> Prepare:
    """The image carries these signatures; key: which one the Secret holds."""

    def prepare(town: Town, cast: Cast) -> None:
        simply()(town, cast)
        town.secret("key", key=cast.public(key))
        town.images.push(IMAGE, *(one(cast) for one in make))

    return prepare


def signing(content: bytes, by: str = "good", options: tuple[str, ...] = ()) -> Prepare:
    return carrying(lambda cast: cast.gpg.sign(content, getattr(cast, by), options=options))


def stored(content: bytes) -> Prepare:
    def prepare(town: Town, cast: Cast) -> None:
        simply(storeURL="https://store.example")(town, cast)
        files = {str(digest_of(IMAGE)): [content]}
        town.images.stores["https://store.example"] = files

    return prepare


def expired(town: Town, cast: Cast) -> None:
    content = payload(IMAGE, digest_of(IMAGE))
    options = (*LONG_AGO, "--default-sig-expire", "1d")
    signature = cast.gpg.sign(content, cast.old, options=options)
    carrying(lambda _: signature, key="old key")(town, cast)


def private(pair: str, *, host: str = "us.icr.io") -> Prepare:
    """The image wants a credential; the pod has one."""

    def prepare(town: Town, cast: Cast) -> None:
        simply()(town, cast)
        town.images.needs["us.icr.io/team/app"] = b"user:right"
        town.pull_secret("regcred", host, pair)

    return prepare


def failing(error: ImgsecError, *, secret: bool = False) -> Prepare:
    def prepare(town: Town, cast: Cast) -> None:
        simply()(town, cast)
        town.images.manifests[IMAGE] = error
        if secret:
            town.pull_secret("regcred", "us.icr.io", "user:right")

    return prepare


def advised(says: str | ImgsecError, manifest: ImgsecError | None = None) -> Prepare:
    def prepare(town: Town, cast: Cast) -> None:
        town.policies.append(policy(rule("*", vulnerability={"ICCRVA": {"enabled": True}})))
        town.images.push(IMAGE)
        if manifest is not None:
            town.images.manifests[IMAGE] = manifest
        town.pull_secret("regcred", "us.icr.io", "iamapikey:right")
        town.advisor.says = says

    return prepare


def advised_by_cise(town: Town, _: Cast) -> None:
    town.policies.append(policy(rule("*", va={"enabled": True}), api=CISE_API))
    town.images.push(IMAGE)
    town.advisor.says = "FAIL"


def both_signings(town: Town, cast: Cast) -> None:
    trust = {"enabled": True, "trustServer": "https://notary.example"}
    town.policies.append(policy(rule("*", simple=signed(), trust=trust)))
    town.secret("key", key=cast.public("good key"))
    town.images.push(IMAGE, cast.sign())


def missing(reason: Any) -> ImgsecError:
    return ImgsecError(reason("it"))


LOGIN = {"imagePullSecrets": [{"name": "regcred"}]}
HEX = digest_of(IMAGE).hex
ADVISOR = "Vulnerability Advisor for IBM Cloud Container Registry"
CASES = (
    Case("M1", nothing, (f'Deny "{IMAGE}", no image policies or cluster polices',)),
    Case(
        "M2",
        ruled(rule("docker.io/*")),
        (
            f'Deny "{IMAGE}", no matching repositories in ClusterImagePolicy and no ImagePolicies'
            ' in the "shop" namespace',
        ),
    ),
    Case(
        "M3",
        ruled(rule("docker.io/*"), kind="ImagePolicy"),
        (f'Deny "{IMAGE}", no matching repositories in the ImagePolicies',),
    ),
    Case(
        "invalid name, quoted as Go does it",
        ruled(rule("*")),
        ('Deny "Bad\\"Name\\x01\\u00a0é", invalid image name',),
        workload=pod('Bad"Name\x01\xa0é'),
    ),
    Case(
        "third-party jobs",
        ruled(rule("*")),
        (
            'The resource "batch.volcano.sh/v1alpha1/jobs" is not supported. Make sure that you are'
            " using a supported kubectl version, and that you are using a supported Kubernetes"
            " workload type",
        ),
        workload=deployment(IMAGE, kind="Job", api="batch.volcano.sh/v1alpha1"),
    ),
    Case("no key Secret", simply({"type": "signedBy"}), (texts.KEY_SECRET_MISSING,)),
    Case("key Secret without key", keyed(), ('secret "key" in "shop" does not contain a "key"'
         " attribute",)),
    Case(
        "key Secret elsewhere",
        simply({**SIGNED_BY, "keySecretNamespace": "keys"}),
        ('secrets "key" not found',),
    ),
    Case("empty key", keyed(key=b""), ("Key: empty",)),
    Case("no armour", keyed(key=b"nonsense"), ("Unable to decode key: EOF",)),
    Case(
        "binary key",
        lambda town, cast: keyed(key=cast.gpg.public("good key"))(town, cast),
        ("Unable to decode key: EOF",),
    ),
    Case(
        "private key",
        lambda town, cast: keyed(key=cast.gpg.secret("good key", armour=True))(town, cast),
        ('Expected "PGP PUBLIC KEY BLOCK" not found: PGP PRIVATE KEY BLOCK',),
    ),
    Case(
        "bad prefix",
        simply({**SIGNED_BY, "signedIdentity": {"type": "remapIdentity", "prefix": "a b"}}),
        ('prefix "a b" is not valid',),
    ),
    Case(
        "bare exact reference",
        simply(
            {
                **SIGNED_BY,
                "signedIdentity": {"type": "matchExactReference", "dockerReference": "icr.io/a"},
            }
        ),
        ('dockerReference "icr.io/a" contains neither a tag nor digest',),
    ),
    Case(
        "exact repository that is none",
        simply(
            {
                **SIGNED_BY,
                "signedIdentity": {"type": "matchExactRepository", "dockerRepository": "UP/x y"},
            }
        ),
        ('Invalid format of dockerRepository "UP/x y": invalid reference format',),
    ),
    Case(
        "store address",
        simply(storeURL="file:///var/lib/sigs"),
        ("expecting https:// or http:// URL, got: file:///var/lib/sigs",),
    ),
    Case("no store Secret", simply(storeSecret="store"), ('secrets "store" not found',)),
    Case(
        "store Secret without user",
        lambda town, cast: (
            simply(storeSecret="store")(town, cast),
            town.secret("store", password="p"),
        )[0],
        ("secret: store, does not contain username",),
    ),
    Case(
        "store Secret without password",
        lambda town, cast: (
            simply(storeSecret="store")(town, cast),
            town.secret("store", username="u"),
        )[0],
        ("secret: store, does not contain password",),
    ),
    Case(
        "unsigned", simply(), (f"{DENIED}A signature was required, but no signature exists",)
    ),
    Case(
        "other tag",
        carrying(lambda cast: cast.sign("us.icr.io/team/app:2")),
        (f'{DENIED}Signature for identity "us.icr.io/team/app:2" is not accepted',),
    ),
    Case(
        "other digest",
        carrying(lambda cast: cast.sign(digest="else")),
        (f"{DENIED}Signature for digest {digest_of('else')} does not match",),
    ),
    Case(
        "two that do not count",
        carrying(
            lambda cast: cast.sign("us.icr.io/team/app:2"), lambda cast: cast.sign(digest="else")
        ),
        (
            f"{DENIED}None of the signatures were accepted, reasons: Signature for identity"
            f' "us.icr.io/team/app:2" is not accepted; Signature for digest {digest_of("else")}'
            " does not match",
        ),
    ),
    Case(
        "rejected",
        simply({"type": "reject"}),
        (f"{DENIED}Running image docker://{IMAGE} is rejected by policy.",),
    ),
    Case(
        "rejected, in the short form of Docker Hub",
        lambda town, cast: (simply({"type": "reject"})(town, cast),
                            town.images.push("docker.io/library/nginx:latest"))[0],
        (f"{DENIED}Running image docker://nginx:latest is rejected by policy.",),
        workload=pod("nginx"),
    ),
    Case("payload with an unknown key", signing(payload(IMAGE, digest_of(IMAGE), extra=1)),
         ('simple: Unknown key "extra"',)),
    Case("payload without optional", signing(payload(IMAGE, digest_of(IMAGE), optional=None)),
         ("simple: JSON object expected, got <nil>",)),
    Case(
        "page in place of a signature",
        stored(b"<html>hello</html>"),
        (
            "simple: parsing signature https://store.example/signature-1: unrecognized signature"
            " format, starting with binary 0x3c",
        ),
    ),
    Case("expired", expired, ("simple: Signature expired on 2020-01-03 00:00:00 +0000 UTC",)),
    Case(
        "Ed25519",
        carrying(lambda cast: cast.sign(by="edwards"), key="edwards key"),
        ("simple: openpgp: unsupported feature: public key type: 22",),
    ),
    Case(
        "tag and digest",
        simply(),
        ("simple: Docker references with both a tag and digest are currently not supported",),
        workload=pod(f"{IMAGE}@sha256:{HEX}"),
    ),
    Case(
        "short digest",
        simply(),
        ("simple: invalid reference format",),
        workload=pod("us.icr.io/team/app@sha256:abc"),
    ),
    Case(
        "no pull secret",
        failing(missing(MISSING_CREDENTIAL)),
        (f'simple: Deny "{IMAGE}", no valid ImagePullSecret, 0 tried',),
    ),
    Case(
        "image is not there",
        failing(missing(IMAGE_NOT_FOUND), secret=True),
        ("simple: reading manifest 1 in us.icr.io/team/app: manifest unknown",),
        workload=pod(IMAGE, **LOGIN),
    ),
    Case(
        "wrong password",
        failing(missing(CREDENTIAL_REJECTED), secret=True),
        ("simple: reading manifest 1 in us.icr.io/team/app: unauthorized",),
        workload=pod(IMAGE, **LOGIN),
    ),
    Case(
        "unreachable",
        failing(missing(SERVICE_UNREACHABLE), secret=True),
        open_='simple: pinging container registry us.icr.io: Get "https://us.icr.io/v2/": it',
        workload=pod(IMAGE, **LOGIN),
    ),
    Case(
        "advisor of a foreign registry",
        advised("OK"),
        (f'Cannot use {ADVISOR} with image "quay.io/a/b:1"',),
        workload=pod("quay.io/a/b:1"),
    ),
    Case("advisor without credentials", advised("OK"),
         (f"No credentials on client to call {ADVISOR} with",)),
    Case(
        "findings",
        advised("FAIL"),
        (f'Image {IMAGE} CANNOT DEPLOY with {ADVISOR} status "FAIL"',),
        workload=pod(IMAGE, **LOGIN),
    ),
    Case(
        "advisor, nobody may ask",
        advised("OK", missing(CREDENTIAL_REJECTED)),
        (f'Not authorised to get {ADVISOR} scan result for "{IMAGE}": unauthorised',),
        workload=pod(IMAGE, **LOGIN),
    ),
    Case(
        "advisor, image is not there",
        advised("OK", missing(IMAGE_NOT_FOUND)),
        (f'Failed to get {ADVISOR} scan result for "{IMAGE}": Not found',),
        workload=pod(IMAGE, **LOGIN),
    ),
    Case(
        "advisor is down",
        advised(missing(SERVICE_UNREACHABLE)),
        open_=f'Failed to get {ADVISOR} scan result for "{IMAGE}": Internal server error',
        workload=pod(IMAGE, **LOGIN),
    ),
    Case("CISE without a rule", nothing,
         (f"Deny, no image policies or cluster polices for {IMAGE}",), engine=CISE),
    Case("CISE, findings", advised_by_cise, (texts.CISE_ADVISOR_DENIED,), engine=CISE),
)  # fmt: skip


def denial(town: Town, workload: Any, engine: Engine = NEWEST) -> tuple[str, ...]:
    admission = town.predict(workload, engine)
    assert admission.verdict.outcome is Outcome.REFUSED, admission.verdict
    assert admission.patches == ()
    return admission.messages


@pytest.mark.parametrize("case", CASES, ids=str)
def test_engine_says_exactly_this(case: Case, town: Town, cast: Cast) -> None:
    case.prepare(town, cast)
    workload = case.workload or pod(IMAGE)
    if case.says:
        assert denial(town, workload, case.engine) == case.says
        return
    admission = town.predict(workload, case.engine)
    assert admission.verdict.outcome is Outcome.UNDECIDED
    assert admission.containers[0].messages == (case.open_,)


def test_signature_of_another_key_is_an_error_that_names_its_key(town: Town, cast: Cast) -> None:
    carrying(lambda cast: cast.sign(by="other"))(town, cast)
    key_id = f"{int(cast.other[-16:], 16):x}"
    expected = f"simple: Key not found for key ID {key_id} in signature"
    assert denial(town, pod(IMAGE)) == (expected,)
    assert format_of("simple: Key not found for key ID %s in signature").fullmatch(expected)


def test_revoked_key_is_not_found(town: Town, cast: Cast) -> None:
    carrying(lambda cast: cast.by_revoked, key="revoked key")(town, cast)
    key_id = f"{int(cast.revoked[-16:], 16):x}"
    assert denial(town, pod(IMAGE)) == (f"simple: Key not found for key ID {key_id} in signature",)


def test_second_block_of_a_secret_is_not_read(town: Town, cast: Cast) -> None:
    carrying(lambda cast: cast.sign(by="other"))(town, cast)
    town.secret("key", key=cast.public("good key") + cast.public("other key"))
    assert "Key not found" in denial(town, pod(IMAGE))[0]
    town.secret("key", key=cast.public("good key", "other key"))
    assert town.predict(pod(IMAGE)).verdict.passed


class Notary:
    """Trusts every image."""

    def check(self, *_: object) -> LayerTrace:
        return LayerTrace(Layer.TRUST, LayerOutcome.PASSED, digest=HEX)


def test_simple_signing_and_trust_never_agree(town: Town, cast: Cast) -> None:
    both_signings(town, cast)
    town.trust = Notary()
    (said,) = denial(town, pod(IMAGE))
    assert said == f"Notary signs conflicting digest: {HEX} simple: {HEX}"


def test_words_of_a_conflict_need_both_digests(town: Town, cast: Cast) -> None:
    both_signings(town, cast)
    assert town.predict(pod(IMAGE)).verdict.outcome is Outcome.UNDECIDED  # no server can be asked
    town.trust = Notary()
    admission = town.predict(pod(IMAGE), offline=True)
    assert admission.messages == ()
    assert "deny whatever they find" in admission.verdict.reasons[-1].text


def format_of(text: str) -> re.Pattern[str]:
    """A format of Go's as a pattern for what it can give."""
    parts = re.split(r"(%[qsvd])", text)
    forms = {"%q": r'"(?:[^"\\]|\\.)*"', "%s": "[^\n]+", "%v": "[^\n]+", "%d": "[0-9]+"}
    return re.compile("".join(forms.get(part) or re.escape(part) for part in parts))


PRODUCED = (
    *(text for case in CASES for text in (*case.says, case.open_) if text),
    # with a key id of the run, or what another layer gives: in the tests above
    "simple: Key not found for key ID 1 in signature",
    f"Notary signs conflicting digest: {HEX} simple: {HEX}",
)


@pytest.mark.parametrize("text", FACTS)
def test_every_text_of_the_engines_is_produced(text: str) -> None:
    assert any(format_of(text).fullmatch(one) for one in PRODUCED)


@pytest.mark.parametrize("text", ELSEWHERE)
def test_text_that_no_prediction_has_is_known_all_the_same(text: str) -> None:
    why, made = ELSEWHERE[text]
    assert why
    assert format_of(text).fullmatch(made)


def test_denial_begins_with_an_empty_line_and_users_see_who_denies() -> None:
    said = texts.response(["a", "b"])
    assert said == "\na\nb"
    assert texts.as_users_see_it(said).startswith(
        'admission webhook "trust.hooks.securityenforcement.admission.cloud.ibm.com" denied the'
        " request: \na"
    )
