# SPDX-License-Identifier: Apache-2.0
"""The fixture by which the same test body runs on fake switches and on Open vSwitch."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.agent.fabric import Fabric, open_fabric


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=["fake", pytest.param("ovs", marks=pytest.mark.ovs)]
)
async def both_fabrics(request: pytest.FixtureRequest) -> AsyncIterator[Fabric]:
    """One fabric for a module: real hosts take a second to start."""
    async with open_fabric(request.param) as fabric:
        yield fabric


@pytest_asyncio.fixture(loop_scope="module")
async def fabric(both_fabrics: Fabric) -> Fabric:
    """A fabric without ports."""
    await both_fabrics.reset()
    return both_fabrics
