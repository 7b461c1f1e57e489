# SPDX-License-Identifier: Apache-2.0
"""What the store does in a second on a durable SQLite log, and what a million objects cost: `python bench/store.py`.

`--small` does a tenth.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import TypeVar

from harness import Figure, Report, memory_mib, options, scratch

from alcor.base.clock import SystemClock
from alcor.base.errors import Conflict
from alcor.base.telemetry import configure_log
from alcor.store.declare import Index, Pool, Position, Schema, Stored, Table
from alcor.store.log.contract import Record, Turn
from alcor.store.log.sqlite import SqliteLog
from alcor.store.plan import encode
from alcor.store.reader import Txn
from alcor.store.store import Outside, Store

T = TypeVar("T", bound=Stored)

CALLERS = 256
HOSTS = 1000
NETS = 200


class Port(Stored, frozen=True):
    """As large as a usual Neutron port: about 350 bytes when encoded."""

    project_id: str
    network_id: str
    subnet_id: str
    mac_address: str
    ip_address: str
    device_id: str
    host: str
    security_groups: tuple[str, ...]
    name: str = ""


def _taken(port: Port, key: object) -> Conflict:
    return Conflict(f"{key} is taken")


NUMBER: Pool[Port] = Pool(
    "address",
    lambda port: ((port.subnet_id, int(port.ip_address.rsplit(".", 1)[1])),) if port.name == "pooled" else (),
    lambda port, key, number: _taken(port, (key, number)),
)
PORT: Table[Port] = Table(
    "port",
    Port,
    indexes=(
        Index("project", lambda port: (port.project_id,)),
        Index("network", lambda port: (port.network_id,)),
        Index("device", lambda port: (port.device_id,)),
        Index("host", lambda port: (port.host,)),
        Index("group", lambda port: port.security_groups),
        Index("name", lambda port: (port.name,)),
        Index("mac", lambda port: ((port.network_id, port.mac_address),), unique=True, taken=_taken),
        Index("ip", lambda port: ((port.subnet_id, port.ip_address),), unique=True, taken=_taken),
    ),
    pools=(NUMBER,),
)


class Note(Stored, frozen=True):
    """A small record: about 90 bytes when encoded."""

    network_id: str
    name: str = ""


NOTE: Table[Note] = Table("note", Note, indexes=(Index("note network", lambda note: (note.network_id,)),))
SCHEMA = Schema((PORT, NOTE))


def ports(count: int) -> Iterator[Port]:
    """The ports of a cloud with `HOSTS` hosts and `NETS` networks."""
    random = Random(1)

    def identity() -> str:
        return str(uuid.UUID(int=random.getrandbits(128)))

    nets = [(identity(), identity(), identity(), identity()) for _ in range(NETS)]
    for number in range(count):
        project, network, subnet, group = nets[number % NETS]
        mac = f"fa:16:3e:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
        yield Port(
            id=identity(),
            project_id=project,
            network_id=network,
            subnet_id=subnet,
            mac_address=mac,
            ip_address=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
            device_id=identity(),
            host=f"compute-{number % HOSTS:04}",
            security_groups=(group,),
            name=f"port-{number % 5000}",
        )


async def _open(path: Path) -> Store:
    return await Store.open(SCHEMA, SqliteLog(path), Outside(SystemClock(), Random()))


def notes(count: int) -> Iterator[Note]:
    """Small records of a few networks."""
    random = Random(2)
    for number in range(count):
        yield Note(id=str(uuid.UUID(int=random.getrandbits(128))), network_id=f"network-{number % NETS}")


async def _submit_all(path: Path, table: Table[T], every: Iterator[T], count: int) -> list[float]:
    """Records per second of each of five rounds."""
    store = await _open(path)

    async def caller(many: int) -> None:
        for _ in range(many):
            new = next(every)

            def create(txn: Txn, new: T = new) -> None:
                txn.insert(table, new)

            await store.submit(create)

    rates = []
    for _ in range(5):
        begin = time.perf_counter()
        await asyncio.gather(*(caller(count // CALLERS) for _ in range(CALLERS)))
        rates.append(count // CALLERS * CALLERS / (time.perf_counter() - begin))
    await store.close()
    return rates


async def _fill(path: Path, count: int) -> int:
    """Writes `count` ports into a new log; the mean length of one."""
    log = SqliteLog(path)
    await log.open()
    position = Position(0, "")
    records: list[Record] = []
    length = 0
    for number, port in enumerate(ports(count), 1):
        row = encode(port)
        length += len(row)
        records.append(Record("port", port.id, None, row))
        if len(records) == 2000 or number == count:
            turn = Turn(Position(number, f"{number:032x}"), 0.0, records)
            await log.append(position, turn)
            position, records = turn.position, []
    await log.close()
    return length // count


async def _load(path: Path) -> None:
    """The work of the child: loads, then says how long it took, how large it is, and how long the loop stood still."""
    begin = time.perf_counter()
    store = await _open(path)
    loaded = time.perf_counter() - begin
    slices = []
    scan = store.tables.snapshot_scan(PORT, 500)
    while True:
        begin = time.perf_counter()
        if next(scan, None) is None:
            break
        slices.append(time.perf_counter() - begin)
    slices.sort()
    print(
        f"{store.tables.size(PORT)} {loaded:.2f} {memory_mib(os.getpid()):.0f} {slices[-len(slices) // 100] * 1000:.2f}"
    )
    await store.close()


def child_load(parser: argparse.ArgumentParser) -> None:
    """The option by which this benchmark starts itself."""
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)


def main() -> None:
    """Prints the machine, the commit and the figures."""
    asked = options(__doc__, child_load)
    configure_log("error", "text")
    if asked.load:
        asyncio.run(_load(asked.load))
        return
    report = Report(asked)
    part = 10 if asked.small else 1
    count = 51_200 // part
    with scratch(asked) as folder:
        small = asyncio.run(_submit_all(folder / "a", NOTE, iter([*notes(5 * count)]), count))
        report.add(Figure(f"submit by {CALLERS} callers, small records", "/s", small))
        large = asyncio.run(_submit_all(folder / "b", PORT, iter([*ports(5 * count)]), count))
        report.add(Figure(f"submit by {CALLERS} callers, ports with 8 indexes", "/s", large))
        path = folder / "load.db"
        length = asyncio.run(_fill(path, 1_000_000 // part))
        command = [sys.executable, __file__, "--load", str(path)]
        child = subprocess.run(command, check=True, capture_output=True, text=True)
        loaded, loaded_s, resident, slice_ms = child.stdout.split()
        what = f"load of {int(loaded):,} ports of {length} bytes"
        report.add(Figure(what, "s", [float(loaded_s)]))
        report.add(Figure(f"{what}: resident", "MiB", [float(resident)]))
        report.add(Figure("a slice of 500 of a scan: p99", "ms", [float(slice_ms)]))
    report.close()


if __name__ == "__main__":
    main()
