# SPDX-License-Identifier: Apache-2.0
"""`alcor api` (two of them) and `alcor push` as processes on one SQLite file, whatever becomes of any of them."""

import asyncio
import random
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alcor.lab import LabFailure
from alcor.lab.rest import Body, Rest
from tests.cli.roles import HOSTS, Roles, copy_log, replace_log, roles, until

Site = tuple[Roles, Body]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with roles(tmp_path) as made:
        yield made


def port_on(network: Body, host: str) -> Body:
    return {"network_id": network["id"], "binding:host_id": host}


async def test_port_made_by_one_api_is_bound_by_another_active_by_push_and_gone_for_all(site: Site) -> None:
    cloud, network = site
    one, two = cloud.apis.values()
    port = await one.create("port", {"network_id": network["id"]})
    assert (await two.update("port", port["id"], {"binding:host_id": "h1"}))["status"] == "DOWN"
    for api in (one, two):
        assert await api.until_active(port["id"])
    await two.delete("port", port["id"])
    for api in (one, two):
        with pytest.raises(LabFailure, match="404"):
            await api.show("port", port["id"])


async def test_restarts_of_push_api_and_hosts_change_none_of_a_thousand_active_ports(site: Site) -> None:
    cloud, network = site
    ports = [port_on(network, HOSTS[number % len(HOSTS)]) for number in range(200)]
    for _ in range(5):
        made = await cloud.apis["one"].client.post("/v2.0/ports", json={"ports": ports})
        assert made.status_code == 201, made.text
    await until(lambda: cloud.is_settled(1000))
    before = await cloud.ports()

    for name, number in (
        ("push", signal.SIGKILL),
        ("one", signal.SIGKILL),
        ("hosts", signal.SIGKILL),
        ("push", signal.SIGTERM),
        ("hosts", signal.SIGTERM),
    ):
        await cloud.restart(name, number)
        await until(cloud.hosts_are_alive)
        assert await cloud.ports() == before, name

    late = await cloud.apis["two"].create("port", port_on(network, "h3"))
    assert await cloud.apis["one"].until_active(late["id"])
    assert before.items() <= (await cloud.ports()).items()


async def test_processes_killed_and_stopped_under_load_lose_nothing_that_was_answered(site: Site) -> None:
    cloud, network = site
    chance, answered = random.Random(7), Answered()
    writers = [
        asyncio.create_task(answered.write(list(cloud.apis.values()), network, random.Random(seed)))
        for seed in range(6)
    ]
    for _ in range(12):
        name = chance.choice(list(cloud.running))
        await asyncio.sleep(chance.uniform(0.05, 0.4))
        if chance.random() < 0.3:
            cloud.running[name].send(signal.SIGSTOP)
            await asyncio.sleep(chance.uniform(0.1, 0.8))
            cloud.running[name].send(signal.SIGCONT)
        else:
            await cloud.restart(name)
    answered.is_over = True
    await asyncio.gather(*writers)

    assert len(answered.made) > 20
    there = set(await cloud.ports())
    assert answered.made - answered.asked_to_go <= there
    assert not answered.gone & there
    await until(lambda: cloud.is_settled(len(there)))
    with sqlite3.connect(f"file:{cloud.log}?mode=ro", uri=True) as log:
        revisions = [
            revision for (revision,) in log.execute("SELECT revision FROM history ORDER BY revision")
        ]
    log.close()
    assert revisions == list(range(revisions[0], revisions[0] + len(revisions)))


async def test_older_copy_of_the_file_is_what_every_process_converges_to(site: Site, tmp_path: Path) -> None:
    cloud, network = site
    one, two = cloud.apis.values()
    stays = await one.create("port", port_on(network, "h1"))
    goes = await one.create("port", port_on(network, "h2"))
    await until(lambda: cloud.is_settled(2))
    before = await cloud.ports()
    copy_log(cloud.log, tmp_path / "older.db")

    await two.delete("port", goes["id"])
    later = await two.create("port", port_on(network, "h3"))
    await two.update("port", stays["id"], {"binding:host_id": "h4"})
    await until(lambda: cloud.is_settled(2))
    replace_log(cloud.log, tmp_path / "older.db")
    await until(lambda: cloud.is_settled(2))
    for api in cloud.apis:
        assert await cloud.ports(api) == before, api

    after = await two.create("port", port_on(network, "h4"))
    assert await one.until_active(after["id"])
    with pytest.raises(LabFailure, match="404"):
        await one.show("port", later["id"])


class Answered:
    """What the APIs said of ports, while they said anything."""

    def __init__(self) -> None:
        self.made: set[str] = set()
        self.asked_to_go: set[str] = set()
        self.gone: set[str] = set()
        self.is_over = False

    async def write(self, apis: list[Rest], network: Body, chance: random.Random) -> None:
        """Make and delete ports until it is over, and go on when refused."""
        mine: list[str] = []
        while not self.is_over:
            api = chance.choice(apis)
            try:
                if mine and chance.random() < 0.4:
                    self.asked_to_go.add(mine[-1])
                    await api.delete("port", port := mine.pop())
                    self.gone.add(port)
                else:
                    port = (await api.create("port", port_on(network, chance.choice(HOSTS))))["id"]
                    self.made.add(port)
                    mine.append(port)
            except LabFailure:
                await asyncio.sleep(0.02)
