# SPDX-License-Identifier: Apache-2.0
"""The demo played on a stage: everything is made through REST, then tried with packets."""

import asyncio
import time
from dataclasses import dataclass, field

from alcor.cli.demo.scene import GROUPS, NETWORKS, TALKS, Talk, VmPlan, expected_pings, listening_ports
from alcor.cli.demo.stage import Machine, Stage
from alcor.lab.rest import Body

ETHERTYPES = {"IPv4": "0.0.0.0/0", "IPv6": "::/0"}
CHANGE_S_MAX = 3.0  # how long a change may take until packets feel it
SILENCE_S = 1.0  # how long an answer is waited for before silence is believed


@dataclass(frozen=True)
class Actor:
    """A virtual machine on the stage."""

    plan: VmPlan
    port: Body
    machine: Machine
    active_ms: float | None  # from asking for the binding until GET says ACTIVE; None: it never did

    @property
    def ips(self) -> list[str]:
        """Its addresses, IPv4 first."""
        return sorted((fixed["ip_address"] for fixed in self.port["fixed_ips"]), key=lambda ip: ":" in ip)


@dataclass(frozen=True)
class Seen:
    """What was tried, and how it went."""

    is_expected: bool
    answers_ms: tuple[float | None, ...]  # one for each address tried

    @property
    def is_right(self) -> bool:
        """Whether all addresses answered, or none, just as expected."""
        return all((answer is not None) == self.is_expected for answer in self.answers_ms)


@dataclass
class Outcome:
    """All that the demo has seen."""

    actors: dict[str, Actor] = field(default_factory=dict)
    pings: dict[tuple[str, str], Seen] = field(default_factory=dict)
    talks: dict[Talk, Seen] = field(default_factory=dict)
    left_ms: float | None = None  # from leaving a group until its members' peer was silent
    back_ms: float | None = None  # from joining it again until it answered

    @property
    def tried(self) -> list[Seen]:
        """Everything that could be right or wrong; a port that never became ACTIVE is wrong."""
        ports = [Seen(True, (actor.active_ms,)) for actor in self.actors.values()]
        change = Seen(True, (self.left_ms, self.back_ms))
        return [*ports, *self.pings.values(), *self.talks.values(), change]


async def make_networks(stage: Stage) -> dict[str, str]:
    """Networks with their subnets: name -> id."""
    made = {}
    for plan in NETWORKS:
        network = await stage.rest.create("network", {"name": plan.name})
        for version, cidr, pool in zip((4, 6), plan.cidrs, plan.pools, strict=True):
            subnet = {
                "network_id": network["id"],
                "ip_version": version,
                "cidr": cidr,
                "allocation_pools": [pool],
            }
            await stage.rest.create("subnet", subnet)
        made[plan.name] = network["id"]
    return made


async def make_groups(stage: Stage) -> dict[str, str]:
    """Security groups with their rules, and the project's default group: name -> id."""
    made = {}
    for name in GROUPS:
        made[name] = (await stage.rest.create("security_group", {"name": name}))["id"]
    for name, rules in GROUPS.items():
        for rule in rules:
            for ethertype, everywhere in ETHERTYPES.items():
                fields = {
                    "security_group_id": made[name],
                    "direction": "ingress",
                    "ethertype": ethertype,
                    **rule,
                }
                if fields["protocol"] == "icmp" and ethertype == "IPv6":
                    fields["protocol"] = "ipv6-icmp"
                remote = fields.pop("remote", "")
                fields |= {"remote_group_id": made[remote]} if remote else {"remote_ip_prefix": everywhere}
                await stage.rest.create("security_group_rule", fields)
    (default,) = await stage.rest.find("security_group", name="default")
    return made | {"default": default["id"]}


async def enter(stage: Stage, plan: VmPlan, network_id: str, group_id: str) -> Actor:
    """A virtual machine: its port made, its interface plugged, then its port bound and waited for."""
    fields = {
        "name": plan.name,
        "network_id": network_id,
        "security_groups": [group_id],
        "device_owner": "compute:demo",
    }
    port = await stage.rest.create("port", fields)
    machine = await stage.boot(plan.host, plan.name, port)
    start = time.monotonic()
    await stage.rest.update("port", port["id"], {"binding:host_id": plan.host})
    is_active = await stage.rest.until_active(port["id"])
    active_ms = (time.monotonic() - start) * 1000
    return Actor(plan, port, machine, active_ms if is_active else None)


async def try_pings(actors: dict[str, Actor]) -> dict[tuple[str, str], Seen]:
    """Everybody pings everybody over IPv4 and IPv6, all at once."""
    expected = expected_pings()

    async def ping(pair: tuple[str, str]) -> Seen:
        source, target = actors[pair[0]].machine, actors[pair[1]]
        # One lost packet is no verdict where an answer must come; where none may come, one is enough.
        tries = 3 if expected[pair] else 1
        answers = [source.ping(ip, timeout_s=SILENCE_S, tries=tries) for ip in target.ips]
        return Seen(expected[pair], tuple(await asyncio.gather(*answers)))

    return dict(zip(expected, await asyncio.gather(*map(ping, expected)), strict=True))


async def try_talks(actors: dict[str, Actor]) -> dict[Talk, Seen]:
    """Every conversation over IPv4 and IPv6, all at once, with listeners wherever one is tried."""
    for name, ports in listening_ports().items():
        for port in ports:
            await actors[name].machine.listen(port)

    async def talk(plan: Talk) -> Seen:
        source, target = actors[plan.source].machine, actors[plan.target]
        speak = source.tcp if plan.protocol == "tcp" else source.udp
        answers = [speak(ip, plan.port, timeout_s=SILENCE_S) for ip in target.ips]
        return Seen(plan.is_expected, tuple(await asyncio.gather(*answers)))

    return dict(zip(TALKS, await asyncio.gather(*map(talk, TALKS)), strict=True))


async def try_leaving(
    stage: Stage, actors: dict[str, Actor], groups: dict[str, str]
) -> tuple[float | None, float | None]:
    """`web-1` leaves the group that `db` lets in, and joins it again: milliseconds until its pings felt each."""
    member, peer = actors["web-1"], actors["db"]

    async def felt_ms(group: str, is_reached: bool) -> float | None:
        start = time.monotonic()
        await stage.rest.update("port", member.port["id"], {"security_groups": [groups[group]]})
        while (now := time.monotonic()) < start + CHANGE_S_MAX:
            answer_ms = await member.machine.ping(peer.ips[0], timeout_s=0.1)
            if (answer_ms is not None) == is_reached:
                return ((now if answer_ms is None else time.monotonic()) - start) * 1000
        return None

    return await felt_ms("default", is_reached=False), await felt_ms("web", is_reached=True)
