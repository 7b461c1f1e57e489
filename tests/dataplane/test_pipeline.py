# SPDX-License-Identifier: Apache-2.0
"""The declared tables: in packet order, each with its default, and described as they are."""

import re
from itertools import pairwise

import pytest

from alcor.dataplane import doc
from alcor.dataplane.pipeline import (
    CLASSIFY,
    COOKIE,
    DESTINATION,
    REGISTERS,
    RULES_INGRESS,
    TABLES,
    copy,
    flow,
    go,
    load,
    out_at_once,
    put_out,
    static_flows,
    tunnel_peers,
    where,
)
from alcor.dataplane.rows import HostFacts
from alcor.dataplane.values import (
    Clone,
    Conjunction,
    Controller,
    Ct,
    Foreign,
    InPort,
    Meter,
    Move,
    Output,
    OutputField,
    Resubmit,
    SetField,
    Term,
    match,
)

FACTS = HostFacts("one", "10.99.0.1", 1)


def test_tables_stand_in_the_order_of_their_numbers() -> None:
    assert all(first.number < second.number for first, second in pairwise(TABLES))
    assert len({table.name for table in TABLES}) == len(TABLES)


def test_registers_share_no_field() -> None:
    assert len({register.field for register in REGISTERS}) == len(REGISTERS)


def test_every_table_has_its_default_written_down() -> None:
    defaults = {each.table: each for each in static_flows(FACTS) if each.priority == 0}
    assert set(defaults) == {table.number for table in TABLES}
    for table in TABLES:
        goes_on = [action for action in defaults[table.number].actions if isinstance(action, Resubmit)]
        assert bool(goes_on) == table.default.startswith("go to "), table.name
        if goes_on:
            assert {goes_on[0].table: "x"}.keys() == {
                t.number for t in TABLES if t.name in table.default.split()
            }


def test_no_static_flow_puts_a_packet_out_of_a_port_that_no_row_named() -> None:
    by_tunnel = [each for each in static_flows(FACTS) if Output(1) in each.actions]
    assert len(by_tunnel) == 1
    assert {term.field for term in by_tunnel[0].match} == {"reg2", "reg7"}


def test_flows_are_ours_by_their_cookie() -> None:
    assert {each.cookie for each in static_flows(FACTS)} == {COOKIE}


def test_matches_and_actions_name_registers() -> None:
    assert where(vni=7, eth_dst=(1, 3)) == match(reg0=7, eth_dst=(1, 3))
    assert load("verdict", 1) == SetField("reg9", 1)
    assert copy("tunnel", "tun_dst") == Move("reg8", "tun_dst", 32)
    assert go(DESTINATION) == Resubmit(DESTINATION.number)
    with pytest.raises(KeyError):
        load("nothing", 1)
    with pytest.raises(ValueError, match="no such field"):
        where(nothing=1)


def test_peers_are_those_that_a_flow_sends_to() -> None:
    actions = (SetField("tun_dst", 5), Output(1), load("tunnel", 6), load("vni", 7))
    assert list(tunnel_peers(flow(CLASSIFY, 1, where(), *actions))) == [5, 6]


def test_the_page_says_of_every_table_and_register_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    doc.main()
    page = capsys.readouterr().out
    for table in TABLES:
        assert f"| {table.number} | `{table.name}` | {table.meaning} |" in page
        assert len(re.findall(rf"\b{table.name}\b", page.split("## Registers")[0])) >= 1, (
            "it is in the drawing"
        )
    for register in REGISTERS:
        assert f"| `{register.name}` | `{register.field}` |" in page


def test_actions_read_as_sentences() -> None:
    said = [
        doc.text_of(action)
        for action in (
            put_out(),
            OutputField("reg2"),
            out_at_once(),
            Meter(5, 10, 8),
            Meter(5, 10, 8, is_packets=True),
            InPort(),
            Conjunction(5, 1, 3),
            Controller(),
            Clone((Output(3), Ct(zone=7, commit=True))),
            Foreign("x"),
            SetField("eth_src", 1, 3),
            go(RULES_INGRESS),
        )
    ]
    assert said == [
        "go HAND_OVER",
        "output target_port",
        "go PUT_OUT",
        "meter 5: 10 kilobits/s, burst 8",
        "meter 5: 10 packets/s, burst 8",
        "output in_port",
        "clause 1 of 3 of rule 5",
        "to the agent",
        "clone(output 3, ct zone 7 commit)",
        "foreign",
        "eth_src = 0x1/0x3",
        "go RULES_INGRESS",
    ]
    assert (
        doc.match_text((Term("reg0", 5, 0xFFFFFFFF), Term("ct_state", 0x20, 0x30)))
        == "`vni=5` `ct_state=0x20/0x30`"
    )
