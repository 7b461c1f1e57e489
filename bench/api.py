# SPDX-License-Identifier: Apache-2.0
"""What the REST API does in a second, over HTTP, on a durable SQLite log: `python bench/api.py`.

The control plane (`alcor all`) runs in a process of its own; the load comes from this one over plain sockets.
`--small` does a tenth. The log lies in a temporary folder of the working directory's disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any, cast

import uvloop

ROUNDS = 5
CONNECTIONS = 64
BULK = 200
LISTED = 1_000


class Client(asyncio.Protocol):
    """One connection that asks the next thing as soon as the last is answered."""

    def __init__(self, ask: Callable[[], bytes | None], seconds: list[float]) -> None:
        self._ask = ask
        self._seconds = seconds
        self._got = bytearray()
        self._wanted = 0
        self._asked = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def data_received(self, some: bytes) -> None:
        self._got += some
        if not self._wanted:
            end = self._got.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._got[:end]).lower()
            if not head.startswith((b"http/1.1 20", b"http/1.1 201")):
                self.done.set_exception(RuntimeError(bytes(self._got).decode()))
                return
            self._wanted = end + 4 + int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(self._got) >= self._wanted:
            self._seconds.append(time.perf_counter() - self._asked)
            self._got.clear()
            self._wanted = 0
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or RuntimeError("the server closed the connection"))

    def _next(self) -> None:
        request = self._ask()
        if request is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self._asked = time.perf_counter()
        self._transport.write(request)


def request(method: str, path: str, body: object = None) -> bytes:
    """A request as it goes over the wire."""
    text = b"" if body is None else json.dumps(body).encode()
    head = f"{method} /v2.0/{path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(text)}\r\n"
    return head.encode() + b"Content-Type: application/json\r\n\r\n" + text


@dataclass(frozen=True)
class Plane:
    """A running control plane."""

    port: int
    pid: int

    def cpu_s(self) -> float:
        """Processor seconds that it has used."""
        used = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
        return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Round:
    """What one round of load took."""

    wall_s: float
    cpu_s: float
    seconds: list[float]  # of each request


async def load(plane: Plane, asked: bytes, count: int, connections: int) -> Round:
    """Makes `count` requests over so many connections."""
    left = iter(range(count))
    seconds: list[float] = []
    loop = asyncio.get_running_loop()
    begun, used = time.perf_counter(), plane.cpu_s()
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(
            lambda: Client(lambda: asked if next(left, None) is not None else None, seconds),
            "127.0.0.1",
            plane.port,
        )
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    return Round(time.perf_counter() - begun, plane.cpu_s() - used, seconds)


@contextmanager
def control_plane(folder: Path, role: str) -> Iterator[Plane]:
    """A running `alcor all`, or `alcor api` alone."""
    with socket.socket() as probe, socket.socket() as other:
        probe.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        port, push = probe.getsockname()[1], other.getsockname()[1]
    command = [sys.executable, "-m", "alcor", role, f"--listen=127.0.0.1:{port}", f"--state={folder}"]
    command += ["--quota-port=-1", "--quota-security-group=-1", "--log-level=warning"]
    if role == "all":
        command.append(f"--push-listen=127.0.0.1:{push}")
    process = subprocess.Popen(command)
    try:
        until = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.05)
        yield Plane(port, process.pid)
    finally:
        process.terminate()
        process.wait(30)


def ask(plane: Plane, method: str, path: str, body: object) -> Any:
    """One request and the JSON of its answer."""
    with socket.create_connection(("127.0.0.1", plane.port), timeout=30) as connection:
        connection.sendall(
            request(method, path, body).replace(b"Host: bench", b"Host: bench\r\nConnection: close")
        )
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return json.loads(b"".join(parts).partition(b"\r\n\r\n")[2])


async def measured(plane: Plane, name: str, asked: bytes, load_of: tuple[int, int, int]) -> None:
    """Five rounds of (requests, connections, objects in each request), and a line about them."""
    count, connections, objects = load_of
    rounds = [await load(plane, asked, count, connections) for _ in range(ROUNDS)]
    rates = [count * objects / each.wall_s for each in rounds]
    seconds = [second for each in rounds for second in each.seconds]
    cpu = [each.cpu_s / count / objects * 1e6 for each in rounds]
    print(
        f"{name:<38}{median(rates):>9,.0f}/s ({min(rates):,.0f} to {max(rates):,.0f}), CPU {median(cpu):,.0f} us;"
        f" a request {median(seconds) * 1000:.1f} ms, p99 {quantiles(seconds, n=100)[98] * 1000:.1f} ms",
        flush=True,
    )


async def all_measured(plane: Plane, count: int) -> None:
    """Every benchmark against a running control plane."""
    network = ask(plane, "POST", "networks", {"network": {}})["network"]["id"]
    ask(plane, "POST", "subnets", {"subnet": {"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/8"}})
    given = {"network_id": network, "name": "p", "device_id": "vm", "device_owner": "compute:nova"}
    single, bulk = (
        request("POST", "ports", {"port": given}),
        request("POST", "ports", {"ports": [given] * BULK}),
    )

    await load(plane, single, max(count // 10, 100), CONNECTIONS)
    await measured(plane, f"POST port, {CONNECTIONS} connections", single, (count, CONNECTIONS, 1))
    await measured(plane, "POST port, 1 connection", single, (count // 20, 1, 1))
    await measured(plane, f"POST {BULK} ports, 2 connections", bulk, (max(count // BULK // 2, 4), 2, BULK))
    lists = max(count // 50, 20)
    listed = request("GET", f"ports?limit={LISTED}")
    await measured(plane, f"GET {LISTED:,} ports, 2 connections", listed, (lists, 2, 1))
    ordered = request("GET", f"ports?limit={LISTED}&sort_key=name&sort_dir=asc")
    await measured(plane, f"GET {LISTED:,} of all, sorted by name", ordered, (max(lists // 10, 4), 2, 1))
    port_id = ask(plane, "GET", "ports?limit=1", None)["ports"][0]["id"]
    show = request("GET", f"ports/{port_id}")
    await measured(plane, f"GET one port, {CONNECTIONS} connections", show, (count, CONNECTIONS, 1))


def main() -> None:
    """Prints the machine, the commit and the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tenth of everything")
    parser.add_argument(
        "--role", choices=("all", "api"), default="all", help="what runs: with push, or without"
    )
    options = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f},"
        f" Python {platform.python_version()}, commit {commit.stdout.strip() or 'none'}"
    )
    with (
        tempfile.TemporaryDirectory(dir=".", prefix="bench-") as folder,
        control_plane(Path(folder), options.role) as plane,
    ):
        uvloop.run(all_measured(plane, 1_000 if options.small else 10_000))


if __name__ == "__main__":
    main()
