# SPDX-License-Identifier: Apache-2.0
"""Two hosts with agents, given rows by hand; packets are sent and looked for. On fake switches, or on Open vSwitch."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

from alcor.agent.main import HostAgent, keep_switch
from alcor.agent.plug import Bridges, Plug, Plugged
from alcor.agent.rows import HostRows
from alcor.agent.session import HostIdentity, Session
from alcor.agent.switch import Bounds
from alcor.base.net import Ip, Mac, ip_int, mac_of
from alcor.base.telemetry import Meters
from alcor.dataplane.rows import HostFacts, Interface
from alcor.dataplane.values import Action, Flow
from alcor.features.host import HOST
from alcor.lab import Host, Underlay, Vm, VmSpec
from alcor.lab.traffic import Capture
from alcor.testing.fake_switch import Emission, FakeSwitch
from alcor.testing.packet import BROADCAST, Arp, Packet
from tests.agent.wanted import Feed, Nic, Wanted

TUNNEL_OFPORT = 1
SENTINEL_S_MAX = 2.0  # longest wait, on a real switch, for a frame that must arrive


class Arrival(NamedTuple):
    """A packet that a virtual machine got."""

    at: str  # name of the port
    packet: Packet


class Clock:
    """Time stands still."""

    def now_s(self) -> float:
        return 0.0

    def monotonic_s(self) -> float:
        return 0.0


class Fabric(ABC):
    """Hosts `one` and `two`, and the ports of `wanted`, by the names under which they were added."""

    def __init__(self) -> None:
        self.wanted = Wanted({})
        self.agents: dict[str, HostAgent] = {}

    def add(self, name: str, nic: Nic) -> Nic:
        """One more port; plugged in by `realise`."""
        self.wanted.nics[name] = nic
        return nic

    def change(self, name: str, **fields: object) -> Nic:
        """The port with other fields."""
        self.wanted.nics[name] = replace(self.wanted.nics[name], **fields)  # type: ignore[arg-type]
        return self.wanted.nics[name]

    def carrier(self, name: str) -> str:
        """The port by whose interface a port is reached: of a subport its trunk's, else itself."""
        trunk_port = self.wanted.nics[name].trunk_port
        return next((other for other, nic in self.wanted.nics.items() if nic.id == trunk_port), name)

    @abstractmethod
    async def reset(self) -> None:
        """Forget all ports, rows and connections; hosts and agents may stay."""

    @abstractmethod
    async def realise(self) -> None:
        """Plug what is not plugged, give hosts their rows, and return when the switches have their flows."""

    @abstractmethod
    async def send(self, sender: str, packet: Packet) -> list[Arrival]:
        """A virtual machine sends; who got what of it, and of the answers."""

    async def reached(self, sender: str, packet: Packet) -> set[str]:
        """The names of those who got the packet as it was sent."""
        arrivals = await self.send(sender, packet)
        return {name for name, got in arrivals if got.build()[: len(packet.build())] == packet.build()}

    @abstractmethod
    async def aclose(self) -> None:
        """Take it all down."""


class FakeFabric(Fabric):
    """In this process, on fake switches."""

    def __init__(self) -> None:
        super().__init__()
        self.switches: dict[str, FakeSwitch] = {}
        self._start()

    def _start(self) -> None:
        self.wanted = Wanted({})
        self.feeds: dict[str, Feed] = {}
        self.ofports: dict[str, int] = {}
        for place, host in enumerate(("one", "two"), start=1):
            tunnel_ip = Ip(f"10.99.0.{place}")
            self.wanted.tunnel_ips[host] = tunnel_ip
            switch = self.switches[host] = FakeSwitch(Clock())
            switch.add_tunnel_port(TUNNEL_OFPORT, ip_int(tunnel_ip))
            self.restart_agent(host)

    def restart_agent(self, host: str) -> HostAgent:
        """A new agent that knows nothing, on the switch as it is."""
        agent, self.feeds[host] = new_agent(host, self.wanted.tunnel_ips[host])
        self.agents[host] = agent
        nics = self.wanted.nics
        plugged = (
            Interface(nics[name].id, name, ofport)
            for name, ofport in self.ofports.items()
            if name in nics and nics[name].host == host
        )
        agent.plugged(Plugged(tuple(plugged), (), TUNNEL_OFPORT))
        agent.switch_connected(FakeConnection(self.switches[host]))
        return agent

    async def realise(self) -> None:
        for name, nic in self.wanted.nics.items():
            if name not in self.ofports and not nic.trunk_port:
                self.plug(name, nic)
        for host, agent in self.agents.items():
            agent.rows_changed(self.feeds[host].send(self.wanted.of_host(host)))
            await agent.step()

    def plug(self, name: str, nic: Nic) -> None:
        """Its interface gets the next number."""
        ofport = self.ofports[name] = len(self.ofports) + 10
        self.switches[nic.host].add_port(ofport)
        self.agents[nic.host].plugged(Plugged((Interface(nic.id, name, ofport),), (), TUNNEL_OFPORT))

    async def send(self, sender: str, packet: Packet) -> list[Arrival]:
        nic = self.wanted.nics[sender]
        host, way_in = nic.host, self.carrier(sender)
        if nic.trunk_port:
            packet = replace(packet, vlan=nic.vlan)
        emissions = self.switches[host].receive(self.ofports[way_in], packet)
        return self._arrivals(host, emissions, is_last=False)

    def _arrivals(self, host: str, emissions: list[Emission], *, is_last: bool) -> list[Arrival]:
        names = {ofport: name for name, ofport in self.ofports.items() if self.wanted.nics[name].host == host}
        hosts = {ip_int(ip): other for other, ip in self.wanted.tunnel_ips.items()}
        arrivals = []
        for emission in emissions:
            if emission.port != TUNNEL_OFPORT:
                arrivals.append(self._arrival(names[emission.port], emission.packet))
                continue
            assert not is_last, f"{host} sent a packet from a tunnel into a tunnel"
            there = hosts[emission.tunnel.dst]
            onward = self.switches[there].receive(TUNNEL_OFPORT, emission.frame, emission.tunnel)
            arrivals += self._arrivals(there, onward, is_last=True)
        return arrivals

    def _arrival(self, name: str, packet: Packet) -> Arrival:
        """At the port, or at the one of its subports whose tag the packet has."""
        for other, nic in self.wanted.nics.items():
            if packet.vlan is not None and (nic.vlan, self.carrier(other)) == (packet.vlan, name):
                return Arrival(other, replace(packet, vlan=None))
        return Arrival(name, packet)

    async def reset(self) -> None:
        await self.aclose()
        self._start()

    async def aclose(self) -> None:
        for host, switch in self.switches.items():
            assert not switch.ambiguities, (host, switch.ambiguities)
            assert not switch.abandoned, f"{host} sent packets round in circles"


