# SPDX-License-Identifier: Apache-2.0
"""What Tekton needs to know besides what the commands say themselves: tables, and no logic.

Which options become params, which come from mounted Secrets, which are left out and why; what the
Pipeline's stages get from each other; what the samples say. Options go by their names without
dashes. One that is nowhere here stops the rendering: somebody has to decide about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imgsec import __version__

Document = dict[str, Any]

NO_IMAGE = f"registry.invalid/imgsec/tools:{__version__}@sha256:{'0' * 64}"
MIN_PIPELINES_VERSION = "1.0.0"
MOUNT = "/imgsec"
TOKEN_FOLDER = f"{MOUNT}/iam-token"


@dataclass(frozen=True, slots=True)
class MountedSecret:
    """A Secret whose one data key becomes a file. name, key: defaults of its two params.

    key: None for a Secret all of whose data keys become files.
    """

    volume: str
    name: str
    key: str | None
    text: str

    @property
    def folder(self) -> str:
        return f"{MOUNT}/{self.volume}"

    @property
    def path(self) -> str:
        """Where the step finds the value, whatever the data key is called."""
        return f"{self.folder}/{self.volume}"

    @property
    def name_param(self) -> str:
        return f"{self.volume}-secret"

    @property
    def key_param(self) -> str:
        return f"{self.volume}-secret-key"


API_KEY = MountedSecret("api-key", "ibmcloud-apikey", "APIKEY", "the IAM API key")
PUBLIC_KEY = MountedSecret(
    "public-key",
    "portieris-image-signing-public-key",
    "key",
    f"the armoured public key, for the param key as file:{MOUNT}/public-key/public-key",
)

KEY_REFERENCE = MountedSecret(
    "key-reference",
    "portieris-keys",
    None,
    "what set-up wrote about the signing key: KMS, instance, key and fingerprint",
)

PASSPHRASE = MountedSecret(
    "passphrase",
    "imgsec-key-passphrase",
    "passphrase",
    f"the signing key's passphrase, for the param passphrase-file: {MOUNT}/passphrase/passphrase",
)

# --- Options ----------------------------------------------------------------------------------

IAM = ("api-key-file", "iam-profile", "iam-url")
KMS = ("kms-url", "kms-instance", "kms-key-ring")
GATE = ("report", "gate", "fail-on", "baseline", "mode", "exemptions", "evidence")
REGISTRY = ("authfile", "ca-file")
RUN = ("timeout", "output", "verbose")
POLICY = ("policy-name", "key-secret", "key-secret-namespace", "mutate-image")

# Options that no Task has, and why.
LEFT_OUT = {
    "trust-host": "loosens a check: said on a command line, not in a task",
    "auth-realm": "loosens a check: said on a command line, not in a task",
    "adopt": "loosens a check: said on a command line, not in a task",
    "accept-laxer": "loosens a check: said on a command line, not in a task",
    "accept-lockout": "loosens a check: said on a command line, not in a task",
    "prune": "removes policies: said on a command line, not in a task",
    "as": "loosens a check: said on a command line, not in a task",
    "adopt-key": "goes with adopt",
    "apply": "set-up in a task renders; publish-policy in a task applies",
    "enforce": "goes with apply",
    "import-key": "a secret key has no way into a task but the KMS",
    "iam-token-file": "a task has a credential of its own: the key file, or the trusted profile",
    "vpc-instance": "a pod has a service account, not a virtual server's identity",
    "vpc-metadata-url": "goes with vpc-instance",
    "workers": "goes with images-file",
    "images-file": "a task is about one image",
    "backend": "one image gains nothing by it",
    "image-dir": "a task asks the registry",
    "intent": "a folder of manifests is rendered from it, and reviewed",
    "for": "goes with intent",
    "engine": "goes with intent",
    "offline": "a task asks the registry",
    "signatures": "loosens a check: said on a command line, not in a task",
    "reserved-namespace": "loosens a check: said on a command line, not in a task",
    "assume-pull-secrets": "loosens a check: said on a command line, not in a task",
    "set": "loosens a check: said on a command line, not in a task",
    "allow-platform": "loosens a check: said on a command line, not in a task",
    "cluster-domain": "goes with set",
    "trust": "switches a policy file, on a command line",
    "va": "switches a policy file, on a command line",
    "from-storage": "local storage does not outlive the task that built the image",
    "storage-driver": "goes with from-storage",
    "policy": "a task verifies with the key that the pipeline signed with",
    "lookaside-staging": "nothing would publish the folder of a step",
    "passphrase-fd": "a step inherits no descriptor; the file is mounted from a Secret",
    "tools-dir": "the tools image has its tools where imgsec looks",
    "kubeconfig": "a pod has its service account",
    "context": "a pod has its service account",
    "unknown-severity": "a rule for the gate file",
    "only-fixed": "a rule for the gate file",
    "grace": "a rule for the gate file",
    "unsupported": "a rule for the gate file",
    "end-of-life": "a rule for the gate file",
    "max-age": "a rule for the gate file",
    "ledger-only": "a rule for the gate file",
    "no-advisor": "loosens a check: said on a command line, not in a task",
    "effective-time": "a question for a command line",
    "allow-past-effective-time": "goes with effective-time",
    "scanner": "the tools image has no scanner; a step before gives its report",
    "scanner-sha256": "goes with scanner",
    "scanner-cache": "goes with scanner",
    "allow-unpinned-scanner": "goes with scanner",
    "evidence-key": "imgsec-image-release signs the record with its key",
    "github-output": "for GitHub Actions",
    "github-step-summary": "for GitHub Actions",
    "quiet": "a task's log says what happened",
}

# Options that a Task sets itself wherever the command has them.
SET_BY_TASK = {"cr-token-file": f"{TOKEN_FOLDER}/token"}

# Params with another default than the option's.
DEFAULTS = {"api-key-file": API_KEY.path, "key-reference": KEY_REFERENCE.folder}

# What a param's description says besides the option's help.
NOTES = {
    "iam-profile": "It wins over api-key-file.",
    "authfile": "Without it the workspace dockerconfig is read.",
    "ca-file": f"Files of the workspace ca are in {MOUNT}/ca.",
    "kms-instance": "Needed for a key in the KMS, where no Secret says it.",
    "timeout": "The timeout of the step ends it in any case.",
    "gate": f"Files of the workspace gate are in {MOUNT}/gate.",
    "exemptions": f"Files of the workspace gate are in {MOUNT}/gate.",
    "report": f"Files of the workspace reports are in {MOUNT}/reports.",
    "evidence": f"Such as {MOUNT}/reports/verdict.json, in the workspace reports.",
}

# The command's result -> the Task's. The last two are what Tekton Chains takes for a pushed image;
# they are written only if it was pushed.
RESULTS = {
    "image": ("image-url", "The image with tag and digest, as the next task takes it."),
    "released-image": ("image-url", "The name with its tag under which it was released."),
    "digest": ("image-digest", "The digest of the image: sha256 and 64 hex digits."),
    "media-type": ("media-type", "The media type of the manifest: of an image, or of an index."),
    "platforms": ("platforms", "The platforms, with commas: linux/amd64,linux/arm64."),
    "scan-status": ("scan-status", "The status words of the advisor: OK, WARN, FAIL, ..."),
    "fingerprint": ("fingerprint", "The 40-digit fingerprint of the key."),
    "key-id": ("key-id", "The id of the signing key in the KMS."),
    "verdict": ("verdict", "pass, refused, undecided or usage."),
    "pushed-image": ("IMAGE_URL", "The name of the image, if this run copied it there."),
    "pushed-digest": ("IMAGE_DIGEST", "Its digest, if this run copied it there."),
}

WORKSPACES: dict[str, Document] = {
    "dockerconfig": {
        "name": "dockerconfig",
        "description": "Registry credentials: config.json or .dockerconfigjson at its root,"
        " such as a Secret of the type kubernetes.io/dockerconfigjson.",
        "optional": True,
        "readOnly": True,
        "mountPath": f"{MOUNT}/dockerconfig",
    },
    "ca": {
        "name": "ca",
        "description": "CA certificates for the param ca-file, such as a ConfigMap with ca.crt.",
        "optional": True,
        "readOnly": True,
        "mountPath": f"{MOUNT}/ca",
    },
    "reports": {
        "name": "reports",
        "description": f"Where the param output may write: json={MOUNT}/reports/NAME.json",
        "optional": True,
        "mountPath": f"{MOUNT}/reports",
    },
    "gate": {
        "name": "gate",
        "description": "The gate file and the ledger of exemptions, such as a ConfigMap with"
        " gate.yaml and exemptions.yaml; never the repository that is gated.",
        "optional": True,
        "readOnly": True,
        "mountPath": f"{MOUNT}/gate",
    },
    "manifests": {
        "name": "manifests",
        "description": "Receives the manifests: the two Secrets and the policy. No secret key.",
        "mountPath": f"{MOUNT}/manifests",
    },
}

# --- Tasks ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """What Tekton needs to know about one command.

    params: options that become params. required: those that the command can do without, and the
    task cannot. fixed: arguments that the task always gives. without: options that they rule out.
    private: has a memory-backed folder for keys. step_timeout: ends the step whatever its own time
    limit says. memory: request and limit. introduction: paragraphs of its README. task: its name,
    if it is not the command's. image_param: of the image. renamed: option -> param, where older
    pipelines know it by another name.
    """

    command: str
    title: str
    tags: tuple[str, ...]
    params: tuple[str, ...]
    required: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    workspaces: tuple[str, ...] = ()
    secrets: tuple[MountedSecret, ...] = ()
    private: bool = True
    step_timeout: str = "15m0s"
    memory: tuple[str, str] = ("96Mi", "384Mi")
    introduction: tuple[str, ...] = ()
    task: str | None = None
    image_param: str = "image-url"
    renamed: Mapping[str, str] = field(default_factory=dict)
    renamed_results: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"imgsec-{self.task or self.command}"

    def param(self, option: str) -> str:
        """The name of the param that an option becomes."""
        return self.renamed.get(option, option)

    def result(self, name: str) -> str:
        """The name of the Task's result that a result of the command becomes."""
        return self.renamed_results.get(name, RESULTS[name][0])


