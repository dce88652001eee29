# SPDX-License-Identifier: Apache-2.0
"""The prediction with real parts: registry, signatures, keys and pull secrets."""

from __future__ import annotations

import base64
import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Bench, SigningKey
from tests.support import Ended, Gpg

pytestmark = pytest.mark.once
API = "portieris.cloud.ibm.com/v1"
SIGNED_BY = {"type": "signedBy", "keySecret": "public-key", "keySecretNamespace": "portieris"}


class Cluster:
    """A folder with what a cluster would hold."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.folder = folder
        self._registry = bench.sandbox.registry
        self._host = self._registry.partition(":")[0]
        self._auths = json.loads(Path(bench.environment["REGISTRY_AUTH_FILE"]).read_text())
        folder.mkdir()

    def write(self, name: str, *documents: dict[str, Any]) -> str:
        path = self.folder / name
        path.write_text(yaml.safe_dump_all(documents))
        return str(path)

    def policy(self, repository: str, *, api: str = API, **policy: Any) -> None:
        rule = {"name": repository, "policy": policy}
        document = {
            **{"apiVersion": api, "kind": "ClusterImagePolicy", "metadata": {"name": "p"}},
            "spec": {"repositories": [rule]},
        }
        self.write("policy.yaml", document)

    def key(self, content: bytes) -> None:
        self.secret("portieris", "public-key", {"key": content})

    def pull_secret(self, name: str = "regcred", *, key: str | None = None) -> None:
        entry = self._auths["auths"][self._registry]
        content = json.dumps({"auths": {key or self._host: entry}}).encode()
        self.secret("shop", name, {".dockerconfigjson": content})

    def secret(self, namespace: str, name: str, data: dict[str, bytes]) -> None:
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        self.write(
            f"{namespace}.{name}.yaml",
            {
                **{"apiVersion": "v1", "kind": "Secret", "data": encoded},
                "metadata": {"name": name, "namespace": namespace},
            },
        )

    def without(self, name: str) -> None:
        (self.folder / name).unlink()


def deployment(*images: str, secrets: tuple[str, ...] = ("regcred",)) -> dict[str, Any]:
    pod = {
        "containers": [{"name": f"c{place}", "image": one} for place, one in enumerate(images)],
        "imagePullSecrets": [{"name": name} for name in secrets],
    }
    return {
        **{"apiVersion": "apps/v1", "kind": "Deployment"},
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 1, "template": {"spec": pod}},
    }


AT_IBM = """\
from imgsec.__main__ import main
from imgsec.domain.engine_name import EngineName
EngineName.is_at_ibm = property(lambda _: True)
main()
"""


@dataclass
class Admit:
    """The command in the sandbox, on one Deployment."""

    bench: Bench
    cluster: Cluster

    def __call__(self, *images: str, words: tuple[str, ...] = (), **more: Any) -> Ended:
        path = self.bench.folder / "web.yaml"
        path.write_text(yaml.safe_dump(deployment(*images, **more)))
        return self.bench.imgsec("admit", path, "--policies", self.cluster.folder, *words)

    def at_ibm(self, *images: str, words: tuple[str, ...] = (), **more: Any) -> Ended:
        """The same where the sandbox's registry is taken for one of IBM's.

        No engine asks the advisor about a registry that is not called so.
        """
        path = self.bench.folder / "web.yaml"
        path.write_text(yaml.safe_dump(deployment(*images, **more)))
        command = self.bench.imgsec
        argv = ["admit", str(path), "--policies", str(self.cluster.folder), "--output", "json"]
        done = subprocess.run(
            [sys.executable, "-c", AT_IBM, *argv, *words],
            env=command.variables(None),
            cwd=command.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def denial(self, *images: str, words: tuple[str, ...] = (), **more: Any) -> list[str]:
        """What the engine says of the object itself."""
        done = self(*images, words=words, **more).expect(1, "admission-denied")
        messages = done.json["workloads"][0]["messages"]
        assert isinstance(messages, list)
        return messages


@pytest.fixture
def admit(bench: Bench, cluster: Cluster) -> Admit:
    return Admit(bench, cluster)


@pytest.fixture
def public(key: SigningKey) -> bytes:
    secret = key.folder / "portieris-image-signing-public-key.secret.yaml"
    return base64.b64decode(yaml.safe_load(secret.read_text())["data"]["key"])


@pytest.fixture
def cluster(bench: Bench, tmp_path: Path, public: bytes) -> Cluster:
    made = Cluster(bench, tmp_path / "cluster")
    made.policy(f"{bench.sandbox.registry}/*", simple={"requirements": [SIGNED_BY]})
    made.key(public)
    made.pull_secret()
    return made


def test_signed_image_is_admitted_by_its_digest(
    bench: Bench, key: SigningKey, cluster: Cluster, tmp_path: Path
) -> None:
    name, digest = bench.push(bench.repository())
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    workload = tmp_path / "web.yaml"
    workload.write_text(yaml.safe_dump(deployment(name)))
    admit = ("admit", str(workload), "--policies", str(cluster.folder))
    done = bench.imgsec(*admit).expect(0)
    first, child = done.json["workloads"]
    repository = name.rpartition(":")[0]
    assert first["patch"] == [
        {
            "op": "replace",
            "path": "/spec/template/spec/containers/0/image",
            "value": f"{repository}@{digest}",
        }
    ]
    assert (first["child"], child["kind"]) == (1, "Pod")
    assert [one["code"] for one in first["notChecked"]][-1] == "added-later"
    assert "no-pull-secrets" not in [one["code"] for one in first["hygiene"]]
    (container, _) = done.json["containers"]
    assert container["rule"]["repository"] == f"{bench.sandbox.registry}/*"
    assert container["layers"][2]["digest"] == digest


def test_unsigned_image_is_denied_word_for_word(
    bench: Bench, cluster: Cluster, tmp_path: Path
) -> None:
    name, _ = bench.push(bench.repository())
    workload = tmp_path / "web.yaml"
    workload.write_text(yaml.safe_dump(deployment(name)))
    admit = ("admit", str(workload), "--policies", str(cluster.folder))
    done = bench.imgsec(*admit).expect(1, "admission-denied")
    said = "simple: policy denied the request: A signature was required, but no signature exists"
    assert done.json["workloads"][0]["messages"] == [said]


UNSIGNED = "simple: policy denied the request: A signature was required, but no signature exists"
REFUSED = "simple: policy denied the request: "


def signed(bench: Bench, key: SigningKey, **push: Any) -> tuple[str, str]:
    """A signed image: its name and digest."""
    name, digest = bench.push(bench.repository(), **push)
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    return name, digest


def another_tag(bench: Bench, name: str, tag: str) -> str:
    """The same image by another tag."""
    other = f"{name.rpartition(':')[0]}:{tag}"
    bench.skopeo("copy", "--insecure-policy", f"docker://{name}", f"docker://{other}")
    return other


# --- Signatures ---------------------------------------------------------------------------------


def test_signature_for_another_tag_names_the_identity(
    bench: Bench, key: SigningKey, admit: Admit
) -> None:
    name, digest = signed(bench, key)
    other = another_tag(bench, name, "other")
    assert admit.denial(other) == [f'{REFUSED}Signature for identity "{name}" is not accepted']
    by_digest = f"{name.rpartition(':')[0]}@{digest}"
    admit(by_digest).expect(0)


def test_signature_of_another_key_is_an_error_that_stops_the_next_container(
    bench: Bench, gpg: Gpg, admit: Admit
) -> None:
    name, digest = bench.push(bench.repository())
    content = json.dumps(
        {
            "critical": {
                "type": "atomic container signature",
                "image": {"docker-manifest-digest": digest},
                "identity": {"docker-reference": name},
            },
            "optional": {},
        }
    ).encode()
    fingerprint = gpg.make_key("somebody else")
    bench.plant(name, digest, gpg.sign(content, fingerprint))
    done = admit(name, name).expect(1, "admission-denied")
    (said,) = done.json["workloads"][0]["messages"]
    key_id = f"{int(fingerprint[-16:], 16):x}"
    assert said == f"simple: Key not found for key ID {key_id} in signature"
    assert [one["reached"] for one in done.json["containers"]] == [True, False]


def test_index_is_signed_as_a_whole(bench: Bench, key: SigningKey, admit: Admit) -> None:
    name, digest = signed(bench, key, platforms=("amd64", "arm64"))
    done = admit(name).expect(0)
    assert done.json["workloads"][0]["patch"][0]["value"].endswith(f"@{digest}")


def test_signature_of_a_platform_only_is_none(bench: Bench, gpg: Gpg, admit: Admit) -> None:
    name, digest = bench.push(bench.repository(), platforms=("amd64", "arm64"))
    raw = json.loads(bench.skopeo("inspect", "--raw", f"docker://{name}"))
    child = raw["manifests"][0]["digest"]
    bench.plant(name, child, gpg.sign(b"{}", gpg.make_key("somebody")))
    assert child != digest
    assert admit.denial(name) == [UNSIGNED]


def test_match_exact_refuses_the_pods_under_0_14_3_only(
    bench: Bench, key: SigningKey, cluster: Cluster, admit: Admit
) -> None:
    name, _ = signed(bench, key)
    exact = {**SIGNED_BY, "signedIdentity": {"type": "matchExact"}}
    cluster.policy(f"{bench.sandbox.registry}/*", simple={"requirements": [exact]})
    admit(name, words=("--engine", "0.14.2")).expect(0)
    done = admit(name, words=("--engine", "0.14.3")).expect(1, "child-denied")
    outer, pods = done.json["workloads"]
    assert outer["messages"] == []
    assert pods["messages"] == [f'{REFUSED}Signature for identity "{name}" is not accepted']


def test_tag_and_digest_together_are_refused(bench: Bench, admit: Admit) -> None:
    name, digest = bench.push(bench.repository())
    said = "simple: Docker references with both a tag and digest are currently not supported"
    assert admit.denial(f"{name}@{digest}") == [said]


def test_image_that_is_not_there(bench: Bench, admit: Admit) -> None:
    repository = f"{bench.sandbox.registry}/{bench.repository()}"
    said = f"simple: reading manifest 1 in {repository}: manifest unknown"
    assert admit.denial(f"{repository}:1") == [said]


# --- Pull secrets -------------------------------------------------------------------------------


def test_pull_secret_with_the_port_in_its_key_is_not_found(
    bench: Bench, key: SigningKey, cluster: Cluster, admit: Admit
) -> None:
    name, _ = signed(bench, key)
    cluster.pull_secret(key=bench.sandbox.registry)
    done = admit(name).expect(1, "admission-denied")
    (workload,) = done.json["workloads"]
    said = f'simple: Deny "{name}", no valid ImagePullSecret, 0 tried'
    assert workload["messages"] == [said]
    assert "pull-secret-unusable" in [one["code"] for one in workload["hygiene"]]


def test_private_image_without_a_secret(bench: Bench, key: SigningKey, admit: Admit) -> None:
    name, _ = signed(bench, key)
    said = f'simple: Deny "{name}", no valid ImagePullSecret, 0 tried'
    assert admit.denial(name, secrets=()) == [said]


def test_own_credentials_stand_in_only_where_that_is_asked_for(
    bench: Bench, key: SigningKey, admit: Admit
) -> None:
    name, _ = signed(bench, key)
    admit(name, secrets=()).expect(1, "admission-denied")
    done = admit(name, secrets=(), words=("--assume-pull-secrets",)).expect(0)
    assert "pull-secrets-assumed" in [note["code"] for note in done.json["notes"]]


# --- Signature stores ---------------------------------------------------------------------------


@dataclass
class Store:
    """A web server with files. login: what it wants in Authorization; page: for all else."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    login: str | None = None
    page: bytes | None = None
    asked: list[str] = field(default_factory=list)

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> tuple[int, bytes]:
        self.asked.append(request.path)
        if self.login is not None and request.headers.get("Authorization") != self.login:
            return 401, b"no"
        if request.path in self.files:
            return 200, self.files[request.path]
        return (404, b"") if self.page is None else (200, self.page)


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content = made.answer(self)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made.url = f"http://127.0.0.1:{server.server_port}/sigs"
        yield made
        server.shutdown()


