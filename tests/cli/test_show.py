# SPDX-License-Identifier: Apache-2.0
"""What `alcor show` says when all is well, and when a switch, a host or the way to it is not as wanted."""

import asyncio
import io
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from alcor.base.address import Address
from alcor.base.config import Settings
from alcor.base.wire.held import FlowDifference, FlowOfRow, FlowsHeld, Held, Listed, RowFault, RowHeld
from alcor.cli.show import draw, run
from alcor.dataplane.pipeline import CLASSIFY, COOKIE, LEAVE
from alcor.dataplane.values import Flow, Output, match
from alcor.lab.cloud import Cloud
from alcor.push.show import HostShown, ScopeShown, ScopeState, Shown, answer
from alcor.testing.loop import simulate
from alcor.testing.world import World

WIDTH = 80


class Scene:
    """Two hosts, `one` with two ports of a network, `two` with another one of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ports: dict[str, dict[str, Any]] = {}

    async def build(self) -> None:
        for name in ("one", "two"):
            self.world.add_host(name)
        net = await self.world.create("network", name="net")
        await self.world.create("subnet", network_id=net["id"], ip_version=4, cidr="10.0.0.0/24")
        for name, host in (("a", "one"), ("b", "one"), ("c", "two")):
            self.ports[name], _ = await self.world.boot(host, network_id=net["id"], name=name)
        await self.world.settle()

    async def ask(self, what: str, name: str = "") -> Shown:
        assert self.world.push is not None
        shown = await answer(self.world.push, what, name)
        assert shown is not None
        return shown

    async def host(self, name: str) -> HostShown:
        [host] = (await self.ask("host", name)).hosts
        return host

    def classifies(self, port: str, host: str = "one") -> Flow:
        """The flow by which packets of a port are known."""
        ofport = self.world.hosts[host].interfaces[self.ports[port]["id"]].ofport
        flows = self.world.hosts[host].switch.dump()
        wanted = match(in_port=ofport)
        return next(flow for flow in flows if flow.table == CLASSIFY.number and flow.match == wanted)


def on_scene(scenario: Callable[[Scene], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        async with World(1, **settings) as world:
            scene = Scene(world)
            await scene.build()
            await scenario(scene)

    simulate(main())


def drawn(what: str, shown: Shown) -> str:
    """The text on a terminal of 80 columns, its lines unbroken for finding things."""
    page = io.StringIO()
    draw(what, shown, Console(file=page, width=WIDTH, highlight=False))
    assert all(len(line) <= WIDTH for line in page.getvalue().splitlines())
    return page.getvalue()


def unfolded(text: str) -> str:
    """The text without blanks and line breaks, in which what was folded is found."""
    return "".join(text.split())


def test_host_where_all_is_well_has_no_difference() -> None:
    async def scenario(scene: Scene) -> None:
        host = await scene.host("one")
        assert host.held is not None
        assert host.held.flows is not None
        assert {each.state for each in host.scope_states} == {"same"}
        assert all(each.held == each.wanted for each in host.scope_states)
        assert host.held.flows.differing == 0
        assert host.held.flows.wanted == host.held.flows.held == len(scene.world.hosts["one"].switch.dump())
        assert {each.iface_id for each in host.held.interfaces.first} == {
            scene.ports["a"]["id"],
            scene.ports["b"]["id"],
        }
        assert (host.lag, host.silence, host.held.is_whole, host.held.is_busy) == (0, "", True, False)
        text = drawn("host", await scene.ask("host", "one"))
        assert "Difference: none. It has what is wanted, and so has its switch." in text
        for port in ("a", "b", "c"):
            assert scene.ports[port]["id"] in text, "no id is cut off"

    on_scene(scenario)


def test_flow_that_somebody_altered_deleted_or_added_is_shown_with_the_row_that_wants_it() -> None:
    async def scenario(scene: Scene) -> None:
        switch = scene.world.hosts["one"].switch
        altered, missing = scene.classifies("a"), scene.classifies("b")
        foreign = Flow(CLASSIFY.number, 7, match(in_port=99), (Output(3),))
        stale = Flow(CLASSIFY.number, 8, match(in_port=98), (), COOKIE)
        switch.apply([replace(altered, actions=(Output(1),)), foreign, stale], [missing])

        host = await scene.host("one")
        assert host.held is not None
        assert host.held.flows is not None
        flows = host.held.flows
        assert (flows.missing, flows.altered, flows.stale, flows.foreign, flows.refused) == (1, 1, 1, 1, 0)
        by_state = {each.state: each for each in flows.difference.first}
        assert by_state["altered"].rows == (("host:one", scene.ports["a"]["id"]),)
        assert by_state["altered"].held.endswith("actions=output:1")
        assert by_state["missing"].rows == (("host:one", scene.ports["b"]["id"]),)
        assert by_state["missing"].held == ""
        assert by_state["foreign"].held == "table=CLASSIFY,priority=7,in_port=99 actions=output:3"
        assert by_state["stale"].wanted == ""
        text = drawn("host", await scene.ask("host", "one"))
        assert "1 flow missing, 1 flow altered, 1 flow stale, 1 flow foreign" in " ".join(text.split())
        assert unfolded(by_state["altered"].wanted) in unfolded(text)

    on_scene(scenario)


def test_port_shows_its_rows_its_interface_and_whether_its_flows_are_in_the_switch() -> None:
    async def scenario(scene: Scene) -> None:
        port = scene.ports["a"]["id"]
        text = drawn("port", await scene.ask("row", port))
        assert "Realised in generation 1." in text
        assert "Interface tap10, OpenFlow port 10." in text

        altered = scene.classifies("a")
        scene.world.hosts["one"].switch.apply([replace(altered, actions=())], ())
        shown = await scene.ask("row", port)
        [host] = shown.hosts
        assert host.held is not None
        assert host.held.row is not None
        assert {scope.scope.partition(":")[0] for scope in shown.scopes} == {"host", "neighbours"}
        assert {(each.scope.partition(":")[0], each.state) for each in host.row_states} == {
            ("host", "same"),
            ("neighbours", "same"),
        }
        states = [flow.state for flow in host.held.row.flows.first]
        assert states.count("altered") == 1
        assert states.count("in the switch") == len(states) - 1 > 5
        text = drawn("port", shown)
        assert f"{len(states) - 1} of them in the switch" in " ".join(text.split())
        assert "has table=CLASSIFY" in text

    on_scene(scenario)


def test_port_that_is_not_realised_says_why() -> None:
    async def scenario(scene: Scene) -> None:
        port = scene.ports["a"]["id"]
        scene.world.hosts["one"].unplug(port)
        await scene.world.settle()
        [host] = (await scene.ask("row", port)).hosts
        assert host.held is not None
        assert host.held.row is not None
        assert host.held.row.interface is None
        text = drawn("port", await scene.ask("row", port))
        assert "Not realised in generation 1: its interface is not plugged in." in text

    on_scene(scenario)


def test_scope_shows_on_which_hosts_it_is_whole() -> None:
    async def scenario(scene: Scene) -> None:
        network = scene.ports["a"]["network_id"]
        shown = await scene.ask("scope", f"neighbours:{network}")
        assert [(host.host, host.scope_states[0].state) for host in shown.hosts] == [
            ("one", "same"),
            ("two", "same"),
        ]
        await scene.world.hosts["two"].cut()
        await asyncio.sleep(1)
        text = drawn("scope", await scene.ask("scope", f"neighbours:{network}"))
        assert "it has no session" in " ".join(text.split())

    on_scene(scenario)


def test_host_that_holds_other_rows_than_wanted_is_told_from_one_that_is_behind() -> None:
    async def scenario(scene: Scene) -> None:
        agent = scene.world.hosts["one"].agent
        assert agent is not None
        scope = f"neighbours:{scene.ports['a']['network_id']}"
        agent.rows._bodies[scope].pop(scene.ports["c"]["id"])  # what no protocol lets happen
        host = await scene.host("one")
        states = {each.scope: each for each in host.scope_states}
        assert (states[scope].state, states[scope].wanted, states[scope].held) == ("different", 3, 2)
        agent.rows.position = agent.rows.position._replace(revision=1)
        states = {each.scope: each for each in (await scene.host("one")).scope_states}
        assert states[scope].state == "behind"
        agent.rows.position = None

    on_scene(scenario)


def test_host_that_does_not_answer_is_silent_and_programmed_all_the_same() -> None:
    async def scenario(scene: Scene) -> None:
        agent = scene.world.hosts["one"].agent
        assert agent is not None

        async def never() -> list[Flow]:
            await asyncio.Event().wait()
            return []

        agent.survey.look = never
        before = asyncio.get_running_loop().time()
        asked = asyncio.create_task(scene.host("one"))
        await scene.world.boot("one", network_id=scene.ports["a"]["network_id"], name="late")
        assert not asked.done(), "a port became ACTIVE meanwhile"
        host = await asked
        assert host.silence == "it did not answer within 5 s"
        assert asyncio.get_running_loop().time() - before < 6
        assert "it did not answer within 5 s" in drawn("host", await scene.ask("host", "one"))
        agent.inspector.close()

    on_scene(scenario)


def test_two_who_ask_one_host_at_once_are_both_answered() -> None:
    async def scenario(scene: Scene) -> None:
        hosts = await asyncio.gather(*(scene.host("one") for _ in range(5)))
        assert [host.silence for host in hosts] == [""] * 5

    on_scene(scenario)


def test_switch_that_cannot_be_read_is_said_to_be_so() -> None:
    async def scenario(scene: Scene) -> None:
        agent = scene.world.hosts["one"].agent
        assert agent is not None
        agent.switch_gone()
        host = await scene.host("one")
        assert host.held is not None
        assert host.held.flows is None
        assert "no connection to its switch" in host.held.why_no_flows
        text = " ".join(drawn("host", await scene.ask("host", "one")).split())
        assert "Difference: none in rows; its switch was not read." in text

    on_scene(scenario)


def test_hosts_have_a_line_each() -> None:
    async def scenario(scene: Scene) -> None:
        await scene.world.hosts["two"].cut()
        await asyncio.sleep(1)
        shown = await scene.ask("hosts")
        assert [(host.host, host.is_connected, host.own_rows) for host in shown.hosts] == [
            ("one", True, 2),
            ("two", False, 1),
        ]
        lines = [line.strip() for line in drawn("hosts", shown).splitlines()]
        assert sum(line.startswith(("one", "two")) for line in lines) == 2

    on_scene(scenario)


def test_nothing_that_a_host_says_moves_the_cursor_of_the_terminal() -> None:
    shown = Shown(revision=1, hosts=[HostShown(host="evil\x1b[2J")])
    assert "\x1b" not in drawn("hosts", shown)


def test_all_that_may_be_wrong_with_a_host_is_said() -> None:
    fault = RowFault(scope="host:one", key="k1", reason="no room")
    held = Held(
        revision=5,
        is_busy=True,
        keeps_inherited=True,
        faults=Listed(2, (fault,)),
        interfaces=Listed(9, ()),
        flows=FlowsHeld(
            wanted=3,
            held=1,
            refused=2,
            difference=Listed(2, (FlowDifference(state="refused", wanted="table=X", reason="no room"),)),
        ),
    )
    host = HostShown(
        host="one",
        is_connected=True,
        told=9,
        acked=5,
        lag=4,
        waiting_rows=7,
        waiting_bytes=700,
        failures=Listed(3, (fault,)),
        held=held,
        scope_states=[ScopeState(scope="host:one", state="incomplete", wanted=3, held=1)],
    )
    text = " ".join(drawn("host", Shown(revision=9, hosts=[host])).split())
    for words in (
        "its switch is at 5, 4 behind",
        "It was not sent yet all that it needs.",
        "Waiting to be sent: 7 rows, 700 bytes.",
        "It has not received yet all that it needs.",
        "one: host:one k1: no room … and 2 more",
        "Changes are on their way",
        "Flows of a former agent stay",
        "refused: no room wanted table=X … and 1 more",
        "Difference: 1 scope, 3 failing rows, 2 flows refused.",
    ):
        assert words in text


def test_all_that_may_be_wrong_with_a_port_is_said() -> None:
    row = RowHeld(
        key="p1",
        waits_for=("network:n", "flood:n"),
        flows=Listed(3, (FlowOfRow(scope="host:one", flow="table=X", state=""),)),
    )
    fault = RowFault(scope="host:one", key="p1", reason="The row cannot be read")
    held = Held(revision=5, row=row, faults=Listed(1, (fault,)), why_no_flows="it is gone")
    silent = HostShown(host="two", is_connected=True, silence="it did not answer within 5 s")
    hosts = [HostShown(host="one", is_connected=True, held=held), silent, HostShown(host="three")]
    text = " ".join(drawn("port", Shown(revision=9, hosts=hosts)).split())
    for words in (
        "Not reported as realised. It waits for network:n, flood:n.",
        "host:one: The row cannot be read",
        "Flows are not known: it is gone.",
        "It stands for 3 flows: not known whether in the switch table=X … and 2 more",
        "What it has is not known: it did not answer within 5 s.",
        "Host three It has no session.",
    ):
        assert words in text
    assert "nobody was asked" in drawn("port", Shown(revision=9))


def test_port_is_found_by_its_name_and_several_of_one_name_by_their_ids() -> None:
    async def scenario(scene: Scene) -> None:
        ids = {name: port["id"] for name, port in scene.ports.items()}
        by_name = await scene.ask("row", "a")
        assert [row.key for scope in by_name.scopes for row in scope.rows.first] == [ids["a"]] * 2
        assert [host.host for host in by_name.hosts] == ["one"]
        await scene.world.update("port", ids["c"], name="a")
        await scene.world.create("port", network_id=scene.ports["a"]["network_id"], name="a")  # bound nowhere
        await scene.world.settle()
        assert (await scene.ask("row", "a")).named == sorted((ids["a"], ids["c"]))
        assert scene.world.push is not None
        for name in ("net", "c"):
            assert await answer(scene.world.push, "row", name) is None, "no port has this name"

    on_scene(scenario)


def test_word_longer_than_the_terminal_is_folded_and_loses_nothing() -> None:
    scope = ScopeShown(scope="x" * 200, hosts=[], rows=Listed(0))
    text = drawn("scope", Shown(revision=1, scopes=[scope]))
    assert "x" * 200 + ":0rowsfornobody" in unfolded(text)


async def test_push_that_cannot_be_reached_is_named_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asking = Settings(push=Address(f"unix:{tmp_path}/nobody"))
    assert await run(Namespace(what="hosts", name=None, json=False), asking) == 1
    assert capsys.readouterr().err.startswith(f"alcor: unix:{tmp_path}/nobody says UNAVAILABLE")


async def alcor_show(cloud: Cloud, *words: str) -> tuple[int, str, str]:
    """Status, output and complaints of the command."""
    pipe = asyncio.subprocess.PIPE
    argv = (sys.executable, "-m", "alcor", "show", *words, "--push", cloud.push)
    command = await asyncio.create_subprocess_exec(*argv, stdout=pipe, stderr=pipe)
    async with asyncio.timeout(60):
        told, complained = await command.communicate()
    assert command.returncode is not None
    return command.returncode, told.decode(), complained.decode()


@pytest.mark.ovs
async def test_command_shows_what_others_did_to_a_real_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALCOR_AUDIT_S", "3600")  # the agent mends nothing meanwhile
    monkeypatch.setenv("ALCOR_REPAIR_MS", "3600000")
    async with Cloud() as cloud:
        (host,) = await cloud.add_hosts("one")
        network = await cloud.rest.create("network", {"name": "blue"})
        subnet = {"network_id": network["id"], "ip_version": 4, "cidr": "10.0.0.0/24"}
        await cloud.rest.create("subnet", subnet)
        port = await cloud.rest.create("port", {"network_id": network["id"]})
        vm = await cloud.boot(host, "web", port)
        assert await cloud.bind(port["id"], "one") is not None

        status, text, _ = await alcor_show(cloud, "host", "one")
        assert status == 0
        assert "Difference: none. It has what is wanted, and so has its switch." in text
        assert max(map(len, text.splitlines())) <= WIDTH

        ofport = await host.ofport(vm.tap)
        await host.ofctl("del-flows", f"table={LEAVE.number},reg7=2")
        await host.ofctl("mod-flows", f"table={CLASSIFY.number},in_port={ofport},actions=drop")
        await host.ofctl("add-flow", "table=200,priority=5,actions=drop")
        _, json, _ = await alcor_show(cloud, "host", "one", "--json")
        [shown] = msgspec.json.decode(json, type=Shown).hosts
        assert shown.held is not None
        assert shown.held.flows is not None
        difference = {each.state: each for each in shown.held.flows.difference.first}
        assert shown.held.flows.differing == len(difference) == 3
        assert difference["altered"].rows == (("host:one", port["id"]),)
        assert difference["altered"].held.endswith(f"in_port={ofport} actions=drop")
        assert difference["missing"].wanted == "table=LEAVE,priority=200,reg7=0x2 actions=resubmit(,DELIVER)"
        assert difference["foreign"].held == "table=200,priority=5 actions=drop"

        _, text, _ = await alcor_show(cloud, "port", port["id"])
        assert f"Interface {vm.tap}, OpenFlow port {ofport}." in text
        assert "has table=CLASSIFY" in text
        for what in (("hosts",), ("scope", f"network:{network['id']}")):
            status, text, _ = await alcor_show(cloud, *what)
            assert (status, "one" in text) == (0, True)
        status, _, complaint = await alcor_show(cloud, "port", "absent")
        assert (status, complaint.strip()) == (
            1,
            "alcor: no host is wanted to have port absent: none has this id or name, or it is bound to no host.",
        )
        for name in ("web", "web"):
            another = {"network_id": network["id"], "name": name, "binding:host_id": "one"}
            last = await cloud.rest.create("port", another)
        status, _, complaint = await alcor_show(cloud, "port", "web")
        assert (status, complaint.count(last["id"])) == (1, 1)
        assert complaint.startswith("alcor: 2 have the name web; ask for one by its id: ")
        status, _, complaint = await alcor_show(cloud, "host")
        assert (status, complaint.strip()) == (2, "alcor: say which host: alcor show host NAME")
