# SPDX-License-Identifier: Apache-2.0
"""Traffic between virtual machines: ping, TCP and UDP echo, captures; all on sockets of their namespaces.

What is not answered is silence, whatever the reason: an ICMP error, a reset and a timeout all read as None or as lost.
"""

import asyncio
import contextlib
import secrets
import socket
import struct
import time
from collections.abc import Callable
from types import TracebackType
from typing import cast

from alcor.lab.namespace import Namespace

Address = tuple[str, int]
_ETH_P_ALL = 3
_OUTGOING = 4  # packet(7): PACKET_OUTGOING
_BYTES_MAX = 65536
_GRACE_S = 1.0  # how long the last answers of a continuous ping may take


class Echo:
    """ICMP echo from one namespace to one address: what was sent, and what was answered."""

    def __init__(self, namespace: Namespace, ip: str, device: str) -> None:
        self.sent_at_s: list[float] = []
        self.round_trips_ms: dict[
            int, float
        ] = {}  # by the number of the request, of those that were answered
        self._mark = secrets.token_bytes(8)
        self._is_ipv4 = ":" not in ip
        self._news = asyncio.Event()
        if self._is_ipv4:
            self._socket = namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
            self._to: tuple[str, int] | tuple[str, int, int, int] = (ip, 0)
        else:
            self._socket = namespace.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            self._to = (ip, 0, 0, namespace.device_index(device) if ip.startswith("fe80:") else 0)
        asyncio.get_running_loop().add_reader(self._socket, self._receive)

    def send(self) -> int:
        """Send one request; its number."""
        number = len(self.sent_at_s)
        kind = 8 if self._is_ipv4 else 128
        packet = struct.pack("!BBHHH8sI", kind, 0, 0, 0, number & 0xFFFF, self._mark, number)
        if self._is_ipv4:  # For IPv6 the kernel fills the checksum in.
            packet = packet[:2] + _internet_checksum(packet) + packet[4:]
        self.sent_at_s.append(time.monotonic())
        with contextlib.suppress(
            OSError
        ):  # No route or no neighbour: sent into the void, and counted as such.
            self._socket.sendto(packet, self._to)
        return number

    async def answered(self, number: int, timeout_s: float) -> float | None:
        """The round trip of a request in milliseconds, or None if it is not answered within `timeout_s` from now."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while number not in self.round_trips_ms:
                    self._news.clear()
                    await self._news.wait()
        return self.round_trips_ms.get(number)

    def close(self) -> None:
        """Listen no more."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _receive(self) -> None:
        now_s = time.monotonic()
        with contextlib.suppress(OSError):  # Empty, or an ICMP error, which is no answer.
            while True:
                packet = self._socket.recv(_BYTES_MAX)
                icmp = packet[(packet[0] & 15) * 4 :] if self._is_ipv4 else packet
                if len(icmp) >= 20 and icmp[0] == (0 if self._is_ipv4 else 129) and icmp[8:16] == self._mark:
                    number = int.from_bytes(icmp[16:20])
                    self.round_trips_ms.setdefault(number, (now_s - self.sent_at_s[number]) * 1000)
                    self._news.set()


class Pinging:
    """A ping at an interval, for as long as it is entered; figures are final after it is left.

    async with vm.pinging("10.0.0.6", interval_s=0.005) as ping:
        await host.restart_vswitchd()
    assert ping.lost == 0
    """

    def __init__(self, namespace: Namespace, ip: str, device: str, interval_s: float) -> None:
        self._target = (namespace, ip, device)
        self._interval_s = interval_s

    @property
    def sent(self) -> int:
        """How many requests were sent."""
        return len(self._echo.sent_at_s)

    @property
    def lost(self) -> int:
        """How many of them were not answered."""
        return self.sent - len(self._echo.round_trips_ms)

    @property
    def longest_gap_s(self) -> float:
        """The longest time without an answered request: 0 if none was lost."""
        longest = gap = 0
        for number in range(self.sent):
            gap = 0 if number in self._echo.round_trips_ms else gap + 1
            longest = max(longest, gap)
        return longest * self._interval_s

    @property
    def round_trips_ms(self) -> list[float]:
        """The round trips of those that were answered, in the order of sending."""
        return [self._echo.round_trips_ms[number] for number in sorted(self._echo.round_trips_ms)]

    async def __aenter__(self) -> "Pinging":
        self._echo = Echo(*self._target)
        self._sending = asyncio.create_task(self._send_at_intervals())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sending.cancel()
        try:
            for number in range(max(0, self.sent - 1), self.sent):
                await self._echo.answered(number, _GRACE_S)
        finally:
            self._echo.close()

    async def _send_at_intervals(self) -> None:
        start = time.monotonic()
        while True:
            self._echo.send()
            await asyncio.sleep(start + self.sent * self._interval_s - time.monotonic())


