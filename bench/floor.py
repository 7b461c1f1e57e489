# SPDX-License-Identifier: Apache-2.0
"""What a durable answer costs at least on this machine and disk, whoever gives it: `python bench/floor.py`.

A server that reads no request and keeps no state: each request is answered with the same 1,200 bytes, at once or after
8 KiB of a file are written and flushed, by the loop itself or by a thread that flushes for all that wait. No control
plane with a durable log and a Python loop is faster, and none that waits for a thread faster than the last rows.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from signal import SIGTERM
from threading import Thread

import uvloop
from harness import Connection, Figure, Report, cpu_s, options, request, scratch

from alcor.lab.cloud import free_address
from alcor.lab.process import Child

ROUNDS = 5
ROUND_S = 2.0
FLUSHED_BYTES = 8_192  # two pages, as of a small turn
FILE_BYTES = 16_777_216
ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 1200\r\n\r\n" + b"x" * 1_200
WAYS = ("at once", "after a flush", "after a flush by a thread")


def served(way: str, port: int, path: str) -> None:
    """Answers for ever."""
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    os.pwrite(file, bytes(FILE_BYTES), 0)
    os.fsync(file)
    written = 0

    def flush() -> None:
        nonlocal written
        os.pwrite(file, bytes(FLUSHED_BYTES), written % FILE_BYTES)
        os.fdatasync(file)
        written += FLUSHED_BYTES

    waiting: SimpleQueue[asyncio.Transport] = SimpleQueue()

    def flush_for_all(loop: asyncio.AbstractEventLoop) -> None:
        while True:
            together = [waiting.get()]
            while not waiting.empty():
                together.append(waiting.get())
            flush()
            loop.call_soon_threadsafe(answer_all, together)

    def answer_all(together: list[asyncio.Transport]) -> None:
        for transport in together:
            transport.write(ANSWER)

    def answer(transport: asyncio.Transport) -> None:
        if way == WAYS[1]:
            flush()
        transport.write(ANSWER)

    async def forever() -> None:
        loop = asyncio.get_running_loop()
        Thread(target=flush_for_all, args=(loop,), daemon=True).start()
        act = waiting.put if way == WAYS[2] else answer
        await (await loop.create_server(lambda: Answering(act), "127.0.0.1", port)).serve_forever()

    uvloop.run(forever())


class Answering(asyncio.Protocol):
    """One connection, on which a request is whatever comes at once."""

    def __init__(self, act: Callable[[asyncio.Transport], None]) -> None:
        self._act = act

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's is none by class

    def data_received(self, some: bytes) -> None:
        self._act(self._transport)


async def measured(pid: int, port: int, clients: int, seconds: float) -> tuple[float, float]:
    """Requests per second, and the server's CPU of one in microseconds."""
    asked, count = request("POST", "ports", {"port": {"name": "p"}}), 0
    connections = [await Connection.open(port) for _ in range(clients)]
    begun, used = time.perf_counter(), cpu_s(pid)

    async def client(connection: Connection) -> None:
        nonlocal count
        while time.perf_counter() - begun < seconds:
            await connection.ask(asked)
            count += 1

    await asyncio.gather(*map(client, connections))
    wall_s, spent_s = time.perf_counter() - begun, cpu_s(pid) - used
    for connection in connections:
        connection.close()
    return count / wall_s, spent_s / count * 1e6


def main() -> None:
    """Prints the machine and the figures."""
    asked = options(__doc__)
    report = Report(asked)
    rounds, seconds = (1, 0.2) if asked.small else (asked.rounds or ROUNDS, ROUND_S)
    for way in WAYS:
        with scratch(asked) as folder:
            port = int(free_address("127.0.0.1:0").rpartition(":")[2])
            words = (sys.executable, __file__, "--serve", way, str(port), str(folder / "flushed"))
            server = Child(words, folder / "floor.log", {})
            try:
                while f":{port:04X} 00000000:0000 0A" not in Path("/proc/net/tcp").read_text(
                    encoding="ascii"
                ):
                    time.sleep(0.02)
                for clients in (1, 8):
                    done = [uvloop.run(measured(server.pid, port, clients, seconds)) for _ in range(rounds)]
                    note = f"CPU {min(cpu for _, cpu in done):,.0f} to {max(cpu for _, cpu in done):,.0f} us each"
                    name = f"{way}, {clients} client{'s' if clients > 1 else ''}"
                    report.add(Figure(name, "/s", [rate for rate, _ in done], note=note))
            finally:
                server.send(SIGTERM)
                server.wait()
    report.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        served(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        main()
