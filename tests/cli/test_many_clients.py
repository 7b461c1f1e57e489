# SPDX-License-Identifier: Apache-2.0
"""64 clients change the same few objects through two processes over one log: what is left, and whether nothing leaks.

A minute; MANY_CLIENTS_S in the environment says how many seconds else.
"""

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import httpx

from alcor.base.clock import SystemClock
from alcor.base.config import Settings
from alcor.base.telemetry import Meters
from alcor.features.control import SCHEMA
from alcor.lab.cloud import ALCOR, free_address
from alcor.lab.process import Child, stop_all
from alcor.store.declare import Change
from alcor.store.log.contract import Reset
from alcor.store.log.sqlite import SqliteLog
from alcor.store.store import Outside, Store
from alcor.store.tables import START, Tables
from alcor.store.turn import apply_turn

CLIENTS = 64
SECONDS = float(os.environ.get("MANY_CLIENTS_S", "60"))
NETWORKS_MAX = 20  # and one more for each client that makes one at the same time
VNIS, ADDRESSES = 100, 13  # of vni_ranges; of a /28, without network, broadcast and gateway
PROJECTS = ("red", "green", "blue")
FEW, FEW_MAX = "few", 5  # a project, and its quota of ports
SUBNETS = ("10.0.0.0/28", "10.0.0.16/28", "10.0.0.0/27")  # the last is too much beside the others
NOUNS = ("networks", "subnets", "ports", "security-groups", "security-group-rules")
ALLOWED = (200, 201, 204, 400, 404, 409)
FLAGS = (
    f"--vni-ranges=1:{VNIS}",
    "--quota-network=1000",
    "--quota-security-group=1000",
    "--quota-security-group-rule=10000",
)

Body = dict[str, Any]
Step = Callable[["Client"], Awaitable[None]]


