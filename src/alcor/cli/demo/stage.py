# SPDX-License-Identifier: Apache-2.0
"""Where the demo plays: what it needs of a place, and the place with real switches on this machine."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from alcor.lab.cloud import Cloud
from alcor.lab.rest import Body, Rest


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
    rows: int | None  # by the control plane; None where nobody can tell
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
        """What each host was given so far, its flows counted by its own switch."""
        counts = await asyncio.gather(*(host.ofctl("dump-aggregate") for host in self.cloud.hosts))
        return [
            Given(host.name, host.tunnel_ip, None, int(text.rpartition("flow_count=")[2]))
            for host, text in zip(self.cloud.hosts, counts, strict=True)
        ]
