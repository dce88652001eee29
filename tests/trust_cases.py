# SPDX-License-Identifier: Apache-2.0
"""Collections that are not to be trusted, with the words in which Notary's client says so.

One list for two readers: ours, and the real client where it is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.trust_collection import (
    GUN,
    Delegation,
    Key,
    TrustCollection,
    digest_of,
)

NO_PATH = "could not validate the path to a trusted root: "
_OF_ROOT, _OF_LEAVES = "failed to validate integrity of roots", "unable to retrieve valid leaf"
PAST, PAST_SHOWN = "2020-02-03T04:05:06.789Z", "Mon Feb 3 04:05:06 UTC 2020"
WEST, WEST_SHOWN = "2020-02-03T04:05:06-07:30", "Mon Feb 3 04:05:06 -0730 2020"


def _set(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        place = document
        for name in path[:-1]:
            place = place[name]
        if to is None:
            del place[path[-1]]
        else:
            place[path[-1]] = to

    return change


def _edited(role: str, *path: str, to: Any) -> TrustCollection:
    return TrustCollection(edits={role: _set(*path, to=to)})


def _unsigned(role: str) -> TrustCollection:
    return TrustCollection(tampers={role: _set("signatures", to=[])})


def _signed_by_a_stranger(role: str) -> TrustCollection:
    return TrustCollection(signers={role: [Key.ecdsa()]})


def _listed_under_another_id(role: str) -> TrustCollection:
    made = TrustCollection()
    key, other = getattr(made, role), "ab" * 32

    def relabel(signed: dict[str, Any]) -> None:
        signed["keys"][other] = signed["keys"].pop(key.id)
        signed["roles"][role]["keyids"] = [other]

    def rename(document: dict[str, Any]) -> None:
        document["signatures"][0]["keyid"] = other

    made.edits["root"] = relabel
    made.tampers[role] = rename
    return made


def _delegated(**options: Any) -> TrustCollection:
    return TrustCollection(delegations=[Delegation("targets/alice", [Key.ecdsa()], **options)])


def _delegation_edited(name: str, to: Any) -> TrustCollection:
    made = _delegated()

    def change(signed: dict[str, Any]) -> None:
        signed["delegations"]["roles"][0][name] = to

    made.edits["targets"] = change
    return made


def _delegated_twice() -> TrustCollection:
    made = _delegated()

    def change(signed: dict[str, Any]) -> None:
        signed["delegations"]["roles"] *= 2

    made.edits["targets"] = change
    return made


def _bent(role: str, change: Callable[[bytes], bytes] | None) -> TrustCollection:
    return TrustCollection(served={role: change})


def _delegation_withheld(name: str) -> TrustCollection:
    made = TrustCollection(delegations=[Delegation(name, [Key.ecdsa()])])
    made.served[name] = None
    return made


def _sha256_of(role: str) -> str:
    return f"sha256 checksum for {role} did not match: expected "


_GONE = " trust data unavailable.  Has a notary repository been initialized?"


# Name -> the collection, and a part of the words that is long enough to tell them from others.
DENIED: dict[str, tuple[Callable[[], TrustCollection], str]] = {
    **{
        f"{role}-expired": (
            lambda role=role: _edited(role, "expires", to=PAST),
            f"{role} expired at {PAST_SHOWN}",
        )
        for role in ("root", "timestamp", "snapshot", "targets")
    },
    "expired-in-the-west": (
        lambda: _edited("targets", "expires", to=WEST),
        f"targets expired at {WEST_SHOWN}",
    ),
    **{
        f"{role}-unsigned": (lambda role=role: _unsigned(role), "tuf: data has no signatures")
        for role in ("timestamp", "snapshot", "targets")
    },
    "root-unsigned": (lambda: _unsigned("root"), NO_PATH + _OF_ROOT),
    **{
        f"{role}-by-a-stranger": (
            lambda role=role: _signed_by_a_stranger(role),
            f"valid signatures did not meet threshold for {role}",
        )
        for role in ("timestamp", "snapshot", "targets")
    },
    "root-by-a-stranger": (lambda: _signed_by_a_stranger("root"), NO_PATH + _OF_ROOT),
    **{
        f"{role}-changed": (
            lambda role=role: TrustCollection(tampers={role: _set("signed", "version", to=7)}),
            f"valid signatures did not meet threshold for {role}",
        )
        for role in ("timestamp", "snapshot", "targets")
    },
    "root-changed": (
        lambda: TrustCollection(tampers={"root": _set("signed", "version", to=7)}),
        NO_PATH + _OF_ROOT,
    ),
    **{
        f"{role}-key-under-another-id": (
            lambda role=role: _listed_under_another_id(role),
            "key ID is not valid for key content",
        )
        for role in ("timestamp", "snapshot", "targets")
    },
    "root-without-a-certificate": (lambda: TrustCollection(root=Key.ecdsa()), NO_PATH + _OF_LEAVES),
    "root-of-another-name": (
        lambda: TrustCollection(root=Key.ecdsa().certified(f"{GUN}2")),
        NO_PATH + _OF_LEAVES,
    ),
    "root-certificate-expired": (
        lambda: TrustCollection(root=Key.ecdsa().certified(GUN, days=(-3, -1))),
        NO_PATH + _OF_LEAVES,
    ),
    "root-certificate-of-the-day-after-tomorrow": (
        lambda: TrustCollection(root=Key.ecdsa().certified(GUN, days=(2, 9))),
        NO_PATH + _OF_LEAVES,
    ),
    "root-certificate-of-an-authority": (
        lambda: TrustCollection(root=Key.ecdsa().certified(GUN, is_authority=True)),
        NO_PATH + _OF_LEAVES,
    ),
    "root-with-two-leaves": (
        lambda: TrustCollection(root=Key.ecdsa().certified(GUN, Key.ecdsa().certified(GUN).public)),
        NO_PATH + _OF_LEAVES,
    ),
    "root-certificate-of-a-short-key": (
        lambda: TrustCollection(root=Key.rsa(1024).certified(GUN)),
        NO_PATH + _OF_LEAVES,
    ),
    "root-of-another-type": (
        lambda: _edited("root", "_type", to="Targets"),
        "root type metadata invalid: expected type Root, not Targets",
    ),
    "root-without-a-role": (
        lambda: _edited("root", "roles", "snapshot", to=None),
        "root type metadata invalid: missing snapshot role specification",
    ),
    "root-with-no-threshold": (
        lambda: _edited("root", "roles", "targets", "threshold", to=0),
        "root type metadata invalid: invalid threshold specified for targets: 0 ",
    ),
    "root-with-too-high-a-threshold": (
        lambda: _edited("root", "roles", "root", "threshold", to=2),
        NO_PATH + _OF_ROOT,
    ),
    "root-with-a-key-nobody-has": (
        lambda: _edited("root", "roles", "targets", "keyids", to=["ab" * 32]),
        f"root type metadata invalid: key ID {'ab' * 32} specified in targets without corresponding"
        " key",
    ),
    "root-of-version-0": (
        lambda: _edited("root", "version", to=0),
        "root type metadata invalid: version cannot be less than 1",
    ),
    "timestamp-of-version-0": (
        lambda: _edited("timestamp", "version", to=0),
        "timestamp type metadata invalid: version cannot be less than one",
    ),
    "timestamp-of-another-type": (
        lambda: _edited("timestamp", "_type", to="timestamp"),
        "timestamp type metadata invalid: expected type Timestamp, not timestamp",
    ),
    "timestamp-without-a-snapshot": (
        lambda: _edited("timestamp", "meta", to={}),
        "timestamp type metadata invalid: missing snapshot sha256 checksum information",
    ),
    "timestamp-with-a-short-hash": (
        lambda: _edited("timestamp", "meta", "snapshot", "hashes", "sha256", to="AAAA"),
        "timestamp type metadata invalid: invalid snapshot checksum information, sha256 checksum"
        " invalid",
    ),
    "snapshot-without-targets": (
        lambda: _edited("snapshot", "meta", "targets", to=None),
        "snapshot type metadata invalid: missing targets sha256 checksum information",
    ),
    "snapshot-with-sha512-alone": (
        lambda: _edited("snapshot", "meta", "root", "hashes", "sha256", to=None),
        "snapshot type metadata invalid: missing root sha256 checksum information",
    ),
    "snapshot-of-another-moment": (
        lambda: _bent("snapshot", lambda body: body.replace(b'"Snapshot"', b'"snapshot"')),
        _sha256_of("snapshot"),
    ),
    "targets-of-another-moment": (
        lambda: _bent("targets", lambda body: body.replace(b'"Targets"', b'"targets"')),
        _sha256_of("targets"),
    ),
    "targets-cut": (lambda: _bent("targets", lambda body: body[:-9]), _sha256_of("targets")),
    "targets-emptied": (lambda: _bent("targets", lambda _: b""), _sha256_of("targets")),
    "snapshot-of-another-root": (
        lambda: _edited("snapshot", "meta", "root", "hashes", "sha256", to="A" * 43 + "="),
        f"HOST does not have trust data for {GUN}",
    ),
    "targets-of-another-sha512": (
        lambda: _edited("snapshot", "meta", "targets", "hashes", "sha512", to="A" * 86 + "=="),
        "sha512 checksum for targets did not match: expected 00",
    ),
    "no-root": (lambda: _bent("root", None), f"HOST does not have trust data for {GUN}"),
    "no-timestamp": (lambda: _bent("timestamp", None), "timestamp" + _GONE),
    "no-snapshot": (lambda: _bent("snapshot", None), _GONE),
    "no-targets": (lambda: _bent("targets", None), _GONE),
    "delegation-withheld": (lambda: _delegation_withheld("targets/alice"), _GONE),
    "delegation-with-root-in-its-name-withheld": (
        lambda: _delegation_withheld("targets/groot"),
        f"HOST does not have trust data for {GUN}",
    ),
    "delegation-unsigned": (lambda: _delegated(signers=[]), "tuf: data has no signatures"),
    "delegation-of-a-stranger-s-child": (
        lambda: _delegation_edited("name", "targets/alice/x"),
        "targets type metadata invalid: delegation role targets/alice/x invalid",
    ),
    "delegation-that-climbs": (
        lambda: _delegation_edited("name", "targets/../alice"),
        "targets type metadata invalid: delegation role targets/../alice invalid",
    ),
    "delegation-in-capitals": (
        lambda: _delegation_edited("name", "targets/Alice"),
        "targets type metadata invalid: delegation role targets/Alice invalid",
    ),
    "delegation-to-root": (
        lambda: _delegation_edited("name", "root"),
        "targets type metadata invalid: delegation role root invalid",
    ),
    "delegation-without-threshold": (
        lambda: _delegation_edited("threshold", -1),
        "targets type metadata invalid: invalid threshold specified for targets/alice: -1 ",
    ),
    "delegated-twice": (_delegated_twice, "targets/alice has already been loaded"),
    "delegation-with-a-short-key": (
        lambda: TrustCollection(
            delegations=[Delegation("targets/alice", [Key.rsa(1024).certified("alice")])]
        ),
        "RSA bit length is too short",
    ),
}
TRUSTED: dict[str, Callable[[], TrustCollection]] = {
    "plain": TrustCollection,
    "root-of-rsa": lambda: TrustCollection(root=Key.rsa().certified(GUN)),
    "root-of-a-family": lambda: TrustCollection(root=Key.ecdsa().certified("docker.io/library/*")),
    "root-with-its-authority": lambda: TrustCollection(
        root=Key.ecdsa().certified(GUN, Key.ecdsa().certified("ca", is_authority=True).public)
    ),
    "root-certificate-of-tonight": lambda: TrustCollection(
        root=Key.ecdsa().certified(GUN, days=(0, 9))
    ),
    "pss": lambda: TrustCollection(targets=Key.rsa()),
    "pkcs": lambda: TrustCollection(targets=Key.rsa(pss=False)),
    "certified-targets": lambda: TrustCollection(targets=Key.rsa().certified("whoever")),
    "expired-certificate-of-targets": lambda: TrustCollection(
        targets=Key.ecdsa().certified("whoever", days=(-9, -1))
    ),
    "ed25519-everywhere": lambda: TrustCollection(targets=Key.ed25519(), snapshot=Key.ed25519()),
    "method-in-capitals": lambda: TrustCollection(
        tampers={"targets": lambda whole: whole["signatures"][0].update(method="ECDSA")}
    ),
    "delegation-passed-over": lambda: _delegated(
        tags={"v1": digest_of("other")}, signers=[Key.ecdsa()]
    ),
    "delegation-that-signed-nothing": lambda: _delegated(in_snapshot=False),
    "delegation-below-its-threshold": lambda: _delegated(threshold=2),
    "sha256-alone": lambda: TrustCollection(
        edits={"snapshot": lambda signed: signed["meta"]["targets"]["hashes"].pop("sha512")}
    ),
    "said-to-be-longer": lambda: TrustCollection(
        edits={"snapshot": lambda signed: signed["meta"]["targets"].update(length=10**6)}
    ),
    "strange-tag-beside-it": lambda: TrustCollection(
        tags={"v1": digest_of("v1"), 'é"\\<&> \U0001f600': digest_of("x"), "V1": digest_of("y")}
    ),
}
