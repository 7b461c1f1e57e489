# SPDX-License-Identifier: Apache-2.0
"""Several pushes on one log, in simulated time: whose word it is that a host is gone, and who is to say so."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any

import pytest

from alcor.base.config import Settings
from alcor.base.telemetry import Meters
from alcor.base.wire import alcor_pb2 as wire
from alcor.features.agent.model import AGENT, AGENT_STATE
from alcor.features.agent.rules import on_delete
from alcor.features.control import GOAL, SCHEMA
from alcor.push.service import Service
from alcor.resource.context import Asked, World, identity
from alcor.store.reader import Txn
from alcor.store.store import Outside, Store
from alcor.testing.loop import LoopClock, simulate
from alcor.testing.memory_log import Disk, MemoryLog
from alcor.testing.transport import MemoryStream, stream_pair

GRACE_S = 15.0
SETTINGS = Settings(silence_grace_s=GRACE_S)


class Push:
    """One of several, with a store of its own on the log that they share."""

    def __init__(self, name: str, store: Store) -> None:
        self.service = Service(store, GOAL, Outside(LoopClock(), Random(name), SETTINGS, Meters()), name)
        self.store = store
        self._streams: dict[str, tuple[MemoryStream, asyncio.Task[None]]] = {}

    async def greet(self, *hosts: str) -> None:
        """These hosts open a stream here and say hello; returns when that is written down."""
        for host in hosts:
            here, there = stream_pair()
            hello = wire.Hello(host=host, tunnel_ip="10.0.0.1")
            attending = asyncio.create_task(self.service.attend(there, None))
            self._streams[host] = here, attending
            await here.write(wire.Envelope(hello=hello).SerializeToString())
        await asyncio.sleep(1)

    async def lose(self, *hosts: str) -> None:
        """The streams of these hosts end."""
        for host in hosts:
            stream, attending = self._streams.pop(host)
            await stream.close()
            await attending

    async def close(self) -> None:
        """The process ends."""
        await self.lose(*self._streams)
        await self.service.close()
        await self.store.close()


class Site:
    """A log, and the pushes on it."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.pushes: list[Push] = []

    async def start(self, name: str) -> Push:
        """One more push, once it serves hosts."""
        outside = Outside(LoopClock(), Random(name), SETTINGS, Meters())
        push = Push(name, await Store.open(SCHEMA, MemoryLog(self.disk), outside))
        push.service.start()
        await push.service.loaded()
        self.pushes.append(push)
        return push

    async def stop(self, push: Push) -> None:
        """Ends one of them."""
        self.pushes.remove(push)
        await push.close()

    async def alive(self) -> dict[str, bool]:
        """What the log says of every host, the same to every push."""
        said = []
        for push in self.pushes:
            await push.store.caught_up()
            said.append({state.id: state.is_alive for state in push.store.tables.scan(AGENT_STATE)})
        assert all(one == said[0] for one in said)
        return said[0]


@asynccontextmanager
async def _site() -> AsyncIterator[Site]:
    site = Site()
    try:
        yield site
    finally:
        for push in site.pushes:
            await push.close()


async def _host_that_moves(site: Site) -> None:
    one, two = await site.start("one"), await site.start("two")
    await one.greet("h")
    await one.lose("h")
    await two.greet("h")
    await asyncio.sleep(GRACE_S * 2)
    assert await site.alive() == {"h": True}
    assert one.store.tables.get(AGENT_STATE, "h").push == "two"


async def _host_that_is_gone(site: Site) -> None:
    one, two = await site.start("one"), await site.start("two")
    await one.greet("h")
    await one.lose("h")
    await two.greet("h")
    await two.lose("h")
    await asyncio.sleep(GRACE_S * 2)
    assert await site.alive() == {"h": False}
    await one.greet("h")
    assert await site.alive() == {"h": True}


async def _host_whose_agent_is_deleted(site: Site) -> None:
    """A living agent registers again by itself; one that is gone stays deleted."""
    one, two = await site.start("one"), await site.start("two")
    await one.greet("h1")
    await two.greet("h2")
    await two.lose("h2")
    await asyncio.sleep(2 * GRACE_S)
    for push in (one, two):  # by whichever API
        ids = [agent.id for agent in push.store.tables.scan(AGENT)]
        await push.store.submit(partial(_delete_agents, ids), "t")
        await asyncio.sleep(2)
        [agent] = push.store.tables.scan(AGENT)
        assert agent.host == "h1"
        assert await site.alive() == {"h1": True}


def _delete_agents(ids: Sequence[str], txn: Txn) -> None:
    for agent in [txn.get(AGENT, one) for one in ids]:
        on_delete(txn, Asked(World(SETTINGS), identity("p", "u", ["admin"])), agent)
        txn.delete(AGENT, agent.id)


async def _push_that_starts_beside_another(site: Site) -> None:
    one = await site.start("one")
    await one.greet("h1", "h2")
    two = await site.start("two")
    await asyncio.sleep(GRACE_S * 2)
    assert await site.alive() == {"h1": True, "h2": True}
    await two.greet("h3")
    await two.lose("h3")
    await asyncio.sleep(GRACE_S * 2)
    assert await site.alive() == {"h1": True, "h2": True, "h3": False}


async def _push_that_starts_again(site: Site) -> None:
    one, two = await site.start("one"), await site.start("two")
    await one.greet("h1")
    await two.greet("h2")
    await site.stop(one)
    await site.start("one")
    await asyncio.sleep(GRACE_S * 2)
    assert await site.alive() == {"h1": False, "h2": True}


async def _hosts_that_all_move(site: Site) -> None:
    one, two = await site.start("one"), await site.start("two")
    moving = [f"h{number}" for number in range(10)]
    await one.greet(*moving, "last")
    await one.lose(*moving)
    await two.greet(*moving)
    await one.lose("last")
    await asyncio.sleep(GRACE_S * 2)
    assert await site.alive() == dict.fromkeys(moving, True) | {"last": False}


@pytest.mark.parametrize(
    "story",
    [
        _host_that_moves,
        _host_that_is_gone,
        _host_whose_agent_is_deleted,
        _push_that_starts_beside_another,
        _push_that_starts_again,
        _hosts_that_all_move,
    ],
)
def test_a_host_is_gone_by_the_word_of_the_push_that_it_came_to_last(
    story: Callable[[Site], Awaitable[None]],
) -> None:
    async def main() -> None:
        async with _site() as site:
            await story(site)

    simulate(main())


def test_the_late_hello_of_one_push_does_not_keep_another_from_calling_the_host_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with _site() as site:
            one, two = await site.start("one"), await site.start("two")
            submit, may_write = one.store.submit, asyncio.Event()

            async def submit_late(*asked: Any) -> Any:
                await may_write.wait()
                return await submit(*asked)

            monkeypatch.setattr(one.store, "submit", submit_late)
            await one.greet("h")
            await one.lose("h")
            await two.greet("h")
            may_write.set()
            await asyncio.sleep(1)
            await site.alive()
            assert one.store.tables.get(AGENT_STATE, "h").push == "one"  # though the host is at two
            await asyncio.sleep(GRACE_S * 3)
            assert await site.alive() == {"h": True}
            await two.lose("h")
            await asyncio.sleep(GRACE_S * 3)
            assert await site.alive() == {"h": False}

    simulate(main())
