# SPDX-License-Identifier: Apache-2.0
"""The agent is told of what others change in its switch, where the switch tells such things."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from alcor.agent.main import HostAgent, keep_switch
from alcor.agent.switch import Bounds
from alcor.base.net import Ip
from alcor.base.telemetry import Meters
from alcor.dataplane.openflow.messages import MULTIPART_MONITOR, Kind, message
from tests.agent.fabric import new_agent, until
from tests.agent.peer import Peer, error, part, peer

REMOVED, ABBREVIATED = 2, 4


def update(event: int) -> bytes:
    """What a switch says of changed flows."""
    body = struct.pack(">HH4x", MULTIPART_MONITOR, 0) + struct.pack(">HH4x", 8, event)
    return message(Kind.MULTIPART_REPLY, 0, body)


@asynccontextmanager
async def watching(ovs: Peer) -> AsyncIterator[HostAgent]:
    """An agent that keeps itself connected to the switch."""
    agent, _ = new_agent("one", Ip("10.99.0.1"))
    task = asyncio.create_task(keep_switch(agent, ovs.path, Bounds(), Meters()))
    try:
        await until(lambda: Kind.MULTIPART_REQUEST in ovs.kinds())
        yield agent
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_agent_is_disturbed_by_what_others_change_and_not_by_its_own_changes(tmp_path: Path) -> None:
    async with peer(tmp_path) as ovs, watching(ovs) as agent:
        ovs.writers[0].write(update(ABBREVIATED) + part(77) + message(Kind.ECHO_REQUEST, 5))
        await until(lambda: Kind.ECHO_REPLY in ovs.kinds())
        assert not agent.disturbed.is_set()
        ovs.writers[0].write(update(REMOVED))
        await asyncio.wait_for(agent.disturbed.wait(), 5)


async def test_switch_that_tells_of_no_changes_is_kept_all_the_same(tmp_path: Path) -> None:
    async with peer(tmp_path) as ovs:
        ovs.answers[Kind.MULTIPART_REQUEST] = lambda xid, _body: error(xid, 1, 2)
        async with watching(ovs):
            ovs.writers[0].write(message(Kind.ECHO_REQUEST, 5))
            await until(lambda: Kind.ECHO_REPLY in ovs.kinds())
            assert len(ovs.writers) == 1


async def test_switch_that_goes_while_it_is_asked_is_connected_anew(tmp_path: Path) -> None:
    async with peer(tmp_path) as ovs:

        def goes(_xid: int, _body: bytes) -> bytes:
            ovs.writers[-1].close()
            return b""

        ovs.answers[Kind.MULTIPART_REQUEST] = goes
        async with watching(ovs):
            await until(lambda: len(ovs.writers) > 1)
