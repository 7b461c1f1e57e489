# SPDX-License-Identifier: Apache-2.0
"""Keeps the tunnel's neighbours warm: a userspace datapath drops the first packet to a host whose MAC it does not know.

The switch learns MACs from ARP replies to the machine, and forgets them after 15 minutes (`tnl/neigh/aging` of Open
vSwitch 3.1) or when it restarts. With a kernel datapath this costs two small packets a peer and helps nobody.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
from collections.abc import Iterable

from alcor.base.net import Ip, ip_int, ip_of

REFRESH_S = 240.0  # well below the 900 s after which the switch forgets
PEERS_PER_SECOND = 200  # when refreshing
DISCARD_PORT = 9  # RFC 863

_SIOCGIFADDR, _SIOCGIFHWADDR = 0x8915, 0x8927
_ETH_ARP = 0x0806


class TunnelNeighbours:
    """The hosts that tunnels lead to, asked for from the address that tunnels start at.

    A datagram makes the machine resolve the way to a peer, also through a router; an ARP request of our own gets an
    answer also where the machine believes that it knows.
    """

    def __init__(self, tunnel_ip: Ip) -> None:
        self._peers: dict[int, None] = {}
        self._tunnel_ip = tunnel_ip
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.setblocking(False)
        self._arp = _open_arp(tunnel_ip)

    def meet(self, peers: Iterable[int]) -> None:
        """Asks for those that are new."""
        for peer in peers:
            if peer not in self._peers:
                self._peers[peer] = None
                self._ask(peer)

    def ask_all(self) -> None:
        """Asks for all of them: the switch may have forgotten."""
        for peer in self._peers:
            self._ask(peer)

    async def refresh(self) -> None:
        """Asks for all of them now and then, until cancelled."""
        while True:
            await asyncio.sleep(REFRESH_S)
            self._arp = self._arp or _open_arp(self._tunnel_ip)
            for peer in tuple(self._peers):
                self._ask(peer)
                await asyncio.sleep(1 / PEERS_PER_SECOND)

    def close(self) -> None:
        """Stops asking."""
        self._datagrams.close()
        if self._arp:
            self._arp[0].close()

    def _ask(self, peer: int) -> None:
        try:
            self._datagrams.sendto(b"", (ip_of(peer, 4), DISCARD_PORT))
            if self._arp:
                link, mac = self._arp
                link.send(_arp_request(mac, ip_int(self._tunnel_ip), peer))
        except OSError:
            return  # no way there, or a full queue: the next refresh, or the packet itself, asks again


def _open_arp(tunnel_ip: Ip) -> tuple[socket.socket, bytes] | None:
    """A raw socket on the link with this address, and its MAC; None without such a link, or without the right to."""
    for _, device in socket.if_nameindex():
        if _address(device) != tunnel_ip:
            continue
        try:
            link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        except PermissionError:
            return None
        link.setblocking(False)
        link.bind((device, _ETH_ARP))
        return link, _ioctl(device, _SIOCGIFHWADDR)[18:24]
    return None


def _address(device: str) -> str:
    try:
        return socket.inet_ntoa(_ioctl(device, _SIOCGIFADDR)[20:24])
    except OSError:
        return ""  # it has none


def _ioctl(device: str, what: int) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        return fcntl.ioctl(any_socket.fileno(), what, struct.pack("256s", device.encode()[:15]))


def _arp_request(mac: bytes, tunnel_ip: int, peer: int) -> bytes:
    ethernet = b"\xff" * 6 + mac + struct.pack("!H", _ETH_ARP)
    fixed = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    return (
        ethernet
        + fixed
        + mac
        + struct.pack("!I", tunnel_ip)
        + b"\0" * 6
        + struct.pack("!I", peer)
        + b"\0" * 18
    )
