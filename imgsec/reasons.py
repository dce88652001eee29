# SPDX-License-Identifier: Apache-2.0
"""Why a command ended as it did: the outcomes, and every reason code in one table.

A reason code is part of the public contract: pipelines branch on it. The page
``docs/reasons.md`` is generated from this table; a code is never renamed or given another
outcome, only added. Not here: how an outcome becomes an exit code (``cli/failures.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Outcome(IntEnum):
    """How a question was answered, from best to worst; the worst of several wins."""

    PASS = 0
    UNDECIDED = 1
    REFUSED = 2
    USAGE = 3
    INTERNAL = 4

    @property
    def word(self) -> str:
        """The word that text and JSON output use.

        >>> Outcome.REFUSED.word
        'refused'
        """
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Reason:
    """A stable code, a sentence for people, what to do next, and whether to try again."""

    code: str
    outcome: Outcome
    text: str
    hint: str
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class ReasonKind:
    """A row of the table; called with a sentence (and a better hint) it gives a `Reason`."""

    code: str
    outcome: Outcome
    meaning: str
    hint: str
    retryable: bool = False

    def __call__(self, text: str, *, hint: str | None = None) -> Reason:
        return Reason(self.code, self.outcome, text, hint or self.hint, self.retryable)


CATALOGUE: dict[str, ReasonKind] = {}


def _kind(
    code: str, outcome: Outcome, meaning: str, hint: str, *, retryable: bool = False
) -> ReasonKind:
    if code in CATALOGUE:
        raise ValueError(f"reason code {code!r} is listed twice")
    CATALOGUE[code] = ReasonKind(code, outcome, meaning, hint, retryable)
    return CATALOGUE[code]


# --- The question was wrong -------------------------------------------------------------------

INVALID_OPTION = _kind(
    "invalid-option",
    Outcome.USAGE,
    "An option or argument is unknown, missing or has an impossible value.",
    "Run the command with --help to see its options.",
)
ENGINE_UNKNOWN = _kind(
    "engine-unknown",
    Outcome.USAGE,
    "The admission engine is none whose behaviour imgsec knows.",
    "Name one of those that are known with --engine; the nearest older one behaves most alike.",
)
POLICY_MALFORMED = _kind(
    "policy-malformed",
    Outcome.USAGE,
    "A policy has a field that the cluster would drop, or a value that it would refuse.",
    "Correct it, else the cluster enforces something else: `imgsec policy lint FILE` shows all.",
)
POLICY_FOREIGN = _kind(
    "policy-foreign",
    Outcome.USAGE,
    "A policy is of an API that the engine does not read.",
    "Give the policies of the engine that is asked; `imgsec policy import` takes older ones over.",
)
NO_POLICY = _kind(
    "no-policy",
    Outcome.USAGE,
    "There is no policy of an admission engine in what was given.",
    "Name files or folders with ClusterImagePolicy or ImagePolicy objects.",
)
WORKLOAD_MALFORMED = _kind(
    "workload-malformed",
    Outcome.USAGE,
    "A manifest is not the Kubernetes object that it claims to be.",
    "Check it with: kubectl apply --dry-run=client -f FILE",
)
INVALID_REFERENCE = _kind(
    "invalid-reference",
    Outcome.USAGE,
    "An image reference does not follow the grammar host/path[:tag][@sha256:digest].",
    "Write the registry host, the path and a tag or digest: registry.example.com/team/app:1.0",
)
INVALID_DIGEST = _kind(
    "invalid-digest",
    Outcome.USAGE,
    "A digest is not sha256: followed by 64 lower-case hexadecimal digits.",
    "Copy the digest as `imgsec resolve IMAGE` prints it.",
)
INVALID_FINGERPRINT = _kind(
    "invalid-fingerprint",
    Outcome.USAGE,
    "A key fingerprint is not 40 hexadecimal digits.",
    "Give the full fingerprint; short key ids and user ids never select a key.",
)
INVALID_PATTERN = _kind(
    "invalid-pattern",
    Outcome.USAGE,
    "A repository pattern cannot be what is meant, or could be met by a foreign image.",
    "Write host and path, with * for a whole part: registry.example.com/team/*",
)
INVALID_KEY_LOCATION = _kind(
    "invalid-key-location",
    Outcome.USAGE,
    "A key location has no scheme that this command reads.",
    "Use kms://ALIAS-OR-ID, file:PATH or env:NAME (public keys also secret:FILE, https://...).",
)
INVALID_ALIAS = _kind(
    "invalid-alias",
    Outcome.USAGE,
    "A KMS alias is not 2 to 74 letters, digits, dashes or underscores, or is reserved.",
    "Choose a name such as release-signing.",
)
INVALID_NAME = _kind(
    "invalid-name",
    Outcome.USAGE,
    "A Kubernetes name or namespace does not follow the rules for DNS names.",
    "Use lower-case letters, digits and dashes.",
)
TAG_REQUIRED = _kind(
    "tag-required",
    Outcome.USAGE,
    "The image is named without a tag, and this command never assumes latest.",
    "Name the tag that will be deployed; a digest may stand behind it: host/path:tag@sha256:...",
)
MISSING_CREDENTIAL = _kind(
    "missing-credential",
    Outcome.USAGE,
    "The command needs a credential and none was given.",
    "Give --api-key-file (or IBM_CLOUD_APIKEY), --iam-profile, --vpc-instance or --iam-token-file.",
)
INPUT_UNREADABLE = _kind(
    "input-unreadable",
    Outcome.USAGE,
    "A file that an option names cannot be read.",
    "Check the path and its permissions.",
)
INPUT_MALFORMED = _kind(
    "input-malformed",
    Outcome.USAGE,
    "A file that an option names is too large or not of the expected form.",
    "Check the file against the documentation of the option.",
)
SCANNER_UNPINNED = _kind(
    "scanner-unpinned",
    Outcome.USAGE,
    "A scanner is to be run that nobody pinned, so it could be anybody's program.",
    "Give --scanner-sha256, the digest of the binary you reviewed, or --allow-unpinned-scanner.",
)
INSECURE_ADDRESS = _kind(
    "insecure-address",
    Outcome.USAGE,
    "An address would carry credentials without TLS, or to a host they do not belong to.",
    "Use https://, or name the host with --trust-host if it is meant to have the token.",
)

# --- No answer could be reached -----------------------------------------------------------------

NOTHING_CHECKED = _kind(
    "nothing-checked",
    Outcome.UNDECIDED,
    "There was nothing to judge; an empty set never passes.",
    "Name at least one image.",
)
TOOL_MISSING = _kind(
    "tool-missing",
    Outcome.UNDECIDED,
    "A program that imgsec runs is not installed.",
    "Install it, or name its folder with --tools-dir.",
)
TOOL_OUTDATED = _kind(
    "tool-outdated",
    Outcome.UNDECIDED,
    "A program that imgsec runs is older than what it needs.",
    "Update it, or name the folder of a newer one with --tools-dir.",
)
TOOL_FAILED = _kind(
    "tool-failed",
    Outcome.UNDECIDED,
    "A program that imgsec runs ended with an error.",
    "Read what it printed; it stands in the reason's text.",
)
TIMEOUT = _kind(
    "timeout",
    Outcome.UNDECIDED,
    "A time limit was reached.",
    "Try again, or raise --timeout.",
    retryable=True,
)
OUTPUT_UNWRITABLE = _kind(
    "output-unwritable",
    Outcome.UNDECIDED,
    "A file or folder that was asked for cannot be written.",
    "Check the path, its permissions and the free space, then run the command again.",
)
STORAGE_UNAVAILABLE = _kind(
    "storage-unavailable",
    Outcome.UNDECIDED,
    "No private directory for the key could be made.",
    "Make /dev/shm or the directory in TMPDIR writable, with a path of at most 60 characters.",
)
CREDENTIAL_REJECTED = _kind(
    "credential-rejected",
    Outcome.UNDECIDED,
    "IAM, the KMS or the registry does not accept the credential.",
    "Check that the credential is valid, not expired and meant for this account.",
)
PERMISSION_DENIED = _kind(
    "permission-denied",
    Outcome.UNDECIDED,
    "The credential is valid but may not do what was asked.",
    "Ask for the role that the reason's text names.",
)
SERVICE_UNREACHABLE = _kind(
    "service-unreachable",
    Outcome.UNDECIDED,
    "A service could not be reached, or answered with an error after every retry.",
    "Check the address and the network, then try again.",
    retryable=True,
)
RATE_LIMITED = _kind(
    "rate-limited",
    Outcome.UNDECIDED,
    "A service asked for patience until the retries were used up.",
    "Try again later.",
    retryable=True,
)
ANSWER_MALFORMED = _kind(
    "answer-malformed",
    Outcome.UNDECIDED,
    "A service answered with something that its API does not allow.",
    "Check that the address is the service's API, not a login page or a proxy.",
    retryable=True,
)
REQUEST_REFUSED = _kind(
    "request-refused",
    Outcome.UNDECIDED,
    "A service says that it cannot do what was asked, as it was asked.",
    "Read its words in the reason's text; check the names, the instance and the key ring.",
)
ANSWER_TOO_LARGE = _kind(
    "answer-too-large",
    Outcome.UNDECIDED,
    "An answer is larger than imgsec accepts.",
    "Check the object at the service; it is not what its kind allows.",
)
REDIRECT_REFUSED = _kind(
    "redirect-refused",
    Outcome.UNDECIDED,
    "A service redirects a request with credentials to another host or to plain HTTP.",
    "Give the address that finally answers.",
)
AUTH_REALM_REFUSED = _kind(
    "auth-realm-refused",
    Outcome.UNDECIDED,
    "The registry wants the credential sent to a token service on another host.",
    "Name that host with --auth-realm if it belongs to the registry.",
)
KEY_NOT_FOUND = _kind(
    "key-not-found",
    Outcome.UNDECIDED,
    "The KMS, file or environment variable holds no key of that name.",
    "Check alias, instance and key ring; `imgsec setup-signing-keys` makes a key.",
)
KEY_MOVING = _kind(
    "key-moving",
    Outcome.UNDECIDED,
    "The alias of the signing key is on its way from one key to another.",
    "Try again in some minutes, or use the key that the Secret portieris-keys names.",
    retryable=True,
)
KEY_UNPUBLISHED = _kind(
    "key-unpublished",
    Outcome.UNDECIDED,
    "No Secret that imgsec made holds the public half of the key.",
    "Name the folder or the cluster in which `imgsec setup-signing-keys` published it.",
)
KEY_MALFORMED = _kind(
    "key-malformed",
    Outcome.UNDECIDED,
    "What is stored under the key's name is not one OpenPGP key of the expected kind.",
    "Store the binary export, base64 once; `imgsec setup-signing-keys` does so.",
)
KEY_STORE_MISMATCH = _kind(
    "key-store-mismatch",
    Outcome.UNDECIDED,
    "The KMS gives back other bytes than were stored.",
    "Do not use the key; look for another writer on the alias.",
)
KEY_TOO_LARGE = _kind(
    "key-too-large",
    Outcome.UNDECIDED,
    "The secret key is larger than the 7,500 bytes that the KMS holds.",
    "Use a sign-only key without subkeys.",
)
KEY_CREATION_FAILED = _kind(
    "key-creation-failed",
    Outcome.UNDECIDED,
    "gpg could not make or export the key.",
    "Read what gpg printed; it stands in the reason's text.",
)
IMAGE_NOT_FOUND = _kind(
    "image-not-found",
    Outcome.UNDECIDED,
    "The registry has no such repository, tag or digest, or hides it.",
    "Check the name, and that the credential may pull it.",
)
PLATFORM_MISSING = _kind(
    "platform-missing",
    Outcome.REFUSED,
    "The image is not there for a platform that was asked for.",
    "See what it lists with `imgsec resolve`; write a platform as linux/amd64.",
)
REQUIREMENT_UNSUPPORTED = _kind(
    "requirement-unsupported",
    Outcome.UNDECIDED,
    "The signature policy wants something of the image that imgsec cannot judge.",
    "Verify it with the tool that the policy is for; a requirement is never left out.",
)
SIGNATURE_STORE_MISSING = _kind(
    "signature-store-missing",
    Outcome.UNDECIDED,
    "The registry offers no place for simple signatures.",
    "Name a folder for them with --lookaside, or use a registry with the extension (icr.io).",
)
PUSHED_UNSIGNED = _kind(
    "pushed-unsigned",
    Outcome.UNDECIDED,
    "Signing ended with an error, so the image stands in the registry without its signature.",
    "Run the command again; it signs what is missing.",
    retryable=True,
)
SCAN_INCOMPLETE = _kind(
    "scan-incomplete",
    Outcome.UNDECIDED,
    "A scan has not finished.",
    "Run the gate again later.",
    retryable=True,
)
SCAN_TIMEOUT = _kind(
    "scan-timeout",
    Outcome.UNDECIDED,
    "A scan did not finish before the time was up.",
    "Raise --timeout, or run the gate again later.",
    retryable=True,
)
SCAN_STATUS_UNKNOWN = _kind(
    "scan-status-unknown",
    Outcome.UNDECIDED,
    "The advisor answered with a status that imgsec does not know.",
    "Look at the report; update imgsec if the status is new.",
)
SCAN_CONTRADICTION = _kind(
    "scan-contradiction",
    Outcome.UNDECIDED,
    "The report's status and its findings contradict each other.",
    "Look at the report; nothing passes on a contradiction.",
)
NOT_ASSESSED = _kind(
    "not-assessed",
    Outcome.UNDECIDED,
    "Nobody assessed the image: no supported distribution, or a registry without an advisor.",
    "Use a base image that the advisor supports, or add a source: --report FILE, --scanner trivy.",
)
DISTRIBUTION_END_OF_LIFE = _kind(
    "distribution-end-of-life",
    Outcome.UNDECIDED,
    "The image's distribution gets no security updates any more, so a clean scan says nothing.",
    "Build on a release that is supported, or say in the gate file what is to become of such ones.",
)
FOREIGN_REPORT = _kind(
    "foreign-report",
    Outcome.UNDECIDED,
    "No report that was given is about this very digest.",
    "Scan the image by its digest, and give the report of that run.",
)
STALE_REPORT = _kind(
    "stale-report",
    Outcome.UNDECIDED,
    "A report, or the data behind it, is older than allowed, or does not say how old it is.",
    "Scan again with fresh data; --max-age says how old a report may be.",
)
BASELINE_UNUSABLE = _kind(
    "baseline-unusable",
    Outcome.UNDECIDED,
    "Nobody knows what the baseline has, so what is new cannot be told.",
    "Name the image that was released before, and see that every source has scanned it.",
)
REPORT_MALFORMED = _kind(
    "report-malformed",
    Outcome.UNDECIDED,
    "A report is empty, cut off, or of no form that imgsec reads.",
    "Give the JSON of Trivy, Grype or Vulnerability Advisor, or SARIF, as the scanner wrote it.",
)
REPORT_PARTIAL = _kind(
    "report-partial",
    Outcome.UNDECIDED,
    "A report leaves out a part of the image, so what it does not list may be there all the same.",
    "Scan the whole image: operating-system packages and all others.",
)
SCANNER_MISMATCH = _kind(
    "scanner-mismatch",
    Outcome.UNDECIDED,
    "The scanner on this machine is not the one that was pinned.",
    "Find out who replaced it. If it was you, give its new --scanner-sha256.",
)
ADMISSION_OPEN = _kind(
    "admission-open",
    Outcome.UNDECIDED,
    "Something that the engine asks could not be asked here, so the admission is not known.",
    "Leave --offline out, or give what is missing: the trace names it.",
)
LINT_INCOMPLETE = _kind(
    "lint-incomplete",
    Outcome.UNDECIDED,
    "The lint ended before it had compared all rules, so what it did not find may be there.",
    "Lint the policies of each cluster by themselves, and give rules fewer stars.",
)
DIFF_INCOMPLETE = _kind(
    "diff-incomplete",
    Outcome.UNDECIDED,
    "Not all rules that could share images were compared, so what did not show may be there.",
    "Name the images that count with --image, or compare fewer policies at once.",
)
DIFF_UNDECIDED = _kind(
    "diff-undecided",
    Outcome.UNDECIDED,
    "Workloads are undecided before and after, so that a change of theirs would not show.",
    "Let the engine's questions be answered: leave --offline out, and see why with `imgsec admit`.",
)
NOT_ENFORCED = _kind(
    "not-enforced",
    Outcome.UNDECIDED,
    "No admission webhook of the engine is registered: the policies decide about nothing.",
    "Install Portieris; docs/policies.md tells how, and how to see that it is on.",
)
ENGINE_AMBIGUOUS = _kind(
    "engine-ambiguous",
    Outcome.UNDECIDED,
    "Several versions of the admission engine run in the cluster: either may answer.",
    "Name the version to judge by with --engine; once for each, if they shall go on side by side.",
    retryable=True,
)
CLUSTER_UNREACHABLE = _kind(
    "cluster-unreachable",
    Outcome.UNDECIDED,
    "kubectl could not reach the cluster, or the cluster did not accept the request.",
    "Check the context; `kubectl version` must answer.",
    retryable=True,
)
POLICY_ENGINE_MISSING = _kind(
    "policy-engine-missing",
    Outcome.UNDECIDED,
    "The cluster does not know the kind of the policy.",
    "Install Portieris, or have it installed: its CRDs are not in the cluster.",
)
NAMESPACE_MISSING = _kind(
    "namespace-missing",
    Outcome.UNDECIDED,
    "The cluster does not have the namespace of the object.",
    "Create the namespace first, or correct its name.",
)
OBJECT_CHANGED = _kind(
    "object-changed",
    Outcome.UNDECIDED,
    "Somebody else changed the object in the cluster while this was about to.",
    "Try again: what is there now is looked at anew.",
    retryable=True,
)
PART_MISSING = _kind(
    "part-missing",
    Outcome.UNDECIDED,
    "A part that the sandbox or the demo needs is missing or does not start.",
    "Run ./scripts/demo, which installs what is missing.",
)

# --- The answer is no ---------------------------------------------------------------------------

SIGNATURE_MISSING = _kind(
    "signature-missing",
    Outcome.REFUSED,
    "The digest carries no signature.",
    "Sign it with `imgsec sign-image`.",
)
SIGNATURE_UNTRUSTED = _kind(
    "signature-untrusted",
    Outcome.REFUSED,
    "A signature was made by another key.",
    "Sign with the expected key, or check the key that you verify with.",
)
SIGNATURE_INVALID = _kind(
    "signature-invalid",
    Outcome.REFUSED,
    "A signature does not verify, or is not one binary OpenPGP message by one signer.",
    "Sign the image again with `imgsec sign-image`.",
)
SIGNATURE_EXPIRED = _kind(
    "signature-expired",
    Outcome.REFUSED,
    "A signature is past its own end date.",
    "Sign the image again.",
)
SIGNATURE_WEAK = _kind(
    "signature-weak",
    Outcome.REFUSED,
    "A signature uses a digest algorithm that no longer protects.",
    "Sign the image again; SHA-256 or better is used.",
)
PAYLOAD_MALFORMED = _kind(
    "payload-malformed",
    Outcome.REFUSED,
    "What was signed is not a strict simple-signing payload.",
    "Sign the image again with `imgsec sign-image`.",
)
ADMISSION_DENIED = _kind(
    "admission-denied",
    Outcome.REFUSED,
    "The cluster would not admit the workload.",
    "Sign the image, or let a rule name it: the trace says which rule decided, and which almost.",
)
EXPECTATION_MISSED = _kind(
    "expectation-missed",
    Outcome.REFUSED,
    "A test of a suite expected another admission than is predicted.",
    "If the policy is meant so, change the test; else the policy does something else than it did.",
)
NO_HISTORY = _kind(
    "no-history",
    Outcome.REFUSED,
    "The policy does not tell what it was before, or is not there.",
    "Only what `imgsec publish-policy --apply` changed can be rolled back.",
)
POLICY_DIFFERS = _kind(
    "policy-differs",
    Outcome.REFUSED,
    "Other policies decide about some images or workloads otherwise, and that was asked.",
    "Read the changes; leave --exit-code out if they are meant.",
)
POLICY_FLAWED = _kind(
    "policy-flawed",
    Outcome.REFUSED,
    "The lint of policies found errors, or warnings where these refuse, too.",
    "Correct what it names; docs/policy-lint.md tells what each finding means.",
)
CHILD_DENIED = _kind(
    "child-denied",
    Outcome.REFUSED,
    "The object would be admitted, and the pods that are made from it would not.",
    "Use an identity that holds for digests (matchRepository), or mutateImage: false.",
)
WEBHOOK_FAILS = _kind(
    "webhook-fails",
    Outcome.REFUSED,
    "The engine breaks on the workload: its failurePolicy decides, which is Fail by default.",
    "Name the image by a tag, or by a sha256 digest.",
)
POLICY_REJECTS = _kind(
    "policy-rejects",
    Outcome.REFUSED,
    "The signature policy refuses every image of this scope.",
    "Pull it from a place that the policy lets through, or add a scope for it.",
)
IDENTITY_MISMATCH = _kind(
    "identity-mismatch",
    Outcome.REFUSED,
    "The signature is for another image name.",
    "Sign the image under the name that is deployed.",
)
DIGEST_MISMATCH = _kind(
    "digest-mismatch",
    Outcome.REFUSED,
    "The signature, or what the registry sent, is for another digest.",
    "Treat the registry's answer as hostile; sign the right digest.",
)
DIGEST_DRIFT = _kind(
    "digest-drift",
    Outcome.REFUSED,
    "The tag names another digest now than when the command began.",
    "Run the pipeline again from the scan, for the digest that the tag names now.",
)
TOO_MANY_SIGNATURES = _kind(
    "too-many-signatures",
    Outcome.UNDECIDED,
    "The digest carries more signatures than a verifier would read.",
    "Push the image anew and sign it once.",
)
KEY_FINGERPRINT_MISMATCH = _kind(
    "key-fingerprint-mismatch",
    Outcome.REFUSED,
    "The key that was found is not the key that was expected.",
    "Find out who changed the key or the fingerprint, before anything is signed or believed.",
)
KEY_RETIRED = _kind(
    "key-retired",
    Outcome.REFUSED,
    "Another key has replaced this one; what it signs now would not be accepted.",
    "Sign with the alias, or with the key that the Secret portieris-keys names.",
)
KEY_UNUSABLE = _kind(
    "key-unusable",
    Outcome.REFUSED,
    "The key may not sign, or a verifier could not read it.",
    "Make a sign-only RSA 4096 key with `imgsec setup-signing-keys`.",
)
KEY_UNREADABLE = _kind(
    "key-unreadable",
    Outcome.REFUSED,
    "A verifier cannot read the key as it is published.",
    "Publish one armoured block with RSA or NIST keys only.",
)
KEY_EXPIRED = _kind(
    "key-expired",
    Outcome.REFUSED,
    "The key is past its end date.",
    "Renew the key or sign with its successor.",
)
KEY_REVOKED = _kind(
    "key-revoked",
    Outcome.REFUSED,
    "The key has been revoked.",
    "Sign with another key.",
)
KEY_CONFLICT = _kind(
    "key-conflict",
    Outcome.REFUSED,
    "What the KMS holds under the two aliases does not belong together.",
    "Choose another alias, or put right what the reason's text names.",
)
EXISTING_KEY_FOUND = _kind(
    "existing-key-found",
    Outcome.REFUSED,
    "There is a signing key already, from an older set-up, and a second one would be made.",
    "Take it over with --adopt. For a new key beside it, use another key ring, or name it there.",
)
NO_RULE = _kind(
    "no-rule",
    Outcome.REFUSED,
    "No rule of any policy names the image, so the cluster denies it.",
    "Name it with --repository, or with --allow-unchecked if it may run unsigned.",
)
RUNNING_IMAGES_REFUSED = _kind(
    "running-images-refused",
    Outcome.REFUSED,
    "The policy would refuse images that run in the cluster now, so it was not applied.",
    "Sign them, let them through with --allow-unchecked, or give --accept-lockout.",
)
LAXER_RULE = _kind(
    "laxer-rule",
    Outcome.REFUSED,
    "Another rule of the cluster lets images in that the policy would check, so it was not"
    " applied.",
    "Narrow or remove the rules that are named, a cluster-wide * first. --accept-laxer accepts all"
    " of them: give it once no other is left than those that are meant.",
)
KEY_SECRET_MISSING = _kind(
    "key-secret-missing",
    Outcome.REFUSED,
    "The policy demands a signature by the key in a Secret that the cluster does not have.",
    "Publish the key there first: imgsec setup-signing-keys --apply; or name another Secret.",
)
INTENT_INEXPRESSIBLE = _kind(
    "intent-inexpressible",
    Outcome.REFUSED,
    "The engine has no words for what the intent says, or would mean something else by them.",
    "Say it otherwise, or render for another engine: docs/policy-intent.md has what each can say.",
)
INTENT_CONTRADICTS = _kind(
    "intent-contradicts",
    Outcome.REFUSED,
    "Two rules ask different things of one image, and neither is the narrower one.",
    "Write a rule for the images that both name, or let the two ask the same.",
)
INTENT_MISREAD = _kind(
    "intent-misread",
    Outcome.REFUSED,
    "By its own order of search the engine would decide otherwise about an image than is meant.",
    "Name the image that the reason tells of in a rule of its own, or narrow the other rule.",
)
INTENT_EXPIRED = _kind(
    "intent-expired",
    Outcome.REFUSED,
    "The last day of what the intent lets through unchecked is over.",
    "Take the rule out, or have somebody take the risk anew, with a new day.",
)
POLICY_UNTRANSLATED = _kind(
    "policy-untranslated",
    Outcome.REFUSED,
    "A policy says something that cannot be taken over as it is meant.",
    "Change what the reason names in the old policy, or write that part anew.",
)
FOREIGN_OBJECT = _kind(
    "foreign-object",
    Outcome.REFUSED,
    "A file or object of that name exists and was not made by imgsec.",
    "Choose another name or folder, or take it over with --adopt.",
)
FIELD_DROPPED = _kind(
    "field-dropped",
    Outcome.REFUSED,
    "The cluster would silently drop a field of the object, and so change what it means.",
    "Update Portieris and its CRDs in the cluster; nothing was applied.",
)
KEPT_OTHERWISE = _kind(
    "kept-otherwise",
    Outcome.REFUSED,
    "The cluster keeps another object than it was sent.",
    "Something changes policies as they are written: see with kubectl get what is enforced.",
)
FINDING_IN_FORCE = _kind(
    "finding-in-force",
    Outcome.REFUSED,
    "The scan lists a vulnerability that no exemption covers.",
    "Update the package that the finding names, rebuild and push.",
)

ASSESSMENT_REQUIRED = _kind(
    "assessment-required",
    Outcome.REFUSED,
    "The gate refuses what nobody can assess: an unsupported distribution, or one past its end.",
    "Use a base image that is supported and that the advisor or scanner knows.",
)
EXEMPTION_EXPIRED = _kind(
    "exemption-expired",
    Outcome.REFUSED,
    "An exemption's last day is over.",
    "Fix the finding, or have somebody take the risk anew, with a new end date.",
)
EXEMPTION_INVALID = _kind(
    "exemption-invalid",
    Outcome.REFUSED,
    "An entry of the ledger is not whole, so it exempts nothing.",
    "Give it an id, a scope, an owner, a reason and an end date such as 2026-12-31.",
)
EXEMPTION_NOT_KEPT = _kind(
    "exemption-not-kept",
    Outcome.UNDECIDED,
    "The advisor said yes to a change of its exemptions, and does not show it.",
    "Run `imgsec exemptions sync` again; it does what is missing.",
    retryable=True,
)
EXEMPTION_TOO_WIDE = _kind(
    "exemption-too-wide",
    Outcome.REFUSED,
    "An exemption holds for more images, or for longer, than anybody reviewed.",
    "Narrow its scope to a repository, tag or digest, and let it end within a year.",
)
EXEMPTION_WITH_IMAGE = _kind(
    "exemption-with-image",
    Outcome.REFUSED,
    "An exemption is added in the same change as the image that it frees.",
    "Let somebody review the exemption in a change of its own.",
)

# --- A bug in imgsec, or a demo that did not go as promised ---------------------------------------

INTERNAL_ERROR = _kind(
    "internal-error",
    Outcome.INTERNAL,
    "imgsec itself failed.",
    "Report it with the version and what you ran; set IMGSEC_TRACEBACK=1 to see where.",
)
UNEXPECTED_OUTCOME = _kind(
    "unexpected-outcome",
    Outcome.INTERNAL,
    "A step of the demo ended otherwise than it must.",
    "Read the step's output in the demo's folder.",
)
