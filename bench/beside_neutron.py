# SPDX-License-Identifier: Apache-2.0
"""What Alcor does in a second beside Neutron itself, by the same requests: `python bench/beside_neutron.py`.

Alcor (`alcor all`, durable SQLite, auth `none`) is started here; a Neutron with `auth_strategy = noauth` runs already:
`--neutron http://127.0.0.1:9696 --neutron-pids API,RPC --paused DATABASE,BUS`. Each phase runs against Alcor, Neutron
and Alcor again, and each has the machine to itself: whoever is not asked is stopped (SIGSTOP) meanwhile, Neutron with
what is `--paused`. CPU is that of the servers' processes and their children: Alcor's log is in it, Neutron's database
and message bus are not. Without `--neutron` nothing is compared, and no ratio is said.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path
from signal import SIGCONT, SIGSTOP, Signals
from urllib.parse import urlsplit

import uvloop
from harness import Connection, Figure, Report, control_plane, cpu_s, options, request, scratch

PROJECT = "11111111111111111111111111111111"
CALLER = f"X-Project-Id: {PROJECT}\r\nX-User-Id: bench\r\nX-Roles: admin,member,reader\r\n".encode()
CLIENTS = 8
BULK = 100
LISTED = 1_000
CREATED_LEAST = 300.0  # times Neutron, by rate and by CPU
OTHER_LEAST = 50.0
ALCOR_S = 1.0  # of each of the rounds of a phase
NEUTRON_S = 8.0
NOUNS = ("network", "subnet", "port", "security_group", "security_group_rule")
FLAGS = tuple(  # quotas that are checked, and never reached
    f"--quota-{noun.replace('_', '-')}=100000000" for noun in NOUNS
)


@dataclass
class Side:
    """One of the two servers, and what it was made to hold."""

    host: str
    port: int
    pids: list[int]
    seconds: float  # of a round, if it has enough to do
    others: tuple[int, ...] = ()  # processes that work for it, and are not counted
    ids: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    numbers: Iterator[int] = field(default_factory=count)
    bulks: Iterator[int] = field(default_factory=count)

    def network(self, name: str) -> str:
        """The network with that purpose."""
        return self.ids[name][0]


Asked = Callable[[Side], Iterator[bytes]]


@dataclass(frozen=True)
class Phase:
    """What is asked, by how many clients, how often at least, and how many times Neutron it should be."""

    name: str
    asked: Asked
    clients: int = 1
    makes: str = ""  # the noun whose ids are kept
    times: int = 1
    least: float = OTHER_LEAST


@dataclass
class Done:
    """What rounds of a phase took."""

    count: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.count / self.wall_s

    @property
    def cpu_ms(self) -> float:
        """Of one request."""
        return max(self.cpu_s, 0.01) * 1000 / self.count  # the kernel counts in hundredths of a second


def signed(method: str, path: str, body: object = None) -> bytes:
    """A request of an admin, as both servers take it without Keystone."""
    head, _, text = request(method, path, body).partition(b"\r\n\r\n")
    return head + b"\r\n" + CALLER + b"\r\n" + text


def post(noun: str, **fields: object) -> bytes:
    """Makes one."""
    path = f"{noun.replace('_', '-')}s"
    return signed("POST", path, {noun: {"project_id": PROJECT, **fields}})


def networks(side: Side) -> Iterator[bytes]:
    """New networks."""
    return (post("network", name=f"n{number}") for number in side.numbers)


def subnets(side: Side) -> Iterator[bytes]:
    """New subnets, in turn on all networks."""
    for number, network in zip(side.numbers, cycle(list(side.ids["network"])), strict=False):
        cidr = f"10.{number // 256 % 256}.{number % 256}.0/24"
        yield post("subnet", network_id=network, ip_version=4, cidr=cidr)


def vm(network: str, number: int) -> dict[str, object]:
    """A port of a machine, as Nova asks for it."""
    return {
        "project_id": PROJECT,
        "network_id": network,
        "name": f"p{number}",
        "device_id": f"vm-{number}",
        "device_owner": "compute:nova",
    }


def ports(side: Side) -> Iterator[bytes]:
    """New ports on one network."""
    return (post("port", **vm(side.network("single"), number)) for number in side.numbers)


def bulks(side: Side) -> Iterator[bytes]:
    """Ports in bulk: the first go to the network that is listed later."""
    for number in side.bulks:
        network = side.network("listed" if number < LISTED // BULK else "bulk")
        made = [vm(network, number * BULK + each) for each in range(BULK)]
        yield signed("POST", "ports", {"ports": made})


def groups(side: Side) -> Iterator[bytes]:
    """New security groups."""
    return (post("security_group", name=f"g{number}") for number in side.numbers)


def rules(side: Side) -> Iterator[bytes]:
    """New rules, in turn in all groups."""
    for number, group in zip(side.numbers, cycle(list(side.ids["security_group"])), strict=False):
        port = 1 + number % 65_535
        sort = {"direction": "ingress", "ethertype": "IPv4", "protocol": "tcp"}
        yield post(
            "security_group_rule", security_group_id=group, port_range_min=port, port_range_max=port, **sort
        )


def listed(query: str = "") -> Asked:
    """The ports of the network of 1,000."""
    return lambda side: cycle([signed("GET", f"ports?network_id={side.network('listed')}{query}")])


def by_device(side: Side) -> Iterator[bytes]:
    """The ports of one machine each."""
    return (signed("GET", f"ports?device_id=vm-{number % LISTED}") for number in count())


def shown(side: Side) -> Iterator[bytes]:
    """One port each."""
    return (signed("GET", f"ports/{each}") for each in cycle(list(side.ids["port"])))


def updated(side: Side) -> Iterator[bytes]:
    """A new name and description each."""
    for number, each in zip(side.numbers, cycle(list(side.ids["port"])), strict=False):
        yield signed("PUT", f"ports/{each}", {"port": {"name": f"u{number}", "description": f"u{number}"}})


def deleted(noun: str) -> Asked:
    """At most half of what is there, so that the next phase has some, too."""

    def asked(side: Side) -> Iterator[bytes]:
        for _ in range((len(side.ids[noun]) + 1) // 2):
            yield signed("DELETE", f"{noun.replace('_', '-')}s/{side.ids[noun].pop()}")

    return asked


def both(name: str, asked: Asked, makes: str = "", least: float = OTHER_LEAST) -> list[Phase]:
    """The phase with one client and with several."""
    return [
        Phase(name, asked, 1, makes, least=least),
        Phase(f"{name}, {CLIENTS} clients", asked, CLIENTS, makes, least=least),
    ]


PHASES = (
    *both("create network", networks, "network", CREATED_LEAST),
    *both("create subnet", subnets, "subnet", CREATED_LEAST),
    *both("create port", ports, "port", CREATED_LEAST),
    Phase(f"create {BULK} ports in bulk", bulks, times=LISTED // BULK, least=CREATED_LEAST),
    *both(f"list {LISTED:,} ports", listed()),
    Phase("list a page of 100", listed("&limit=100&sort_key=id&sort_dir=asc")),
    Phase("list by device_id", by_device),
    *both("show port", shown),
    *both("update port", updated),
    *both("create security group", groups, "security_group", CREATED_LEAST),
    *both("create rule", rules, "security_group_rule", CREATED_LEAST),
    *both("delete rule", deleted("security_group_rule")),
    *both("delete security group", deleted("security_group")),
    *both("delete port", deleted("port")),
    *both("delete subnet", deleted("subnet")),
    *both("delete network", deleted("network")),
)


class Client:
    """Asks one request after the other; a server that closes its connections gets a new one for each."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._connection: Connection | None = None

    async def ask(self, asked: bytes) -> bytes:
        """The body of the answer. Raises RuntimeError for a refusal."""
        if self._connection is None:
            self._connection = await Connection.open(self._side.port, self._side.host)
        answer = await self._connection.ask(asked)
        if not self._connection.is_kept:
            self.close()
        return answer

    def close(self) -> None:
        """Closes what is open."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def family(pids: list[int]) -> set[int]:
    """These processes and all below them."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
        children[parent].append(int(stat.parent.name))
    found, more = set[int](), set(pids)
    while more:
        found |= more
        more = {child for pid in more for child in children[pid]} - found
    return found


