# SPDX-License-Identifier: Apache-2.0
"""The demo's drawing: what was as expected, what was not, and on terminals that know no check marks."""

import io

import pytest
from rich.console import Console

from alcor.cli.demo import drawing
from alcor.cli.demo.play import Actor, Outcome, Seen
from alcor.cli.demo.scene import HOSTS, TALKS, VMS, expected_pings, listening_ports
from alcor.cli.demo.stage import Given

GIVEN = [Given(host, f"10.99.0.{number}", 12, 140) for number, host in enumerate(HOSTS, start=1)]


class Silent:
    """A virtual machine that nobody asks anything here."""

    async def ping(self, ip: str, timeout_s: float = 1, tries: int = 1) -> None:
        """No answer."""

    async def tcp(self, ip: str, port: int, timeout_s: float = 1) -> None:
        """No answer."""

    async def udp(self, ip: str, port: int, timeout_s: float = 1) -> None:
        """No answer."""

    async def listen(self, port: int) -> None:
        """Nothing."""


def perfect() -> Outcome:
    """Everything as expected."""
    outcome = Outcome(left_ms=4.0, back_ms=5.0)
    for number, plan in enumerate(VMS, start=10):
        ips = [{"ip_address": f"fd00:1::{number:x}"}, {"ip_address": f"10.1.0.{number}"}]
        outcome.actors[plan.name] = Actor(plan, {"fixed_ips": ips}, Silent(), active_ms=7.0)
    for pair, is_expected in expected_pings().items():
        outcome.pings[pair] = seen(is_expected)
    for talk in TALKS:
        outcome.talks[talk] = seen(talk.is_expected)
    return outcome


def seen(is_expected: bool) -> Seen:
    """What was expected, seen."""
    return Seen(is_expected, (1.0, 1.0) if is_expected else (None, None))


def drawn(outcome: Outcome, encoding: str = "utf-8") -> str:
    """The drawing as text."""
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding=encoding), width=100)
    drawing.draw(console, outcome, GIVEN)
    console.file.flush()
    return raw.getvalue().decode(encoding)


def test_every_pair_of_vms_has_an_expectation() -> None:
    names = [vm.name for vm in VMS]
    assert set(expected_pings()) == {(one, other) for one in names for other in names if one != other}


def test_where_a_talk_is_tried_somebody_listens() -> None:
    ports = listening_ports()
    assert all(talk.port in ports[talk.target] for talk in TALKS)


def test_outcome_as_expected_is_drawn_without_a_warning() -> None:
    text = drawn(perfect())
    assert "✓ all 44 as expected" in text
    assert "7 ms from its binding to ACTIVE" in text
    assert "!" not in text


@pytest.mark.parametrize("host", HOSTS)
def test_each_host_is_drawn_with_its_vms_and_what_it_has(host: str) -> None:
    text = drawn(perfect())
    assert host in text
    assert "12 rows, 140" in text
    assert all(vm.name in text for vm in VMS if vm.host == host)


def test_addresses_are_drawn_ipv4_first() -> None:
    text = drawn(perfect())
    assert text.index("10.1.0.10") < text.index("fd00:1::a")


def test_ping_that_must_not_pass_and_does_is_marked() -> None:
    outcome = perfect()
    outcome.pings["red-1", "db"] = Seen(False, (1.0, None))
    text = drawn(outcome)
    assert "✓✗ !" in text
    assert "1 of 44 differ" in text


def test_ping_that_must_pass_and_does_not_is_marked() -> None:
    outcome = perfect()
    outcome.pings["web-1", "db"] = Seen(True, (None, None))
    text = drawn(outcome)
    assert "✗ !" in text
    assert "1 of 44 differ" in text


def test_port_that_never_became_active_is_wrong() -> None:
    outcome = perfect()
    actor = outcome.actors["db"]
    outcome.actors["db"] = Actor(actor.plan, actor.port, actor.machine, active_ms=None)
    text = drawn(outcome)
    assert "never ACTIVE" in text
    assert "1 of 44 differ" in text


def test_change_that_nobody_felt_is_wrong() -> None:
    outcome = perfect()
    outcome.left_ms = None
    text = drawn(outcome)
    assert "silent to it never" in text
    assert "1 of 44 differ" in text


def test_terminal_without_check_marks_gets_words() -> None:
    text = drawn(perfect(), encoding="ascii")
    assert "yes all 44 as expected" in text
    assert "?" not in text
