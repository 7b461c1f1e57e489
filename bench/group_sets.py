# SPDX-License-Identifier: Apache-2.0
"""Where a receiver takes the sender's group set from: `python bench/group_sets.py` (root, Open vSwitch).

The product looks the sender's neighbour row up (table SOURCE: one flow for each neighbour). A prototype, which exists
only here, lets the sender's host write the number into the tunnel header (a Geneve option, `tun_metadata0`), and has
one flow there. Both on one real switch, with the product's own flows for all else: a network of 10,000 neighbours whose
ports are all in one group, once with one group set and once with 10,000 different ones; and the header alone with
senders of which the host knows nothing. Packets come from this process as another host would send them.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import msgspec
import uvloop
from harness import Figure, Report, cpu_s, memory_mib, options, percentile

from alcor.agent.derive import Deriver, Place
from alcor.agent.switch import Switch
from alcor.base.net import Mac, ip_of, mac_of
from alcor.base.telemetry import configure_log
from alcor.dataplane.pipeline import DESTINATION, SOURCE, flow, go, where
from alcor.dataplane.rows import HostFacts, Interface, Row
from alcor.dataplane.values import Flow, Move
from alcor.features.host import HOST
from alcor.features.network.flows import NetworkRow
from alcor.features.port.flows import FloodRow, NeighbourRow, PortRow
from alcor.features.security_group.flows import GroupSetRow, RuleRow
from alcor.lab import Host, Underlay, Vm, VmSpec
from alcor.testing.packet import Ipv4, Packet, Udp

GENEVE = 6081  # RFC 8926
OPTION = (0xFFFF, 0x41)  # class and type of the option with the group set
VNI = 5001
TARGET_MAC, SENDER_MAC = 0x020000000000, 0x020000010000
TARGET_IP, SENDER_IP = 0x0A000001, 0x0A010000
ELSEWHERE = "10.99.200.1"  # the tunnel address of the senders' host, which is this process
GROUP_RULE, EGRESS_RULE = 1, 2


@dataclass(frozen=True)
class World:
    """What is measured: how many neighbours, in how many group sets, and where the set comes from."""

    name: str
    neighbours: int
    sets: int
    in_header: bool
    senders: int  # of which packets come; more than `neighbours` where the host does not know them

    def set_of(self, number: int) -> int:
        """The group set of a sender."""
        return number % self.sets + 1


def rows_of(world: World, host: str, tunnel_ip: str) -> dict[str, dict[str, Row]]:
    """What the host of the target knows."""
    neighbours: dict[str, Row] = {
        f"port-{number:06}": NeighbourRow(
            mac=mac_of(SENDER_MAC + number),
            addresses=(ip_of(SENDER_IP + number, 4),),
            host="elsewhere",
            tunnel_ip=ip_of(int.from_bytes(socket.inet_aton(ELSEWHERE)), 4),
            group_set=world.set_of(number),
        )
        for number in range(world.neighbours)
    }
    target = PortRow(
        id="target",
        network="n",
        mac=mac_of(TARGET_MAC),
        addresses=(ip_of(TARGET_IP, 4),),
        groups=("g",),
        group_set=1,
    )
    rules: dict[str, Row] = {
        "in": RuleRow(group="g", number=GROUP_RULE, direction="ingress", version=4, remote_group="g"),
        "out": RuleRow(group="g", number=EGRESS_RULE, direction="egress", version=4),
    }
    return {
        "network:n": {"network": NetworkRow(id="n", vni=VNI, mtu=1450)},
        f"host:{host}": {"target": target},
        "neighbours:n": neighbours,
        "flood:n": {
            name: FloodRow(host=name, tunnel_ip=ip_of(int.from_bytes(socket.inet_aton(ip)), 4))
            for name, ip in ((host, tunnel_ip), ("elsewhere", ELSEWHERE))
        },
        "security_group:g": rules,
        "members:g": {str(number): GroupSetRow(number=number) for number in range(1, world.sets + 1)},
    }


def as_header(flows: Sequence[Flow]) -> Iterator[Flow]:
    """The same flows with the sender's group set from the tunnel header instead of from its row."""
    for each in flows:
        if each.table != SOURCE.number or not each.priority:
            yield each
    yield flow(SOURCE, 10, where(), Move("tun_metadata0", "reg3", 32), go(DESTINATION))


