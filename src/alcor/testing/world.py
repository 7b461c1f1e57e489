# SPDX-License-Identifier: Apache-2.0
"""The whole system in one process: the product's own code, with the log's disk, the network and time in memory.

Requests go through the REST API, goal state through the product's own messages as bytes, and packets through fake
switches that execute the agents' flows. On a `SimulatedLoop` a day takes a moment, and every run is the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any

import httpx

from alcor.agent.main import HostAgent
from alcor.agent.plug import Plugged
from alcor.agent.reconcile import FlowFailure
from alcor.agent.rows import HostRows
from alcor.agent.session import Backoff, HostIdentity, Session
from alcor.agent.session import run as run_session
from alcor.api.app import App
from alcor.api.auth import NoAuth
from alcor.api.parts import Parts
from alcor.base.config import Settings
from alcor.base.net import Ip, Mac, ip_int
from alcor.base.telemetry import Meters
from alcor.base.wire.stream import Stream, StreamClosed
from alcor.dataplane.rows import HostFacts, Interface
from alcor.dataplane.values import Action, Flow
from alcor.features.control import GOAL, REST, SCHEMA
from alcor.features.host import HOST
from alcor.push.service import Service, Unwelcome
from alcor.resource.context import World as Outer
from alcor.resource.engine import Engine
from alcor.store.store import Outside, Store
from alcor.testing.fake_switch import CONTROLLER, Emission, FakeSwitch, PacketIn
from alcor.testing.loop import LoopClock
from alcor.testing.machine import Machine
from alcor.testing.memory_log import Disk, MemoryLog
from alcor.testing.packet import Packet
from alcor.testing.transport import MemoryStream, stream_pair

TUNNEL_OFPORT, UPLINK_OFPORT = 1, 2
FIRST_OFPORT = 10
HOPS_MAX = 10_000  # packets that one packet may cause before the network is said to be in a loop
SETTLE_S_MAX = 60.0  # the longest that the world is waited for


class Refused(AssertionError):
    """A request was not answered as the test expects."""


class _Connection:
    """A fake switch as an agent sees it."""

    def __init__(self, host: WorldHost) -> None:
        self._host = host
        self._switch = host.switch

    async def dump(self) -> list[Flow]:
        return self._switch.dump()

    async def apply(self, adds: Sequence[Flow], deletes: Sequence[Flow]) -> Sequence[FlowFailure]:
        await asyncio.sleep(0)
        self._switch.apply(adds, deletes)
        return ()

    async def keep_meters(self, used: Collection[int]) -> None:
        self._switch.keep_meters(used)

    async def flush_ct_zone(self, zone: int) -> None:
        self._switch.conntrack.flush(zone)

    async def packet_out(self, packet: bytes, actions: Sequence[Action]) -> None:
        self._host.world.carry(self._host.name, CONTROLLER, _PutOut(packet, tuple(actions)))


@dataclass(frozen=True)
class _PutOut:
    """A packet of an agent, and what its switch is to do with it."""

    packet: bytes
    actions: tuple[Action, ...]


@dataclass
class _Wire:
    """A packet that is under way into a switch."""

    host: str
    port: int
    emission: Emission | Packet | _PutOut


class WorldHost:
    """A host: a fake switch, the machines on it, and the agent while it runs."""

    def __init__(self, world: World, name: str, tunnel_ip: Ip, physical_network: str = "") -> None:
        self.world = world
        self.name = name
        self.tunnel_ip = tunnel_ip
        self.physical_network = physical_network  # that it has a bridge to
        self.zone = ""
        self.uplinks = ((physical_network, UPLINK_OFPORT),) if physical_network else ()
        self.switch = FakeSwitch(LoopClock())
        self.switch.add_tunnel_port(TUNNEL_OFPORT, ip_int(tunnel_ip))
        self.switch.add_port(UPLINK_OFPORT)
        self.machines: dict[int, Machine] = {}
        self.interfaces: dict[str, Interface] = {}
        self.agent: HostAgent | None = None
        self.is_cut = False  # from push
        self._stream: MemoryStream | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._telling: set[asyncio.Task[None]] = set()

    def start_agent(self) -> HostAgent:
        """An agent that knows nothing, on the switch as it is."""
        rows = HostRows([kind for feature in HOST for kind in feature.rows])
        mappings = tuple((name, "br-phys") for name, _ in self.uplinks)
        identity = HostIdentity(self.name, self.tunnel_ip, "world", "br-int", mappings, self.zone)
        session = Session(identity, rows)
        agent = self.agent = HostAgent(HOST, session, HostFacts(self.name, self.tunnel_ip, 0), Meters())
        agent.on_setting = self.set_up
        self.agent.plugged(Plugged(tuple(self.interfaces.values()), (), TUNNEL_OFPORT, self.uplinks))
        self.agent.switch_connected(_Connection(self))
        self.switch.on_packet_in = lambda packet: self._tell(agent, packet)
        backoff = Backoff(100, 1_000, self.world.random)
        self._tasks = [
            asyncio.create_task(self.agent.run()),
            asyncio.create_task(run_session(session, self._dial, self.agent.rows_changed, backoff)),
        ]
        return self.agent

    def _tell(self, agent: HostAgent, packet: PacketIn) -> None:
        task = asyncio.create_task(agent.packet_told(packet.userdata, packet.frame))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def stop_agent(self) -> None:
        """The agent is gone; the switch keeps its flows."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks, self.agent, self.switch.on_packet_in = [], None, None

    async def restart_switch(self) -> None:
        """The switch loses its flows and connections, and the agent's connection to it."""
        self.switch.clear()
        if self.agent:
            self.agent.switch_gone()
            self.agent.switch_connected(_Connection(self))

    async def cut(self) -> None:
        """Breaks the session, and lets none open until `mend`."""
        self.is_cut = True
        if self._stream:
            await self._stream.cut()

    def mend(self) -> None:
        """Lets sessions open again."""
        self.is_cut = False

    def plug(self, port: Mapping[str, Any], name: str = "") -> Machine:
        """A machine with the port's MAC and addresses, plugged in under the port's id."""
        ofport = FIRST_OFPORT + len(self.interfaces)
        addresses = tuple(Ip(fixed["ip_address"]) for fixed in port["fixed_ips"])
        machine = Machine(
            name or port["name"],
            Mac(port["mac_address"]),
            addresses,
            lambda packet: self.world.carry(self.name, ofport, packet),
        )
        self.machines[ofport] = machine
        self.switch.add_port(ofport)
        interface = self.interfaces[port["id"]] = Interface(port["id"], f"tap{ofport}", ofport)
        if self.agent:
            self.agent.plugged(Plugged((interface,), (), TUNNEL_OFPORT, self.uplinks))
        return machine

    def set_up(self, name: str, values: Mapping[str, str]) -> None:
        """Changes the `other_config` of an interface; "" takes a key away."""
        [was] = [interface for interface in self.interfaces.values() if interface.name == name]
        other = {key: value for key, value in {**dict(was.other_config), **values}.items() if value}
        interface = replace(was, other_config=tuple(sorted(other.items())))
        self.interfaces[was.iface_id] = interface
        if self.agent:
            self.agent.plugged(Plugged((interface,), (), TUNNEL_OFPORT, self.uplinks))

    def unplug(self, port_id: str) -> None:
        """The interface is gone."""
        interface = self.interfaces.pop(port_id)
        self.switch.remove_port(interface.ofport)
        del self.machines[interface.ofport]
        if self.agent:
            self.agent.plugged(Plugged((), (port_id,), TUNNEL_OFPORT, self.uplinks))

    async def _dial(self) -> Stream:
        if self.is_cut or self.world.push is None:
            raise StreamClosed("push cannot be reached")
        mine, theirs = stream_pair()
        self._stream = mine
        self.world.attend(theirs)
        return mine


