# SPDX-License-Identifier: Apache-2.0
"""Every run is killed right after its first change, and together they get there all the same."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Bench
from tests.support import ROOT

pytestmark = pytest.mark.once
DYING = ROOT / "tests" / "dying.py"
UNDECIDED = 3


def killed_until_done(bench: Bench, *words: str | Path) -> int:
    """Run it again and again until one run has nothing left to change; how often it was killed."""
    for number in range(60):
        done = subprocess.run(
            [sys.executable, str(DYING), *map(str, words)],
            env=bench.imgsec.variables(),
            cwd=bench.imgsec.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode == 0:
            return number
        if done.returncode == UNDECIDED and "key-moving" in done.stdout:
            continue  # the KMS was still at work for the one that was killed: try again, as it says
        assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    raise AssertionError("it does not come to an end")


def test_set_up_that_is_killed_after_each_change_makes_one_key(bench: Bench) -> None:
    alias, out = bench.alias(), bench.folder / "out"
    words = ("setup-signing-keys", "--alias", alias, "--repository", "us.icr.io/team/*")
    assert killed_until_done(bench, *words, "--render", out) == 6  # three keys, three manifests
    assert set(bench.keys(alias)) == {alias, f"{alias}-public", f"{alias}-revocation"}
    ended = bench.imgsec(*words, "--render", out).expect(0)
    assert {change["state"] for change in ended.json["changes"]} == {"unchanged"}
    image, _ = bench.push(bench.repository())
    bench.imgsec("sign-image", image, "--key", f"kms://{alias}").expect(0)
    secret = out / "portieris-image-signing-public-key.secret.yaml"
    bench.imgsec("verify-image", image, "--key", f"secret:{secret}").expect(0)
    assert bench.leftovers() == []


def test_rotation_and_renewal_that_are_killed_after_each_change_end_well(bench: Bench) -> None:
    alias, out = bench.alias(), bench.folder / "out"
    words = ("setup-signing-keys", "--alias", alias, "--repository", "us.icr.io/team/*")
    first = bench.imgsec(*words, "--render", out).expect(0).json["key"]["fingerprint"]
    image, _ = bench.push(bench.repository())
    bench.imgsec("sign-image", image, "--key", f"kms://{alias}").expect(0)
    images = bench.folder / "images.txt"
    images.write_text(image)
    rotate = ("keys", "rotate", alias, "--fingerprint", first, "--render", out)
    last = ("--switch", "now", "--retire", "now", "--resign-from", images)
    assert killed_until_done(bench, *rotate) >= 4
    assert killed_until_done(bench, *rotate, "--cancel") >= 7
    assert set(bench.keys(alias)) == {alias, f"{alias}-public", f"{alias}-revocation"}
    assert killed_until_done(bench, *rotate, *last) >= 20
    names = {alias, f"{alias}-public", f"{alias}-revocation"}
    assert set(bench.keys(alias)) == names
    assert len(bench.keys(f"retired-{first}")) == 3
    renew = ("keys", "renew", alias, "--until", "2099-01-31", "--render", out)
    assert killed_until_done(bench, *renew, "--check-from", images) >= 10
    assert set(bench.keys(alias)) == names
    done = bench.imgsec(*words, "--render", out).expect(0)
    assert {change["state"] for change in done.json["changes"]} == {"unchanged"}
    key = done.json["key"]
    assert (key["expires"], key["fingerprint"] != first) == ("2099-01-31T00:00:00Z", True)
    bench.imgsec("verify-image", image, "--key", f"kms://{alias}").expect(0)
    assert bench.leftovers() == []