TASKS = (
    TaskPlan(
        "setup-signing-keys",
        "Set up image signing keys",
        ("signing", "gpg", "key-protect", "portieris"),
        params=(
            *("alias", "repository", "allow-unchecked", "user-id", "algorithm"),
            *("valid-days", "fingerprint", *POLICY, "key-reference-secret"),
            *("key-reference-namespace", "passphrase-file"),
            *(*IAM, *KMS, "ca-file", *RUN),
        ),
        fixed=(f"--render={MOUNT}/manifests",),
        without=("dry-run", "authfile", "lookaside"),
        workspaces=("manifests", "ca"),
        secrets=(API_KEY, PASSPHRASE),
        introduction=(
            "Run it once by hand, not in each release. It is safe to run again: what is in place is"
            " left alone.",
        ),
    ),
    TaskPlan(
        "resolve",
        "Resolve an image to its digest",
        ("image", "digest"),
        params=(*REGISTRY, *RUN),
        workspaces=("dockerconfig", "ca"),
        private=False,
    ),
    TaskPlan(
        "scan-gate",
        "Gate an image on its vulnerability scan",
        ("image", "vulnerability", "gate", "vulnerability-advisor"),
        params=(*GATE, *IAM, "account", *REGISTRY, *RUN),
        # They sign the record of the verdict, which this task does not.
        without=(*KMS, "fingerprint", "passphrase-file"),
        workspaces=("dockerconfig", "ca", "gate", "reports"),
        secrets=(API_KEY,),
        private=False,
        step_timeout="1h0m0s",
        introduction=(
            "A finding in force refuses the image and fails the task. An image that could not be"
            " assessed within the time limit is undecided, and fails the task too.",
            "What the gate asks, and what is exempt, comes from a ConfigMap or another workspace"
            " that the gated repository cannot change.",
        ),
    ),
    TaskPlan(
        "release-image",
        "Gate, sign and verify an image in one step",
        ("image", "vulnerability", "gate", "signing", "gpg", "key-protect"),
        task="image-release",
        image_param="image-from",
        renamed={"to": "image-to"},
        renamed_results={"image": "image-reference"},
        params=(
            *("to", "key", "key-reference", "fingerprint", "expect-digest", "sign-identity"),
            *("both-hosts", "remove-signatures", "passphrase-file"),
            *(*GATE, "sign-evidence", "account", *KMS, *IAM, *REGISTRY, *RUN),
        ),
        without=("lookaside",),  # nothing would publish what a step writes
        workspaces=("dockerconfig", "ca", "gate", "reports"),
        secrets=(API_KEY, KEY_REFERENCE, PASSPHRASE),
        step_timeout="1h0m0s",
        introduction=(
            "The image is resolved once. Only what the gate lets through is copied to `image-to`,"
            " signed and verified; until then the destination receives nothing, and the signing"
            " key is not asked for.",
            "It stands in for older release tasks: the params `image-from` and `image-to`, the"
            " Secrets `portieris-keys` and `ibmcloud-apikey`, the result `image-url` are theirs:"
            " the name with its tag, of every release, be it for the second time."
            " Without `image-to` the image is signed where it is.",
            "The secret key exists only in a memory-backed folder of the step, and is removed when"
            " the step ends.",
        ),
    ),
    TaskPlan(
        "sign-image",
        "Sign an image in its registry",
        ("image", "signing", "gpg", "key-protect"),
        params=(
            *("key", "fingerprint", "expect-digest", "sign-identity", "both-hosts", "platform"),
            *("to", "remove-signatures", "passphrase-file"),
            *(*KMS, *IAM, *REGISTRY, *RUN),
        ),
        required=("key",),
        step_timeout="1h0m0s",  # a copy may take long
        without=("lookaside",),  # nothing would publish what a step writes
        workspaces=("dockerconfig", "ca", "reports"),
        secrets=(API_KEY, PASSPHRASE),
        introduction=(
            "It pushes no image, unless `to` says where: only then there are the results"
            " `IMAGE_URL` and `IMAGE_DIGEST`, by which Tekton Chains attests it.",
            "The secret key exists only in a memory-backed folder of the step, and is removed when"
            " the step ends.",
        ),
    ),
    TaskPlan(
        "verify-image",
        "Verify the signature of an image",
        ("image", "signing", "gpg", "verification"),
        params=("key", "fingerprint", *KMS, *IAM, *REGISTRY, "lookaside", *RUN),
        required=("key",),
        without=("platform",),
        workspaces=("dockerconfig", "ca", "reports"),
        secrets=(API_KEY, PUBLIC_KEY),
        introduction=(
            "It needs the public key only. From a Secret in the run's namespace no KMS is asked:"
            f" `key` is `file:{PUBLIC_KEY.path}` then.",
        ),
    ),
    TaskPlan(
        "publish-policy",
        "Publish the policy that demands the signature",
        ("portieris", "policy", "admission"),
        params=("repository", "allow-unchecked", "namespace", *POLICY, "dry-run", *RUN),
        required=("repository",),
        fixed=("--apply",),
        without=(
            *("render", "account", "api-key-file", "iam-profile", "iam-url"),
            *("authfile", "ca-file"),
        ),
        introduction=(
            "It applies the policy with the pod's service account, which needs the rights in"
            " [samples/rbac.yaml](samples/rbac.yaml): also to see which pods run, since a policy"
            " that would lock one out is not applied. It may not read their pull Secrets; apply a"
            " first policy by hand where images need them. To render files, for GitOps, run"
            " `imgsec publish-policy --render DIR`.",
        ),
    ),
)

