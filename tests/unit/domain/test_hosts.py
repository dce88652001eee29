# SPDX-License-Identifier: Apache-2.0
"""Which host may be sent an IAM token, and which addresses are taken at all."""

from __future__ import annotations

import pytest

from imgsec.domain.hosts import ServiceUrl, host_of, is_loopback, may_have_iam_token
from tests.unit.refusals import refused


@pytest.mark.parametrize(
    "authority",
    [
        "icr.io",
        "us.icr.io",
        "private.us.icr.io",
        "US.ICR.IO",
        "us.icr.io:443",
        "iam.cloud.ibm.com",
        "private.us-south.iam.cloud.ibm.com",
        "us-south.kms.cloud.ibm.com",
        "private.eu-de.kms.cloud.ibm.com",
        "abc.api.us-east.kms.appdomain.cloud",
        "abc.api.us-east.hs-crypto.appdomain.cloud",
        "api.us-south.hs-crypto.cloud.ibm.com:11443",
        "127.0.0.1:5000",
        "localhost",
        "[::1]:5000",
    ],
)
def test_ibm_cloud_and_loopback_may_have_the_token(authority: str) -> None:
    assert may_have_iam_token(authority)


@pytest.mark.parametrize(
    "authority",
    [
        "",
        "xicr.io",
        "icr.io.evil.example",
        "us-icr.io",
        "icr.io.",
        "evilkms.cloud.ibm.com",
        "cloud.ibm.com",
        "x.cloud.ibm.com",
        "ibm.com",
        "appdomain.cloud",
        "evil.appdomain.cloud",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "docker.io",
        "10.0.0.1",
        "0.0.0.0",
        "169.254.169.254",
        "us.icr.io@evil.example",
        "evil.example:443/us.icr.io",
    ],
)
def test_no_other_host_may_have_the_token(authority: str) -> None:
    assert not may_have_iam_token(authority)


def test_operator_can_name_one_more_host_and_no_part_of_it() -> None:
    assert may_have_iam_token("kms.corp.example:8443", ("kms.corp.example",))
    assert not may_have_iam_token("evil.kms.corp.example", ("kms.corp.example",))
    assert not may_have_iam_token("corp.example", ("kms.corp.example",))


@pytest.mark.parametrize(
    ("authority", "host"),
    [("a.B:1", "a.b"), ("A", "a"), ("[::1]:80", "::1"), ("[FE80::1]", "fe80::1")],
)
def test_host_is_found_before_the_port(authority: str, host: str) -> None:
    assert host_of(authority) == host


@pytest.mark.parametrize("authority", ["127.0.0.1", "127.1.2.3:80", "localhost:1", "[::1]:1"])
def test_loopback_is_recognised(authority: str) -> None:
    assert is_loopback(authority)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("https://host", "https://host"),
        ("https://host/", "https://host"),
        ("https://host:8443/api/v2", "https://host:8443"),
        ("https://host/api/v2/", "https://host"),
        ("https://host/path/", "https://host/path"),
        ("http://127.0.0.1:80", "http://127.0.0.1:80"),
        ("http://localhost:80/", "http://localhost:80"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_address_is_taken_without_its_usual_tail(text: str, taken: str) -> None:
    assert str(ServiceUrl.parse(text)) == taken


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "host:443",
        "//host",
        "ftp://host",
        "file:///etc/passwd",
        "https://",
        "https://host:",
        "https://https://host/x",
        "https:///path",
        "https://user@host",
        "https://user:secret@host",
        "https://host?x=1",
        "https://host#x",
        "https://host:0",
        "https://host:99999",
        "https://host:port",
        "https://ho st",
        "https://host\n",
        "https://host\r\nX-Header: 1",
        "https://h\u00f6st",
        "https://[::1",
        "https://host_name",
        "-https://host",
    ],
)
def test_anything_else_is_no_address(text: str) -> None:
    with refused("invalid-option"):
        ServiceUrl.parse(text)


@pytest.mark.parametrize(
    "text", ["http://us.icr.io", "http://127.0.0.1.evil.example", "http://localhost.evil.example/x"]
)
def test_plain_http_is_for_loopback_only(text: str) -> None:
    with refused("insecure-address"):
        ServiceUrl.parse(text)