def lookaside_path(name: str, digest: str) -> str:
    repository = name.partition("/")[2].rpartition(":")[0]
    return f"/sigs/{repository}@{digest.replace(':', '=')}/signature-1"


CANARY = "c4n4ry-of-the-store"


def test_store_of_a_rule_is_asked_where_the_registry_keeps_none(
    bench: Bench, key: SigningKey, cluster: Cluster, admit: Admit, store: Store
) -> None:
    name, digest = signed(bench, key)
    (signature,) = bench.signatures(name, digest)
    simple = {"requirements": [SIGNED_BY], "storeURL": store.url, "storeSecret": "store"}
    cluster.policy(f"{bench.sandbox.registry}/*", simple=simple)
    cluster.secret("shop", "store", {"username": b"reader", "password": CANARY.encode()})
    admit(name).expect(0)
    assert store.asked == []  # the registry has the extension
    bench.fault("registry", "no-extension")
    assert admit.denial(name) == [UNSIGNED]
    store.files[lookaside_path(name, digest)] = signature
    admit(name).expect(0)
    store.login = "Basic " + base64.b64encode(f"reader:{CANARY}".encode()).decode()
    admit(name).expect(0)
    store.login = "Basic bm9ib2R5"
    for words in ((), ("-v",)):
        refused = admit(name, words=words)
        assert refused.code in (1, 3)
        assert CANARY not in refused.stdout + refused.stderr
    store.login, store.page = None, b"<html>log in</html>"
    store.files.clear()
    (said,) = admit.denial(name)
    assert re.fullmatch(
        r"simple: parsing signature http://127\.0\.0\.1:[0-9]+/sigs/[^ ]+/signature-1: unrecognized"
        r" signature format, starting with binary 0x3c",
        said,
    )


