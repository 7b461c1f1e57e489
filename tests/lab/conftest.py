# SPDX-License-Identifier: Apache-2.0
"""Two hosts for the tests of a module: bare, or with all of Alcor."""

from collections.abc import AsyncIterator

import pytest_asyncio

from alcor.lab import Underlay
from alcor.lab.cloud import Cloud
from tests.lab.pair import Pair, spec
from tests.lab.site import Site, new_site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair() -> AsyncIterator[Pair]:
    """The two, joined and warm: the first packet to an unknown tunnel neighbour is lost, which is an agent's matter."""
    async with Underlay() as underlay:
        one, two = await underlay.add_hosts("one", "two")
        made = Pair(underlay, one, two, await one.add_vm(spec(1)), await two.add_vm(spec(2)))
        await made.join()
        await made.left.ping("10.0.0.2", tries=5)
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Site]:
    """The whole of Alcor, and one machine on each of two hosts."""
    async with Cloud() as cloud:
        yield await new_site(cloud)
