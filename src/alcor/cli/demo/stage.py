# SPDX-License-Identifier: Apache-2.0
"""Where the demo plays: what it needs of a place, the place with real switches, and the one without any."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from alcor.base.address import parse_address
from alcor.base.config import Settings
from alcor.base.net import Ip
from alcor.lab.cloud import Cloud
from alcor.lab.host import Host
from alcor.lab.rest import Body, Rest
from alcor.push.ask import ask
from alcor.push.show import Shown, answer
from alcor.testing.machine import Machine as KitMachine
from alcor.testing.world import World


class Machine(Protocol):
    """A virtual machine as the demo uses it; every answer is milliseconds, or None for silence."""

    async def ping(self, ip: str, timeout_s: float = ..., tries: int = ...) -> float | None: ...

    async def tcp(self, ip: str, port: int, timeout_s: float = ...) -> float | None: ...

    async def udp(self, ip: str, port: int, timeout_s: float = ...) -> float | None: ...

    async def listen(self, port: int) -> None: ...


@dataclass(frozen=True)
class Given:
    """What one host was given."""

    host: str
    tunnel_ip: str
    rows: int  # that it needs, as the control plane tells
    flows: int  # in its switch


class Stage(Protocol):
    """A control plane with hosts, reached through the REST API."""

    rest: Rest

    async def boot(self, host: str, name: str, port: Body) -> Machine:
        """A virtual machine with the port's MAC and addresses, plugged into the host's switch."""

    async def given(self) -> Sequence[Given]:
        """What each host was given so far."""


class RealStage:
    """Hosts with Open vSwitch in network namespaces, an agent each, and the control plane as a process."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.rest = cloud.rest

    async def boot(self, host: str, name: str, port: Body) -> Machine:
        """A namespace with a veth plugged into the host's br-int."""
        (found,) = (known for known in self.cloud.hosts if known.name == host)
        return await self.cloud.boot(found, name, port)

    async def given(self) -> Sequence[Given]:
        """What each host was given so far: rows as push tells, flows as the host's own switch counts them."""
        return await asyncio.gather(*map(self._given_to, self.cloud.hosts))

    async def _given_to(self, host: Host) -> Given:
        shown = await ask(Settings(push=parse_address(self.cloud.push)), "hosts")
        counted = await host.ofctl("dump-aggregate")
        flows = int(counted.rpartition("flow_count=")[2])
        return Given(host.name, host.tunnel_ip, rows_of(shown, host.name), flows)


class FakeMachine:
    """A virtual machine of the kit, asked as one of the lab: it answers at once or never."""

    def __init__(self, machine: KitMachine) -> None:
        self._machine = machine

    async def ping(self, ip: str, timeout_s: float = 0, tries: int = 1) -> float | None:
        """Milliseconds of this process, or None."""
        return await _timed(lambda: self._machine.ping(Ip(ip)))

    async def tcp(self, ip: str, port: int, timeout_s: float = 0) -> float | None:
        """Milliseconds of this process, or None."""
        return await _timed(lambda: self._machine.tcp(Ip(ip), port))

    async def udp(self, ip: str, port: int, timeout_s: float = 0) -> float | None:
        """Milliseconds of this process, or None."""
        return await _timed(lambda: self._machine.udp(Ip(ip), port))

    async def listen(self, port: int) -> None:
        """Opens a TCP and UDP port."""
        self._machine.open_ports.add(port)


class FakeStage:
    """The kit's world: the same control plane and agents in this process, on switches that are not real."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rest = Rest(world.client)

    async def add_hosts(self, *names: str) -> None:
        """Hosts with agents, known to the control plane when this returns."""
        for name in names:
            self.world.add_host(name)
        await asyncio.gather(*map(self.world.until_registered, names))

    async def boot(self, host: str, name: str, port: Body) -> Machine:
        """A machine on the host's fake switch."""
        return FakeMachine(self.world.hosts[host].plug(port, name))

    async def given(self) -> Sequence[Given]:
        """What each host was given so far."""
        assert self.world.push is not None, "the world has been stopped"
        shown = await answer(self.world.push, "hosts", "")
        return [
            Given(host.name, host.tunnel_ip, rows_of(shown, host.name), len(host.switch.dump()))
            for host in self.world.hosts.values()
        ]


def rows_of(shown: Shown | None, host: str) -> int:
    """How many rows the host needs, as push shows it."""
    return next((each.rows for each in shown.hosts if each.host == host), 0) if shown else 0


async def _timed(is_answered: Callable[[], bool]) -> float | None:
    start = time.monotonic()
    took_ms = (time.monotonic() - start) * 1000 if is_answered() else None
    await asyncio.sleep(0.001)  # The rest of the world goes on meanwhile.
    return took_ms