class World:
    """`async with World() as world:` a control plane and, by `add_host`, hosts."""

    def __init__(self, seed: int = 1, **settings: Any) -> None:
        self.random = Random(seed)
        self.clock = LoopClock()
        self.meters = Meters()
        self.settings = Settings(**settings)
        self.disk = Disk()
        self.hosts: dict[str, WorldHost] = {}
        self.outside: list[tuple[str, Packet]] = []  # what hosts said on physical networks, by their name
        self._outsiders: list[tuple[str, int | None, Machine]] = []  # by physical network and VLAN
        self.push: Service | None = None
        self._stack = contextlib.AsyncExitStack()
        self._under_way: deque[_Wire] = deque()
        self._attending: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> World:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for host in self.hosts.values():
            await host.stop_agent()
        await self.stop()

    async def start(self) -> None:
        """Starts api and push on the disk."""
        outside = Outside(self.clock, self.random, self.settings, self.meters)
        self.store = await Store.open(SCHEMA, MemoryLog(self.disk), outside)
        self.push = Service(self.store, GOAL, outside)
        self.push.start()
        outer = Outer(settings=self.settings, clock=self.clock, entropy=self.random.randbytes)
        engine = Engine(REST, self.settings)
        parts = Parts(engine=engine, store=self.store, auth=NoAuth(), world=outer, meters=self.meters)
        transport = httpx.ASGITransport(app=App(parts))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://world")

    async def stop(self) -> None:
        """Stops api and push; hosts are left alone with what they have."""
        await self.client.aclose()
        if self.push:
            await self.push.close()
            self.push = None
        await self.store.close()
        for task in self._attending:  # as gRPC ends what a stopped server still attends to
            task.cancel()
        await asyncio.gather(*self._attending, return_exceptions=True)

    def add_host(self, name: str, physical_network: str = "") -> WorldHost:
        """A host with a running agent, and with a bridge to a physical network where one is named."""
        tunnel_ip = Ip(f"10.99.{len(self.hosts) >> 8}.{len(self.hosts) + 1 & 255}")
        host = self.hosts[name] = WorldHost(self, name, tunnel_ip, physical_network)
        host.start_agent()
        return host

    def attend(self, stream: Stream) -> None:
        """Push serves one more stream."""
        assert self.push is not None
        task = asyncio.create_task(_attended(self.push, stream))
        self._attending.add(task)
        task.add_done_callback(self._attending.discard)

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """The status and JSON of a REST request."""
        answer = await self.client.request(method, f"/v2.0/{path}", json=body)
        return answer.status_code, answer.json() if answer.content else None

    async def create(self, noun: str, **fields: object) -> dict[str, Any]:
        """POST of one `noun`, such as `security_group_rule`. Raises Refused."""
        return await self._done("POST", _path(noun), noun, fields)

    async def update(self, noun: str, id: str, **fields: object) -> dict[str, Any]:
        """PUT. Raises Refused."""
        return await self._done("PUT", f"{_path(noun)}/{id}", noun, fields)

    async def show(self, noun: str, id: str) -> dict[str, Any]:
        """GET. Raises Refused."""
        return await self._done("GET", f"{_path(noun)}/{id}", noun, None)

    async def find(self, noun: str, **filters: str) -> list[dict[str, Any]]:
        """GET of a list. Raises Refused."""
        query = "&".join(f"{name}={value}" for name, value in filters.items())
        status, answer = await self.ask("GET", f"{_path(noun)}?{query}")
        if status != 200:
            raise Refused(answer)
        return list(answer[f"{noun}s"])

    async def delete(self, noun: str, id: str) -> None:
        """DELETE. Raises Refused."""
        status, answer = await self.ask("DELETE", f"{_path(noun)}/{id}")
        if status != 204:
            raise Refused(answer)

    async def _done(
        self, method: str, path: str, noun: str, fields: Mapping[str, object] | None
    ) -> dict[str, Any]:
        status, answer = await self.ask(method, path, None if fields is None else {noun: dict(fields)})
        if status not in (200, 201):
            raise Refused(answer)
        return dict(answer[noun])

    async def boot(self, host: str, **fields: object) -> tuple[dict[str, Any], Machine]:
        """A port bound to `host` and its machine, once the port is ACTIVE."""
        await self.until_registered(host)
        port = await self.create("port", **fields, **{"binding:host_id": host})
        machine = self.hosts[host].plug(port)
        return await self.until_active(port["id"]), machine

    async def until_registered(self, host: str) -> None:
        """Waits for the host's first hello to be written down. Raises TimeoutError."""
        async with asyncio.timeout(SETTLE_S_MAX):
            while not await self.find("agent", host=host):  # as GET sees it
                await asyncio.sleep(0.01)

    async def until_active(self, port_id: str) -> dict[str, Any]:
        """The port once GET says that it is ACTIVE. Raises TimeoutError."""
        async with asyncio.timeout(SETTLE_S_MAX):
            while (port := await self.show("port", port_id))["status"] != "ACTIVE":
                await asyncio.sleep(0.01)
        return port

    async def settle(self) -> None:
        """Waits until every host that push can reach has told it that it has all there is. Raises TimeoutError."""
        async with asyncio.timeout(SETTLE_S_MAX):
            await self.store.caught_up()
            for _ in range(3):  # what hosts tell is written down, and moves the log again
                await asyncio.sleep(0.1)
            for host in self.hosts.values():
                if host.agent:
                    await host.agent.idle()

    def add_outsider(self, physical_network: str, vlan: int | None, address: Ip) -> Machine:
        """A machine on a physical network, behind no host of ours; untagged, or on a VLAN."""
        mac = Mac(f"0e:00:00:00:00:{len(self._outsiders):02x}")
        emit = partial(self._on_physical, physical_network, vlan)
        self._outsiders.append((physical_network, vlan, Machine("outside", mac, (address,), emit)))
        return self._outsiders[-1][2]

    def _on_physical(self, name: str, vlan: int | None, packet: Packet, but: str = "") -> None:
        """Everybody on a physical network gets the packet, but the host that sent it."""
        for host in self.hosts.values():
            if host.physical_network == name and host.name != but:
                self.carry(host.name, UPLINK_OFPORT, replace(packet, vlan=vlan))
        for where, tag, machine in self._outsiders:
            if (where, tag) == (name, vlan) and machine.mac != packet.src:
                machine.receive(replace(packet, vlan=None))

    def carry(self, host: str, port: int, packet: Packet | _PutOut) -> None:
        """Takes a packet from a machine into its switch and onwards, until it and its answers have arrived."""
        is_outer = not self._under_way
        self._under_way.append(_Wire(host, port, packet))
        if not is_outer:
            return
        for _ in range(HOPS_MAX):
            wire = self._under_way[0]
            self._deliver(wire)
            self._under_way.popleft()
            if not self._under_way:
                return
        raise AssertionError(f"one packet of {host} caused {HOPS_MAX} others: {packet}")

    def _deliver(self, wire: _Wire) -> None:
        switch = self.hosts[wire.host].switch
        match wire.emission:
            case Packet() as packet:
                out = switch.receive(wire.port, packet)
            case _PutOut() as put:
                out = switch.packet_out(put.packet, put.actions)
            case emission:
                out = switch.receive(wire.port, emission.frame, emission.tunnel)
        assert not switch.ambiguities, switch.ambiguities
        for emission in out:
            if emission.port == TUNNEL_OFPORT:
                there = next(
                    (h for h in self.hosts.values() if ip_int(h.tunnel_ip) == emission.tunnel.dst), None
                )
                if there:
                    self._under_way.append(_Wire(there.name, TUNNEL_OFPORT, emission))
            elif emission.port == UPLINK_OFPORT:
                name = self.hosts[wire.host].physical_network
                self.outside.append((name, emission.packet))
                self._on_physical(name, emission.packet.vlan, emission.packet, but=wire.host)
            elif machine := self.hosts[wire.host].machines.get(emission.port):
                machine.receive(emission.packet)


async def _attended(push: Service, stream: Stream) -> None:
    """Serves one stream; like gRPC's, it ends with whoever serves it."""
    try:
        await push.attend(stream, None)
    except Unwelcome:
        return  # the host hears it as the end of its stream, and tries again
    finally:
        await stream.close()


def _path(noun: str) -> str:
    return f"{noun}s".replace("_", "-")
