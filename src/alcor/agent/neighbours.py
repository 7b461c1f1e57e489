# SPDX-License-Identifier: Apache-2.0
"""Keeps the tunnel's neighbours warm: a userspace datapath drops the first packet to a host whose MAC it does not know.

A datagram to each peer makes the machine ask for its MAC; the switch learns from the answer, and forgets after 15
minutes (facts of OVS 3.1, tnl/neigh/aging). With a kernel datapath it costs a datagram and helps nobody.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable

from alcor.base.net import ip_of

REFRESH_S = 240.0  # well below the 900 s after which the switch forgets
PEERS_PER_SECOND = 200  # when refreshing
DISCARD_PORT = 9  # RFC 863


class TunnelNeighbours:
    """The hosts that tunnels lead to. Sends from the address that tunnels start at."""

    def __init__(self, tunnel_ip: str) -> None:
        self._peers: set[int] = set()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.bind((tunnel_ip, 0))
        except OSError:
            self._socket.bind(("", 0))  # the address is not this machine's, or not yet: ask from any

    def meet(self, peers: Iterable[int]) -> None:
        """Asks for those that are new."""
        for peer in peers:
            if peer not in self._peers:
                self._peers.add(peer)
                self._ask(peer)

    async def refresh(self) -> None:
        """Asks for all of them again, now and then, for ever."""
        while True:
            await asyncio.sleep(REFRESH_S)
            for peer in tuple(self._peers):
                self._ask(peer)
                await asyncio.sleep(1 / PEERS_PER_SECOND)

    def close(self) -> None:
        """Stops asking."""
        self._socket.close()

    def _ask(self, peer: int) -> None:
        try:
            self._socket.sendto(b"", (ip_of(peer, 4), DISCARD_PORT))
        except OSError:
            return  # no route or a full queue: the next refresh, or the packet itself, asks again