class FakeConnection:
    """A fake switch as an agent sees it. `refuse` names flows, by priority, that it does not take."""

    def __init__(self, switch: FakeSwitch) -> None:
        self.switch = switch
        self.sent: list[tuple[list[Flow], list[Flow]]] = []
        self.flushed: list[int] = []

    async def dump(self) -> list[Flow]:
        return self.switch.dump()

    async def apply(self, adds: list[Flow], deletes: list[Flow]) -> list[object]:
        self.sent.append((list(adds), list(deletes)))
        self.switch.apply(adds, deletes)
        return []

    async def flush_ct_zone(self, zone: int) -> None:
        self.flushed.append(zone)

    async def packet_out(self, packet: bytes, actions: Sequence[Action]) -> None:
        self.switch.packet_out(packet, actions)

    async def keep_meters(self, used: Collection[int]) -> None:
        self.switch.keep_meters(used)


def new_agent(host: str, tunnel_ip: Ip) -> tuple[HostAgent, Feed]:
    """An agent that knows nothing, and what feeds its session."""
    rows = HostRows([kind for feature in HOST for kind in feature.rows])
    session = Session(HostIdentity(host, tunnel_ip), rows)
    session.hello()
    return HostAgent(HOST, session, HostFacts(host, tunnel_ip, 0), Meters()), Feed(session)


@dataclass
class OvsHost:
    """A real host and the agent that runs for it in this process."""

    host: Host
    agent: HostAgent
    feed: Feed
    plug: Plug
    tasks: tuple[asyncio.Task[None], ...]


