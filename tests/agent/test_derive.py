# SPDX-License-Identifier: Apache-2.0
"""Flows follow from rows: the same whether derived in steps or from nothing, at the cost of what changed."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from alcor.agent.derive import Change, Deriver, Identity
from alcor.base.net import Ip
from alcor.dataplane.rows import FlowRule, HostFacts, HostFeature, HostView, Interface, Row, RowIndex
from alcor.dataplane.values import Conjunction, Flow, Output, SetField, match
from alcor.features.host import HOST
from alcor.features.port.flows import NeighbourRow
from tests.agent.wanted import Nic, Rows, Wanted, nic, pair

FACTS = HostFacts("one", "10.99.0.1", 1)
TUNNEL_IPS = {"one": Ip("10.99.0.1"), "two": Ip("10.99.0.2"), "three": Ip("10.99.0.3")}


class Number(Row, tag="number", frozen=True, kw_only=True):
    """A row of a feature that is made up."""

    value: int


class Other(Row, tag="other", frozen=True, kw_only=True):
    """Another."""

    shown: int = 0


def own_flow(view: HostView, scope: str, row: Number) -> Iterator[Flow]:
    if row.value < 0:
        raise ValueError("below nothing")
    yield Flow(0, 1, match(reg0=row.value), (Output(1),))


def clause(view: HostView, scope: str, row: Number) -> Iterator[Flow]:
    yield Flow(1, 1, match(reg0=1), (Conjunction(row.value, 1, 2),))


def sum_of_all(view: HostView, scope: str, row: Other) -> Iterator[Flow]:
    total = sum(number.value for number in view.rows(Number, "numbers"))
    yield Flow(2, 1, match(), (SetField("reg0", total),))


EVEN = RowIndex(Number, lambda scope, key, row: [("even", key)] if row.value % 2 == 0 else [])


def count_of_even(view: HostView, scope: str, row: Other) -> Iterator[Flow]:
    yield Flow(3, 1, match(), (SetField("reg0", len(view.find(EVEN, "even"))),))


def of_host(view: HostView, scope: str, row: Other) -> Iterator[Flow]:
    for number in view.local(Number):
        yield Flow(4, 1, match(reg0=number.value), (Output(view.facts.tunnel_ofport),))
    one = view.row(Number, "numbers", "1")
    if one is not None and view.interface("i") is not None:
        yield Flow(5, 1, match(reg0=one.value), ())


MADE_UP = (
    HostFeature(
        name="made up",
        rows=(Number, Other),
        rules=(
            FlowRule(Number, own_flow),
            FlowRule(Number, clause),
            FlowRule(Other, sum_of_all),
            FlowRule(Other, count_of_even),
            FlowRule(Other, of_host),
        ),
        indexes=(EVEN,),
        static=lambda facts: [Flow(9, 0, match(), (Output(facts.tunnel_ofport),))],
    ),
)


@dataclass
class Switch:
    """What a switch would have after the changes."""

    flows: dict[Identity, Flow] = field(default_factory=dict)

    def take(self, change: Change) -> Change:
        for identity, flow in change.adds.items():
            assert self.flows.get(identity) != flow, "sent without need"
            self.flows[identity] = flow
        for identity in change.deletes:
            del self.flows[identity]
        return change


def made_up(rows: Rows) -> tuple[Deriver, Switch]:
    deriver = Deriver(MADE_UP, rows, FACTS)
    switch = Switch()
    switch.take(deriver.apply((scope, key) for scope in rows for key in rows[scope]))
    return deriver, switch


def numbers(*values: int) -> Rows:
    return {"numbers": {str(value): Number(value=value) for value in values}, "others": {"o": Other()}}


def sent(flow_table: int, change: Change) -> list[Flow]:
    return [flow for flow in change.adds.values() if flow.table == flow_table]


def test_static_flows_are_wanted_from_the_beginning() -> None:
    deriver, switch = made_up({})
    assert list(switch.flows) == [(9, 0, ())]
    assert deriver.owners((9, 0, ())) == []


def test_a_row_that_changes_is_derived_again_and_so_is_who_read_it() -> None:
    rows = numbers(1, 2, 3)
    deriver, switch = made_up(rows)
    before = deriver.derived
    rows["numbers"]["3"] = Number(value=5)
    change = switch.take(deriver.apply([("numbers", "3")]))
    assert deriver.derived - before == 3, (
        "its two rules, and the sum that read it; the even ones are the same"
    )
    assert list(change.deletes) == [(0, 1, match(reg0=3))]
    assert [flow.actions for flow in sent(2, change)] == [(SetField("reg0", 8),)]


def test_an_index_wakes_its_readers_only_when_another_set_is_found() -> None:
    rows = numbers(1, 2)
    deriver, switch = made_up(rows)
    rows["numbers"]["2"] = Number(value=4)
    assert sent(3, switch.take(deriver.apply([("numbers", "2")]))) == []
    rows["numbers"]["4"] = Number(value=6)
    [flow] = sent(3, switch.take(deriver.apply([("numbers", "4")])))
    assert flow.actions == (SetField("reg0", 2),)


def test_clauses_of_several_rows_are_one_flow_in_a_fixed_order() -> None:
    rows = numbers(7, 3, 5)
    deriver, switch = made_up(rows)
    identity = (1, 1, match(reg0=1))
    assert switch.flows[identity].actions == tuple(Conjunction(number, 1, 2) for number in (3, 5, 7))
    assert sorted(deriver.owners(identity)) == [("numbers", "3"), ("numbers", "5"), ("numbers", "7")]
    for key in ("3", "5", "7"):
        del rows["numbers"][key]
        switch.take(deriver.apply([("numbers", key)]))
    assert identity not in switch.flows


def test_a_row_that_cannot_be_derived_has_no_flows_and_harms_no_other() -> None:
    rows = numbers(1, 2)
    rows["numbers"]["2"] = Number(value=-2)
    deriver, switch = made_up(rows)
    assert deriver.failed == {("numbers", "2"): "ValueError: below nothing"}
    assert (0, 1, match(reg0=1)) in switch.flows
    rows["numbers"]["2"] = Number(value=2)
    switch.take(deriver.apply([("numbers", "2")]))
    assert deriver.failed == {}
    assert (0, 1, match(reg0=2)) in switch.flows


def test_a_flow_that_two_rows_want_is_refused_to_the_later_until_the_first_gives_it_up() -> None:
    rows = numbers(1)
    deriver, switch = made_up(rows)
    rows["numbers"]["again"] = Number(value=1)
    switch.take(deriver.apply([("numbers", "again")]))
    [(place, reason)] = deriver.failed.items()
    assert place == ("numbers", "again")
    assert "numbers 1 and numbers again" in reason
    del rows["numbers"]["1"]
    change = switch.take(deriver.apply([("numbers", "1")]))
    assert deriver.failed == {}
    assert (0, 1, match(reg0=1)) not in change.deletes
    assert deriver.owners((0, 1, match(reg0=1))) == [("numbers", "again")]


def test_a_flow_changes_hands_within_one_change() -> None:
    rows = numbers(1, 2)
    deriver, switch = made_up(rows)
    rows["numbers"]["1"], rows["numbers"]["2"] = Number(value=2), Number(value=1)
    change = switch.take(deriver.apply([("numbers", "1"), ("numbers", "2")]))
    assert deriver.failed == {}
    assert not change.deletes
    assert sent(0, change) == []


def test_interfaces_and_local_rows_are_read_like_any_other() -> None:
    rows = numbers(1) | {"host:one": {"n": Number(value=40)}}
    deriver, switch = made_up(rows)
    assert (4, 1, match(reg0=40)) in switch.flows
    assert (5, 1, match(reg0=1)) not in switch.flows
    switch.take(deriver.apply((), [Interface("i", "tap", 3)]))
    assert (5, 1, match(reg0=1)) in switch.flows
    assert [interface.name for interface in deriver.interfaces()] == ["tap"]
    switch.take(deriver.apply((), ["i"]))
    assert (5, 1, match(reg0=1)) not in switch.flows
    assert deriver.interface("i") is None


def test_other_facts_derive_everything_again() -> None:
    rows = numbers(1) | {"host:one": {"n": Number(value=40)}}
    deriver, switch = made_up(rows)
    change = switch.take(deriver.apply((), (), replace(FACTS, tunnel_ofport=2)))
    assert {flow.table for flow in change.adds.values()} == {4, 9}
    assert not deriver.apply((), (), replace(FACTS, tunnel_ofport=2)).adds


def test_a_row_of_another_kind_in_the_same_place_takes_its_flows_along() -> None:
    rows = numbers(1)
    deriver, switch = made_up(rows)
    rows["numbers"]["1"] = Other()
    switch.take(deriver.apply([("numbers", "1")]))
    assert (0, 1, match(reg0=1)) not in switch.flows
    assert "Two rows want" in str(deriver.failed), "there is one sum too many"


def test_one_row_with_two_flows_of_one_identity_is_a_defect_that_is_told() -> None:
    def twice(view: HostView, scope: str, row: Number) -> Iterable[Flow]:
        return [Flow(0, 1, match(), (Output(1),)), Flow(0, 1, match(), (Output(2),))]

    feature = HostFeature(name="twice", rows=(Number,), rules=(FlowRule(Number, twice),))
    deriver = Deriver((feature,), numbers(1), FACTS)
    deriver.apply([("numbers", "1")])
    assert "one row wants two flows" in deriver.failed["numbers", "1"]


def test_changes_that_follow_each_other_are_one() -> None:
    first, second = Flow(0, 1, match(), (Output(1),)), Flow(0, 1, match(), (Output(2),))
    change = Change({first.identity: first})
    change.follow(Change({}, {first.identity: first}))
    assert (change.adds, list(change.deletes)) == ({}, [first.identity])
    change.follow(Change({second.identity: second}))
    assert (list(change.adds.values()), change.deletes) == ([second], {})


def test_one_neighbour_more_costs_the_same_in_a_small_and_a_large_network() -> None:
    costs = []
    for size in (10, 200):
        wanted = Wanted(TUNNEL_IPS, {"n": 5001})
        for number in range(1, size + 1):
            wanted.nics[str(number)] = tiny(number, "two" if number > 3 else "one")
        wanted.rule("g", "ingress", remote_group="g")
        rows = wanted.of_host("one")
        deriver = Deriver(HOST, rows, FACTS)
        deriver.apply([(scope, key) for scope in rows for key in rows[scope]])
        before = deriver.derived
        late = tiny(size + 1, "two")
        rows["neighbours:n"]["late"] = NeighbourRow(
            mac=late.mac, addresses=late.addresses, host="two", tunnel_ip=TUNNEL_IPS["two"], group_set=1
        )
        change = deriver.apply([("neighbours:n", "late")])
        costs.append((deriver.derived - before, len(change.adds), len(change.deletes)))
    assert costs[0] == costs[1] == (1, 5, 0)


def tiny(number: int, host: str, **fields: object) -> Nic:
    return (
        nic(number % 200, "n", host, id=f"p{number}", groups=("g",), **fields)
        if number < 200
        else nic(
            7,
            "n",
            host,
            id=f"p{number}",
            mac=f"fa:16:3e:00:01:{number % 256:02x}",
            groups=("g",),
            addresses=(Ip(f"10.0.1.{number % 256}"), Ip(f"fd00::1:{number:x}")),
            **fields,
        )
    )


@pytest.mark.parametrize("seed", range(12))
def test_incremental_flows_equal_those_from_nothing_over_random_histories(seed: int) -> None:
    chance = random.Random(seed)
    wanted = Wanted(dict(TUNNEL_IPS))
    rows: Rows = {}
    deriver, switch = Deriver(HOST, rows, FACTS), Switch()
    plugged: dict[str, Interface] = {}
    switch.take(deriver.apply(()))
    for _ in range(60):
        for _ in range(chance.choice((1, 1, 1, 4))):
            mutate(wanted, chance)
        interfaces = plug(wanted, plugged, chance)
        places = bring(rows, wanted.of_host("one"))
        chance.shuffle(places)
        cut = chance.randrange(len(places) + 1)
        switch.take(deriver.apply(places[:cut], interfaces))
        switch.take(deriver.apply(places[cut:]))

        fresh = Deriver(HOST, rows, FACTS)
        fresh.apply([(scope, key) for scope in rows for key in rows[scope]], plugged.values())
        assert fresh.failed == deriver.failed == {}
        assert deriver.wanted == fresh.wanted == switch.flows


def mutate(wanted: Wanted, chance: random.Random) -> None:
    """One thing that a user might do."""
    what = chance.randrange(9)
    names = sorted(wanted.nics)
    if what <= 2 or not names:
        number = chance.randrange(1, 40)
        network = chance.choice(("n", "m"))
        wanted.vnis.setdefault(network, {"n": 5001, "m": 5002}[network])
        groups = tuple(chance.sample(("g", "h", "k"), chance.randrange(3)))
        host = chance.choice(("one", "two", "three"))
        port_security = chance.random() < 0.8
        wanted.nics[f"{network}{number}"] = nic(
            number, network, host, id=f"{network}{number}", groups=groups, port_security=port_security
        )
    elif what == 3:
        del wanted.nics[chance.choice(names)]
    elif what == 4:
        name = chance.choice(names)
        changes = chance.choice(
            (
                {"host": chance.choice(("one", "two"))},
                {"groups": tuple(chance.sample(("g", "h", "k"), chance.randrange(4)))},
                {"admin_state_up": chance.random() < 0.5},
                {
                    "pairs": (
                        pair("10.0.0.7/32", "00:00:5e:00:01:01"),
                        pair("fd00:8::/64", wanted.nics[name].mac),
                    )
                },
                {"pairs": ()},
            )
        )
        wanted.nics[name] = replace(wanted.nics[name], **changes)  # type: ignore[arg-type]
    elif what == 5:
        wanted.networks_down ^= {chance.choice(("n", "m"))}
    elif what == 6 and wanted.rules:
        del wanted.rules[chance.choice(sorted(wanted.rules))]
    else:
        group, remote = chance.choice(("g", "h", "k")), chance.choice((None, "g", "h"))
        service = chance.choice(({}, {"protocol": 6, "port_min": 80, "port_max": 90}, {"protocol": 17}))
        prefix = {"remote_prefix": "10.0.0.0/25"} if remote is None and chance.random() < 0.5 else {}
        wanted.rule(group, chance.choice(("ingress", "egress")), remote_group=remote, **service, **prefix)


def plug(wanted: Wanted, plugged: dict[str, Interface], chance: random.Random) -> list[Interface | str]:
    """Interfaces come before or after their ports, and go."""
    changes: list[Interface | str] = []
    for name in wanted.nics:
        if name not in plugged and chance.random() < 0.3:
            ofport = 10 + max((interface.ofport for interface in plugged.values()), default=0)
            changes.append(plugged.setdefault(name, Interface(name, f"tap{name}", ofport)))
    if plugged and chance.random() < 0.2:
        name = chance.choice(sorted(plugged))
        changes = [each for each in changes if isinstance(each, str) or each.iface_id != name]
        del plugged[name]
        changes.append(name)
    return changes


def bring(rows: Rows, wanted: Rows) -> list[tuple[str, str]]:
    """Rows as they are wanted; which places differ."""
    places = []
    for scope in rows.keys() | wanted.keys():
        held, new = rows.setdefault(scope, {}), wanted.get(scope, {})
        differ = [key for key in held.keys() | new.keys() if held.get(key) != new.get(key)]
        for key in differ:
            if key in new:
                held[key] = new[key]
            else:
                del held[key]
        places += [(scope, key) for key in differ]
    return sorted(places)