def used_s(pids: list[int]) -> float:
    """Processor seconds of these processes and of all below them."""
    return sum(map(cpu_s, family(pids)))


@contextmanager
def stopped(sides: list[Side]) -> Iterator[None]:
    """Nothing of these runs meanwhile."""
    pids = {pid for side in sides for pid in family([*side.pids, *side.others])}
    try:
        signal(pids, SIGSTOP)
        yield
    finally:
        signal(pids, SIGCONT)


def signal(pids: set[int], number: Signals) -> None:
    """Sends a signal to those that there are still."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


async def run(phase: Phase, side: Side, done: Done) -> None:
    """One round, added to what is done."""
    answers: list[bytes] = []
    asked, begun = phase.asked(side), time.perf_counter()
    begun_cpu_s = used_s(side.pids)

    async def client() -> None:
        mine = Client(side)
        while time.perf_counter() - begun < side.seconds or len(answers) < phase.times:
            each = next(asked, None)
            if each is None:
                break
            answers.append(await mine.ask(each))
        mine.close()

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(phase.clients)))
    done.wall_s += time.perf_counter() - begun
    done.cpu_s += used_s(side.pids) - begun_cpu_s
    done.count += len(answers)
    if phase.makes:
        side.ids[phase.makes] += [json.loads(answer)[phase.makes]["id"] for answer in answers]


async def prepare(side: Side) -> None:
    """The networks that have a purpose, with a subnet each."""
    client = Client(side)
    for number, purpose in enumerate(("single", "listed", "bulk")):
        network = json.loads(await client.ask(post("network", name=purpose)))["network"]["id"]
        await client.ask(post("subnet", network_id=network, ip_version=4, cidr=f"10.{number}.0.0/16"))
        side.ids[purpose] = [network]
    client.close()


def say(report: Report, phase: Phase, alcor: Done, neutron: Done | None) -> None:
    """The figures of a phase."""
    if neutron is None:
        report.add(Figure(phase.name, "/s", [alcor.rate], note=f"CPU {alcor.cpu_ms:.2f} ms each"))
        return
    rates = f"{alcor.rate:,.1f}/s beside {neutron.rate:,.1f}/s ({neutron.count} requests)"
    cpu = f"{alcor.cpu_ms:.2f} ms beside {neutron.cpu_ms:,.1f} ms each"
    report.add(Figure(f"{phase.name}, by rate", "x", [alcor.rate / neutron.rate], phase.least, note=rates))
    report.add(Figure(f"{phase.name}, by CPU", "x", [neutron.cpu_ms / alcor.cpu_ms], phase.least, note=cpu))


async def measured(report: Report, alcor: Side, neutron: Side | None) -> None:
    """Every phase, in turns."""
    turns = [alcor] if neutron is None else [alcor, neutron, alcor]
    for side in filter(None, (alcor, neutron)):
        await prepare(side)
    for phase in PHASES:
        done = {id(side): Done() for side in turns}
        for side in turns:
            with stopped([other for other in turns if other is not side]):
                await run(phase, side, done[id(side)])
        say(report, phase, done[id(alcor)], done[id(neutron)] if neutron else None)


def peer(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark alone."""
    parser.add_argument(
        "--neutron", metavar="URL", type=urlsplit, help="where Neutron answers, on this machine"
    )
    parser.add_argument(
        "--neutron-pids",
        metavar="PID,PID",
        type=lambda text: [int(pid) for pid in text.split(",")],
        help="its API's and its RPC server's processes",
    )
    parser.add_argument(
        "--paused",
        metavar="PID,PID",
        type=lambda text: tuple(int(pid) for pid in text.split(",")),
        default=(),
        help="processes that work for Neutron: its database and its message bus",
    )
    parser.add_argument("--neutron-s", type=float, default=NEUTRON_S, help="seconds of a phase (8)")


def main() -> None:
    """Prints the machine, the commit and the figures."""
    asked = options(__doc__, peer)
    if (asked.neutron is None) != (asked.neutron_pids is None):
        raise SystemExit("--neutron and --neutron-pids belong together.")
    report = Report(asked)
    neutron = None
    if asked.neutron is None:
        if not asked.json:
            print("No --neutron was given: these are Alcor's figures alone, and no ratios.", flush=True)
    else:
        neutron = Side(
            asked.neutron.hostname, asked.neutron.port, asked.neutron_pids, asked.neutron_s, asked.paused
        )
    with scratch(asked) as folder, control_plane(folder, "all", FLAGS) as plane:
        alcor = Side("127.0.0.1", plane.port, [plane.child.pid], 0.1 if asked.small else ALCOR_S)
        uvloop.run(measured(report, alcor, neutron))
    report.close()


if __name__ == "__main__":
    main()
