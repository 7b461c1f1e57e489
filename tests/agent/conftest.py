# SPDX-License-Identifier: Apache-2.0
"""Hosts with real switches, made once for a module of tests."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.agent.fabric import OvsFabric, open_fabric


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[OvsFabric]:
    async with open_fabric("ovs") as fabric:
        assert isinstance(fabric, OvsFabric)
        yield fabric
