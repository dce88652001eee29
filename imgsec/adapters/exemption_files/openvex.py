# SPDX-License-Identifier: Apache-2.0
"""OpenVEX 0.2: statements about which vulnerabilities affect which products.

Source: openvex/spec, `OPENVEX-SPEC.md`. Only ``not_affected`` exempts, and of several statements
about one thing the latest counts. Anybody can write such a document, and nothing in it proves who
did: its author must be the one that the caller expects, and what is taken over is for people to
review, as every change of the ledger is.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, quote, unquote

from imgsec.adapters.exemption_files import (
    MAKER,
    ExemptionFormat,
    ends,
    reason,
    single_issue,
)
from imgsec.domain.exemption import Exemption, ExemptionScope, IssueType
from imgsec.domain.exemption_exchange import Defaults, Export, Exported, Imported
from imgsec.domain.hosts import public_icr_host
from imgsec.domain.package_url import SCHEME, parse_package_url

_CONTEXT = "https://openvex.dev/ns/v0.2.0"
_KNOWN_CONTEXT = re.compile(r"https://openvex\.dev/ns/v0\.2\.[0-9]{1,3}")
_EXEMPTS = "not_affected"
_IMAGE = re.compile(r"pkg:oci/([^@?#/]+)@([^@?#/]+)\?([^?#]+)")


@dataclass(frozen=True, slots=True)
class _Denial:
    """A statement that exempts nothing: about what, and from when on. None: nobody can tell."""

    names: frozenset[str]
    products: frozenset[str] | None
    since: datetime | None


def _read(document: Any, defaults: Defaults) -> Imported:
    context = document.get("@context") if isinstance(document, dict) else None
    if not isinstance(context, str) or not _KNOWN_CONTEXT.fullmatch(context):
        raise ValueError("it is no OpenVEX document of version 0.2")
    author = document.get("author")
    if not defaults.author or author != defaults.author:
        expected = "--vex-author says whose it must be"
        raise ValueError(f"its author is {str(author)[:100]!r}, and {expected}")
    statements = document.get("statements")
    if not isinstance(statements, list):
        raise ValueError("statements is not a list")
    issued = _moment(document.get("timestamp"))
    denials = [_denial(one, issued) for one in statements if not _may_exempt(one)]
    entries: list[Exemption] = []
    skipped = []
    for number, statement in enumerate(statements, start=1):
        try:
            entries += _entries(statement, issued, denials, defaults)
        except ValueError as error:
            skipped.append(f"statement {number} ({_named(statement)[:100]}): {error}")
    return Imported(tuple(entries), tuple(skipped))


def _may_exempt(statement: Any) -> bool:
    return isinstance(statement, dict) and statement.get("status") == _EXEMPTS


def _named(statement: Any) -> str:
    about = statement.get("vulnerability") if isinstance(statement, dict) else None
    return str(about.get("name") if isinstance(about, dict) else about)


def _names(statement: Any) -> frozenset[str]:
    """All names of the vulnerability."""
    about = statement.get("vulnerability") if isinstance(statement, dict) else None
    aliases = about.get("aliases") if isinstance(about, dict) else None
    more = aliases if isinstance(aliases, list) else []
    return frozenset((_named(statement), *map(str, more)))


def _denial(statement: Any, issued: datetime | None) -> _Denial:
    if not isinstance(statement, dict):
        return _Denial(frozenset(), frozenset(), None)
    products: Any = statement.get("products") or [{}]
    scopes: frozenset[str] | None
    try:
        scopes = frozenset(_place(_scope(product["@id"])) for product in products)
    except (ValueError, TypeError, KeyError):
        scopes = None  # perhaps the same image by another name
    return _Denial(_names(statement), scopes, _since(statement, issued))


def _place(scope: ExemptionScope) -> str:
    """The image, by whichever of its hosts it was named."""
    return str(replace(scope, registry=public_icr_host(scope.registry)))


def _since(statement: dict[str, Any], issued: datetime | None) -> datetime | None:
    return _moment(statement["timestamp"]) if "timestamp" in statement else issued


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
        return moment if moment is not None and moment.tzinfo else None
    except ValueError:
        return None


def _entries(
    statement: Any, issued: datetime | None, denials: list[_Denial], defaults: Defaults
) -> list[Exemption]:
    if not isinstance(statement, dict):
        raise ValueError("it is not an object")
    if not _may_exempt(statement):
        raise ValueError(
            f"its status is {str(statement.get('status'))[:40]}, which exempts nothing"
        )
    if statement.get("subcomponents"):
        raise ValueError("it is narrowed by subcomponents that belong to a product in version 0.2")
    words = [statement.get("justification"), statement.get("impact_statement")]
    why = ": ".join(word for word in words if isinstance(word, str) and word)
    products = statement.get("products") or []
    if not isinstance(products, list) or not products:
        raise ValueError("it names no product")
    made = [_entry(statement, product, why, defaults) for product in products]
    names, since = _names(statement), _since(statement, issued)
    for entry in made:
        for other in denials:
            same = other.products is None or _place(entry.scope) in other.products
            is_older = since is not None and other.since is not None and other.since < since
            if same and names & other.names and not is_older:
                raise ValueError("another statement of the document says otherwise")
    return made


def _entry(statement: Any, product: Any, why: str, defaults: Defaults) -> Exemption:
    if not isinstance(product, dict):
        raise ValueError("a product is not an object")
    parts = product.get("subcomponents", [])
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise ValueError("a part of a product is not an object")
    names = [parse_package_url(part.get("@id")) for part in parts]
    about = statement.get("vulnerability")
    if not isinstance(about, dict) or not isinstance(about.get("name"), str):
        raise ValueError("its vulnerability has no name")
    document = {
        "id": single_issue(about["name"]),
        "scope": str(_scope(product.get("@id"))),
        **({"packages": list(dict.fromkeys(names))} if names else {}),
        "owner": defaults.owner,
        "reason": reason(why, defaults),
        "expires": ends(None, defaults).isoformat(),
    }
    return Exemption.parse(document)


def _scope(purl: object) -> ExemptionScope:
    """The image that a ``pkg:oci`` names, by its digest. Raises `ValueError` for another product.

    Source: package-url/purl-spec, the type oci; the repository's address is a qualifier.
    """
    found = _IMAGE.fullmatch(purl) if isinstance(purl, str) else None
    if found is None:
        raise ValueError(f"the product {str(purl)[:100]!r} is no image with a digest")
    qualifiers = parse_qs(found[3], keep_blank_values=True, max_num_fields=20)
    if unknown := set(qualifiers) - {"repository_url", "tag"}:
        raise ValueError(f"it is narrowed by {min(unknown)}, which the ledger cannot say")
    repository, *more = qualifiers.get("repository_url", [""])
    scope = ExemptionScope.parse(f"{repository}@{unquote(found[2])}")
    if more or not scope.registry or scope.path.rpartition("/")[2] != unquote(found[1]):
        raise ValueError("the product does not say one image of one registry")
    return scope


def _write(export: Export) -> Exported:
    exported = export.sayable(_cannot_say)
    moment = export.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    image = export.subject.image
    base = image.repository.rpartition("/")[2]
    purl = f"pkg:oci/{base}@{quote(str(export.subject.digest), safe='')}"
    product = f"{purl}?repository_url={quote(image.name, safe='')}"
    statements = [
        {
            "vulnerability": {"name": entry.issue},
            "products": [_product(product, entry)],
            "status": _EXEMPTS,
            "impact_statement": f"{entry.reason} (until {entry.expires}, {entry.owner})",
            "timestamp": moment,
        }
        for entry in exported.entries
    ]
    said = [{**one, "timestamp": ""} for one in statements]
    identity = hashlib.sha256(json.dumps([export.author, product, said]).encode()).hexdigest()
    document = {
        "@context": _CONTEXT,
        "@id": f"https://openvex.dev/docs/public/vex-{identity}",
        "author": export.author,
        "timestamp": moment,
        "version": 1,
        "tooling": MAKER,
        "statements": statements,
    }
    return replace(exported, text=json.dumps(document, indent=2) + "\n")


def _product(purl: str, entry: Exemption) -> dict[str, Any]:
    parts = [{"@id": name} for name in entry.packages]
    return {"@id": purl, **({"subcomponents": parts} if parts else {})}


def _cannot_say(entry: Exemption) -> str | None:
    if entry.type is IssueType.CONFIGURATION:
        return "OpenVEX is about vulnerabilities"
    if not all(name.startswith(SCHEME) for name in entry.packages):
        return "OpenVEX names packages by their package URL, and the entry does not"
    return None


FORMAT = ExemptionFormat(
    _read,
    _write,
    "OpenVEX has no word for a risk that is taken until a day: not_affected says that there is"
    " none, for ever; publish only what is so",
    is_json=True,
    names_images=True,
    moments=re.compile(rb'"timestamp": "[^"]*"'),
)
