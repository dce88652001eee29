# SPDX-License-Identifier: Apache-2.0
"""What a lint of policies can find: every kind of finding in one table, and a finding itself.

A code is part of the public contract, as reason codes are: it is never renamed, only added. The
page ``docs/policy-lint.md`` has an example of each, which a test lints.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much a finding weighs. An error refuses; a warning does where that is asked for."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class LintKind:
    """A row of the table. level: of most of its findings; some weigh more or less."""

    code: str
    level: Level
    meaning: str
    hint: str


@dataclass(frozen=True, slots=True)
class LintFinding:
    """One thing that is not as it is probably meant, and where.

    about: the object, such as ``ClusterImagePolicy default``. line: from 1. image: a text that
    proves it, empty where none could.
    """

    kind: LintKind
    level: Level
    where: str
    line: int
    about: str
    text: str
    hint: str
    image: str = ""


LINT_KINDS: dict[str, LintKind] = {}


def _kind(level: Level, code: str, meaning: str, hint: str) -> LintKind:
    if code in LINT_KINDS:
        raise ValueError(f"the finding {code!r} is listed twice")
    LINT_KINDS[code] = LintKind(code, level, meaning, hint)
    return LINT_KINDS[code]


_ERROR, _WARNING, _NOTE = Level.ERROR, Level.WARNING, Level.NOTE

# --- Fields and objects -------------------------------------------------------------------------

UNKNOWN_FIELD = _kind(
    _ERROR,
    "unknown-field",
    "The cluster drops the field without a word, and what is left demands less.",
    "Correct its name or its place.",
)
WRONG_TYPE = _kind(
    _ERROR, "wrong-type", "The cluster refuses the object for a value's type.", "Correct the value."
)
REFUSED_VALUE = _kind(
    _ERROR,
    "refused-value",
    "The cluster refuses the object for a value that its API does not list.",
    "Take one of the values that the API has.",
)
MISSING_FIELD = _kind(
    _ERROR,
    "missing-field",
    "The cluster refuses the object, since a field that must be there is missing.",
    "Add it; for the default identity leave signedIdentity out.",
)
UNNAMED_OBJECT = _kind(
    _ERROR, "unnamed-object", "The object has no name that a cluster takes.", "Name it."
)
OBJECT_TWICE = _kind(
    _ERROR,
    "object-twice",
    "Two documents are the same object, and the cluster keeps the one that is applied last.",
    "Keep one of them, or lint the folders of different clusters one by one.",
)
NAMESPACE_UNSAID = _kind(
    _NOTE,
    "namespace-unsaid",
    "An ImagePolicy names no namespace, so it lands wherever it is applied.",
    "Write metadata.namespace.",
)
OTHER_API = _kind(
    _ERROR,
    "other-api",
    "The engine does not read policies of this API, so nothing in it is enforced.",
    "Take it over with `imgsec policy import`, or name the engine that reads it with --engine.",
)
UNKNOWN_API = _kind(
    _ERROR,
    "unknown-api",
    "No engine that imgsec knows reads policies of this API or kind.",
    "Use portieris.cloud.ibm.com/v1 and ImagePolicy or ClusterImagePolicy.",
)
FOREIGN_POLICY = _kind(
    _NOTE,
    "foreign-policy",
    "The object is another product's, of a kind with the same name; it was not looked at.",
    "With kubectl say clusterimagepolicies.portieris.cloud.ibm.com, or you get the other one.",
)
NO_RULES = _kind(
    _WARNING,
    "no-rules",
    "A policy has no rules, so every image is denied where it alone counts.",
    "Add rules, or remove the object.",
)
EMPTY_NAME = _kind(
    _ERROR, "empty-name", "A rule without a name is met by no image.", "Write the repository."
)

# --- What a rule demands ------------------------------------------------------------------------

UNCHECKED_RULE = _kind(
    _NOTE,
    "unchecked-rule",
    "A rule without a policy lets images through unseen: no check, no digest written.",
    "Demand something, or leave it so if that is meant.",
)
CATCH_ALL_UNCHECKED = _kind(
    _ERROR,
    "catch-all-unchecked",
    "Every image that no other rule names is let through unseen.",
    "Name the repositories that may run unchecked, and let no rule be just a star.",
)
ACCEPTS_ANYTHING = _kind(
    _WARNING,
    "accepts-anything",
    "insecureAcceptAnything proves nothing: it only asks that the image is there.",
    "Demand signedBy with a key.",
)
REJECTS_EVERYTHING = _kind(
    _NOTE, "rejects-everything", "A rule denies all that it names.", "Leave it if that is meant."
)
STORE_WITHOUT_REQUIREMENTS = _kind(
    _ERROR,
    "store-without-requirements",
    "A signature store is named and no requirement, so no signature is asked for.",
    "Add requirements with signedBy.",
)
SWITCHED_OFF = _kind(
    _WARNING,
    "switched-off",
    "A check is configured and not enabled, so it does not happen.",
    "Set enabled: true, or take it out.",
)
SIMPLE_WITH_TRUST = _kind(
    _ERROR,
    "simple-with-trust",
    "Simple signing and trust in one rule deny every image, up to Portieris 0.14.3.",
    "Demand one of them.",
)
NO_TRUST_SERVER = _kind(
    _ERROR,
    "no-trust-server",
    "Trust is demanded of a registry for which the engine knows no trust server.",
    "Name it in trust.trustServer, or demand simple signing.",
)
TRUST_OF_LATEST = _kind(
    _WARNING,
    "trust-of-latest",
    "Trust looks up the tag latest for the digest that its own rewrite puts into pods.",
    "Set mutateImage: false, or demand simple signing.",
)
ADVISOR_FOREIGN_HOST = _kind(
    _ERROR,
    "advisor-foreign-host",
    "Vulnerability Advisor is demanded of a registry that it does not serve: always denied.",
    "Demand it of icr.io and its regions only.",
)
TRUST_FOREIGN_HOST = _kind(
    _ERROR,
    "trust-foreign-host",
    "CISE supports trust for IBM's registries, and for others with a trust server only.",
    "Name trust.trustServer, or take trust out of the rule.",
)
IBM_LOOKALIKE = _kind(
    _WARNING,
    "ibm-lookalike",
    "The host ends in the letters of icr.io and is not IBM's; the engine takes it for IBM's.",
    "Check the host: IBM's are icr.io and names that end in .icr.io.",
)
STORE_URL = _kind(
    _ERROR,
    "store-url",
    "storeURL is not an http or https address, so every image is denied.",
    "Write https://host/path.",
)
PLAIN_STORE_URL = _kind(
    _WARNING,
    "plain-store-url",
    "Signatures are fetched over plain HTTP, where anybody on the way can withhold them.",
    "Use https.",
)
CREDENTIALS_IN_URL = _kind(
    _ERROR,
    "credentials-in-url",
    "An address holds a password, which everybody reads who may read policies.",
    "Put it into a Secret and name that in storeSecret; change the password.",
)
KEY_SECRET_UNNAMED = _kind(
    _ERROR,
    "key-secret-unnamed",
    "signedBy without keySecret denies every image.",
    "Name the Secret with the public key.",
)
IDENTITY_INCOMPLETE = _kind(
    _ERROR,
    "identity-incomplete",
    "An identity rule lacks what its type needs, or has it in a form that the engine refuses.",
    "See the engine's rules in docs/policy-lint.md.",
)
IDENTITY_FIELD_UNUSED = _kind(
    _WARNING,
    "identity-field-unused",
    "An identity rule has a field that its type does not read.",
    "Take the field out, or choose the type that reads it.",
)
IDENTITY_FAILS_CHILD = _kind(
    _ERROR,
    "identity-fails-child",
    "The template's image becomes a digest, and its pods then fail matchExact.",
    "Use the default identity or matchRepository, or set mutateImage: false.",
)

# --- Names --------------------------------------------------------------------------------------

NEVER_MET = _kind(
    _ERROR,
    "never-met",
    "No image has a text that meets the rule's name.",
    "Write host/path as it stands in workloads.",
)
SHORT_NAME = _kind(
    _WARNING,
    "short-name",
    "A name without a host is met only by workloads that leave the host out, too.",
    "Write docker.io/library/... and the short form, if workloads use both.",
)
HOST_ONLY = _kind(
    _WARNING,
    "host-only",
    "A name that is just a host is met by images of it that name a port, and by no others.",
    "Write host/*.",
)
HOST_SPELLING = _kind(
    _WARNING,
    "host-spelling",
    "The host is spelled in a way that workloads rarely use, and names are compared as text.",
    "Spell it as the workloads do; let a second rule name the other spelling.",
)
SPOOFABLE_HOST = _kind(
    _ERROR,
    "spoofable-host",
    "Images of somebody else's host meet a rule that lets them through unsigned.",
    "Write the whole host, or *.domain/ with its dot and slash.",
)
HOST_NOT_ANCHORED = _kind(
    _WARNING,
    "host-not-anchored",
    "Up to Portieris 0.14.1 a star in the host is met by slashes, so a foreign host meets it, too.",
    "Update to 0.14.2 or later, or write each host.",
)
LONGER_NAMES = _kind(
    _WARNING,
    "longer-names",
    "A star right behind a name is met by longer names, which may be somebody else's.",
    "End the name with /*, or with :* for its tags.",
)
ANY_NAMESPACE = _kind(
    _WARNING,
    "any-namespace",
    "The rule lets images of any namespace of a public registry through unsigned.",
    "Name the namespaces that are yours.",
)
SPELLING_BYPASS = _kind(
    _WARNING,
    "spelling-bypass",
    "Another spelling of the same image is decided by a rule that demands less.",
    "Let no rule be that wide, or demand the same there.",
)
HUB_FORMS = _kind(
    _NOTE,
    "hub-forms",
    "A Docker Hub image has further spellings that no rule names, so these are denied.",
    "Add a rule for each form that workloads use.",
)
MISSING_VARIANT = _kind(
    _NOTE,
    "missing-variant",
    "Another host of the same registry family is named by no rule.",
    "Add it if workloads use that host, too.",
)
WORKLOAD_SPELLING = _kind(
    _WARNING,
    "workload-spelling",
    "No rule names a workload's image as it is spelled there, and one does in its full form.",
    "Spell it in the workload as the rule does.",
)

# --- Precedence ---------------------------------------------------------------------------------

DUPLICATE_RULE = _kind(
    _WARNING,
    "duplicate-rule",
    "A rule has the name of an earlier one, which always wins.",
    "Keep one of them.",
)
DEAD_RULE = _kind(
    _WARNING,
    "dead-rule",
    "Every image that meets the rule is decided by an earlier one of the same weight.",
    "Remove it, or put it first: names weigh as much as they have characters that are no star.",
)
SHADOWED_RULE = _kind(
    _WARNING,
    "shadowed-rule",
    "Some images that a rule names are decided by another one that demands less.",
    "Give the stricter rule more literal characters, or the laxer one fewer images.",
)
DIGEST_UNCOVERED = _kind(
    _NOTE,
    "digest-uncovered",
    "The rule does not cover its images when they are deployed by digest.",
    "Add the name with @* behind it; from Portieris 0.14.3 a name without a tag covers digests.",
)
CHILD_UNCOVERED = _kind(
    _ERROR,
    "child-uncovered",
    "The template's image becomes a digest, which the rule does not cover, so its pods are denied.",
    "Name the repository without a tag, in the form with host, or set mutateImage: false.",
)
CLUSTER_POLICY_OFF = _kind(
    _NOTE,
    "cluster-policy-off",
    "An ImagePolicy switches all ClusterImagePolicies off in its namespace.",
    "Repeat in it what the namespace still needs.",
)
WEAKER_THAN_CLUSTER = _kind(
    _WARNING,
    "weaker-than-cluster",
    "An ImagePolicy demands less of an image than the cluster's policy does elsewhere.",
    "Demand the same, or leave it so if that is meant.",
)

# --- Secrets ------------------------------------------------------------------------------------

KEY_SECRET_MISSING = _kind(
    _WARNING,
    "key-secret-missing",
    "Secrets are among the files, and one that a policy names is not.",
    "Add it, or see that it is in the cluster before the policy is.",
)
KEY_COPIES = _kind(
    _NOTE,
    "key-copies",
    "The Secret is looked for in the namespace of each workload, and needs a copy in each.",
    "Name one namespace in keySecretNamespace.",
)
KEY_DATA_MISSING = _kind(
    _ERROR,
    "key-data-missing",
    "A key Secret has no data key called key, or nothing in it, so every image is denied.",
    "kubectl create secret generic NAME --from-file=key=public.asc",
)
KEY_UNREADABLE = _kind(
    _ERROR,
    "key-unreadable",
    "Portieris cannot read the public key as the Secret has it.",
    "Publish one armoured block with RSA or NIST keys only.",
)
PRIVATE_KEY = _kind(
    _ERROR,
    "private-key",
    "A key Secret holds a private key: whoever reads it can sign.",
    "Revoke the key with `imgsec keys revoke`, and make another.",
)
KEY_SPENT = _kind(
    _WARNING,
    "key-spent",
    "A published key is revoked, past its end date, or too short to prove anything.",
    "Publish its successor; Portieris itself ignores end dates.",
)
KEY_EXPIRING = _kind(
    _NOTE, "key-expiring", "A published key ends soon.", "Renew it, or replace it in time."
)
SECRET_INCOMPLETE = _kind(
    _ERROR,
    "secret-incomplete",
    "A Secret that a rule names lacks data that the engine asks for.",
    "Add username and password for a store, name and publicKey for a signer.",
)
