# SPDX-License-Identifier: Apache-2.0
"""What we say of collections that are not to be trusted is what the real client says."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgsec.adapters._http import Http
from imgsec.adapters.clock import SystemClock
from imgsec.adapters.notary import NotaryClient
from imgsec.domain.engine_name import EngineName
from tests.trust.conftest import Notary
from tests.trust_cases import DENIED, TRUSTED
from tests.trust_collection import GUN, digest_of
from tests.unit.adapters.servers import Server, files

pytestmark = pytest.mark.once


@pytest.mark.parametrize("name", DENIED)
def test_we_say_what_the_client_says(name: str, notary_folder: Path) -> None:
    make, _ = DENIED[name]
    with Server([files(make().paths())]) as server:
        said = Notary(notary_folder, server.url).complaint(GUN)
        client = NotaryClient(Http(), SystemClock())
        stop = client.fetch_trusted(server.url, EngineName.parse("app:v1"), []).stop
    assert stop is not None
    assert said.rstrip() in [text.rstrip() for text in (stop.text, *stop.others)]


@pytest.mark.parametrize("name", TRUSTED)
def test_client_trusts_what_we_trust(name: str, notary_folder: Path) -> None:
    with Server([files(TRUSTED[name]().paths())]) as server:
        said = Notary(notary_folder, server.url).run("lookup", GUN, "v1")
    assert digest_of("v1") in said
