# SPDX-License-Identifier: Apache-2.0
"""How long until a change of a security group has reached all its ports: `python bench/group_change.py`.

1,000 ports of one group on 10 emulated hosts, each with a gRPC session; a host derives its flows as the agent does, and
acknowledges, but has no switch. A round adds a rule to the group, takes it away, gives one port another group that a
rule of the first names, and takes that away; each ends when push has every host's acknowledgement. The control plane
runs as `alcor all` does, durable SQLite log and all, but in one process with the hosts, so that it can be counted what
each change made them do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from random import Random
from statistics import median

import uvloop
from filled import FIRST_TUNNEL_IP, Cloud, fill
from harness import Connection, Figure, Report, options, scratch

from alcor.agent.derive import Deriver
from alcor.agent.dial import dialler
from alcor.agent.emulator import EmulatedHost
from alcor.agent.rows import Changed
from alcor.agent.session import Backoff, HostIdentity
from alcor.agent.session import run as run_session
from alcor.base.address import Address
from alcor.base.config import Settings
from alcor.base.net import ip_of
from alcor.base.telemetry import configure_log
from alcor.cli.serve import Running, running
from alcor.dataplane.rows import HostFacts, Interface
from alcor.features.host import HOST
from alcor.features.port.model import Port
from alcor.lab.cloud import free_address

ROUND_S_MAX = 60.0
PAUSE_S = 0.1  # between two changes


class Host:
    """An emulated host that also derives its flows: every port's interface is plugged."""

    def __init__(self, name: str, tunnel_ip: str) -> None:
        self.name = name
        self._emulated = EmulatedHost(HostIdentity(name, tunnel_ip, version("alcor")), HOST)
        self.session = self._emulated.session
        self.deriver = Deriver(HOST, self.session.rows.scopes, HostFacts(name, tunnel_ip, 1))
        self.flows_changed = 0
        self._plugged: dict[str, int] = {}  # port: its number at the switch

    def changed(self, changed: Changed) -> None:
        """Derives what follows, and acknowledges."""
        places = [(scope, key) for scope, _, key in changed.rows]
        new = {key for scope, key in places if scope == f"host:{self.name}"} - self._plugged.keys()
        self._plugged |= {key: number for number, key in enumerate(sorted(new), len(self._plugged) + 10)}
        interfaces = [Interface(key, key, self._plugged[key]) for key in sorted(new)]
        change = self.deriver.apply(places, interfaces)
        self.flows_changed += len(change.adds) + len(change.deletes)
        self._emulated.changed(changed)


@dataclass(frozen=True)
class Done:
    """What one change took."""

    milliseconds: float
    objects: int  # whose rows the control plane derived
    rows: int  # whose flows the hosts derived, all together
    flows: int  # that the hosts would have changed at their switches, all together


class Watched:
    """The control plane, its hosts and what they have done so far."""

    def __init__(self, plane: Running, hosts: Sequence[Host], api: Connection) -> None:
        assert plane.push is not None
        self._plane, self._service, self._hosts, self._api = plane, plane.push.service, hosts, api

    def is_settled(self) -> bool:
        """Whether all hosts have received and acknowledged all that concerns them."""
        sessions = list(self._service.publisher.sessions())
        return len(sessions) == len(self._hosts) and all(
            one.is_whole and one.told == one.acked for one in sessions
        )

    async def ask(self, method: str, path: str, body: object = None) -> tuple[str, Done]:
        """The id of the object in the answer, and what its change took until every host had acknowledged it."""
        before, begun = self._counted(), time.perf_counter()
        revision = self._plane.store.tables.revision
        asked = asyncio.create_task(self._api.json(method, path, body))
        await until(lambda: self._plane.store.tables.revision > revision)
        revision = self._plane.store.tables.revision
        left = list(self._service.publisher.sessions())

        def is_acked() -> bool:
            while left and left[-1].acked and left[-1].acked.revision >= revision:
                left.pop()
            return not left

        await until(is_acked)
        took_ms = (time.perf_counter() - begun) * 1000
        answer = await asked
        counts = [now - then for now, then in zip(self._counted(), before, strict=True)]
        await asyncio.sleep(PAUSE_S)
        return next(iter(answer.values()))["id"] if answer else "", Done(took_ms, *counts)

    def _counted(self) -> tuple[int, int, int]:
        return (
            self._service.publisher.goal.compiler.derived,
            sum(host.deriver.derived for host in self._hosts),
            sum(host.flows_changed for host in self._hosts),
        )


