# SPDX-License-Identifier: Apache-2.0
"""What the REST API does in a second, over HTTP, on a durable SQLite log: `python bench/api.py`.

The control plane (`alcor all`, or with `--role=api` the API alone) runs in a process of its own; the load comes from
this one over plain sockets. All checks are on: default group, quota, addresses from a /12. `CPU` is what the control
plane used for each object.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import repeat
from statistics import median

import uvloop
from harness import ROUNDS, Connection, Figure, Plane, Report, control_plane, load, options, request, scratch

CONNECTIONS = 64
BULK = 200
LISTED = 1_000
FLAGS = ("--quota-port=100000000",)  # a quota that is checked, and never reached


@dataclass(frozen=True)
class Load:
    """One line: what is asked, how often in a round, over how many connections; and objects in an answer."""

    name: str
    asked: bytes
    count: int
    connections: int
    objects: int = 1
    least: float | None = None
    aim: float | None = None


async def measured(plane: Plane, report: Report, wanted: Load) -> None:
    """Some rounds of a load."""
    await load(plane, repeat(wanted.asked), max(wanted.count // 10, wanted.connections), wanted.connections)
    rounds = [
        await load(plane, repeat(wanted.asked), wanted.count, wanted.connections)
        for _ in range(report.options.rounds or ROUNDS)
    ]
    seconds = [second for each in rounds for second in each.seconds]
    cpu_us = median(each.cpu_s / each.count / wanted.objects * 1e6 for each in rounds)
    p99_ms = median(each.p99_ms for each in rounds)
    said = f"a request {median(seconds) * 1000:.1f} ms, p99 {p99_ms:.1f} ms; CPU {cpu_us:,.0f} us"
    rates = [each.rate * wanted.objects for each in rounds]
    report.add(Figure(wanted.name, "/s", rates, wanted.least, wanted.aim, said))


async def given(plane: Plane) -> dict[str, object]:
    """What a new port says of itself, on a network with a million addresses."""
    api = await Connection.open(plane.port)
    network = (await api.json("POST", "networks", {"network": {"name": "bench"}}))["network"]["id"]
    subnet = {"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/12"}
    await api.json("POST", "subnets", {"subnet": subnet})
    api.close()
    return {"network_id": network, "name": "p", "device_id": "vm", "device_owner": "compute:nova"}


async def all_measured(plane: Plane, report: Report, count: int) -> None:
    """Every benchmark against a running control plane."""
    port = await given(plane)
    single = request("POST", "ports", {"port": port})
    bulk = request("POST", "ports", {"ports": [port] * BULK})
    await measured(
        plane,
        report,
        Load(f"POST port, {CONNECTIONS} connections", single, count, CONNECTIONS, 1, 2_500, 4_000),
    )
    await measured(plane, report, Load("POST port, 1 connection", single, count // 20, 1))
    for connections in (1, 2, 4):
        name = f"POST {BULK} ports in bulk, {connections} connections, ports"
        many = max(count // BULK, 5)
        await measured(plane, report, Load(name, bulk, many, connections, BULK, 10_000, 15_000))
    lists = max(count // 50, 20)
    listed = request("GET", f"ports?limit={LISTED}")
    await measured(
        plane, report, Load(f"GET list of {LISTED:,} ports, 2 connections", listed, lists, 2, 1, 100, 300)
    )
    ordered = request("GET", f"ports?limit={LISTED}&sort_key=name&sort_dir=asc")
    await measured(
        plane, report, Load(f"GET {LISTED:,} of all, sorted by name", ordered, max(lists // 10, 4), 2)
    )
    api = await Connection.open(plane.port)
    port_id = (await api.json("GET", "ports?limit=1"))["ports"][0]["id"]
    api.close()
    show = request("GET", f"ports/{port_id}")
    await measured(plane, report, Load(f"GET one port, {CONNECTIONS} connections", show, count, CONNECTIONS))


def role(parser: argparse.ArgumentParser) -> None:
    """The option of this benchmark alone."""
    parser.add_argument("--role", choices=("all", "api"), default="all", help="with push, or without")


def main() -> None:
    """Prints the machine, the commit and the figures."""
    asked = options(__doc__, role)
    report = Report(asked)
    with scratch(asked) as folder, control_plane(folder, asked.role, FLAGS) as plane:
        uvloop.run(all_measured(plane, report, 500 if asked.small else 10_000))
    report.close()


if __name__ == "__main__":
    main()