class Plane:
    """The processes over one log, and how to ask them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[str, Child] = {}
        self.apis: dict[str, httpx.AsyncClient] = {}

    async def start(self, name: str, *words: str) -> httpx.AsyncClient:
        """A process with an API that answers."""
        where = free_address("127.0.0.1:0")
        state = ("--state", str(self.folder / "state"), "--listen", where, *FLAGS)
        self.running[name] = Child((*ALCOR, *words, *state), self.folder / f"{name}.log", {})
        limits = httpx.Limits(max_connections=CLIENTS)
        api = self.apis[name] = httpx.AsyncClient(
            base_url=f"http://{where}/v2.0", timeout=60, limits=limits, trust_env=False
        )
        async with asyncio.timeout(30):
            while not await self._answers(name):
                await asyncio.sleep(0.05)
        return api

    async def start_hosts(self, push: str) -> None:
        """Two emulated hosts, known by now."""
        words = ("emulate", "--hosts", "2", "--prefix", "h", "--push", push)
        self.running["hosts"] = Child((*ALCOR, *words), self.folder / "hosts.log", {})
        async with asyncio.timeout(30):
            while len(await listed(self.apis["all"], "agents")) < 2:
                await asyncio.sleep(0.05)

    async def stop(self, *names: str) -> None:
        """Ends these processes."""
        stop_all([self.running.pop(name) for name in names], signal.SIGTERM)
        for name in set(names) & self.apis.keys():
            await self.apis.pop(name).aclose()

    async def _answers(self, name: str) -> bool:
        assert self.running[name].is_running, self.running[name].last_words()
        try:
            return (await self.apis[name].get("/extensions")).is_success
        except httpx.TransportError:
            return False


@asynccontextmanager
async def plane(folder: Path) -> AsyncIterator[Plane]:
    made, push = Plane(folder), f"unix:{folder}/push.sock"
    try:
        await made.start("all", "all", "--push-listen", push)
        await made.start("api", "api")
        await made.start_hosts(push)
        yield made
    finally:
        await made.stop(*made.running)


class Crowd:
    """What all clients know and saw."""

    def __init__(self) -> None:
        self.known: dict[str, list[str]] = {noun: [] for noun in NOUNS}
        self.answers: Counter[int] = Counter()
        self.faults: list[str] = []
        self.projects = {*PROJECTS, FEW}


class Client:
    """One of them: changes whatever it comes upon."""

    def __init__(self, crowd: Crowd, api: httpx.AsyncClient, number: int) -> None:
        self.crowd, self.api, self.chance = crowd, api, Random(number)

    async def run(self, until_s: float) -> None:
        """Acts until then."""
        while time.monotonic() < until_s:
            await self.chance.choice(STEPS)(self)

    def any(self, noun: str) -> str:
        """The id of an object that somebody made, or one that nobody made."""
        return self.chance.choice(self.crowd.known[noun] or ["00000000-0000-0000-0000-00000000dead"])

    async def ask(self, method: str, path: str, body: Body | None = None, project: str = "") -> Body:
        """What is answered; a refusal is nothing."""
        answer = await self.send(method, path, body, project)
        return answer.json() if answer is not None and answer.is_success and answer.content else {}

    async def send(
        self, method: str, path: str, body: Body | None = None, project: str = ""
    ) -> httpx.Response | None:
        """The answer; none, or one that is not usual, is a fault."""
        headers = {"X-Project-Id": project or self.chance.choice(PROJECTS), "X-Roles": "admin,member"}
        try:
            answer = await self.api.request(method, path, json=body, headers=headers)
        except httpx.TransportError as wrong:
            self.crowd.faults.append(f"{method} {path}: {wrong!r}")
            return None
        self.crowd.answers[answer.status_code] += 1
        if answer.status_code not in ALLOWED:
            self.crowd.faults.append(f"{method} {path} {body}: {answer.status_code} {answer.text}")
        return answer

    async def make(self, noun: str, many: bool = False, project: str = "", **fields: Any) -> None:
        """POST of one object, or of three alike."""
        one = noun[:-1].replace("-", "_")
        body = {f"{one}s": [fields] * 3} if many else {one: fields}
        answer = await self.ask("POST", f"/{noun}", body, project)
        made = answer.get(f"{one}s", [answer[one]] if one in answer else [])
        self.crowd.known[noun] += [each["id"] for each in made]

    async def change(self, noun: str, **fields: Any) -> None:
        """PUT of some object."""
        await self.ask("PUT", f"/{noun}/{self.any(noun)}", {noun[:-1].replace("-", "_"): fields})

    async def drop(self, noun: str) -> None:
        """DELETE of some object; two clients may do so at once."""
        chosen = self.any(noun)
        answer = await self.send("DELETE", f"/{noun}/{chosen}")
        is_gone = answer is not None and answer.status_code in (204, 404)
        if is_gone and chosen in self.crowd.known[noun] and self.chance.random() < 0.7:
            self.crowd.known[noun].remove(chosen)


async def change_networks(client: Client) -> None:
    if len(client.crowd.known["networks"]) < NETWORKS_MAX:
        await client.make("networks", name="n", shared=client.chance.random() < 0.3)
    await client.change(
        "networks", name=f"n{client.chance.random()}", mtu=client.chance.randint(1_300, 1_400)
    )
    if client.chance.random() < 0.5:
        await client.drop("networks")


async def change_subnets(client: Client) -> None:
    cidr = client.chance.choice(SUBNETS)
    await client.make("subnets", network_id=client.any("networks"), ip_version=4, cidr=cidr)
    await client.change("subnets", enable_dhcp=client.chance.random() < 0.5)
    if client.chance.random() < 0.2:
        await client.drop("subnets")


async def change_ports(client: Client) -> None:
    network, address = client.any("networks"), f"10.0.0.{client.chance.randint(2, 15)}"
    many, project = client.chance.random() < 0.3, client.chance.choice((*PROJECTS, FEW))
    await client.make("ports", many, project, network_id=network, **{"binding:host_id": "h1"})
    await client.make("ports", network_id=network, fixed_ips=[{"ip_address": address}])
    await client.change("ports", fixed_ips=[{"ip_address": address}])
    await client.change("ports", **{"binding:host_id": client.chance.choice(("h1", "h2", ""))})
    await client.change("ports", security_groups=[client.any("security-groups")])
    await client.drop("ports")
    await client.drop("ports")


async def change_groups(client: Client) -> None:
    await client.make("security-groups", name="g")
    group = client.any("security-groups")
    rule = {"direction": "ingress", "protocol": "tcp", "port_range_min": client.chance.randint(1, 3)}
    await client.make("security-group-rules", security_group_id=group, **rule, port_range_max=9)
    await client.make(
        "security-group-rules", security_group_id=group, remote_group_id=group, direction="egress"
    )
    await client.change("security-groups", name="g2")
    await client.drop("security-group-rules")
    if client.chance.random() < 0.5:
        await client.drop("security-groups")


async def change_tags(client: Client) -> None:
    noun = client.chance.choice(NOUNS)
    place, tag = f"/{noun}/{client.any(noun)}/tags", f"t{client.chance.randint(1, 3)}"
    await client.ask("PUT", place, {"tags": [tag, "more"]})
    await client.ask("PUT", f"{place}/{tag}")
    await client.ask("DELETE", f"{place}/{tag}")


async def arrive(client: Client) -> None:
    """A project is new to all clients that come at the same time."""
    project = f"new{int(time.monotonic() * 2)}"
    client.crowd.projects.add(project)
    await client.ask("GET", f"/security-groups?project_id={project}", project=project)
    await client.make("security-groups", project=project, name="g")


async def look(client: Client) -> None:
    """What is answered is whole: no address and no MAC of a network twice."""
    ports = (await client.ask("GET", "/ports")).get("ports", [])
    client.crowd.faults += doubles_of(ports)


STEPS: tuple[Step, ...] = (
    change_networks,
    change_subnets,
    *(change_ports,) * 3,
    change_groups,
    change_tags,
    arrive,
    look,
)


async def listed(api: httpx.AsyncClient, noun: str, **filters: str) -> list[Body]:
    headers = {"X-Project-Id": "nobody", "X-Roles": "admin"}
    answer = (await api.get(f"/{noun}", params=filters, headers=headers)).raise_for_status()
    return sorted(answer.json()[noun.replace("-", "_")], key=lambda each: str(each.get("id")))


async def everything(api: httpx.AsyncClient) -> dict[str, list[Body]]:
    """All objects, and lists of ports by what indexes answer."""
    found = {noun: await listed(api, noun) for noun in NOUNS}
    for key, attribute in (
        ("network_id", "network_id"),
        ("mac_address", "mac_address"),
        ("binding:host_id", "binding:host_id"),
        ("project_id", "project_id"),
    ):
        for value in {port[attribute] for port in found["ports"]}:
            found[f"{key}={value}"] = await listed(api, "ports", **{key: value})
            wanted = [port for port in found["ports"] if port[attribute] == value]
            assert found[f"{key}={value}"] == wanted, f"{key}={value}"
    return found


def doubles_of(ports: list[Body]) -> list[str]:
    """Addresses and MACs that two ports have."""
    taken = Counter((port["network_id"], port["mac_address"]) for port in ports)
    taken += Counter(
        (fixed["subnet_id"], fixed["ip_address"]) for port in ports for fixed in port["fixed_ips"]
    )
    return [f"twice: {what}" for what, count in taken.items() if count > 1]


async def replayed_equals_loaded(path: Path) -> None:
    """The objects of the log, and what its history comes to: rows, every index and every number that was ever held."""
    log, replayed = SqliteLog(path), Tables(SCHEMA)
    outside = Outside(SystemClock(), Random(), Settings(state=path.parent), Meters())
    store = await Store.open(SCHEMA, SqliteLog(path), outside)
    loaded = store.tables
    await log.open()
    changes: list[Change] = []
    while turns := await log.follow(replayed.position, 5_000):
        assert not isinstance(turns, Reset)
        for turn in turns:
            changes += apply_turn(replayed, turn)
    await log.close()
    await store.close()
    assert replayed.position == loaded.position != START
    for plan in loaded.plans.values():
        ever = [
            each
            for change in changes
            if change.table == plan.name
            for each in (change.old, change.new)
            if each
        ]
        for each in ever:
            assert loaded.row(plan.name, each.id) == replayed.row(plan.name, each.id)
        for index, other in zip(plan.indexes, replayed.plans[plan.name].indexes, strict=True):
            for key in {key for each in ever for key in index.keys(each)}:
                assert loaded.ids(index, key) == replayed.ids(other, key), (plan.name, index.name, key)
        for pool in plan.table.pools:
            for key, number in {held for each in ever for held in pool.holds(each)}:
                is_held = [tables.is_held(pool, key, number) for tables in (loaded, replayed)]
                assert is_held[0] == is_held[1], (plan.name, pool.name, key, number)


async def swept(api: httpx.AsyncClient) -> None:
    """Deletes everything but default groups."""
    for noun in ("ports", "subnets", "networks", "security-groups"):
        for each in await listed(api, noun):
            if each["name"] != "default" or noun != "security-groups":
                answer = await api.delete(f"/{noun}/{each['id']}", headers={"X-Roles": "admin"})
                assert answer.status_code == 204, answer.text


async def nothing_leaked(api: httpx.AsyncClient) -> None:
    """Every VNI and every address of a subnet can be given again, exactly once, and nobody's quota is used."""
    for project in (*PROJECTS, FEW):
        used = (await api.get(f"/quotas/{project}/details", headers={"X-Roles": "admin"})).json()["quota"]
        assert {noun: used[noun]["used"] for noun in ("network", "subnet", "port")} == {
            "network": 0,
            "subnet": 0,
            "port": 0,
        }
    made = [await api.post("/networks", json={"network": {}}) for _ in range(VNIS + 1)]
    assert [answer.status_code for answer in made] == [201] * VNIS + [made[-1].status_code]
    assert made[-1].status_code >= 400
    vnis = sorted(answer.json()["network"]["provider:segmentation_id"] for answer in made[:-1])
    assert vnis == list(range(1, VNIS + 1))
    network = made[0].json()["network"]["id"]
    subnet = {"network_id": network, "ip_version": 4, "cidr": SUBNETS[0]}
    (await api.post("/subnets", json={"subnet": subnet})).raise_for_status()
    ports = [await api.post("/ports", json={"port": {"network_id": network}}) for _ in range(ADDRESSES + 1)]
    assert [answer.status_code for answer in ports] == [201] * ADDRESSES + [409]
    assert doubles_of([answer.json()["port"] for answer in ports[:-1]]) == []