def test_store_without_tls_is_asked_and_told_no_password(
    bench: Bench, key: SigningKey, cluster: Cluster, admit: Admit, store: Store
) -> None:
    """127.1 is no loopback to us, and leads there."""
    name, digest = signed(bench, key)
    (store.files[lookaside_path(name, digest)],) = bench.signatures(name, digest)
    plain = store.url.replace("127.0.0.1", "127.1")
    secret = plain.replace("//", f"//reader:{CANARY}@")
    cluster.secret("shop", "store", {"username": b"reader", "password": CANARY.encode()})

    def ends(
        code: int, url: str, *reasons: str, kind: dict[str, Any] = SIGNED_BY, **more: Any
    ) -> None:
        simple = {"requirements": [kind], "storeURL": url, **more}
        cluster.policy(f"{bench.sandbox.registry}/*", simple=simple)
        done = admit(name, words=("-v",)).expect(code, *reasons)
        assert CANARY not in done.stdout + done.stderr
        assert "pinging" not in done.stdout

    for url in (plain, secret, f"{plain}?token={CANARY}"):
        ends(0, url, storeSecret="store")  # the registry has the extension
    bench.fault("registry", "no-extension")
    accepts = {"type": "insecureAcceptAnything"}
    for url in (plain, secret, f"{plain}?token={CANARY}"):
        ends(0, url, storeSecret="store", kind=accepts)  # no signature is wanted
    assert store.asked == []
    ends(3, plain, "admission-open", storeSecret="store")
    ends(3, secret, "admission-open")
    ends(3, f"{plain}?token={CANARY}", "admission-open")
    assert store.asked == []
    ends(0, plain)
    assert store.asked


