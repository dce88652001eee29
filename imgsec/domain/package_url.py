# SPDX-License-Identifier: Apache-2.0
"""Package URLs: which package, and of which kind. Debian's openssl is not the one of a language.

Source: package-url/purl-spec; the library of the specification's authors reads and writes them.
"""

from __future__ import annotations

from functools import lru_cache

from imgsec.domain.reference import shown

SCHEME = "pkg:"
_MAX_CHARS = 512  # ours


def parse_package_url(text: object) -> str:
    """A package of any version, as the specification writes it. Raises `ValueError`.

    One that says more, such as a version or an architecture, is about fewer packages.

    >>> parse_package_url("pkg:npm/@a/b")
    'pkg:npm/%40a/b'
    """
    from packageurl import PackageURL

    if not isinstance(text, str) or not text.isprintable() or len(text) > _MAX_CHARS:
        raise ValueError(f"{shown(str(text))} is no package URL")
    try:
        found = PackageURL.from_string(text)
    except ValueError:
        raise ValueError(f"{shown(text)} is no package URL") from None
    if found.version:
        raise ValueError("it is narrowed to a version of a package, which the ledger cannot say")
    if found.qualifiers or found.subpath:
        raise ValueError("it is narrowed to a form of a package, which the ledger cannot say")
    return found.to_string()


@lru_cache(maxsize=4096)
def any_version_of(text: str) -> str:
    """The package that a scanner means, in any version and form; empty where it is none.

    >>> any_version_of("pkg:deb/debian/openssl@3.0.11-1?arch=amd64")
    'pkg:deb/debian/openssl'
    """
    from packageurl import PackageURL

    try:
        found = PackageURL.from_string(text)
    except ValueError:
        return ""
    return PackageURL(found.type, found.namespace, found.name).to_string()
