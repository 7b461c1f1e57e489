# SPDX-License-Identifier: Apache-2.0
"""What is left of POST port while much else goes on: `python bench/api_under_load.py`.

The log holds 1,000,000 ports bound over 1,000 hosts (bench/filled.py: networks of 1,000 ports, each on 4 hosts); these
hosts are connected, emulated by one more process (`alcor emulate`), and have all that they need; one client lists all
ports by an attribute without index, again and again. Then ports are created over 64 connections: first as in
bench/api.py, then each bound to one of the hosts, in one of 200 networks, so that each is also sent to hosts.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from statistics import median

import uvloop
from api import CONNECTIONS, given
from filled import Cloud, emulated, fill
from harness import (
    ROUNDS,
    Connection,
    Figure,
    Plane,
    Report,
    control_plane,
    cpu_s,
    load,
    memory_mib,
    options,
    request,
    scratch,
)

from alcor.features.port.model import Port
from alcor.lab.process import Child

SETTLE_S_MAX = 400.0
FLAGS = ("--quota-port=100000000",)
UNINDEXED = request("GET", "ports?description=nobody&fields=id")


async def settled(plane: Plane, hosts: Child, count: int) -> float:
    """Waits until all hosts are connected and nobody has anything left to do; seconds that took."""
    begun = time.perf_counter()
    api = await Connection.open(plane.port)
    quiet = 0
    while quiet < 3:
        if time.perf_counter() - begun > SETTLE_S_MAX:
            raise RuntimeError(f"the hosts are not served within {SETTLE_S_MAX:.0f} s:\n{hosts.last_words()}")
        used = cpu_s(plane.child.pid) + cpu_s(hosts.pid)
        await asyncio.sleep(1)
        is_idle = cpu_s(plane.child.pid) + cpu_s(hosts.pid) - used < 0.2
        shown = await api.ask(request("GET", "metrics", root=True))
        is_connected = re.search(rb"^alcor_hosts_connected (\S+)", shown, re.MULTILINE)
        quiet = quiet + 1 if is_idle and is_connected and float(is_connected[1]) >= count else 0
    api.close()
    return time.perf_counter() - begun


@asynccontextmanager
async def listing(plane: Plane, took_s: list[float]) -> AsyncIterator[None]:
    """One unindexed list of all ports after the other, for as long as it is entered."""
    api = await Connection.open(plane.port)

    async def lists() -> None:
        while True:
            begun = time.perf_counter()
            await api.ask(UNINDEXED)
            took_s.append(time.perf_counter() - begun)

    task = asyncio.create_task(lists())
    try:
        yield
        if not took_s:  # the first one is under way
            await asyncio.wait((task,), timeout=0)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        api.close()


async def measured(plane: Plane, report: Report, name: str, asked: Sequence[bytes]) -> None:
    """Rounds of POST, without and with the list."""
    small = report.options.small
    count, rounds = (1_000 if small else 10_000), report.options.rounds or (2 if small else ROUNDS)
    await load(plane, cycle(asked), count // 4, CONNECTIONS)
    for is_listing in (False, True):
        took_s: list[float] = []
        done = []
        for _ in range(rounds):
            if is_listing:
                async with listing(plane, took_s):
                    done.append(await load(plane, cycle(asked), count, CONNECTIONS))
            else:
                done.append(await load(plane, cycle(asked), count, CONNECTIONS))
        is_main = is_listing and "bound" not in name
        said = f"CPU {median(each.cpu_s / each.count for each in done) * 1e6:,.0f} us"
        if is_listing:
            said += f"; meanwhile {len(took_s)} whole lists, {median(took_s or [0]):.1f} s each"
        what = f"{name}, {'agents and list' if is_listing else 'agents'}"
        rates = [each.rate for each in done]
        report.add(Figure(what, "/s", rates, *((1_500, 3_000) if is_main else ()), note=said))
        p99 = [each.p99_ms for each in done]
        report.add(Figure(f"{what}: p99", "ms", p99, 100 if is_main else None))


async def all_measured(plane: Plane, hosts: Child, report: Report, cloud: Cloud, first: list[Port]) -> None:
    """Waits for the hosts, then measures."""
    took_s = await settled(plane, hosts, cloud.hosts)
    memory = f"then the control plane holds {memory_mib(plane.child.pid) / 1024:.2f} GiB"
    report.add(Figure(f"{cloud.hosts:,} hosts connected, served and idle", "s", [took_s], note=memory))
    single = request("POST", "ports", {"port": await given(plane)})
    await measured(plane, report, "POST port", [single])
    bound = [
        request(
            "POST",
            "ports",
            {"port": {"network_id": port.network_id, "name": "p", "binding:host_id": port.host}},
        )
        for port in first[:200]
    ]
    await measured(plane, report, "POST bound port", bound)


def main() -> None:
    """Prints the machine, the commit and the figures."""
    asked = options(__doc__)
    report = Report(asked)
    part = 50 if asked.small else 1
    cloud = Cloud(1_000_000 // part, 1_000 // part, 1_000 // part, hosts_of_network=4)
    with scratch(asked) as folder:
        first = fill(folder, cloud)
        with control_plane(folder, "all", FLAGS) as plane, emulated(folder, plane.push, cloud) as hosts:
            uvloop.run(all_measured(plane, hosts, report, cloud, first))
    report.close()


if __name__ == "__main__":
    main()
