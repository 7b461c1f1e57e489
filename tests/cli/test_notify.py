# SPDX-License-Identifier: Apache-2.0
"""The process `alcor notify` beside `alcor all` and two emulated hosts: what Nova hears, whatever is killed."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from alcor.lab.cloud import ALCOR, free_address
from alcor.lab.process import Child, stop_all
from alcor.lab.rest import Body, Rest
from tests.notify.fake_nova import FakeNova, fake_nova

SERVER = str(UUID(int=7))
PLUGGED, UNPLUGGED, CHANGED, DELETED = (
    "network-vif-plugged",
    "network-vif-unplugged",
    "network-changed",
    "network-vif-deleted",
)


class Cloud:
    """The processes, and what is asked of them."""

    def __init__(self, folder: Path, nova: FakeNova, *flags: str) -> None:
        self.folder, self.nova = folder, nova
        self.state = folder / "state"
        where, push = free_address("127.0.0.1:0"), f"unix:{folder}/push.sock"
        self._notify = ("notify", "--state", str(self.state), "--nova-url", f"{nova.url}/v2.1", *flags)
        self.running = {
            "all": self._child("all", "--state", str(self.state), "--listen", where, "--push-listen", push),
            "hosts": self._child("emulate", "--hosts", "2", "--prefix", "h", "--push", push),
        }
        self.api = Rest(httpx.AsyncClient(base_url=f"http://{where}", timeout=20, trust_env=False))

    def _child(self, *words: str) -> Child:
        return Child((*ALCOR, *words), self.folder / f"{words[0]}.log", {})

    async def notify(self) -> Child:
        """Starts the notifier; returns when it follows the log."""
        log = self.folder / "notify.log"
        before = log.read_text().count("notifying") if log.exists() else 0
        child = self.running["notify"] = self._child(*self._notify)
        await until(lambda: log.read_text().count("notifying") > before or not child.is_running)
        assert child.is_running, child.last_words()
        return child

    async def begun(self) -> Body:
        """A network with addresses, once both hosts are alive."""
        await until_answers(self.api)
        while [agent["alive"] for agent in await self.api.find("agent")] != [True, True]:
            await asyncio.sleep(0.02)
        network = await self.api.create("network", {"name": "n"})
        subnet = {"network_id": network["id"], "ip_version": 4, "cidr": "10.0.0.0/24"}
        await self.api.create("subnet", subnet)
        return network

    async def machines_port(self, network: Body, **fields: str) -> str:
        """A port of a machine."""
        machine = {"network_id": network["id"], "device_owner": "compute:nova", "device_id": SERVER}
        return str((await self.api.create("port", machine | fields))["id"])

    def shown(self) -> str:
        """What `alcor notify --show` prints."""
        command = (sys.executable, "-m", "alcor", "notify", "--state", str(self.state), "--show")
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


@asynccontextmanager
async def cloud(folder: Path, *flags: str) -> AsyncIterator[Cloud]:
    with fake_nova() as nova:
        made = Cloud(folder, nova, *flags)
        try:
            yield made
        finally:
            stop_all(list(made.running.values()), signal.SIGTERM)
            await made.api.client.aclose()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.02)


async def until_answers(api: Rest) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await api.client.get("/")
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_a_machines_port_is_told_from_its_start_over_its_migration_to_its_end(tmp_path: Path) -> None:
    async with cloud(tmp_path) as one:
        network = await one.begun()
        await one.notify()
        port = await one.machines_port(network, **{"binding:host_id": "h1"})
        await until(lambda: one.nova.told(port) == [PLUGGED])

        bindings = f"/v2.0/ports/{port}/bindings"
        (await one.api.client.post(bindings, json={"binding": {"host": "h2"}})).raise_for_status()
        await until(lambda: one.nova.told(port) == [PLUGGED, PLUGGED])

        (await one.api.client.put(f"{bindings}/h2/activate")).raise_for_status()
        await until(lambda: one.nova.told(port)[2:] == [CHANGED, PLUGGED])
        (await one.api.client.delete(f"{bindings}/h1")).raise_for_status()
        await one.api.update("port", port, {"binding:host_id": ""})
        await until(lambda: one.nova.told(port)[4:] == [UNPLUGGED, CHANGED])
        await one.api.delete("port", port)
        await until(lambda: one.nova.told(port)[6:] == [DELETED])
    assert {event["server_uuid"] for event in one.nova.got} == {SERVER}


async def test_kill_9_while_nova_is_being_told_leaves_nothing_out(tmp_path: Path) -> None:
    async with cloud(tmp_path, "--notify-batch-max", "5") as one:
        network = await one.begun()
        ports = [await one.machines_port(network) for _ in range(20)]
        notifier = await one.notify()
        one.nova.gate.clear()
        for port in ports:
            await one.api.update("port", port, {"name": "changed"})
        for kill in range(3):
            await until(lambda: len(one.nova.begun) > kill)  # noqa: B023  # called before the loop goes on
            notifier.send(signal.SIGKILL)
            await until(lambda: not notifier.is_running)  # noqa: B023
            notifier = await one.notify()
        one.nova.gate.set()
        await until(lambda: set(one.nova.tags) >= set(ports))
        await until(lambda: "20 delivered" in one.shown())
    first_seen = list(dict.fromkeys(one.nova.tags))
    assert first_seen == ports


async def test_what_nova_never_took_is_shown_by_the_command(tmp_path: Path) -> None:
    async with cloud(tmp_path, "--notify-retry-s", "0") as one:
        network = await one.begun()
        port = await one.machines_port(network)
        await one.notify()
        one.nova.always = 500
        await one.api.update("port", port, {"name": "changed"})
        await until(lambda: "1 given up" in one.shown())
        said = one.shown()
    for word in (CHANGED, f"server={SERVER}", f"tag={port}", "Nova answered 500"):
        assert word in said


@pytest.mark.parametrize(
    ("flags", "status", "why"),
    [
        ((), 2, "nova_url is missing"),
        (("--show",), 1, "nothing was ever told"),
        (("--nova-url", "http://127.0.0.1:1", "--nova-ca-file", "none.pem"), 1, "cannot notify"),
    ],
)
def test_the_command_says_what_it_is_missing(
    tmp_path: Path, flags: tuple[str, ...], status: int, why: str
) -> None:
    command = (sys.executable, "-m", "alcor", "notify", "--state", str(tmp_path), *flags)
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == status
    assert why in done.stdout + done.stderr


def test_a_ledger_that_is_none_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "notify.json").write_text("no ledger")
    command = (sys.executable, "-m", "alcor", "notify", "--state", str(tmp_path), "--show")
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "cannot be read" in done.stderr
