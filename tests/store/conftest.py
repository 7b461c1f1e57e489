# SPDX-License-Identifier: Apache-2.0
"""Stores on a log in a temporary folder, closed at the end of their test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.store.opener import Opener


@pytest.fixture
async def open_store(tmp_path: Path) -> AsyncIterator[Opener]:
    opener = Opener(tmp_path)
    yield opener
    await opener.close()