def test_store_that_is_down_is_no_answer(
    bench: Bench, key: SigningKey, cluster: Cluster, admit: Admit
) -> None:
    name, _ = signed(bench, key)
    simple = {"requirements": [SIGNED_BY], "storeURL": "http://127.0.0.1:9/sigs"}
    cluster.policy(f"{bench.sandbox.registry}/*", simple=simple)
    bench.fault("registry", "no-extension")
    assert admit(name).code == 3


# --- Without registries -------------------------------------------------------------------------


def test_folder_stands_in_for_registries(
    bench: Bench, key: SigningKey, admit: Admit, tmp_path: Path
) -> None:
    """As skopeo sync leaves it, and as a lookaside store has it."""
    name, digest = signed(bench, key)
    (signature,) = bench.signatures(name, digest)
    copies, keeps = tmp_path / "copies", tmp_path / "keeps"
    copies.mkdir()
    bench.skopeo(
        *("--insecure-policy", "sync", "--scoped", "--preserve-digests"),
        *("--src", "docker", "--dest", "dir", name, str(copies)),
    )
    before = len(bench.log("registry"))
    words = ("--signatures", str(copies))
    admit(f"{name.rpartition(':')[0]}@{digest}", words=words, secrets=()).expect(0)
    admit(f"{name.rpartition(':')[0]}@sha256:{'0' * 64}", words=words).expect(1, "admission-denied")
    long = f"{bench.sandbox.registry}/{'a' * 230}:{'b' * 120}"
    admit(long, words=words).expect(3, "admission-open")
    assert admit(f"{long.rpartition(':')[0]}@{digest}", words=words).code == 3
    done = admit(name, words=words, secrets=()).expect(0)
    assert done.json["workloads"][0]["patch"][0]["value"].endswith(digest)
    assert "no-registry-asked" in [note["code"] for note in done.json["notes"]]
    admit(f"{name}2", words=("--signatures", str(copies))).expect(3, "admission-open")
    path = keeps / lookaside_path(name, digest).removeprefix("/sigs/")
    path.parent.mkdir(parents=True)
    by_digest = f"{name.rpartition(':')[0]}@{digest}"
    words = ("--signatures", str(keeps))
    assert admit.denial(by_digest, words=words) == [UNSIGNED]
    path.write_bytes(signature)
    admit(by_digest, words=words).expect(0)
    path.write_bytes(signature[:-20])
    assert admit.denial(by_digest, words=words) != [UNSIGNED]
    assert len(bench.log("registry")) == before


