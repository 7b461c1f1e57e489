# SPDX-License-Identifier: Apache-2.0
"""How long until all hosts of one network know of a new port: `python bench/push.py`.

1,000 emulated agents in another process, each with a gRPC session and a port of the same network; the log is durable
SQLite. A round adds one port through the store and waits until push has every agent's acknowledgement of it. Then what
goal state costs: loading a cloud, and memory. `--small` does a fifth.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from random import Random, SystemRandom
from statistics import median

import uvloop

from alcor.agent.dial import dialler
from alcor.agent.emulator import Emulator
from alcor.agent.session import Backoff, HostIdentity
from alcor.base.address import Address
from alcor.base.clock import SystemClock
from alcor.base.config import Settings
from alcor.base.net import ip_of
from alcor.base.telemetry import configure_log
from alcor.features.control import GOAL, SCHEMA
from alcor.features.host import HOST as HOST_FEATURES
from alcor.features.port.model import PORT, Port
from alcor.goal.state import Goal
from alcor.push.server import Handle, serve
from alcor.store.declare import Position
from alcor.store.log.sqlite import SqliteLog
from alcor.store.reader import Txn
from alcor.store.store import Outside, Store
from alcor.store.tables import Row, Tables
from alcor.testing.cloud import Cloud, Placed, Shape

ROUNDS = 30
CONNECT_WAIT_S = 120
ROUND_WAIT_S = 60


async def fan_out(hosts: int, rounds: int) -> list[str]:
    """The lines of the first part."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        settings = Settings(push_listen=Address(f"unix:{folder}/push"))
        outside = Outside(SystemClock(), Random(1), settings)
        store = await Store.open(SCHEMA, SqliteLog(Path(folder) / "log"), outside)
        cloud = Cloud(Shape(hosts, networks=1, ports=0))
        await _fill(store, cloud)
        push = await serve(store, GOAL, settings)
        agents = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--agents", str(hosts), "--at", settings.push_listen
        )
        try:
            begin = time.perf_counter()
            await _until(lambda: _settled(push) == hosts, CONNECT_WAIT_S)
            connected_s = time.perf_counter() - begin
            took_ms = [
                await _round(store, push, cloud.port(2 * hosts + number, cloud.hosts[0]))
                for number in range(rounds)
            ]
        finally:
            agents.terminate()
            await agents.wait()
            await push.close()
            await store.close()
    spread = f"median {median(took_ms):.0f} ms, {min(took_ms):.0f}-{max(took_ms):.0f} ms"
    return [
        f"{hosts} agents start, connect and receive their snapshots: {connected_s:.1f} s",
        f"one port added, all {hosts} agents acked, {rounds} rounds: {spread}",
    ]


async def _fill(store: Store, cloud: Cloud) -> None:
    every = [*cloud.objects(), *((PORT, cloud.port(n, host)) for n, host in enumerate(cloud.hosts))]
    for start in range(0, len(every), 1000):
        part = every[start : start + 1000]

        def insert(txn: Txn, part: list[Placed] = part) -> None:
            for table, new in part:
                txn.insert(table, new)

        await store.submit(insert)


async def _round(store: Store, push: Handle, port: Port) -> float:
    hosts = len(push.service.publisher.sessions())
    begin = time.perf_counter()
    committed = await store.submit(lambda txn: txn.insert(PORT, port))
    await _until(lambda: _standing(push, committed.position) == hosts, ROUND_WAIT_S)
    took_ms = (time.perf_counter() - begin) * 1000
    await asyncio.sleep(0.1)
    return took_ms


def _settled(push: Handle) -> int:
    """How many hosts have received and acknowledged all that concerns them."""
    return sum(one.is_whole and one.told == one.acked for one in push.service.publisher.sessions())


def _standing(push: Handle, position: Position) -> int:
    """How many hosts have acknowledged `position`."""
    sessions = push.service.publisher.sessions()
    return sum(bool(one.acked and one.acked.revision >= position.revision) for one in sessions)


async def _until(is_so: Callable[[], bool], wait_s: float) -> None:
    async with asyncio.timeout(wait_s):
        while not is_so():  # noqa: ASYNC110  # push has no event for this
            await asyncio.sleep(0.001)


async def run_agents(hosts: int, at: str) -> None:
    """Emulated agents, until the process is ended."""
    connect = dialler(Settings(push=Address(at)))
    emulator = Emulator(HOST_FEATURES, connect, Backoff(100, 5000, SystemRandom()))
    for number in range(hosts):
        emulator.start(HostIdentity(f"host-{number:04}", ip_of(0x0A000001 + number, 4)))
    await emulator.stopped()


def goal_state(shape: Shape) -> str:
    """The line of the second part."""
    tables = Tables(SCHEMA)
    loading = tables.loading()
    plans = tables.plans
    for _, of_table in groupby(Cloud(shape).objects(), lambda placed: placed[0]):
        rows = [Row(table.name, new.id, plans[table.name].encode(new, None, None)) for table, new in of_table]
        loading.add(sorted(rows))
    loading.finish(Position(1, "0" * 32))
    before = _resident()
    goal = Goal(GOAL)
    begin, slices, at = time.perf_counter(), [], time.perf_counter()
    for _ in goal.load(tables):
        now = time.perf_counter()
        slices.append(now - at)
        at = now
    took_s = time.perf_counter() - begin
    slices.sort()
    resident = _resident()
    pause_ms = slices[len(slices) * 99 // 100] * 1000
    size = f"{shape.ports} ports over {shape.hosts} hosts, {goal.compiler.changed} rows"
    return (
        f"goal state of {size}: {took_s:.1f} s, slices p99 {pause_ms:.0f} ms; "
        f"{(resident - before) >> 20} MiB beside the tables, {resident >> 20} MiB with them"
    )


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")


def main() -> None:
    """Runs both parts and prints their lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--agents", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--at", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    configure_log("error", "text")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # it tells of every fork otherwise
    if asked.agents:
        uvloop.run(run_agents(asked.agents, asked.at))
        return
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    print(f"push on {machine}, load {os.getloadavg()[0]:.1f}, commit {_commit()}", flush=True)
    for line in uvloop.run(fan_out(200 if asked.small else 1000, 6 if asked.small else ROUNDS)):
        print(line, flush=True)
    ports = 50_000 if asked.small else 1_000_000
    print(goal_state(Shape(hosts=1000, networks=1000, ports=ports)))


def _commit() -> str:
    asked = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, check=False, capture_output=True, text=True).stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
