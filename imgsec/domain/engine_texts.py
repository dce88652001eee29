# SPDX-License-Identifier: Apache-2.0
"""What the engines answer, word for word, their misspellings included.

Portieris: `pkg/policy/policy.go`, `pkg/controller/multi`, `pkg/verifier`, `pkg/kubernetes`; what
stands behind ``simple:`` comes from containers/image (`signature/`), trust data's flaws from Notary
(`imgsec.domain.tuf`). CISE: its documentation.
"""

from __future__ import annotations

_SHORT = {
    **{"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n"},
    **{"\r": "\\r", "\t": "\\t", "\v": "\\v", '"': '\\"', "\\": "\\\\"},
}


def quoted(text: str) -> str:
    """As Go's ``%q`` writes it: double quotes, backslash escapes.

    >>> print(quoted('a"b'), quoted("\\x01"))
    "a\\"b" "\\x01"
    """
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# --- Resolution ---------------------------------------------------------------------------------


def no_policies(image: str) -> str:
    return f"Deny {quoted(image)}, no image policies or cluster polices"


def no_cluster_rule(image: str, namespace: str) -> str:
    return (
        f"Deny {quoted(image)}, no matching repositories in ClusterImagePolicy"
        f" and no ImagePolicies in the {quoted(namespace)} namespace"
    )


def no_own_rule(image: str) -> str:
    return f"Deny {quoted(image)}, no matching repositories in the ImagePolicies"


def cise_no_rule(image: str) -> str:
    return f"Deny, no image policies or cluster polices for {image}"


# --- Requests -----------------------------------------------------------------------------------

UNHANDLED_CONTAINER_TYPE = "Unhandled container type"
NO_REQUEST = "bad request, no admission request present"


def undecodable(why: str) -> str:
    return f"bad request, unable to decode admission review body: {why}"


def invalid_patch(why: str) -> str:
    return f"Invalid Patch: {why}"


def invalid_image(image: str) -> str:
    return f"Deny {quoted(image)}, invalid image name"


def unsupported_resource(group_version_resource: str) -> str:
    return (
        f'The resource "{group_version_resource}" is not supported. Make sure that you are using a'
        " supported kubectl version, and that you are using a supported Kubernetes workload type"
    )


# --- Simple signing: what goes wrong before a signature is looked at ----------------------------

KEY_SECRET_MISSING = "KeySecret missing in signedBy requirement"  # noqa: S105 - a sentence
KEY_EMPTY = "Key: empty"


def secret_not_found(name: str) -> str:
    return f"secrets {quoted(name)} not found"


def no_key_attribute(name: str, namespace: str) -> str:
    return f'secret {quoted(name)} in {quoted(namespace)} does not contain a "key" attribute'


def undecodable_key(why: str = "EOF") -> str:
    return f"Unable to decode key: {why}"


def no_public_key_block(found: str) -> str:
    return f'Expected "PGP PUBLIC KEY BLOCK" not found: {found}'


def invalid_identity_type(kind: str) -> str:
    return f"invalid SignedIdentity Type: {kind}"


def invalid_requirement_type(kind: str) -> str:
    return f"simple policy invalid Type: {kind}"


def invalid_prefix(prefix: str) -> str:
    return f"prefix {quoted(prefix)} is not valid"


def bare_reference(reference: str) -> str:
    return f"dockerReference {quoted(reference)} contains neither a tag nor digest"


def invalid_claim(member: str, claim: str, why: str) -> str:
    """member: dockerReference or dockerRepository."""
    return f"Invalid format of {member} {quoted(claim)}: {why}"


def no_web_address(url: str) -> str:
    return f"expecting https:// or http:// URL, got: {url}"


def no_username(secret: str) -> str:
    return f"secret: {secret}, does not contain username"


def no_password(secret: str) -> str:
    return f"secret: {secret}, does not contain password"


# --- Simple signing: denials and errors ---------------------------------------------------------

NO_SIGNATURE = "A signature was required, but no signature exists"
TAG_AND_DIGEST = "Docker references with both a tag and digest are currently not supported"
INVALID_REFERENCE_FORMAT = "invalid reference format"
NO_OBJECT = "JSON object expected, got <nil>"


def denied(layer: str, why: str) -> str:
    """A denial of the layer simple or trust."""
    return f"{layer}: policy denied the request: {why}"


def failed(layer: str, why: str) -> str:
    """An error of the layer simple or trust, which stops the containers behind it."""
    return f"{layer}: {why}"


def identity_not_accepted(identity: str) -> str:
    return f"Signature for identity {quoted(identity)} is not accepted"


def digest_does_not_match(digest: str) -> str:
    return f"Signature for digest {digest} does not match"


def none_accepted(reasons: list[str]) -> str:
    return f"None of the signatures were accepted, reasons: {'; '.join(reasons)}"


def rejected(reference: str) -> str:
    return f"Running image docker://{reference} is rejected by policy."


def key_not_found(key_id: int) -> str:
    return f"Key not found for key ID {key_id:x} in signature"


def signature_expired(when: str) -> str:
    return f"Signature expired on {when}"


def unknown_key(name: str) -> str:
    return f"Unknown key {quoted(name)}"