class Sender:
    """The host `elsewhere`: frames of its ports, as they come through the tunnel to another host."""

    def __init__(self, host: Host, tunnel_mac: Mac) -> None:
        self._socket = host.wire.namespace.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._socket.setblocking(True)
        self._socket.bind((host.name, 0))
        self._host = host
        self._tunnel_mac = tunnel_mac

    def close(self) -> None:
        """Sends no more."""
        self._socket.close()

    def frame(self, world: World, number: int) -> bytes:
        """A UDP datagram of a sender to the target, in its tunnel."""
        inner = Packet(
            src=mac_of(SENDER_MAC + number),
            dst=mac_of(TARGET_MAC),
            payload=Ipv4(
                src=ip_of(SENDER_IP + number, 4),
                dst=ip_of(TARGET_IP, 4),
                payload=Udp(1000, 2000, b"x" * 18),
            ),
        ).build()
        option = b""
        if world.in_header:
            option = struct.pack("!HBBI", *OPTION, 1, world.set_of(number))
        header = struct.pack("!BBHI", len(option) // 4, 0, 0x6558, VNI << 8)
        outer = Packet(
            src=mac_of(0x020000020000),
            dst=self._tunnel_mac,
            payload=Ipv4(
                src=ip_of(int.from_bytes(socket.inet_aton(ELSEWHERE)), 4),
                dst=self._host.tunnel_ip,
                payload=Udp(50_000, GENEVE, header + option + inner, is_unsummed=True),
            ),
        )
        return outer.build()

    def send(self, frame: bytes) -> None:
        """Puts one on the wire."""
        self._socket.send(frame)


class Target:
    """The port that gets the packets."""

    def __init__(self, vm: Vm) -> None:
        self._vm = vm
        self._socket = vm.namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        self._socket.bind(("eth0", 0x0800))
        self._listener = vm.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._listener.bind(("0.0.0.0", 2000))  # so that its kernel does not answer with an ICMP error

    def close(self) -> None:
        """Listens no more."""
        self._socket.close()
        self._listener.close()

    def gets(self, sender: int, within_s: float) -> bool:
        """Whether a frame of the sender arrives."""
        until = time.perf_counter() + within_s
        mac = (SENDER_MAC + sender).to_bytes(6, "big")
        while (left_s := until - time.perf_counter()) > 0:
            self._socket.settimeout(left_s)
            try:
                if self._socket.recv(2048)[6:12] == mac:
                    return True
            except TimeoutError:
                return False
        return False

    def received(self) -> int:
        """How many frames its link has got so far."""
        lines = self._vm.namespace.inside(
            lambda: Path("/proc/thread-self/net/dev").read_text(encoding="ascii")
        )
        (line,) = (line for line in lines.splitlines() if line.strip().startswith("eth0:"))
        return int(line.partition(":")[2].split()[1])


class Site:
    """One world on a switch of its own."""

    def __init__(self, world: World, host: Host, switch: Switch) -> None:
        self.world = world
        self.host = host
        self.switch = switch
        self.vswitchd = host.switch_processes[0].pid
        self.rows = rows_of(world, host.name, host.tunnel_ip)
        self.deriver: Deriver | None = None

    async def program(self, vm: Vm) -> tuple[int, float]:
        """Brings all flows into the switch; how many, and the seconds that took."""
        tunnel, port = await self.host.ofport("gnv0"), await self.host.ofport(vm.tap)
        self.deriver = Deriver(HOST, self.rows, HostFacts(self.host.name, self.host.tunnel_ip, tunnel))
        places = [(scope, key) for scope, rows in self.rows.items() for key in rows]
        self.deriver.apply(places, [Interface("target", vm.tap, port)])
        wanted = list(self.deriver.wanted.values())
        if self.world.in_header:
            wanted = list(as_header(wanted))
        begun = time.perf_counter()
        failures = await self.switch.apply(wanted)
        assert not failures, failures[0]
        return len(wanted), time.perf_counter() - begun

    async def move_out(self, number: int) -> tuple[int, float]:
        """Lets a neighbour leave the group; flows that changed here, and milliseconds until the switch had them."""
        assert self.deriver is not None
        place: Place = ("neighbours:n", f"port-{number:06}")
        row = self.rows[place[0]][place[1]]
        self.rows[place[0]][place[1]] = msgspec.structs.replace(row, group_set=0xFFFFFF)
        begun = time.perf_counter()
        change = self.deriver.apply([place])
        adds = [
            each for each in change.adds.values() if not self.world.in_header or each.table != SOURCE.number
        ]
        await self.switch.apply(adds, list(change.deletes.values()))
        return len(adds), (time.perf_counter() - begun) * 1000


def first_packets(world: World, sender: Sender, target: Target, count: int) -> tuple[list[float], int]:
    """Milliseconds on the host of the first packet of senders that have not spoken before; how many never came."""
    took_ms, lost = [], 0
    for number in range(count):
        frame = sender.frame(world, number)
        begun = time.perf_counter()
        sender.send(frame)
        if target.gets(number, 0.5):
            took_ms.append((time.perf_counter() - begun) * 1000)
        else:
            lost += 1
    return took_ms, lost


def flood(
    site: Site, sender: Sender, target: Target, frames: Sequence[bytes], seconds: float
) -> tuple[float, float]:
    """Packets per second that arrive of as many as can be sent, and the switch's processor microseconds for each."""
    before, used, begun = target.received(), cpu_s(site.vswitchd), time.perf_counter()
    while time.perf_counter() - begun < seconds:
        for frame in frames[:10_000]:
            sender.send(frame)
    time.sleep(0.1)
    took_s = time.perf_counter() - begun
    got = target.received() - before
    return got / took_s, (cpu_s(site.vswitchd) - used) / max(got, 1) * 1e6


async def revoked_ms(site: Site, sender: Sender, target: Target, number: int) -> float:
    """Milliseconds from the change of a neighbour's row until none of its packets gets through."""
    frame = sender.frame(site.world, number)
    begun = last = time.perf_counter()
    await site.move_out(number)
    while time.perf_counter() - last < 0.05:
        sender.send(frame)
        if target.gets(number, 0.002):
            last = time.perf_counter()
    return (last - begun) * 1000


async def measured(world: World, report: Report) -> None:
    """All figures of one world."""
    small = report.options.small

    def say(what: str, unit: str, rounds: list[float], note: str = "") -> None:
        report.add(Figure(f"{world.name}: {what}", unit, rounds, note=note))

    async with Underlay(tunnels=("geneve",)) as underlay:
        (host,) = await underlay.add_hosts("here")
        spec = VmSpec(name="target", port_id="target", mac=mac_of(TARGET_MAC), addresses=("10.0.0.1/8",))
        vm = await host.add_vm(spec)
        switch = await Switch.connect(str(host.bridge_mgmt))
        await switch.map_tunnel_option(*OPTION)
        site = Site(world, host, switch)
        empty_mib = memory_mib(site.vswitchd)
        flows, took_s = await site.program(vm)
        say("flows on the host", "flows", [flows])
        say("time to program them", "s", [took_s])
        say("memory of vswitchd for them", "MiB", [memory_mib(site.vswitchd) - empty_mib])

        mac = (await host.vsctl("get", "interface", "br-phy", "mac_in_use")).strip().strip('"')
        sender, target = Sender(host, Mac(mac)), Target(vm)
        took_ms, lost = first_packets(world, sender, target, min(200 if small else 2_000, world.senders))
        said = f"p99 {percentile(took_ms, 99):.2f} ms; {lost} lost" if took_ms else f"all {lost} lost"
        say("first packet of a sender", "ms", [median(took_ms or [0])], said)
        seconds, rounds = (0.5, 1) if small else (2.0, 5)
        for what, count in (("one sender", 1), ("all senders in turn", world.senders)):
            frames = [sender.frame(world, number) for number in range(count)] * (10_000 // count)
            flood(site, sender, target, frames, seconds)
            done = [flood(site, sender, target, frames, seconds) for _ in range(rounds)]
            cpu_us = median(each[1] for each in done)
            say(
                f"packets of {what}",
                "/s",
                [each[0] for each in done],
                f"vswitchd uses {cpu_us:.1f} us for each",
            )
        megaflows = (await host.appctl("dpctl/dump-flows")).count("\n")
        say("flows in the datapath after that", "flows", [megaflows])
        if world.neighbours:
            moved = [await site.move_out(number) for number in range(10, 20 if small else 60)]
            said = f"{moved[0][0]} flows here"
            say("a member leaves: until the switch has it", "ms", [each[1] for each in moved], said)
        if world.neighbours and not world.in_header:
            late = [
                await revoked_ms(site, sender, target, number) for number in range(100, 103 if small else 120)
            ]
            say("a member leaves: until its packets are refused", "ms", late)
        sender.close()
        target.close()
        await switch.close()


def worlds(count: int) -> Iterator[World]:
    """What is compared."""
    for sets in (1, count):
        for in_header in (False, True):
            where_from = "header" if in_header else "look-up"
            yield World(f"{where_from}, {count:,} members, {sets:,} sets", count, sets, in_header, count)
    known = World(f"header, {count:,} unknown senders, 1 set", 0, 1, True, count)
    yield known
    yield replace(known, name=f"header, {count:,} unknown senders, {count:,} sets", sets=count)


async def all_measured(report: Report, count: int) -> None:
    """Each world on a new switch."""
    for world in list(worlds(count))[: 2 if report.options.small else None]:
        await measured(world, report)


def main() -> None:
    """Prints the machine, the commit and the figures."""
    asked = options(__doc__)
    configure_log("error", "text")
    report = Report(asked)
    if os.geteuid() == 0:
        uvloop.run(all_measured(report, 1_000 if asked.small else 10_000))
    else:
        print("This needs root and a real switch.")
    report.close()


if __name__ == "__main__":
    main()
