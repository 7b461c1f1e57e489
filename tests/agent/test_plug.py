# SPDX-License-Identifier: Apache-2.0
"""What is plugged into a bridge, as a real OVSDB says it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from threading import active_count

import pytest
import pytest_asyncio

from alcor.agent import plug as plug_module
from alcor.agent.plug import TUNNEL_PORT, Bridges, Plug, Plugged
from alcor.dataplane.rows import Interface
from alcor.lab import Host, Underlay
from tests.agent.fabric import until

pytestmark = [pytest.mark.ovs, pytest.mark.asyncio(loop_scope="module")]


class Seen:
    """What a plug has said so far, taken together."""

    def __init__(self) -> None:
        self.interfaces: dict[str, Interface] = {}
        self.tunnel_ofport = 0
        self.times = 0

    def take(self, plugged: Plugged) -> None:
        self.times += 1
        for iface_id in plugged.gone:
            del self.interfaces[iface_id]
        self.interfaces.update({interface.iface_id: interface for interface in plugged.interfaces})
        self.tunnel_ofport = plugged.tunnel_ofport


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host() -> AsyncIterator[Host]:
    async with Underlay() as underlay:
        [made] = await underlay.add_hosts("one")
        yield made


async def started(host: Host, bridge: str = "br-int", tunnel_ip: str = "") -> tuple[Plug, Seen]:
    seen = Seen()
    plug = Plug(f"unix:{host.ovsdb_socket}", Bridges(bridge), tunnel_ip or host.tunnel_ip, seen.take)
    await plug.start()
    await until(lambda: seen.tunnel_ofport > 0)
    return plug, seen


async def add_port(host: Host, bridge: str, name: str, iface_id: str = "") -> None:
    ids = ["--", "set", "interface", name, f"external_ids:iface-id={iface_id}"] if iface_id else []
    words = ["--", "set", "interface", name, "type=internal"]
    await host.vsctl("add-port", bridge, name, *words, *ids)


async def test_interfaces_come_change_and_go(host: Host) -> None:
    plug, seen = await started(host)
    try:
        await add_port(host, "br-int", "p1", "first")
        await until(lambda: "first" in seen.interfaces)
        assert seen.interfaces["first"] == Interface("first", "p1", await host.ofport("p1"))

        await add_port(host, "br-int", "p2")
        await host.vsctl("set", "interface", "p2", "external_ids:iface-id=second")
        await until(lambda: "second" in seen.interfaces)

        await host.vsctl("set", "interface", "p2", "external_ids:iface-id=third")
        await until(lambda: set(seen.interfaces) == {"first", "third"})

        await host.vsctl("del-port", "p1", "--", "del-port", "p2")
        await until(lambda: not seen.interfaces)
    finally:
        await plug.stop()


async def test_what_was_plugged_before_is_said_first_and_at_once(host: Host) -> None:
    await add_port(host, "br-int", "p3", "early")
    plug, seen = await started(host)
    try:
        assert set(seen.interfaces) == {"early"}
        assert seen.times == 1
        assert seen.tunnel_ofport == await host.ofport("vx0")
    finally:
        await plug.stop()
        await host.vsctl("del-port", "p3")


async def test_bridge_and_tunnel_port_are_made_where_they_are_missing(host: Host) -> None:
    plug, seen = await started(host, "br-new", "10.99.77.77")
    try:
        assert (await host.vsctl("get", "bridge", "br-new", "fail_mode")).strip() == "secure"
        assert seen.tunnel_ofport == await host.ofport(TUNNEL_PORT)
        assert "local_ip=" in await host.vsctl("get", "interface", TUNNEL_PORT, "options")

        await add_port(host, "br-new", "p4", "mine")
        await add_port(host, "br-int", "p5", "of-another-bridge")
        await until(lambda: "mine" in seen.interfaces)
        assert set(seen.interfaces) == {"mine"}
    finally:
        await plug.stop()
        await host.vsctl("del-br", "br-new", "--", "del-port", "p5")


async def test_bridge_that_would_forward_by_itself_or_speaks_another_openflow_is_set_right(
    host: Host,
) -> None:
    await host.vsctl("set", "bridge", "br-int", "fail_mode=standalone", "protocols=OpenFlow13")
    wrong = ["options:local_ip=10.99.66.66"]
    await host.vsctl("set", "interface", "vx0", *wrong)
    plug, _ = await started(host)
    await plug.stop()
    assert (await host.vsctl("get", "bridge", "br-int", "fail_mode")).strip() == "secure"
    assert "OpenFlow14" in await host.vsctl("get", "bridge", "br-int", "protocols")
    assert host.tunnel_ip in await host.vsctl("get", "interface", "vx0", "options")


async def test_bridge_that_is_taken_away_again_and_again_is_there_in_the_end(host: Host) -> None:
    plug, seen = await started(host, "br-new", "10.99.77.77")
    try:
        for pause_s in (0, 0.01, 0.02, 0.05, 0.1) * 5:  # also while it is being made
            await host.vsctl("--if-exists", "del-br", "br-new")
            await asyncio.sleep(pause_s)
        await host.vsctl("--if-exists", "del-br", "br-new")
        await until(lambda: not seen.tunnel_ofport)
        await until(lambda: seen.tunnel_ofport > 0)
        assert (await host.vsctl("get", "bridge", "br-new", "fail_mode")).strip() == "secure"
    finally:
        await plug.stop()
        await host.vsctl("--if-exists", "del-br", "br-new")


async def test_switch_that_is_away_at_the_start_is_waited_for_on_one_connection(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plug_module, "TRANSACTION_S_MAX", 1)
    monkeypatch.setattr(plug_module, "RETRY_S", 0.1)
    seen = Seen()
    await host.kill_vswitchd()
    plug = Plug(f"unix:{host.ovsdb_socket}", Bridges("br-new"), "10.99.77.77", seen.take)
    before = active_count()
    starting = asyncio.create_task(plug.start())
    try:
        await until(lambda: "no tunnel port yet" in capsys.readouterr().err)
        assert active_count() <= before + 2, "one thread for the database, and one that waits for it"
        await host.start_vswitchd()
        await until(lambda: seen.tunnel_ofport > 0)
    finally:
        await starting
        await plug.stop()
        await host.vsctl("--if-exists", "del-br", "br-new")


async def test_tunnel_port_that_another_bridge_has_is_said_once_and_made_when_it_is_free(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    await host.vsctl(
        "add-port", "br-int", TUNNEL_PORT, "--", "set", "interface", TUNNEL_PORT, "type=internal"
    )
    seen, told = Seen(), ""
    plug = Plug(f"unix:{host.ovsdb_socket}", Bridges("br-new"), "10.99.77.77", seen.take)
    try:
        await plug.start()
        async with asyncio.timeout(20):
            while "no tunnel port yet" not in told:
                told += capsys.readouterr().err
                await asyncio.sleep(0.05)
        assert told.count("port cannot be made") == 1
        assert "another bridge has" in told
        await host.vsctl("del-port", "br-int", TUNNEL_PORT)
        await until(lambda: seen.tunnel_ofport > 0)
    finally:
        await plug.stop()
        await host.vsctl("--if-exists", "del-br", "br-new")


async def test_tunnel_port_that_is_taken_away_is_made_again(host: Host) -> None:
    plug, seen = await started(host)
    before = seen.tunnel_ofport
    try:
        await host.vsctl("del-port", "vx0")
        await until(lambda: seen.tunnel_ofport not in (0, before))
        assert seen.tunnel_ofport == await host.ofport(TUNNEL_PORT)
    finally:
        await plug.stop()


async def test_database_that_restarts_is_followed_again(host: Host) -> None:
    plug, seen = await started(host)
    try:
        await add_port(host, "br-int", "p6", "stays")
        await add_port(host, "br-int", "p7", "goes")
        await until(lambda: set(seen.interfaces) == {"stays", "goes"})
        _, database = host.switch_processes
        await database.stop()
        host._database = host._daemon(
            "ovsdb-server",
            f"{host.directory}/conf.db",
            f"--remote=punix:{host.ovsdb_socket}",
            f"--unixctl={host.directory}/ovsdb.ctl",
        )
        await host._wait_for(host.ovsdb_socket)
        await host.vsctl("del-port", "p7")
        await add_port(host, "br-int", "p8", "comes")
        await until(lambda: set(seen.interfaces) == {"stays", "comes"}, timeout_s=20)
    finally:
        await plug.stop()
        await host.vsctl("del-port", "p6", "--", "del-port", "p8")


async def test_database_that_is_not_there_yet_is_waited_for(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plug_module, "RETRY_S", 0.01)
    seen = Seen()
    late = tmp_path / "late.sock"
    plug = Plug(f"unix:{late}", Bridges("br-int"), host.tunnel_ip, seen.take)
    starting = asyncio.create_task(plug.start())
    await asyncio.sleep(0.05)
    assert not starting.done()
    late.symlink_to(host.ovsdb_socket)
    await asyncio.wait_for(starting, 20)
    await until(lambda: seen.tunnel_ofport > 0)
    await plug.stop()


async def test_plug_that_never_started_can_be_stopped(tmp_path: Path) -> None:
    await Plug(f"unix:{tmp_path}/nothing", Bridges("br-int"), "10.0.0.1", Seen().take).stop()


async def test_interface_that_cannot_be_set_up_is_told(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    plug, _ = await started(host)
    plug.set_up("nobody", {"tx-steering": "hash", "other": ""})
    await plug.stop()
    assert "interface cannot be set up" in capsys.readouterr().err