def unrecognized_signature(where: str, first_byte: int) -> str:
    start = f"unrecognized signature format, starting with binary {first_byte:#x}"
    return f"parsing signature {where}: {start}"


def unsupported_key(algorithm: int) -> str:
    return f"openpgp: unsupported feature: public key type: {algorithm}"


def no_pull_secret(image: str, tried: int) -> str:
    return f"Deny {quoted(image)}, no valid ImagePullSecret, {tried} tried"


def manifest_unread(version: str, repository: str, why: str) -> str:
    return f"reading manifest {version} in {repository}: {why}"


def registry_unreached(registry: str, why: str) -> str:
    return f"pinging container registry {registry}: {why}"


# --- Trust ---------------------------------------------------------------------------------------

NO_TRUST_SERVER = "no trust server could be found"
NO_AUTH_ENDPOINT = "no supported auth-endpoint found"
NO_SIGNED_TARGETS = "No signed targets found"
OTHER_PUBLIC_KEY = "Public keys are different"
OTHER_DIGEST = "Incompatible digest"
NO_VALID_PUBLIC_KEY = "no valid public key found"
TRUST_UNAUTHORIZED = "you are not authorized to perform this operation: server returned 401."


def trust_unread(image: str, why: str) -> str:
    return f"Deny {quoted(image)}, failed to get content trust information: {why}"


def trust_no_pull_secret(image: str) -> str:
    return f"Deny {quoted(image)}, no valid ImagePullSecret defined for {image}"


def auth_endpoint_unresolved(image: str, why: str) -> str:
    return f"Deny {quoted(image)}, could not resolve the auth-endpoint, {why}"


def signer_unread(image: str, why: str) -> str:
    return f"Deny {quoted(image)}, could not get signerSecret from your cluster, {why}"


def trust_misconfigured(why: str) -> str:
    return f"Trust Server/Image Configuration Error: {why}"


def no_trusted_tag(tag: str) -> str:
    return f"No valid trust data for {tag}"


def no_collection(server: str, name: str) -> str:
    """server: its host and port."""
    return f"{server} does not have trust data for {name}"


def trust_server_unavailable(status: int) -> str:
    return f"unable to reach trust server at this time: {status}."


def no_trust_file(name: str) -> str:
    return f"{name} trust data unavailable.  Has a notary repository been initialized?"


def signer_secret_empty(secret: str) -> str:
    return f"name or publicKey field in secret {secret} is empty"


def signer_key_missing(signer: str) -> str:
    return f"PublicKey not found in role {signer}"


def signature_of_signer_missing(signer: str) -> str:
    return f"no signature found for role {signer}"


# --- Both signing layers ------------------------------------------------------------------------


def conflicting(notary: str, simple: str) -> str:
    """Always, where a rule asks for both (issue 515 of Portieris)."""
    return f"Notary signs conflicting digest: {notary} simple: {simple}"


# --- The advisor --------------------------------------------------------------------------------

_ADVISOR = "Vulnerability Advisor for IBM Cloud Container Registry"


def advisor_foreign(image: str) -> str:
    return f"Cannot use {_ADVISOR} with image {quoted(image)}"


ADVISOR_NO_CREDENTIALS = f"No credentials on client to call {_ADVISOR} with"


def advisor_denied(image: str, status: str) -> str:
    return f"Image {image} CANNOT DEPLOY with {_ADVISOR} status {quoted(status)}"


def advisor_unauthorised(image: str) -> str:
    return f"Not authorised to get {_ADVISOR} scan result for {quoted(image)}: unauthorised"


def advisor_failed(image: str, why: str) -> str:
    return f"Failed to get {_ADVISOR} scan result for {quoted(image)}: {why}"


def advisor_unhandled(status: int) -> str:
    return f"Unhandled response from {_ADVISOR}: {status}"


# --- CISE ---------------------------------------------------------------------------------------

CISE_TRUST_FOREIGN = "Trust is not supported for images from this registry"
CISE_ADVISOR_FOREIGN = "VA is not supported for images from this registry"
CISE_ADVISOR_DENIED = (
    "The Vulnerability Advisor image scan assessment found issues with the container image that are"
    " not exempted. Refer to your image vulnerability report for more details by using the command"
    " `ibmcloud cr va`."
)


def cise_no_trust_data(why: str) -> str:
    return f"Deny, failed to get content trust information: {why}"


def older_no_pull_secret(image: str, namespace: str) -> str:
    """Of the Portieris that CISE came from (0.5), which asked nobody without a pull secret."""
    return f"Deny {quoted(image)}, no ImagePullSecret defined for {namespace}"


def older_no_valid_pull_secret(image: str, host: str) -> str:
    return f"Deny {quoted(image)}, no valid ImagePullSecret defined for {host}"


# --- The answer ---------------------------------------------------------------------------------


def response(messages: list[str]) -> str:
    """The text of a denial: it begins with an empty line."""
    return "\n" + "\n".join(messages)


def as_users_see_it(text: str) -> str:
    """With what the API server puts before a webhook's denial."""
    hook = "trust.hooks.securityenforcement.admission.cloud.ibm.com"
    return f'admission webhook "{hook}" denied the request: {text}'
