# SPDX-License-Identifier: Apache-2.0
"""What helps against each text of `imgsec.domain.engine_texts`.

A text is told by its whole form and never by a word in it: names of images and Secrets are foreign,
and may hold any word.
"""

from __future__ import annotations

import re

from imgsec.domain.engines import Layer

_NAME_IT = (
    "Let a rule name the image as the workload writes it, or write it as a rule does: the near"
    " misses show which rules almost named it."
)
_NO_POLICY = (
    "Without any policy everything is denied: name policies with --policies, or publish one with"
    " `imgsec publish-policy`."
)
_IMAGE = "Write the image as registry/path:tag, in lower case, without a scheme and spaces."
_ONE_VERSION = "Name the image by its tag or by its digest: of both together no signature counts."
_DIGEST = (
    "Write the image as registry/path:tag, or with a digest as `imgsec resolve` prints it: sha256:"
    " and 64 hexadecimal digits in lower case."
)
_API_VERSION = "Deploy it in a version that the engine reads, such as apps/v1 or batch/v1."

_REQUIREMENT = "Correct the requirement in the rule: `imgsec policy lint` shows what it takes."
_NAME_KEY = "Name the Secret of the public key in the rule's requirement: keySecret."
_CREATE = "Create the Secret that the rule names, in the namespace where it looks for it."
_REPUBLISH = (
    "Put the key into the Secret as the engine reads it: `imgsec keys export`, or"
    " `imgsec setup-signing-keys --apply`."
)
_KEY_KIND = (
    "The engine reads RSA and NIST keys only: sign with such a key, and publish that one:"
    " `imgsec setup-signing-keys --apply`."
)
_STORE_URL = "Begin the rule's storeURL with https:// or http://, in lower case."
_STORE_LOGIN = "Put the items username and password into the Secret that storeSecret names."

_SIGN = (
    "Sign the digest under the name that is deployed: `imgsec sign-image`; who signed it says"
    " `imgsec verify-image`."
)
_OTHER_NAME = (
    "Sign it under the name that is deployed (`imgsec sign-image --sign-identity`), or let the"
    " rule's signedIdentity take the name that was signed."
)
_OTHER_KEY = (
    "Sign it with a key that the rule's Secret holds, or put the key that signed it there:"
    " `imgsec verify-image` says who signed."
)
_AGAIN = "Sign it again with `imgsec sign-image`: this signature counts for no engine."
_NO_SIGNATURE = "Take away what lies in the signature's place, and sign with `imgsec sign-image`."
_REJECTED = "The rule rejects what it names: let one with a longer name ask for signedBy."

_PULL = (
    "The engine could not read the image: give the pod a pull Secret whose key is the registry's"
    " bare host, and see whether the image is there."
)
_LOGIN = "Give the pod a pull Secret whose key is the registry's bare host."
_MAY_NOT_READ = "The pull Secret's credential may not read the image."
_ABSENT = "The image is not in its registry: push it, or correct its name."
_UNREACHED = "See whether the registry answers, and whether the cluster reaches it."

_TRUST = "Sign the tag with Docker Content Trust, by every signer that the rule names."
_TRUST_SERVER = (
    "Name the trust server in the rule (trustServer): the engine knows those of docker.io and"
    " quay.io only."
)
_TRUST_LOGIN = "See whether the rule's trustServer is a trust server, and how it asks for logins."
_SIGNER = "Put the items name and publicKey into the signer's Secret."
_SIGNER_KEY = "Put the public key that the signer has now into the Secret that the rule names."
_SAME_DIGEST = "Let every signer that the rule names sign the same digest under the tag."
_TRUST_DATA = "The pull Secret's credential may not read the trust data."
_TRUST_AWAY = "See whether the trust server answers: the engine denies until it does."
_CISE_TRUST = (
    "The add-on knows trust for IBM's registries only: copy the image to one of those, or ask for"
    " no trust there."
)
_CONFLICT = (
    "Ask for either signatures or trust in a rule: together they deny everything, whatever they"
    " find."
)

_ADVISOR = "See what was found with `imgsec scan-gate`, and mend or exempt it."
_ADVISOR_FOREIGN = (
    "The advisor knows IBM's registries only: ask for signatures there, or copy the image to one of"
    " those."
)
_ADVISOR_LOGIN = "Give the pod a pull Secret for the registry: the engine asks the advisor with it."
_ADVISOR_MAY_NOT = "The pull Secret's credential may not read what the advisor found."
_NO_RESULT = "The advisor has no result: see with `imgsec scan-gate` whether it knows the image."

