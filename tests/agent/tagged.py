# SPDX-License-Identifier: Apache-2.0
"""A machine that reads and writes frames with their tags."""

import socket
import struct
from dataclasses import replace

from alcor.lab.namespace import Namespace
from alcor.testing.packet import Packet
from tests.agent.fabric import until

_PACKET, _AUXDATA = 263, 8  # of packet(7): the level, and that the tag is told beside a frame


class Tagged:
    """Its frames on `eth0` of a namespace, from the moment it is made."""

    def __init__(self, namespace: Namespace) -> None:
        self.raw = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
        self.raw.bind(("eth0", 3))
        self.raw.setsockopt(_PACKET, _AUXDATA, 1)
        self.raw.setblocking(False)

    def send(self, packet: Packet) -> None:
        self.raw.send(packet.build())

    def heard(self) -> list[Packet]:
        """What came since the last look."""
        packets = []
        while True:
            try:
                frame, beside, _, whence = self.raw.recvmsg(2_000, 100)
            except BlockingIOError:
                return packets
            if whence[2] == socket.PACKET_OUTGOING:
                continue
            told = [struct.unpack("=IIIHHHH", value[:20]) for _, _, value in beside]
            tags = [fields[5] for fields in told if fields[0] & 16]  # TP_STATUS_VLAN_VALID
            packets.append(replace(Packet.parse(frame), vlan=tags[0] if tags else None))

    async def hears(self, packet: Packet) -> None:
        """Returns when the packet came. Raises TimeoutError if it never does."""
        seen: list[Packet] = []

        def is_there() -> bool:
            seen.extend(self.heard())
            return any(got.build()[: len(packet.build())] == packet.build() for got in seen)

        await until(is_there)

    def close(self) -> None:
        """Reads and writes no more."""
        self.raw.close()
