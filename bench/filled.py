# SPDX-License-Identifier: Apache-2.0
"""A log that holds a large cloud, written without the control plane: what other benchmarks start from.

Hosts, networks and the first port of each network are made by the product's own rules; the other ports are copies of
it with an id, a MAC and an address of their own, appended to the log in turns of 2,000 records.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from random import Random
from signal import SIGTERM
from uuid import UUID

import msgspec

from alcor.api.auth import NoAuth
from alcor.base.clock import SystemClock
from alcor.base.config import Settings
from alcor.base.net import ip_of
from alcor.base.telemetry import configure_log
from alcor.cli.serve import LOG_FILE
from alcor.features.agent.rules import on_hello
from alcor.features.control import REST, SCHEMA
from alcor.features.port.model import PORT, PORT_STATUS, FixedIp, Port, PortStatus
from alcor.goal.declare import HelloFacts
from alcor.lab.cloud import ALCOR
from alcor.lab.process import Child
from alcor.resource.context import Asked, World
from alcor.resource.engine import Engine
from alcor.store.declare import Position
from alcor.store.log.contract import Record, Turn
from alcor.store.log.sqlite import SqliteLog
from alcor.store.plan import encode
from alcor.store.store import Outside, Store

TURN_RECORDS = 2_000
NOW = "2025-01-01T00:00:00Z"
PREFIX = "host-"
FIRST_TUNNEL_IP = 0x0A640000  # as `alcor emulate` gives them, so that a hello changes nothing


@dataclass(frozen=True)
class Cloud:
    """How large, and how spread out."""

    ports: int
    networks: int
    hosts: int = 1_000
    hosts_of_network: int = 100  # over which the ports of one network are spread

    def host(self, number: int) -> str:
        """The name of a host."""
        return f"{PREFIX}{number % self.hosts + 1}"

    def host_of_port(self, number: int) -> str:
        """Where a port is bound; its network is `number % networks`."""
        network, place = number % self.networks, number // self.networks
        return self.host(network * 37 + place % self.hosts_of_network)


def fill(folder: Path, cloud: Cloud) -> list[Port]:
    """Writes the log of a control plane that may be started on `folder`; answers the first port of each network."""
    configure_log("warning", "text")
    return asyncio.run(_fill(folder, cloud))


@contextmanager
def emulated(folder: Path, push: str, cloud: Cloud) -> Iterator[Child]:
    """The hosts of the cloud in a process of their own, each with a session at `push` and no switch."""
    words = ("emulate", f"--hosts={cloud.hosts}", f"--prefix={PREFIX}", f"--push={push}")
    child = Child((*ALCOR, *words), folder / "emulate.log", {})
    try:
        yield child
    finally:
        child.send(SIGTERM)
        child.wait()


async def _fill(folder: Path, cloud: Cloud) -> list[Port]:
    log = SqliteLog(folder / LOG_FILE)
    store = await Store.open(SCHEMA, log, Outside(SystemClock(), Random(1)))
    for number in range(cloud.hosts):
        facts = HelloFacts(ip_of(FIRST_TUNNEL_IP + number + 1, 4), version("alcor"), "br-int", NOW)
        await store.submit(lambda txn, number=number, facts=facts: on_hello(txn, cloud.host(number), facts))
    first = [await _network(store, cloud, number) for number in range(cloud.networks)]
    position = store.tables.position
    await store.close()

    log = SqliteLog(folder / LOG_FILE)
    await log.open()
    records = _records(cloud, first)
    while some := list(islice(records, TURN_RECORDS)):
        revision = position.revision + len(some)
        turn = Turn(Position(revision, f"{revision:032x}"), 0.0, some)
        await log.append(position, turn)
        position = turn.position
    await log.close()
    return first


async def _network(store: Store, cloud: Cloud, number: int) -> Port:
    """A network of a project of its own, and its first port, bound and realised."""
    world = World(settings=Settings(quota_port=-1), clock=SystemClock())
    headers = {b"x-project-id": b"%032x" % (number + 1), b"x-roles": b"admin"}
    asked = Asked(world, await NoAuth().authenticate(headers), "bench")
    nouns = Engine(REST).nouns

    async def create(path: str, noun: str, fields: dict[str, object]) -> str:
        made = await store.submit(nouns[path].create(asked, {noun: fields}))
        answer = msgspec.json.decode(msgspec.json.encode(made.value))
        return str(answer[noun]["id"])

    network = await create("networks", "network", {"name": f"net-{number}"})
    subnet = {"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/12"}
    await create("subnets", "subnet", subnet)
    port = await create(
        "ports",
        "port",
        {
            "network_id": network,
            "name": "web",
            "device_id": str(UUID(int=number)),
            "device_owner": "compute:nova",
            "binding:host_id": cloud.host_of_port(number),
        },
    )
    return store.tables.get(PORT, port)


def _records(cloud: Cloud, first: Sequence[Port]) -> Iterator[Record]:
    """The other ports, with ids as the product gives them, each with the status that its host reported."""
    world = World(Settings(), entropy=Random(2).randbytes)
    for number in range(cloud.networks, cloud.ports):
        own_id = world.new_id()
        like, place = first[number % cloud.networks], number // cloud.networks + 16
        port = msgspec.structs.replace(
            like,
            id=own_id,
            device_id=str(UUID(int=number)),
            mac_address=f"fa:16:3f:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}",
            fixed_ips=(
                FixedIp(
                    like.fixed_ips[0].subnet_id, f"10.{place >> 16 & 15}.{place >> 8 & 255}.{place & 255}"
                ),
            ),
            host=cloud.host_of_port(number),
        )
        yield Record(PORT.name, own_id, None, encode(port))
        status = PortStatus(id=own_id, generation=port.generation, is_realised=True)
        yield Record(PORT_STATUS.name, own_id, None, encode(status))
