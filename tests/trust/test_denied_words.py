# SPDX-License-Identifier: Apache-2.0
"""The words of our own list of what is not trusted are those of the real client."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trust.conftest import Notary
from tests.trust_cases import DENIED, TRUSTED
from tests.trust_collection import GUN, digest_of
from tests.unit.adapters.servers import Server, files


@pytest.mark.once
@pytest.mark.parametrize("name", DENIED)
def test_client_says_what_we_say(name: str, notary_folder: Path) -> None:
    make, words = DENIED[name]
    with Server([files(make().paths())]) as server:
        said = Notary(notary_folder, server.url).complaint(GUN)
        assert words.replace("HOST", server.authority) in said


@pytest.mark.once
@pytest.mark.parametrize("name", TRUSTED)
def test_client_trusts_what_we_trust(name: str, notary_folder: Path) -> None:
    with Server([files(TRUSTED[name]().paths())]) as server:
        said = Notary(notary_folder, server.url).run("lookup", GUN, "v1")
    assert digest_of("v1") in said