# --- The Pipeline -----------------------------------------------------------------------------

PIPELINE = "image-release"
PIPELINE_INTRODUCTION = (
    "The tag is resolved once. From then on the digest is what is judged, signed and checked,"
    " and a refused image stops at the gate, unsigned.",
    "It needs the Tasks of [tasks](../../tasks) in its namespace, and for the last one the"
    " rights in [rbac.yaml](../../tasks/imgsec-publish-policy/samples/rbac.yaml).",
)
STAGES = ("resolve", "scan-gate", "sign-image", "verify-image", "publish-policy")
# A Task's params that the Pipeline leaves at their defaults, and the workspace that it leaves out.
KEPT_DEFAULTS = frozenset(
    (
        *("timeout", "output", "to", "remove-signatures", "lookaside"),
        *("report", "fail-on", "baseline", "mode", "evidence"),
        *(PUBLIC_KEY.name_param, PUBLIC_KEY.key_param),  # its key is in the KMS
    )
)
KEPT_UNBOUND = frozenset(("reports",))
# (stage, its Task's param) -> what the Pipeline calls it.
RENAMED = {("scan-gate", "timeout"): "scan-timeout"}
# (stage, param) -> the stage whose result it gets: the digest found first, the key that signed.
FROM_STAGE = {
    ("scan-gate", "image-url"): "resolve",
    ("sign-image", "image-url"): "resolve",
    ("verify-image", "image-url"): "resolve",
    ("verify-image", "fingerprint"): "sign-image",
}
# Stage -> the param without which it is skipped.
SKIPPED_WITHOUT = {"publish-policy": "repository"}
PIPELINE_NOTES = {
    "image-url": "The tag is needed: it is the name that is signed.",
    "repository": "An empty text publishes no policy.",
    "scan-timeout": "For the gate, which waits while the scan is not finished.",
    "key": "In the Pipeline it signs and verifies: only a key in the KMS has both halves.",
}
# (stage, result of its command)
PIPELINE_RESULTS = (
    ("verify-image", "image"),
    ("verify-image", "digest"),
    ("scan-gate", "scan-status"),
    ("sign-image", "fingerprint"),
)

# --- Samples ----------------------------------------------------------------------------------

SAMPLE_VALUES = {
    "image-url": "us.icr.io/team/app:1.0",
    "image-from": "us.icr.io/build/app:1.0",
    "image-to": "us.icr.io/prod/app:1.0",
    "key": "kms://release",
    "alias": "release",
    "kms-instance": "12345678-1234-4321-8765-123456789abc",
    "repository": "us.icr.io/team/*",
    "allow-unchecked": "icr.io/* registry.k8s.io/*",
}
SAMPLE_WORKSPACES: dict[str, Document] = {
    "dockerconfig": {"name": "dockerconfig", "secret": {"secretName": "registry-credentials"}},
    "manifests": {"name": "manifests", "persistentVolumeClaim": {"claimName": "imgsec-manifests"}},
}
PUBLISHER = "imgsec-policy-publisher"
