# SPDX-License-Identifier: Apache-2.0
"""A vulnerability database as Trivy reads one, made by hand: a bbolt file and its metadata.

Sources: etcd-io/bbolt, `page.go`, `db.go` and `bucket.go`; aquasecurity/trivy-db, `pkg/db` and
`pkg/types`, schema version 2. Trivy only reads it, so that a bucket may be one leaf page of any
length: pages that branch are for those who write.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

_PAGE_BYTES = 4096
_BRANCH_FREE_LEAF, _META, _FREELIST = 0x02, 0x04, 0x10
_MAGIC, _VERSION = 0xED0CDAED, 2
_IS_BUCKET = 1
_FIRST_DATA_PAGE = 3  # behind two copies of the metadata and the list of free pages
_FNV_OFFSET, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3

Bucket = Mapping[str, "Bucket | bytes"]


def bolt_file(root: Bucket) -> bytes:
    """The file that holds these buckets."""
    pages: list[bytes] = []
    top = _write_bucket(root, pages)
    high_water = _FIRST_DATA_PAGE + sum(len(page) for page in pages) // _PAGE_BYTES
    metas = [_meta(number, top, high_water) for number in (0, 1)]
    free = _page(2, _FREELIST, 0, b"")
    return b"".join([*metas, free, *pages])


def _write_bucket(bucket: Bucket, pages: list[bytes]) -> int:
    """Put a bucket behind the pages, after those that it holds; the number of its page."""
    entries = []
    for name, value in sorted(bucket.items(), key=lambda item: item[0].encode()):
        if isinstance(value, bytes):
            entries.append((0, name.encode(), value))
        else:
            inner = _write_bucket(value, pages)
            entries.append((_IS_BUCKET, name.encode(), struct.pack("<QQ", inner, 0)))
    headers, data = b"", b""
    for number, (flags, name_bytes, content) in enumerate(entries):
        start = 16 * (len(entries) - number) + len(data)  # counted from its own header
        headers += struct.pack("<IIII", flags, start, len(name_bytes), len(content))
        data += name_bytes + content
    number = _FIRST_DATA_PAGE + sum(len(page) for page in pages) // _PAGE_BYTES
    pages.append(_page(number, _BRANCH_FREE_LEAF, len(entries), headers + data))
    return number


def _page(number: int, flags: int, count: int, content: bytes) -> bytes:
    length = -(-(16 + len(content)) // _PAGE_BYTES)
    header = struct.pack("<QHHI", number, flags, count, length - 1)
    return (header + content).ljust(length * _PAGE_BYTES, b"\0")


def _meta(number: int, root: int, high_water: int) -> bytes:
    content = struct.pack("<IIII", _MAGIC, _VERSION, _PAGE_BYTES, 0)
    content += struct.pack("<QQQQQ", root, 0, 2, high_water, number)
    checksum = _FNV_OFFSET
    for byte in content:
        checksum = ((checksum ^ byte) * _FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return _page(number, _META, 0, content + struct.pack("<Q", checksum))


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()


_SOURCE = {
    "ID": "debian",
    "Name": "Debian Security Tracker",
    "URL": "https://salsa.debian.org/security-tracker-team/security-tracker",
}
_NPM = "npm::GitHub Security Advisory Npm"
_NPM_SOURCE = {
    "ID": "ghsa",
    "Name": "GitHub Security Advisory Npm",
    "URL": "https://github.com/advisories?query=type%3Areviewed+ecosystem%3Anpm",
}
# The packages are nobody's. Of Debian's one has a fix, the other none and Debian's rating alone.
ADVISORIES: Bucket = {
    "data-source": {"debian 12": _json(_SOURCE), _NPM: _json(_NPM_SOURCE)},
    "debian 12": {
        "libleak": {
            "CVE-2026-0001": _json({"FixedVersion": "1.2-3+deb12u1", "VendorIDs": ["DSA-9001-1"]}),
        },
        "libworn": {"CVE-2026-0002": _json({"Status": 2, "Severity": 1})},
    },
    _NPM: {
        "left-hand": {
            "CVE-2026-0003": _json(
                {"PatchedVersions": ["1.3.0"], "VulnerableVersions": ["<1.3.0"]}
            ),
        },
    },
    "vulnerability": {
        "CVE-2026-0001": _json(
            {
                "Title": "libleak: reads beyond the end",
                "Description": "A crafted file makes libleak read beyond the end of a buffer.",
                "Severity": "HIGH",
                "VendorSeverity": {"nvd": 3},
                "References": ["https://example.com/CVE-2026-0001"],
                "PublishedDate": "2026-01-02T03:04:05Z",
                "LastModifiedDate": "2026-01-03T03:04:05Z",
            }
        ),
        "CVE-2026-0002": _json(
            {
                "Title": "libworn: slow on odd input",
                "Severity": "LOW",
                "VendorSeverity": {"debian": 1},
            }
        ),
        "CVE-2026-0003": _json(
            {
                "Title": "left-hand: takes the right one",
                "Severity": "CRITICAL",
                "VendorSeverity": {"ghsa": 4},
            }
        ),
    },
}


def write_database(folder: Path, *, updated: datetime | None = None) -> Path:
    """Put the database below a cache folder, as Trivy lays it out; gives the cache folder.

    updated: when its makers say that it was made.
    """
    moment = updated or datetime.now(UTC)
    place = folder / "db"
    place.mkdir(parents=True)
    (place / "trivy.db").write_bytes(bolt_file(ADVISORIES))
    metadata = {
        "Version": 2,
        "NextUpdate": _time(moment + timedelta(days=1)),
        "UpdatedAt": _time(moment),
        "DownloadedAt": _time(moment),
    }
    (place / "metadata.json").write_bytes(_json(metadata))
    return folder


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
