# SPDX-License-Identifier: Apache-2.0
"""The product's API, in this process."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from alcor.base.config import Settings
from tests.api.world import NO_QUOTA, Api, running


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Starts the product's API with settings; stopped at the end of the test."""
    async with AsyncExitStack() as stack:

        async def started(**settings: Any) -> Api:
            return await stack.enter_async_context(running(tmp_path, Settings(**{**NO_QUOTA, **settings})))

        yield started


@pytest.fixture
async def api(start: Callable[..., Any]) -> Api:
    made: Api = await start()
    return made
