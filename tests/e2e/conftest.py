# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import Gpg, short_folder


@pytest.fixture
def gpg() -> Iterator[Gpg]:
    """The keyring of somebody who makes keys without imgsec."""
    with short_folder() as folder:
        home = folder / "operator"
        home.mkdir(mode=0o700)
        yield Gpg(home)