async def until(is_so: Callable[[], bool], wait_s: float = ROUND_S_MAX) -> None:
    """Looks every millisecond; raises TimeoutError."""
    async with asyncio.timeout(wait_s):
        while not is_so():  # noqa: ASYNC110  # push has no event for this
            await asyncio.sleep(0.001)


@asynccontextmanager
async def connected(settings: Settings, cloud: Cloud) -> AsyncIterator[list[Host]]:
    """The hosts of the cloud, each with a session."""
    hosts = [
        Host(cloud.host(number), ip_of(FIRST_TUNNEL_IP + number + 1, 4)) for number in range(cloud.hosts)
    ]
    connect, backoff = dialler(settings), Backoff(100, 1_000, Random(1))
    tasks = [asyncio.create_task(run_session(host.session, connect, host.changed, backoff)) for host in hosts]
    try:
        yield hosts
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def one_round(watched: Watched, group: str, other: str, port: str) -> dict[str, Done]:
    """Each change once, back to what was before."""
    rule = {"security_group_id": group, "direction": "ingress", "protocol": "tcp", "port_range_min": 80}
    added, rule_added = await watched.ask(
        "POST", "security-group-rules", {"security_group_rule": rule | {"port_range_max": 80}}
    )
    _, rule_removed = await watched.ask("DELETE", f"security-group-rules/{added}")
    more = {"port": {"security_groups": [group, other]}}
    _, member_added = await watched.ask("PUT", f"ports/{port}", more)
    _, member_removed = await watched.ask("PUT", f"ports/{port}", {"port": {"security_groups": [group]}})
    return {
        "rule added": rule_added,
        "rule removed": rule_removed,
        "member added": member_added,
        "member removed": member_removed,
    }


async def measured(report: Report, folder: Path, cloud: Cloud, first: Port) -> None:
    """Waits until all hosts have all that they need, then changes the group."""
    listen, push = Address(free_address("127.0.0.1:0")), Address(f"unix:{folder}/push.sock")
    settings = Settings(state=folder, listen=listen, push_listen=push, push=push, quota_port=-1)
    async with running(settings, api=True, push=True) as plane, connected(settings, cloud) as hosts:
        assert plane.server is not None
        api = await Connection.open(plane.server.port)
        watched = Watched(plane, hosts, api)
        await until(watched.is_settled)
        made = await api.json("POST", "security-groups", {"security_group": {"name": "other"}})
        group, other = first.security_groups[0], made["security_group"]["id"]
        named = {"security_group_id": group, "direction": "ingress", "remote_group_id": other}
        await watched.ask("POST", "security-group-rules", {"security_group_rule": named})
        await one_round(watched, group, other, first.id)
        count = report.options.rounds or (3 if report.options.small else 20)
        rounds = [await one_round(watched, group, other, first.id) for _ in range(count)]
        api.close()
    for what in rounds[0]:
        done = [each[what] for each in rounds]
        said = (
            f"rows of {median(each.objects for each in done):.0f} objects derived;"
            f" the hosts derived {median(each.rows for each in done):.0f} rows to"
            f" {median(each.flows for each in done):.0f} changed flows"
        )
        name = f"{what}, {cloud.ports:,} ports on {cloud.hosts} hosts: all acked"
        report.add(Figure(name, "ms", [each.milliseconds for each in done], 200, note=said))


def main() -> None:
    """Prints the machine, the commit and the figures, and those of a tenth of the ports to compare what is counted."""
    asked = options(__doc__)
    configure_log("error", "text")
    report = Report(asked)
    for ports in (100, 1_000):
        cloud = Cloud(ports=ports, networks=1, hosts=10, hosts_of_network=10)
        with scratch(asked) as folder:
            first = fill(folder, cloud)
            uvloop.run(measured(report, folder, cloud, first[0]))
    report.close()


if __name__ == "__main__":
    main()
