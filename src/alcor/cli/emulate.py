# SPDX-License-Identifier: Apache-2.0
"""`alcor emulate`: many hosts in this process that take goal state and have no switch, until they are told to stop."""

import asyncio
import random
from importlib.metadata import version

from rich.console import Console

from alcor.agent.dial import dialler
from alcor.agent.emulator import Emulator
from alcor.agent.session import Backoff, HostIdentity
from alcor.base.config import Settings
from alcor.base.net import ip_of
from alcor.features.host import HOST

_FIRST_TUNNEL_IP = 0x0A640000  # 10.100.0.0
_SHOW_S = 1.0


async def run(hosts: int, prefix: str, settings: Settings) -> int:
    """Opens the sessions and shows how many hosts have all that they need, until cancelled."""
    backoff = Backoff(settings.reconnect_ms_min, settings.reconnect_ms_max, random.SystemRandom())
    emulator = Emulator(HOST, dialler(settings), backoff)
    for number in range(1, hosts + 1):
        identity = HostIdentity(
            f"{prefix}{number}",
            ip_of(_FIRST_TUNNEL_IP + number, 4),
            version("alcor"),
            availability_zone=settings.availability_zone,
        )
        emulator.start(identity)
    console = Console()
    try:
        with console.status("connecting") as status:
            while True:
                rows = sum(
                    len(keys)
                    for host in emulator.hosts.values()
                    for keys in host.session.rows.scopes.values()
                )
                status.update(f"{emulator.whole} of {hosts} hosts have all that they need: {rows} rows")
                await asyncio.sleep(_SHOW_S)
    finally:
        await emulator.close()