def test_offline_asks_nobody(bench: Bench, key: SigningKey, admit: Admit) -> None:
    name, _ = signed(bench, key)
    before = len(bench.log("registry"))
    done = admit(name, words=("--offline",)).expect(3, "admission-open")
    assert done.json["containers"][0]["layers"][2]["open"]["code"] == "admission-open"
    assert admit.denial("quay.io/a/b", words=("--offline",))
    assert len(bench.log("registry")) == before


# --- Faults, load, advisor ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("429", "/manifests/"),
        ("503", "/manifests/"),
        ("cut", "/manifests/"),
        ("malformed", "/manifests/"),
        ("html", "/manifests/"),
        ("refuse", "/v2/$"),
        ("503", "/signatures/"),
        ("cut", "/signatures/"),
        ("html", "/signatures/"),
        ("signatures-500", None),
    ],
)
def test_registrys_fault_is_no_answer(
    bench: Bench, key: SigningKey, admit: Admit, kind: str, path: str | None
) -> None:
    name, _ = signed(bench, key)
    rest: dict[str, Any] = {"path": path} if path else {}
    bench.fault("registry", kind, **rest, **({"retry_after": 1} if kind == "429" else {}))
    done = admit(name)
    assert done.code == 3, done.stdout
    assert done.json["workloads"][0]["patch"] == []


@pytest.mark.parametrize("kind", ["wrong-digest", "wrong-bytes", "signatures-403"])
def test_registry_that_lies_or_refuses_admits_nothing(
    bench: Bench, key: SigningKey, admit: Admit, kind: str
) -> None:
    name, _ = signed(bench, key)
    bench.fault("registry", kind)
    assert admit(name).code in (1, 3)


def test_slow_registry_ends_with_the_time_limit(
    bench: Bench, key: SigningKey, admit: Admit
) -> None:
    name, _ = signed(bench, key)
    bench.fault("registry", "hang", path="/manifests/")
    admit(name, words=("--timeout", "3")).expect(3, "timeout")


def test_request_is_denied_in_time(bench: Bench, key: SigningKey, admit: Admit) -> None:
    """The API server waits for an answer; one that says no is better than none."""
    name, _ = signed(bench, key)
    bench.fault("registry", "hang", path="/manifests/")
    request = {
        **{"uid": "1", "operation": "CREATE", "namespace": "shop", "object": deployment(name)},
        "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
    }
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    words = ("--review", "-", "--policies", admit.cluster.folder, "--timeout", "3")
    done = bench.imgsec.plain("admit", *words, stdin=json.dumps(review))
    assert done.code == 3
    response = done.json["response"]
    assert (response["uid"], response["allowed"]) == ("1", False)
    assert "did not end within 3 s" in response["status"]["message"]


def test_objects_that_name_images_and_run_nothing_themselves_are_told(admit: Admit) -> None:
    def made(kind: str, **content: Any) -> dict[str, Any]:
        return {"apiVersion": "x.example/v1", "kind": kind, "metadata": {"name": "a"}, **content}

    admit.cluster.policy("icr.io/*")
    path = admit.bench.folder / "objects.yaml"
    objects = [
        deployment("icr.io/a/b:1"),
        made("Silent", spec={"image": ""}),
        made("Engine", spec={"parts": [{"image": "x"}]}),
        *(made("Part", spec={"image": "x"}) for _ in range(6)),
        made("Logo", data={"image": "logo.png"}),
    ]
    path.write_text(yaml.safe_dump_all(objects))
    done = admit.bench.imgsec("admit", path, "--policies", admit.cluster.folder).expect(0)
    (text,) = (one["text"] for one in done.json["notes"] if one["code"] == "objects-passed-over")
    assert text.startswith("no workload, and names images: Engine 'a', Part 'a', ")
    assert "and 2 more" in text