async def test_many_clients_of_the_same_few_objects_leave_no_fault_no_double_and_no_leak(
    tmp_path: Path,
) -> None:
    crowd = Crowd()
    async with plane(tmp_path) as one:
        admin = {"X-Project-Id": "nobody", "X-Roles": "admin"}
        quota = {"quota": {"port": FEW_MAX}}
        (await one.apis["all"].put(f"/quotas/{FEW}", json=quota, headers=admin)).raise_for_status()

        until_s = time.monotonic() + SECONDS
        apis = list(one.apis.values())
        clients = [Client(crowd, apis[number % len(apis)], number) for number in range(CLIENTS)]
        await asyncio.gather(*(client.run(until_s) for client in clients))
        print(f"answers: {dict(sorted(crowd.answers.items()))}", file=sys.stderr)
        assert crowd.faults[:3] == []
        assert {200, 201, 204, 409, 404} <= crowd.answers.keys()

        await one.stop("hosts")  # what they reported is written by now or never
        found = {name: await everything(api) for name, api in one.apis.items()}
        assert found["all"] == found["api"]
        state = found["all"]
        assert doubles_of(state["ports"]) == []
        vnis = [network["provider:segmentation_id"] for network in state["networks"]]
        assert sorted(set(vnis)) == sorted(vnis)
        assert len([port for port in state["ports"] if port["project_id"] == FEW]) <= FEW_MAX
        defaults = Counter(
            group["project_id"] for group in state["security-groups"] if group["name"] == "default"
        )
        assert set(defaults.values()) == {1}
        assert defaults.keys() >= {each["project_id"] for each in state["security-groups"]}

        await one.stop("all", "api")
        fresh = await one.start("fresh", "api")
        assert await everything(fresh) == state
        await replayed_equals_loaded(tmp_path / "state/alcor.db")
        await swept(fresh)
        await nothing_leaked(fresh)
        await replayed_equals_loaded(tmp_path / "state/alcor.db")