class Stream:
    """One TCP connection to an echo listener that keeps talking, for as long as it is entered.

    A stream is alive if what it said last was echoed. `longest_silence_s` is the longest wait for an echo.
    """

    def __init__(self, namespace: Namespace, address: Address) -> None:
        self._namespace = namespace
        self._address = address
        self.echoes = 0
        self.longest_silence_s = 0.0
        self._news = asyncio.Event()

    async def __aenter__(self) -> "Stream":
        self._socket = self._namespace.socket(_family(self._address), socket.SOCK_STREAM)
        try:
            async with asyncio.timeout(5):
                await asyncio.get_running_loop().sock_connect(self._socket, self._address)
        except BaseException:
            self._socket.close()
            raise
        self._talking = asyncio.create_task(self._talk())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._talking.cancel()
        await asyncio.wait([self._talking])
        self._socket.close()

    async def is_alive(self, timeout_s: float = 2.0) -> bool:
        """Whether something said from now on is echoed within `timeout_s`."""
        target = self.echoes + 2  # The next echo may be of something said before.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.echoes < target:
                    self._news.clear()
                    await self._news.wait()
        return self.echoes >= target

    async def _talk(self) -> None:
        with contextlib.suppress(OSError):  # The connection is dead: no echo comes any more.
            while True:
                start = time.monotonic()
                await _exchange(self._socket, secrets.token_bytes(512))
                self.echoes += 1
                self.longest_silence_s = max(self.longest_silence_s, time.monotonic() - start)
                self._news.set()
                await asyncio.sleep(0.005)


class Capture:
    """The frames that arrive at a link, in order, while it is entered with `with`."""

    def __init__(self, namespace: Namespace, device: str) -> None:
        self.frames: list[bytes] = []
        self._namespace = namespace
        self._device = device
        self._news = asyncio.Event()

    def __enter__(self) -> "Capture":
        self._socket = self._namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self._socket.bind((self._device, _ETH_P_ALL))
        asyncio.get_running_loop().add_reader(self._socket, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._receive()
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    async def first(self, wanted: Callable[[bytes], bool], timeout_s: float) -> bytes | None:
        """The first frame for which `wanted` holds, or None if none arrives within `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not any(map(wanted, self.frames)):
                    self._news.clear()
                    await self._news.wait()
        return next(filter(wanted, self.frames), None)

    def _receive(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, origin = self._socket.recvfrom(_BYTES_MAX)
                if origin[2] != _OUTGOING:
                    self.frames.append(frame)
                    self._news.set()


class UdpEcho:
    """A UDP listener that answers each datagram with its content."""

    def __init__(self, bound: socket.socket) -> None:
        self._socket = bound
        asyncio.get_running_loop().add_reader(bound, self._answer)

    def close(self) -> None:
        """Listen no more."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _answer(self) -> None:
        with contextlib.suppress(OSError):  # Empty, or nobody listens to an earlier answer.
            while True:
                content, origin = self._socket.recvfrom(_BYTES_MAX)
                self._socket.sendto(content, origin)


class TcpEcho:
    """A TCP listener that sends back whatever it gets, on any number of connections."""

    def __init__(self) -> None:
        self._transports: set[asyncio.BaseTransport] = set()

    async def open(self, bound: socket.socket) -> None:
        """Listen on a bound socket."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _EchoConnection(self._transports), sock=bound)

    def close(self) -> None:
        """Listen no more, and drop what is connected."""
        self._server.close()
        for transport in list(self._transports):
            transport.close()


class _EchoConnection(asyncio.Protocol):
    def __init__(self, transports: set[asyncio.BaseTransport]) -> None:
        self._transports = transports

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transports.add(transport)

    def data_received(self, content: bytes) -> None:
        self._transport.write(content)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transports.discard(self._transport)


async def listen_udp(namespace: Namespace, port: int) -> UdpEcho:
    """Echo datagrams on a port, over IPv4 and IPv6."""
    return UdpEcho(_bound(namespace, socket.SOCK_DGRAM, port))


async def listen_tcp(namespace: Namespace, port: int) -> TcpEcho:
    """Echo TCP connections on a port, over IPv4 and IPv6."""
    listener = TcpEcho()
    await listener.open(_bound(namespace, socket.SOCK_STREAM, port))
    return listener


async def tcp_echo(namespace: Namespace, address: Address, timeout_s: float) -> float | None:
    """Milliseconds from opening a connection to the echo of what was said on it, or None."""
    return await _timed_echo(namespace, socket.SOCK_STREAM, address, timeout_s)


async def udp_echo(namespace: Namespace, address: Address, timeout_s: float) -> float | None:
    """Milliseconds until a datagram was echoed, or None."""
    return await _timed_echo(namespace, socket.SOCK_DGRAM, address, timeout_s)


async def _timed_echo(namespace: Namespace, kind: int, address: Address, timeout_s: float) -> float | None:
    start = time.monotonic()
    with namespace.socket(_family(address), kind) as client:
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().sock_connect(client, address)
                await _exchange(client, secrets.token_bytes(16))
        except OSError:  # Refused, unreachable, reset or, as TimeoutError, silent.
            return None
    return (time.monotonic() - start) * 1000


async def _exchange(client: socket.socket, content: bytes) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, content)
    echoed = b""
    while len(echoed) < len(content):
        piece = await loop.sock_recv(client, _BYTES_MAX)
        if not piece:
            raise ConnectionResetError("the echo listener closed the connection")
        echoed += piece
    assert echoed == content, "an echo differs from what was said"


def _bound(namespace: Namespace, kind: int, port: int) -> socket.socket:
    listener = namespace.socket(socket.AF_INET6, kind)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", port))
    return listener


def _family(address: Address) -> int:
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


def _internet_checksum(packet: bytes) -> bytes:
    total: int = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return struct.pack("!H", ~total & 0xFFFF)
