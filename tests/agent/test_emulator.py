# SPDX-License-Identifier: Apache-2.0
"""Hosts without a switch: to push they are hosts like any other."""

import asyncio
from random import Random

from alcor.agent.emulator import Emulator
from alcor.agent.session import Backoff, HostIdentity
from alcor.base.clock import SystemClock
from alcor.base.wire.stream import Stream
from alcor.features.control import GOAL, SCHEMA
from alcor.features.host import HOST
from alcor.features.network.model import NETWORK, Network
from alcor.features.port.model import PORT, PORT_STATUS, Port
from alcor.push.service import Service
from alcor.store.reader import Txn
from alcor.store.store import Outside, Store
from alcor.testing.memory_log import Disk, MemoryLog
from alcor.testing.transport import stream_pair


def bound(number: int, *, is_up: bool = True) -> Port:
    return Port(
        id=f"p{number}",
        network_id="n",
        mac_address=f"fa:16:3e:00:00:0{number}",
        host=f"h{number}",
        vif_type="ovs",
        generation=1,
        admin_state_up=is_up,
    )


async def test_emulated_hosts_hold_rows_and_report_ports_as_realised() -> None:
    outside = Outside(SystemClock(), Random(1))
    store = await Store.open(SCHEMA, MemoryLog(Disk()), outside)
    service = Service(store, GOAL, outside)
    service.start()
    attending: list[asyncio.Task[None]] = []

    async def connect() -> Stream:
        here, there = stream_pair()
        attending.append(asyncio.create_task(service.attend(there, None)))
        return here

    emulator = Emulator(HOST, connect, Backoff(1, 10, Random(1)))
    hosts = [emulator.start(HostIdentity(f"h{number}", f"10.0.0.{number + 1}")) for number in range(3)]

    def fill(txn: Txn) -> None:
        txn.insert(NETWORK, Network(id="n", vni=1))
        for number in range(3):
            txn.insert(PORT, bound(number, is_up=number != 2))

    await store.submit(fill)
    async with asyncio.timeout(20):
        while store.tables.size(PORT_STATUS) < 3 or emulator.whole < 3:  # no event for it
            await asyncio.sleep(0.005)
    statuses = {status.id: status.is_realised for status in store.tables.scan(PORT_STATUS)}
    assert statuses == {"p0": True, "p1": True, "p2": False}
    assert all(host.session.rows.scopes["neighbours:n"].keys() == {"p0", "p1"} for host in hosts)

    await store.submit(lambda txn: txn.delete(PORT_STATUS, "p0"))
    await store.submit(lambda txn: txn.delete(PORT, "p0"))
    async with asyncio.timeout(20):
        while hosts[0].session.rows.complete != {"host:h0"}:  # no event for it
            await asyncio.sleep(0.005)
    await emulator.close()
    await service.close()
    await store.close()
