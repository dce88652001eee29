# SPDX-License-Identifier: Apache-2.0
"""What goes to another tool is what holds for one image now, and a tag's entry only where it is."""

from __future__ import annotations

from datetime import UTC, date, datetime

from imgsec.domain.exemption import Exemption
from imgsec.domain.reference import Digest, ImageReference
from imgsec.operations.export_exemptions import export_exemptions
from imgsec.ports import Manifest, ManifestReader
from tests.unit.operations.ledgers import FakeForeign, FakeLedger, entry

HERE, THERE = Digest.of(b"here"), Digest.of(b"there")
IMAGE = ImageReference.parse("us.icr.io/team/app:1").at(HERE)


class FakeRegistry:
    """Whose tags name one digest."""

    def __init__(self, digest: Digest) -> None:
        self._digest = digest

    def fetch_manifest(self, _: ImageReference) -> Manifest:
        return Manifest(b"", "", self._digest)


def exported(
    *entries: Exemption, registry: ManifestReader | None = None
) -> tuple[list[str], list[str]]:
    """The issues that were written, and the codes of what is told."""

    def find_registry() -> ManifestReader:
        assert registry is not None, "nobody needs to be asked"
        return registry

    other = FakeForeign()
    now = datetime(2026, 5, 1, tzinfo=UTC)
    image = IMAGE if registry else ImageReference.parse("us.icr.io/team/app").at(HERE)
    _, notes = export_exemptions(
        FakeLedger(*entries), other, image, author="us", now=now, find_registry=find_registry
    )
    (export,) = other.exports
    assert (export.author, export.now) == ("us", now)
    return [one.issue for one in export.entries], [note.code for note in notes]


def test_only_what_holds_for_the_image_now_is_written() -> None:
    over = entry("CVE-2026-1001", expires=date(2026, 4, 30))
    elsewhere = entry("CVE-2026-1002", scope="team/web")
    expected = (["CVE-2026-1000"], ["exported", "exported-form"])
    assert exported(entry(), over, elsewhere) == expected
    assert exported(over) == ([], ["exported"])


def test_entry_for_a_tag_is_written_where_the_tag_names_the_image() -> None:
    entries = (entry(), entry("CVE-2026-1001", scope="team/app:1"))
    both = ["CVE-2026-1000", "CVE-2026-1001"]
    assert exported(*entries, registry=FakeRegistry(HERE))[0] == both
    found, codes = exported(*entries, registry=FakeRegistry(THERE))
    assert found == both[:1]
    assert "tag-not-confirmed" in codes
