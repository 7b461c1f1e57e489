# SPDX-License-Identifier: Apache-2.0
"""Two APIs, one push and ten emulated hosts, each its own process, over one SQLite file."""

import asyncio
import shutil
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx

from alcor.lab.cloud import free_address
from alcor.lab.process import Child, stop_all
from alcor.lab.rest import Body, Rest

HOSTS = [f"h{number}" for number in range(1, 11)]
UNTIL_S_MAX = 30.0


class Roles:
    """The processes by name (`one` and `two` are APIs), and what is asked of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "state" / "alcor.db"
        state, push = ("--state", str(self.log.parent)), f"unix:{folder}/push.sock"
        listen = {name: free_address("127.0.0.1:0") for name in ("one", "two")}
        self._words = {
            "push": ("push", *state, "--push-listen", push, "--metrics-listen", free_address("127.0.0.1:0")),
            "hosts": ("emulate", "--hosts", str(len(HOSTS)), "--prefix", "h", "--push", push),
        }
        self._words |= {
            name: ("api", *state, "--listen", where, "--quota-port", "-1") for name, where in listen.items()
        }
        self.apis = {
            name: Rest(httpx.AsyncClient(base_url=f"http://{where}", timeout=20, trust_env=False))
            for name, where in listen.items()
        }
        self.running: dict[str, Child] = {}

    async def start(self, *names: str) -> None:
        """Start these, or all; returns when APIs answer."""
        for name in names or self._words:
            words = (sys.executable, "-m", "alcor", *self._words[name])
            self.running[name] = Child(words, self.folder / f"{name}.log", {})
        for name in self.apis.keys() & set(names or self._words):
            await until(partial(self._answers, name))

    async def restart(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """End one by the signal and start it again."""
        await self.running[name].stop(number)
        await self.start(name)

    async def ports(self, api: str = "one", **filters: str) -> dict[str, Body]:
        """Ports by id."""
        return {port["id"]: port for port in await self.apis[api].find("port", **filters)}

    async def is_settled(self, count: int) -> bool:
        """Whether both APIs know this many ports and all are ACTIVE."""
        seen = [await self.ports(api) for api in self.apis]
        all_active = all(port["status"] == "ACTIVE" for port in seen[0].values())
        return seen[0] == seen[1] and len(seen[0]) == count and all_active

    async def hosts_are_alive(self) -> bool:
        """Whether every emulated host is."""
        return [agent["alive"] for agent in await self.apis["one"].find("agent")] == [True] * len(HOSTS)

    async def _answers(self, name: str) -> bool:
        assert self.running[name].is_running, self.running[name].last_words()
        try:
            return (await self.apis[name].client.get("/")).is_success
        except httpx.TransportError:
            return False

    async def aclose(self) -> None:
        """End all of them."""
        stop_all(list(self.running.values()), signal.SIGTERM)
        for api in self.apis.values():
            await api.client.aclose()


@asynccontextmanager
async def roles(folder: Path) -> AsyncIterator[tuple[Roles, Body]]:
    """All processes with their hosts alive, and a network with a subnet."""
    made = Roles(folder)
    try:
        await made.start()
        await until(made.hosts_are_alive)
        network = await made.apis["one"].create("network", {"name": "n"})
        subnet = {"network_id": network["id"], "ip_version": 4, "cidr": "10.0.0.0/16"}
        await made.apis["two"].create("subnet", subnet)
        yield made, network
    finally:
        await made.aclose()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Returns when `holds` does; raises TimeoutError if it never does."""
    async with asyncio.timeout(UNTIL_S_MAX):
        while not await holds():
            await asyncio.sleep(0.02)


def copy_log(log: Path, to: Path) -> None:
    """A copy of what a running process writes, whole."""
    source, copy = sqlite3.connect(f"file:{log}?mode=ro", uri=True), sqlite3.connect(to)
    source.backup(copy)
    copy.execute("PRAGMA journal_mode = delete")
    source.close()
    copy.close()


def replace_log(log: Path, copy: Path) -> None:
    """Put another file under all who have the log open, as `mv` does."""
    shutil.copy(copy, log.with_suffix(".new"))
    log.with_suffix(".new").replace(log)