_OF_LAYER = {
    Layer.RESOLUTION: _NAME_IT,
    Layer.ADVISOR: _ADVISOR,
    Layer.SIMPLE: _SIGN,
    Layer.TRUST: _TRUST,
}
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_DENY = rf"Deny {_QUOTED}, "
# What stands before a text that says more: whose it is, and what the engine was about to do.
_BEFORE = re.compile(
    r"(?:simple: |trust: )?(?:policy denied the request: )?"
    rf"(?:Deny(?: {_QUOTED})?, failed to get content trust information: "
    rf"|Deny(?: {_QUOTED})?, could not get signerSecret from your cluster, "
    r"|Trust Server/Image Configuration Error: )?"
)
# The rest of a text, whole -> what helps then, whatever layer says it.
_TELLING = tuple(
    (re.compile(form, re.DOTALL), hint)
    for form, hint in {
        rf"{_DENY}no image policies or cluster polices": _NO_POLICY,
        rf"{_DENY}no matching repositories in .*": _NAME_IT,
        r"Deny, no image policies or cluster polices for .*": _NAME_IT,
        rf"{_DENY}invalid image name": _IMAGE,
        r'The resource ".*" is not supported\. Make sure .*': _API_VERSION,
        "KeySecret missing in signedBy requirement": _NAME_KEY,
        rf"secrets {_QUOTED} not found": _CREATE,
        rf'secret {_QUOTED} in {_QUOTED} does not contain a "key" attribute': _REPUBLISH,
        "Key: empty": _REPUBLISH,
        r"Unable to decode key: .*": _REPUBLISH,
        r'Expected "PGP PUBLIC KEY BLOCK" not found: .*': _REPUBLISH,
        "No public keys imported": _REPUBLISH,
        r"invalid SignedIdentity Type: .*": _REQUIREMENT,
        r"simple policy invalid Type: .*": _REQUIREMENT,
        rf"prefix {_QUOTED} is not valid": _REQUIREMENT,
        rf"dockerReference {_QUOTED} contains neither a tag nor digest": _REQUIREMENT,
        rf"Invalid format of docker(?:Reference|Repository) {_QUOTED}: .*": _REQUIREMENT,
        r"expecting https:// or http:// URL, got: .*": _STORE_URL,
        r"secret: .*, does not contain (?:username|password)": _STORE_LOGIN,
        "Docker references with both a tag and digest are currently not supported": _ONE_VERSION,
        "invalid reference format": _DIGEST,
        r"invalid checksum digest (?:length|format)": _DIGEST,
        "A signature was required, but no signature exists": _SIGN,
        rf"Signature for identity {_QUOTED} is not accepted": _OTHER_NAME,
        r"Signature for digest .* does not match": _AGAIN,
        r"None of the signatures were accepted, reasons: .*": _SIGN,
        r"Running image docker://.* is rejected by policy\.": _REJECTED,
        r"Key not found for key ID [0-9a-f]+ in signature": _OTHER_KEY,
        r"Signature expired on .*": _AGAIN,
        rf"(?:Unknown|Duplicate) key {_QUOTED}": _AGAIN,
        r"JSON object expected, got .*": _AGAIN,
        r"parsing signature .*": _NO_SIGNATURE,
        r"openpgp: unsupported feature: public key type: [0-9]+": _KEY_KIND,
        rf"{_DENY}no valid ImagePullSecret, [0-9]+ tried": _PULL,
        r"reading manifest .*: unauthorized": _MAY_NOT_READ,
        r"reading manifest .*: manifest unknown": _ABSENT,
        r"pinging container registry .*": _UNREACHED,
        "no trust server could be found": _TRUST_SERVER,
        rf"Deny(?: {_QUOTED})?, could not resolve the auth-endpoint, .*": _TRUST_LOGIN,
        r"name or publicKey field in secret .* is empty": _SIGNER,
        "Public keys are different": _SIGNER_KEY,
        "no valid public key found": _SIGNER_KEY,
        "Incompatible digest": _SAME_DIGEST,
        r"you are not authorized to perform this operation: server returned 401\.": _TRUST_DATA,
        r"unable to reach trust server at this time: [0-9]+\.": _TRUST_AWAY,
        rf"Deny(?: {_QUOTED})?, no (?:valid )?ImagePullSecret defined for .*": _LOGIN,
        "Trust is not supported for images from this registry": _CISE_TRUST,
        r"Notary signs conflicting digest: .* simple: .*": _CONFLICT,
        r"Cannot use Vulnerability Advisor for .*": _ADVISOR_FOREIGN,
        "VA is not supported for images from this registry": _ADVISOR_FOREIGN,
        r"No credentials on client to call .*": _ADVISOR_LOGIN,
        r"Not authorised to get Vulnerability Advisor for .*": _ADVISOR_MAY_NOT,
        r"Failed to get Vulnerability Advisor for .*": _NO_RESULT,
    }.items()
)


def hint_for(message: str, layer: Layer | None = None) -> str | None:
    """What to do about what an engine says. layer: whose text it is, None for nobody's.

    >>> hint_for("Key: empty") == hint_for("simple: Key: empty", Layer.SIMPLE) == _REPUBLISH
    True
    """
    before = _BEFORE.match(message)
    rest = message[before.end() :] if before else message
    found = next((hint for form, hint in _TELLING if form.fullmatch(rest)), None)
    return found or (_OF_LAYER[layer] if layer is not None else None)
