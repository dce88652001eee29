# SPDX-License-Identifier: Apache-2.0
"""Intent files: one document or several, named by option and never found in a working directory."""

from __future__ import annotations

from collections.abc import Iterable

from imgsec.adapters.files import load_yaml_stream, read_file
from imgsec.domain.intent_file import intent_document, parse_intent, told_where
from imgsec.domain.policy_intent import PolicyIntent
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import INPUT_MALFORMED

INTENT_FILE = "imgsec-policy.yaml"
INTENT_MAX_BYTES = 1 * 2**20  # ours; thousands of rules


def read_intents(path: str) -> tuple[PolicyIntent, ...]:
    """Empty documents are passed over, as kubectl does it.

    Raises `ImgsecError` (input-unreadable, input-malformed), and what names of it raise.
    """
    content = read_file(path, max_bytes=INTENT_MAX_BYTES)
    found = []
    for place, document in enumerate(load_yaml_stream(content, path, keeps_dates=True), start=1):
        if document is None:
            continue
        try:
            found.append(parse_intent(document))
        except ValueError as error:
            text = f"{shown(path)} is no intent, document {place}: {error}"
            raise ImgsecError(INPUT_MALFORMED(text)) from None
        except ImgsecError as error:
            raise told_where(f"{shown(path)}, document {place}", error) from None
    if not found:
        raise ImgsecError(INPUT_MALFORMED(f"{shown(path)} is empty"))
    return tuple(found)


def intent_bytes(intents: Iterable[PolicyIntent]) -> bytes:
    """What `read_intents` reads the same of again."""
    import yaml

    from imgsec.adapters._yaml import PlainDumper

    documents = [intent_document(one) for one in intents]
    text: str = yaml.dump_all(
        documents, Dumper=PlainDumper, sort_keys=False, width=2**16, explicit_start=True
    )
    return text.encode()
