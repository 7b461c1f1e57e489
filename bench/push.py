# SPDX-License-Identifier: Apache-2.0
"""How long until all hosts of one network know of a new port: `python bench/push.py`.

1,000 emulated agents in another process (`alcor emulate`), each with a gRPC session and a port of the same network. A
round is one POST of a bound port; it ends when push has every agent's acknowledgement of it. The control plane runs as
`alcor all` does, durable SQLite log and all, but in this process, so that it can be seen what push has.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path

import uvloop
from filled import Cloud, emulated, fill
from harness import Figure, Report, options, request, scratch

from alcor.base.address import Address
from alcor.base.config import Settings
from alcor.base.telemetry import configure_log
from alcor.cli.serve import Running, running
from alcor.features.port.model import Port
from alcor.lab.cloud import free_address

CONNECT_S_MAX = 180.0
ROUND_S_MAX = 60.0
PAUSE_S = 0.2  # between two rounds


async def measured(report: Report, folder: Path, cloud: Cloud, first: Port) -> None:
    """Waits until all hosts have all that they need, then adds ports one by one."""
    push = f"unix:{folder}/push.sock"
    settings = Settings(
        state=folder, listen=Address(free_address("127.0.0.1:0")), push_listen=Address(push), quota_port=-1
    )
    async with running(settings, api=True, push=True) as plane:
        assert plane.server is not None
        with emulated(folder, push, cloud):
            begun = time.perf_counter()
            await _until(lambda: _settled(plane) == cloud.hosts, CONNECT_S_MAX)
            took_s = time.perf_counter() - begun
            said = "the agents' process was started at 0"
            report.add(
                Figure(
                    f"{cloud.hosts:,} agents connected, and have their snapshots", "s", [took_s], note=said
                )
            )
            api = Blocking(plane.server.port)
            fields = {"network_id": first.network_id, "project_id": first.project_id}
            post = request("POST", "ports", {"port": fields | {"binding:host_id": first.host}})
            count = report.options.rounds or (5 if report.options.small else 30)
            await _round(plane, api, post)
            rounds = [await _round(plane, api, post) for _ in range(count)]
            api.close()
    what = f"one port added, {cloud.hosts:,} agents"
    report.add(Figure(f"{what}: POST answered", "ms", [answered for answered, _ in rounds]))
    report.add(Figure(f"{what}: all acked", "ms", [acked for _, acked in rounds], 500, 250))


class Blocking:
    """A connection that a thread waits for: so the answer is seen when it comes, not when this loop has time for it."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=ROUND_S_MAX)

    def ask(self, asked: bytes) -> float:
        """When the answer was there. Raises RuntimeError if it is a refusal."""
        self._socket.sendall(asked)
        head, _, body = self._more(b"").partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        while len(body) < length:  # it comes behind its head
            body = self._more(body)
        answered = time.perf_counter()
        if not head.startswith(b"HTTP/1.1 201"):
            raise RuntimeError(body.decode())
        return answered

    def _more(self, begun: bytes) -> bytes:
        more = self._socket.recv(1 << 16)
        if not more:
            raise RuntimeError("the API closed the connection")
        return begun + more

    def close(self) -> None:
        """Closes it."""
        self._socket.close()


async def _round(plane: Running, api: Blocking, post: bytes) -> tuple[float, float]:
    """Milliseconds from the request to its answer, and to the last acknowledgement."""
    assert plane.push is not None
    begun = time.perf_counter()
    before = plane.store.tables.revision
    answering = asyncio.create_task(asyncio.to_thread(api.ask, post))
    await _until(lambda: plane.store.tables.revision > before, ROUND_S_MAX)
    revision = plane.store.tables.revision
    left = list(plane.push.service.publisher.sessions())

    def is_acked() -> bool:
        while left and left[-1].acked and left[-1].acked.revision >= revision:
            left.pop()
        return not left

    await _until(is_acked, ROUND_S_MAX)
    acked = time.perf_counter()
    answered = await answering
    await asyncio.sleep(PAUSE_S)
    return (answered - begun) * 1000, (acked - begun) * 1000


def _settled(plane: Running) -> int:
    """How many hosts have received and acknowledged all that concerns them."""
    assert plane.push is not None
    return sum(one.is_whole and one.told == one.acked for one in plane.push.service.publisher.sessions())


async def _until(is_so: Callable[[], bool], wait_s: float) -> None:
    async with asyncio.timeout(wait_s):
        while not is_so():  # noqa: ASYNC110  # push has no event for this
            await asyncio.sleep(0.001)


def main() -> None:
    """Prints the machine, the commit and the figures."""
    asked = options(__doc__)
    configure_log("error", "text")
    report = Report(asked)
    hosts = 100 if asked.small else 1_000
    cloud = Cloud(ports=hosts, networks=1, hosts=hosts, hosts_of_network=hosts)
    with scratch(asked) as folder:
        first = fill(folder, cloud)
        uvloop.run(measured(report, folder, cloud, first[0]))
    report.close()


if __name__ == "__main__":
    main()