def test_forty_containers_of_five_images_cost_five_look_ups(
    bench: Bench, key: SigningKey, admit: Admit
) -> None:
    names = [signed(bench, key)[0] for _ in range(5)]
    before = len(bench.log("registry"))
    done = admit(*names * 8).expect(0)
    assert len(done.json["workloads"][0]["patch"]) == 40
    asked = [one["path"] for one in bench.log("registry")[before:]]
    assert len([path for path in asked if "/signatures/" in path]) == 5


def test_advisor_of_the_sandbox_judges(bench: Bench, cluster: Cluster, admit: Admit) -> None:
    bad, _ = bench.push("vulnerable-" + bench.repository())
    good, _ = bench.push(bench.repository())
    cluster.policy("*", vulnerability={"ICCRVA": {"enabled": True}})
    done = admit.at_ibm(bad).expect(1, "admission-denied")
    (said,) = done.json["workloads"][0]["messages"]
    assert said.startswith(f"Image {bad} CANNOT DEPLOY with Vulnerability Advisor")
    done = admit.at_ibm(good).expect(0)
    (layer,) = [one for one in done.json["containers"][0]["layers"] if one["layer"] == "advisor"]
    assert layer["outcome"] == "passed"
    done = admit.at_ibm(good, secrets=()).expect(1, "admission-denied")
    assert done.json["workloads"][0]["messages"] == [
        "No credentials on client to call Vulnerability Advisor for IBM Cloud Container Registry"
        " with"
    ]
    bench.fault("va", "503")
    assert admit.at_ibm(good).code == 3
    assert admit.denial(good)[0].startswith("Cannot use Vulnerability Advisor")


def test_cise_asks_the_advisor_of_the_pods(bench: Bench, cluster: Cluster, admit: Admit) -> None:
    bad, _ = bench.push("vulnerable-" + bench.repository())
    good, _ = bench.push(bench.repository())
    api = "securityenforcement.admission.cloud.ibm.com/v1beta1"
    words = ("--engine", "cise")
    cluster.policy("*", api=api, va={"enabled": True}, trust={"enabled": False})
    done = admit.at_ibm(bad, words=words).expect(1, "child-denied")
    assert "`ibmcloud cr va`" in done.json["workloads"][1]["messages"][0]
    admit.at_ibm(good, words=words).expect(0)
    done = admit(good, words=words).expect(1, "child-denied")
    said = "VA is not supported for images from this registry"
    assert done.json["workloads"][1]["messages"] == [said]
    cluster.policy("*", api=api, va={"enabled": False}, trust={"enabled": False})
    admit(bad, words=words).expect(0)
    admit(bad).expect(2, "policy-foreign")


# --- Secrets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        '{{"auths":{{"{host}":{{"username":"u","password":"{canary}"}}}}}}',
        '{{"auths":{{"{host}":{{"auth":"{canary}"}}}}}}',
        '{{"auths":{{"{canary}":{{}}}}',
        '{{"auths":{{"{host}":"{canary}"}}}}',
        "{canary}",
    ],
)
@pytest.mark.parametrize("words", [("-v",), ("--output", "text")])
def test_no_output_holds_a_pull_secret(
    bench: Bench,
    key: SigningKey,
    cluster: Cluster,
    admit: Admit,
    content: str,
    words: tuple[str, ...],
) -> None:
    name, _ = signed(bench, key)
    host = bench.sandbox.registry.partition(":")[0]
    canary = "Y2FuYXJ5LW9mLXRoZS1wdWxs"
    filled = content.format(host=host, canary=canary).encode()
    cluster.secret("shop", "regcred", {".dockerconfigjson": filled})
    path = bench.folder / "web.yaml"
    path.write_text(yaml.safe_dump(deployment(name)))
    done = bench.imgsec.plain("admit", path, "--policies", cluster.folder, *words)
    assert done.code == 1, done.stderr
    assert canary not in done.stdout + done.stderr
    assert base64.b64decode(canary).decode() not in done.stdout + done.stderr
