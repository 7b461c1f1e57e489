# SPDX-License-Identifier: Apache-2.0
"""One network namespace: links and addresses by `ip`, sockets made inside and used from this process.

A socket belongs for ever to the namespace that it was made in, so a virtual machine needs no process of its own.
"""

import array
import ctypes
import fcntl
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from alcor.lab.errors import LabFailure
from alcor.lab.process import run

NAMESPACES = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17
T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A named network namespace. Made by `create`, gone with `ip netns del`."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def create(self) -> None:
        """Make it, with loopback up and IPv6 as quick as IPv4: no duplicate detection, no router advertisements."""
        try:
            await run("ip", "netns", "add", self.name)
        except LabFailure as failure:
            raise LabFailure(
                f"{failure}. Network namespaces need root with CAP_SYS_ADMIN and CAP_NET_ADMIN "
                "(in a container: start it with --privileged)"
            ) from failure
        for name, value in {"accept_dad": 0, "dad_transmits": 0, "accept_ra": 0}.items():
            self.set_sysctl(f"net/ipv6/conf/default/{name}", value)
        await self.ip("link set lo up")

    async def delete(self) -> None:
        """Remove it with every link in it."""
        await run("ip", "netns", "del", self.name)

    async def ip(self, *lines: str) -> None:
        """Run the lines as one `ip -batch` inside. Raises LabFailure at the first that fails."""
        await run("ip", "-n", self.name, "-batch", "-", stdin="\n".join(lines) + "\n")

    def inside(self, call: Callable[[], T]) -> T:
        """The result of `call`, run by a thread of its own in the namespace; no other thread leaves its place."""
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self._enter_and, call).result()

    def _enter_and(self, call: Callable[[], T]) -> T:
        with (NAMESPACES / self.name).open("rb") as handle:
            if _libc.setns(handle.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {self.name}")
        return call()

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A non-blocking socket of this namespace; the caller closes it."""
        made = self.inside(lambda: socket.socket(family, kind, protocol))
        made.setblocking(False)
        return made

    def device_index(self, device: str) -> int:
        """The number that a link has in this namespace. Raises OSError if there is none of that name."""
        return self.inside(lambda: socket.if_nametoindex(device))

    def set_sysctl(self, path: str, value: int) -> None:
        """Set a kernel setting of this namespace, such as `net/ipv6/conf/all/forwarding`."""
        self.inside(lambda: Path("/proc/sys", path).write_text(str(value)))

    def fill_checksums(self, device: str) -> None:
        """Make a sender compute its own checksums: OVS's userspace datapath forwards packets as they come,
        and TCP with sums left to the hardware never connects, while ping works."""
        self.inside(lambda: _checksum_offload_off(device))


def _checksum_offload_off(device: str) -> None:
    # What `ethtool -K DEVICE tx off` does: struct ethtool_value {cmd, on} behind struct ifreq {name, pointer}.
    request = array.array("B", struct.pack("II", _ETHTOOL_STXCSUM, 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCETHTOOL, struct.pack("16sP", device.encode(), request.buffer_info()[0]))
