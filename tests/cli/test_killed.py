# SPDX-License-Identifier: Apache-2.0
"""kill -9 of an API in a loop, while bulk requests are on their way: what its log holds afterwards."""

import asyncio
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random

import httpx

from alcor.lab.rest import Body
from tests.cli.roles import Roles, roles

KILLS = 6
PORTS = 40  # in one bulk


class Bulks:
    """Bulk requests, each with a name in the description of all its ports, and which were answered."""

    def __init__(self, client: httpx.AsyncClient, network: Body) -> None:
        self.asked = 0
        self.acknowledged: set[str] = set()
        self.is_over = False
        self._client = client
        self._network = network

    async def post(self) -> None:
        """Asks until it is over."""
        while not self.is_over:
            name = f"bulk{self.asked}"
            self.asked += 1
            ports = [{"network_id": self._network["id"], "description": name}] * PORTS
            try:
                answer = await self._client.post("/v2.0/ports", json={"ports": ports})
            except httpx.TransportError:  # killed meanwhile: whether it was done is not known
                await asyncio.sleep(0.02)
                continue
            if answer.status_code == 201:
                self.acknowledged.add(name)


async def killed_in_a_loop(cloud: Roles, network: Body) -> Bulks:
    """Bulks under which one of two APIs was killed again and again."""
    bulks, chance = Bulks(cloud.apis["one"].client, network), Random(5)
    writers = [asyncio.create_task(bulks.post()) for _ in range(4)]
    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(0.05, 0.5))
        await cloud.restart("one", signal.SIGKILL)
    bulks.is_over = True
    await asyncio.gather(*writers)
    return bulks


def revisions(log: Path) -> list[int]:
    with closing(sqlite3.connect(f"file:{log}?mode=ro", uri=True)) as reader:
        return [number for (number,) in reader.execute("SELECT revision FROM history ORDER BY rowid")]


async def test_kill_9_loses_no_acknowledged_bulk_leaves_none_half_done_and_no_gap_in_revisions(
    tmp_path: Path,
) -> None:
    async with roles(tmp_path) as (cloud, network):
        bulks = await killed_in_a_loop(cloud, network)
        there = {name: await cloud.ports(name) for name in cloud.apis}
        sizes = Counter(str(port["description"]) for port in there["one"].values())
        written = revisions(cloud.log)

    no_acknowledged_write_is_lost = bulks.acknowledged <= sizes.keys()
    no_write_is_half_done = set(sizes.values()) == {PORTS}
    no_revision_is_missing_or_twice = sorted(written) == list(range(1, len(written) + 1))
    both_processes_see_the_same = there["one"] == there["two"]
    assert no_acknowledged_write_is_lost
    assert no_write_is_half_done
    assert no_revision_is_missing_or_twice
    assert both_processes_see_the_same
    assert len(bulks.acknowledged) > KILLS
