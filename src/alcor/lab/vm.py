# SPDX-License-Identifier: Apache-2.0
"""One virtual machine: a network namespace whose eth0 is plugged into a host's br-int, as libvirt would plug it."""

import socket
from typing import TYPE_CHECKING

import msgspec

from alcor.base.net import Ip, Mac
from alcor.lab import ovsdb, traffic
from alcor.lab.namespace import Namespace

if TYPE_CHECKING:
    from alcor.lab.host import Host

MTU = 1450
DEVICE = "eth0"
ANSWER_S = 1.0  # longest wait for an answer, unless told


class VmSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a virtual machine is made from: the values of its Neutron port."""

    name: str
    port_id: str  # external_ids:iface-id of its interface
    mac: Mac
    addresses: tuple[str, ...] = ()  # with prefix lengths: 10.0.0.5/24, fd00::5/64
    gateways: tuple[Ip, ...] = ()  # default routes, at most one of each IP version


class Vm:
    """A virtual machine of the lab, made by `Host.add_vm`. All that it says starts in its own namespace."""

    def __init__(self, host: "Host", spec: VmSpec) -> None:
        self.host = host
        self.spec = spec
        self.namespace = Namespace(f"{host.namespace.name}-{spec.name}")
        self.tap = f"tap{spec.port_id[:11]}"  # Nova's name for it
        self._listeners: list[traffic.TcpEcho | traffic.UdpEcho] = []

    @property
    def name(self) -> str:
        """Its name, unique on its host."""
        return self.spec.name

    async def start(self) -> None:
        """Make the namespace, its link to the host and its addresses; it is not plugged in yet."""
        await self.namespace.create()
        peer = f"type veth peer name {self.tap} mtu {MTU} netns {self.host.namespace.name}"
        await self.namespace.ip(
            f"link add {DEVICE} address {self.spec.mac} mtu {MTU} {peer}",
            f"link set {DEVICE} up",
            *(f"addr add {address} dev {DEVICE}" for address in self.spec.addresses),
            *(f"route add default via {gateway}" for gateway in self.spec.gateways),
        )
        await self.host.namespace.ip(f"link set {self.tap} up")
        self.namespace.fill_checksums(DEVICE)

    async def plug(self) -> int:
        """Put its interface into br-int, with the external_ids by which an agent knows it; its OpenFlow port number."""
        ids = {"iface-id": self.spec.port_id, "attached-mac": self.spec.mac, "iface-status": "active"}
        return await ovsdb.add_port(self.host.ovsdb_socket, "br-int", self.tap, ids)

    async def unplug(self) -> None:
        """Take its interface out of br-int; the virtual machine goes on without a network."""
        await self.host.vsctl("--if-exists", "del-port", "br-int", self.tap)

    async def remove(self) -> None:
        """Unplug it and let it vanish."""
        self.hang_up()
        await self.unplug()
        await self.namespace.delete()
        self.host.vms.remove(self)

    async def ping(self, ip: str, timeout_s: float = ANSWER_S, tries: int = 1) -> float | None:
        """Milliseconds to the answer of an ICMP echo, or None if none of `tries` got one within `timeout_s` each."""
        echo = traffic.Echo(self.namespace, ip, DEVICE)
        try:
            for _ in range(tries):
                round_trip_ms = await echo.answered(echo.send(), timeout_s)
                if round_trip_ms is not None:
                    return round_trip_ms
            return None
        finally:
            echo.close()

    def pinging(self, ip: str, interval_s: float = 0.005) -> traffic.Pinging:
        """A ping at an interval, for as long as it is entered with `async with`; it counts what is lost."""
        return traffic.Pinging(self.namespace, ip, DEVICE, interval_s)

    def stream(self, ip: str, port: int) -> traffic.Stream:
        """A TCP connection to a listener that keeps talking, for as long as it is entered with `async with`."""
        return traffic.Stream(self.namespace, (ip, port))

    async def tcp(self, ip: str, port: int, timeout_s: float = ANSWER_S) -> float | None:
        """Milliseconds until a listener echoed over a new TCP connection, or None if none did."""
        return await traffic.tcp_echo(self.namespace, (ip, port), timeout_s)

    async def udp(self, ip: str, port: int, timeout_s: float = ANSWER_S) -> float | None:
        """Milliseconds until a listener echoed a datagram, or None if none did."""
        return await traffic.udp_echo(self.namespace, (ip, port), timeout_s)

    async def listen(self, port: int) -> None:
        """Echo what comes to this TCP and UDP port, over IPv4 and IPv6, until `hang_up`."""
        self._listeners += [
            await traffic.listen_tcp(self.namespace, port),
            await traffic.listen_udp(self.namespace, port),
        ]

    def hang_up(self) -> None:
        """Stop listening."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    def send_frame(self, frame: bytes) -> None:
        """Put one raw Ethernet frame on its link, with whatever sender it claims."""
        with self.namespace.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((DEVICE, 0))
            raw.send(frame)

    def capture(self) -> traffic.Capture:
        """The frames that arrive, from the moment it is entered with `with`."""
        return traffic.Capture(self.namespace, DEVICE)
