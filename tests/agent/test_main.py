# SPDX-License-Identifier: Apache-2.0
"""The agent's loop, without sockets: what it sends to its switch, and what it says of it to push."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from alcor.agent.main import HostAgent
from alcor.agent.plug import Plugged
from alcor.agent.switch import SwitchGone
from alcor.base.net import Ip, ip_int
from alcor.base.wire import alcor_pb2 as wire
from alcor.dataplane.pipeline import CLASSIFY
from alcor.dataplane.rows import Interface
from alcor.dataplane.values import Flow
from tests.agent.fabric import TUNNEL_OFPORT, new_agent
from tests.agent.test_reconcile import Failure, MemorySwitch
from tests.agent.wanted import Feed, Wanted, nic

SCOPE = "host:one"


@dataclass
class Connection(MemorySwitch):
    """A switch that can be lost, or during whose work something can happen."""

    meanwhile: Callable[[], None] | None = None
    is_gone: bool = False
    refuse_port: int = -1

    async def apply(self, adds: Sequence[Flow], deletes: Sequence[Flow]) -> Sequence[Failure]:
        if self.is_gone:
            raise SwitchGone("it is gone")
        if self.meanwhile:
            happening, self.meanwhile = self.meanwhile, None
            happening()
        refused = [each for each in adds if classifies(each) == self.refuse_port]
        await super().apply([each for each in adds if each not in refused], deletes)
        return [Failure(each, "no room") for each in refused]


@dataclass
class Host:
    """An agent of host `one` with a switch, and a port `a` that is bound there."""

    wanted: Wanted = field(
        default_factory=lambda: Wanted({"one": Ip("10.99.0.1"), "two": Ip("10.99.0.2")}, {"n": 7})
    )
    switch: Connection = field(default_factory=Connection)

    def __post_init__(self) -> None:
        self.nic = self.wanted.nics["a"] = nic(1, "n", "one", groups=("g",))
        self.wanted.nics["far"] = nic(2, "n", "two", groups=("g",))
        self.wanted.rule("g", "ingress", remote_group="g")
        self.agent: HostAgent
        self.feed: Feed
        self.restart()

    def restart(self) -> None:
        """A new agent that knows nothing."""
        self.agent, self.feed = new_agent("one", Ip("10.99.0.1"))
        self.acks: list[wire.Ack] = []

    def send_rows(self, *, is_whole: bool = True) -> None:
        self.agent.rows_changed(self.feed.send(self.wanted.of_host("one"), is_whole=is_whole))

    def plug(self, ofport: int = 10) -> None:
        interface = Interface(self.nic.id, "tap", ofport)
        self.agent.plugged(Plugged((interface,), (), TUNNEL_OFPORT))

    def unplug(self) -> None:
        self.agent.plugged(Plugged((), (self.nic.id,), TUNNEL_OFPORT))

    async def step(self) -> list[wire.Report]:
        """One step, and what it reported."""
        await self.agent.step()
        message = self.agent.session.outgoing()
        if message is None:
            return []
        self.acks.append(wire.Envelope.FromString(message).ack)
        return list(self.acks[-1].reports)

    async def up(self) -> list[wire.Report]:
        self.plug()
        self.agent.switch_connected(self.switch)
        self.send_rows()
        return await self.step()

    def classified(self) -> set[int]:
        """Ports whose packets the switch lets in."""
        return {port for each in self.switch.flows.values() if (port := classifies(each))} - {TUNNEL_OFPORT}


def classifies(each: Flow) -> int:
    """The port that the flow classifies, or 0."""
    ports = [term.value for term in each.match if term.field == "in_port"]
    return ports[0] if each.table == CLASSIFY.number and ports else 0


def report(key: str, is_realised: bool, reason: str = "", generation: int = 1) -> wire.Report:
    return wire.Report(key=key, generation=generation, realised=is_realised, reason=reason)


async def test_plugged_and_bound_port_is_realised_at_the_position_of_its_rows() -> None:
    host = Host()
    assert await host.up() == [report(host.nic.id, True)]
    assert host.acks[0].position.revision == 1
    assert host.classified() == {10}
    assert host.switch.flows == host.agent.deriver.wanted


async def test_nothing_is_sent_before_the_tunnel_port_is_there() -> None:
    host = Host()
    host.agent.switch_connected(host.switch)
    host.send_rows()
    host.agent.plugged(Plugged((Interface(host.nic.id, "tap", 10),), (), 0))
    assert await host.step() == []
    assert host.switch.sent == []
    host.agent.plugged(Plugged((), (), TUNNEL_OFPORT))
    assert await host.step() == [report(host.nic.id, True)]


async def test_interface_plugged_before_the_binding_gets_no_flows_until_it_is_bound() -> None:
    host = Host()
    bound = host.wanted.nics.pop("a")
    host.plug()
    host.agent.switch_connected(host.switch)
    host.send_rows()
    assert await host.step() == []
    assert host.classified() == set()
    host.wanted.nics["a"] = bound
    host.send_rows()
    assert await host.step() == [report(host.nic.id, True)]
    assert host.classified() == {10}


async def test_port_bound_before_it_is_plugged_is_realised_when_it_is() -> None:
    host = Host()
    host.agent.switch_connected(host.switch)
    host.agent.plugged(Plugged((), (), TUNNEL_OFPORT))
    host.send_rows()
    assert await host.step() == [report(host.nic.id, False, "its interface is not plugged in")]
    host.plug()
    assert await host.step() == [report(host.nic.id, True)]


async def test_unplugged_port_is_reported_and_its_flows_go() -> None:
    host = Host()
    await host.up()
    host.unplug()
    assert await host.step() == [report(host.nic.id, False, "its interface is not plugged in")]
    assert host.classified() == set()
    host.plug(11)
    assert await host.step() == [report(host.nic.id, True)]
    assert host.classified() == {11}
    assert host.switch.flushed == [10, 11]


async def test_number_that_passes_to_another_interface_begins_without_connections() -> None:
    host = Host()
    await host.up()
    host.unplug()
    await host.step()
    host.plug(10)
    await host.step()
    assert host.switch.flushed == [10, 10]


def subport(host: Host, number: int) -> None:
    given = {"trunk_port": host.nic.id, "vlan": 100, "number": number, "generation": number}
    host.wanted.nics["s"] = replace(nic(5, "n", "one", groups=("g",)), **given)


async def test_number_of_a_subport_begins_and_ends_without_connections() -> None:
    host = Host()
    await host.up()
    subport(host, 0x8001)
    host.send_rows()
    await host.step()
    assert host.switch.flushed == [10, 0x8001]
    subport(host, 0x8002)
    host.send_rows()
    await host.step()
    assert host.switch.flushed[2:] == [0x8002, 0x8001]
    del host.wanted.nics["s"]
    host.send_rows()
    await host.step()
    assert host.switch.flushed[4:] == [0x8002]


async def test_new_agent_and_new_connection_end_no_connection_of_a_subport() -> None:
    host = Host()
    subport(host, 0x8001)
    await host.up()
    assert sorted(host.switch.flushed) == [10, 0x8001]
    host.restart()
    host.plug()
    host.agent.switch_connected(host.switch)
    await host.step()
    host.send_rows()
    await host.step()
    host.agent.switch_gone()
    host.agent.switch_connected(host.switch)
    await host.step()
    assert len(host.switch.flushed) == 2


async def test_new_agent_changes_nothing_that_works_and_flushes_nothing() -> None:
    host = Host()
    await host.up()
    before = dict(host.switch.flows)
    host.switch.sent.clear()
    host.restart()
    host.plug()
    host.agent.switch_connected(host.switch)
    assert await host.step() == []
    assert host.switch.flows == before, "no session yet"
    host.send_rows(is_whole=False)
    assert await host.step() == []
    assert host.switch.flows == before
    host.send_rows()
    assert await host.step() == [report(host.nic.id, True)]
    assert host.switch.flows == before
    assert host.switch.flushed == [10]
    assert host.switch.sent == []


async def test_new_agent_takes_away_what_was_left_of_others_once_it_knows_everything() -> None:
    host = Host()
    await host.up()
    del host.wanted.nics["far"]
    host.restart()
    host.plug()
    host.agent.switch_connected(host.switch)
    host.send_rows(is_whole=False)
    await host.step()
    assert len(host.switch.flows) > len(host.agent.deriver.wanted)
    assert host.acks == [], "it does not answer for flows that are not its own"
    host.send_rows()
    assert await host.step() == [report(host.nic.id, True)]
    assert host.switch.flows == host.agent.deriver.wanted


async def test_new_host_does_not_wait_for_everything_before_it_realises_something() -> None:
    host = Host()
    host.plug()
    host.agent.switch_connected(host.switch)
    host.send_rows(is_whole=False)
    assert await host.step() == [report(host.nic.id, True)]


async def test_what_changes_during_a_step_is_reported_by_the_next() -> None:
    host = Host()
    host.plug()
    host.agent.switch_connected(host.switch)
    host.send_rows()

    def bind_anew() -> None:
        host.nic = host.wanted.nics["a"] = nic(1, "n", "one", groups=("g", "h"), generation=2)
        host.send_rows()

    host.switch.meanwhile = bind_anew
    assert await host.step() == []
    assert host.acks[0].position.revision == 1
    assert await host.step() == [report(host.nic.id, True, generation=2)]
    assert host.acks[1].position.revision == 2


async def test_switch_that_is_lost_in_a_step_is_compared_when_it_is_back() -> None:
    host = Host()
    await host.up()
    host.switch.is_gone = True
    host.wanted.nics["b"] = nic(3, "n", "two", groups=("g",))
    host.send_rows()
    assert await host.step() == []
    assert not host.agent.reconciler.is_attached
    host.agent.switch_gone()
    back = Connection()
    host.agent.switch_connected(back)
    await host.step()
    assert back.flows == host.agent.deriver.wanted
    assert host.acks[-1].position.revision == 2


async def test_rows_without_a_switch_are_not_acknowledged() -> None:
    host = Host()
    host.plug()
    host.send_rows()
    assert await host.step() == []
    assert host.acks == []


async def test_port_whose_flow_is_refused_is_reported_with_the_reason_and_others_go_on() -> None:
    host = Host()
    host.switch.refuse_port = 10
    assert await host.up() == [report(host.nic.id, False, "no room")]
    assert list(host.acks[0].failures) == [wire.Failure(scope=SCOPE, key=host.nic.id, reason="no room")]
    assert len(host.switch.flows) == len(host.agent.deriver.wanted) - 1
    host.switch.refuse_port = -1
    host.agent.audit()
    assert await host.step() == [report(host.nic.id, True)]
    assert not host.acks[-1].failures


async def test_row_that_cannot_be_derived_is_told_and_holds_up_no_port() -> None:
    host = Host()
    host.wanted.tunnel_ips["two"] = Ip("fd00::2")
    [told] = await host.up()
    assert told == report(host.nic.id, True)
    places = {(failure.scope, failure.key) for failure in host.acks[0].failures}
    assert places == {("neighbours:n", host.wanted.nics["far"].id)}
    host.wanted.tunnel_ips["two"] = Ip("10.99.0.2")
    host.send_rows()
    await host.step()
    assert not host.acks[-1].failures


async def test_peers_are_told_once_flows_lead_to_them() -> None:
    host = Host()
    peers: set[int] = set()
    host.agent.on_peers = peers.update
    await host.up()
    assert peers == {ip_int(Ip("10.99.0.2"))}


async def test_tunnel_port_with_another_number_moves_all_flows() -> None:
    host = Host()
    await host.up()
    host.agent.plugged(Plugged((), (), 5))
    await host.step()
    assert host.switch.flows == host.agent.deriver.wanted
    assert 5 in {classifies(each) for each in host.switch.flows.values()}


async def test_host_whose_tunnel_port_is_gone_goes_on_with_what_is_local() -> None:
    host = Host()
    await host.up()
    host.agent.plugged(Plugged((), (), 0))
    host.wanted.nics["a"] = nic(1, "n", "one", groups=("h",))
    host.send_rows()
    await host.step()
    assert host.switch.flows == host.agent.deriver.wanted
    assert host.acks[-1].position.revision == 2


async def test_port_that_is_unbound_loses_its_flows_and_nothing_more_is_said_of_it() -> None:
    host = Host()
    await host.up()
    del host.wanted.nics["a"]
    host.send_rows()
    assert await host.step() == []
    assert host.classified() == set()
    host.feed.reopen()
    assert await host.step() == []


async def test_scopes_that_a_turn_brings_go_to_the_switch_together_with_what_needs_them() -> None:
    host = Host()
    await host.up()
    running = asyncio.create_task(host.agent.run())
    host.switch.sent.clear()
    host.wanted.vnis["m"] = 8
    host.wanted.nics["b"] = nic(3, "m", "one", groups=("h",))
    for changed in host.feed.messages(host.wanted.of_host("one")):
        host.agent.rows_changed(changed)
        for _ in range(20):  # as long as a step takes
            await asyncio.sleep(0)
    await host.agent.idle()
    assert len(host.switch.sent) == 1
    running.cancel()


async def test_scope_whose_turn_does_not_come_is_not_waited_for_long() -> None:
    host = Host()
    await host.up()
    running = asyncio.create_task(host.agent.run())
    host.wanted.vnis["m"] = 8
    first = next(iter(host.feed.messages(host.wanted.of_host("one"))))
    host.agent.rows_changed(first)
    await host.agent.idle()
    assert host.switch.flows == host.agent.deriver.wanted
    running.cancel()