class OvsFabric(Fabric):
    """On two hosts with Open vSwitch. Virtual machines have no addresses and say only what they are told."""

    def __init__(self, underlay: Underlay, stack: AsyncExitStack) -> None:
        super().__init__()
        self.mappings: tuple[tuple[str, str], ...] = ()  # of every host
        self.is_talkative = False  # machines get addresses, and their kernels speak for them
        self.underlay = underlay
        self.hosts: dict[str, OvsHost] = {}
        self.vms: dict[tuple[str, Mac, str], Vm] = {}  # by iface-id, MAC and host
        self._stack = stack
        self._sentinels = 0

    async def start(self) -> None:
        for host in await self.underlay.add_hosts("one", "two"):
            self.wanted.tunnel_ips[host.name] = host.tunnel_ip
            for _, bridge in self.mappings:
                await host.add_physical_bridge(bridge)
            self.hosts[host.name] = await self.start_agent(host)
        await self.warm()

    async def reset(self) -> None:
        self.wanted = Wanted(self.wanted.tunnel_ips)
        for running in self.hosts.values():
            await running.host.appctl("dpctl/flush-conntrack")

    async def start_agent(self, host: Host) -> OvsHost:
        agent, feed = new_agent(host.name, host.tunnel_ip)
        plug = Plug(
            f"unix:{host.ovsdb_socket}", Bridges("br-int", self.mappings), host.tunnel_ip, agent.plugged
        )
        await plug.start()
        tasks = (
            asyncio.create_task(agent.run()),
            asyncio.create_task(keep_switch(agent, str(host.bridge_mgmt), Bounds(), Meters())),
        )
        self.agents[host.name] = agent
        await until(lambda: agent.reconciler.is_attached)
        return OvsHost(host, agent, feed, plug, tasks)

    async def stop_agent(self, name: str) -> None:
        running = self.hosts[name]
        for task in running.tasks:
            task.cancel()
        await asyncio.gather(*running.tasks, return_exceptions=True)
        await running.plug.stop()

    async def restart_agent(self, name: str) -> None:
        await self.stop_agent(name)
        self.hosts[name] = await self.start_agent(self.hosts[name].host)

    async def realise(self) -> None:
        for nic in self.wanted.nics.values():
            if _machine(nic) not in self.vms and not nic.trunk_port:
                self.vms[_machine(nic)] = await self._new_vm(nic)
        for name, running in self.hosts.items():
            ids = {nic.trunk_port or nic.id for nic in self.wanted.nics.values() if nic.host == name}
            await until(lambda ids=ids, agent=running.agent: all(map(agent.deriver.interface, ids)))
            running.agent.rows_changed(running.feed.send(self.wanted.of_host(name)))
            await running.agent.idle()
            await running.host.appctl("revalidator/wait")

    async def send(self, sender: str, packet: Packet) -> list[Arrival]:
        nic = self.wanted.nics[sender]
        with Captures(self._vms_by_name()) as captures:
            vm = self.vms[_machine(nic)]
            vm.send_frame(packet.build())
            self._sentinels += 1
            mark = mac_of(0x0A5E00000000 | self._sentinels)
            sentinel = Packet(nic.mac, BROADCAST, Arp(1, nic.mac, nic.ipv4, mark, nic.ipv4)).build()
            vm.send_frame(sentinel)
            for name in self._hearers(sender):
                await captures[name].first(lambda frame: frame.startswith(sentinel), SENTINEL_S_MAX)
            await asyncio.sleep(0.005)
        return [
            Arrival(name, Packet.parse(frame))
            for name, capture in captures.items()
            for frame in capture.frames
            if not frame.startswith(sentinel)
        ]

    def _hearers(self, sender: str) -> list[str]:
        """Who must hear a broadcast of the port. What it said before has then arrived, too, or never will."""
        network = self.wanted.nics[sender].network
        on_network = {name: nic for name, nic in self.wanted.nics.items() if nic.network == network}
        if network in self.wanted.networks_down or not on_network[sender].admin_state_up:
            return []
        others = {name: nic for name, nic in on_network.items() if name != sender and not nic.trunk_port}
        return [name for name, nic in others.items() if nic.admin_state_up]

    def _vms_by_name(self) -> dict[str, Vm]:
        nics = self.wanted.nics.items()
        return {name: self.vms[_machine(nic)] for name, nic in nics if not nic.trunk_port}

    async def _new_vm(self, nic: Nic) -> Vm:
        host = self.hosts[nic.host].host
        lengths = {address: 64 if ":" in address else 24 for address in nic.addresses if self.is_talkative}
        addresses = tuple(f"{address}/{length}" for address, length in lengths.items())
        spec = VmSpec(name=f"vm{len(self.vms)}", port_id=nic.id, mac=nic.mac, addresses=addresses)
        vm = await host.add_vm(spec, plug=False)
        if not self.is_talkative:
            vm.namespace.set_sysctl("net/ipv6/conf/all/disable_ipv6", 1)
        await vm.plug()
        return vm

    def vm(self, name: str) -> Vm:
        """The machine of a port."""
        return self.vms[_machine(self.wanted.nics[name])]

    async def warm(self) -> None:
        """Tunnel neighbours are the business of agents that run in their host's own network."""
        hosts = [running.host for running in self.hosts.values()]
        for host in hosts:
            for other in hosts:
                if other is not host:
                    mac = await other.vsctl("get", "interface", "br-phy", "mac_in_use")
                    await host.appctl("tnl/neigh/set", "br-phy", other.tunnel_ip, mac.strip('"\n'))

    async def aclose(self) -> None:
        for name in self.hosts:
            await self.stop_agent(name)
        await self._stack.aclose()


def _machine(nic: Nic) -> tuple[str, Mac, str]:
    return nic.id, nic.mac, nic.host


async def until(holds: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Returns when `holds` does; raises TimeoutError if it never does."""
    async with asyncio.timeout(timeout_s):
        while not holds():  # what is waited for has no event
            await asyncio.sleep(0.002)


class Captures(dict[str, Capture]):
    """Captures at all virtual machines, while entered."""

    def __init__(self, vms: dict[str, Vm]) -> None:
        super().__init__({name: vm.capture() for name, vm in vms.items()})

    def __enter__(self) -> Captures:
        for capture in self.values():
            capture.__enter__()
        return self

    def __exit__(self, *wrong: object) -> None:
        for capture in self.values():
            capture.__exit__(None, None, None)


@asynccontextmanager
async def open_fabric(kind: str) -> AsyncIterator[Fabric]:
    """A fabric of the kind `fake` or `ovs`."""
    if kind == "fake":
        fabric: Fabric = FakeFabric()
    else:
        stack = AsyncExitStack()
        real = OvsFabric(await stack.enter_async_context(Underlay()), stack)
        await real.start()
        fabric = real
    try:
        yield fabric
    finally:
        await fabric.aclose()
