# SPDX-License-Identifier: Apache-2.0
"""When a port counts as realised, and when it does not any more."""

from alcor.agent.realised import Realised
from alcor.agent.session import Report
from alcor.dataplane.rows import Interface
from alcor.features.host import HOST
from alcor.features.port.flows import PortRow
from tests.agent.wanted import Rows, Wanted, nic

SCOPE = "host:one"


class Case:
    """One port, plugged, with everything that it needs."""

    def __init__(self) -> None:
        wanted = Wanted({"one": "10.99.0.1"}, {"n": 1})
        self.nic = wanted.nics["a"] = nic(1, "n", "one", groups=("g",), generation=3)
        wanted.rule("g", "ingress", remote_group="friends")
        self.rows: Rows = wanted.of_host("one")
        self.complete = set(self.rows)
        self.plugged = {self.nic.id: Interface(self.nic.id, "tap", 5)}
        self.failures: dict[tuple[str, str], str] = {}
        self.realised = Realised(HOST, self.rows, self.plugged.get)
        self.realised.changed((scope, key) for scope, keyed in self.rows.items() for key in keyed)

    def reports(self, *touched: str) -> list[Report]:
        return self.realised.reports(SCOPE, touched, self.complete, self.failures)

    def said(self, is_realised: bool, reason: str = "", generation: int = 3) -> list[Report]:
        return [Report(self.nic.id, generation, is_realised, reason)]


def test_port_with_everything_is_realised_and_that_is_said_once() -> None:
    case = Case()
    assert case.reports(case.nic.id) == case.said(True)
    assert case.reports(case.nic.id) == []


def test_port_waits_for_every_scope_that_it_needs_and_that_its_rules_need() -> None:
    case = Case()
    everything = case.complete
    for scope in ("network:n", "neighbours:n", "flood:n", "security_group:g", "members:friends"):
        assert scope in everything
    case.complete = set()
    assert case.reports(case.nic.id) == []
    for scope in sorted(everything - {"members:friends"}):
        case.complete.add(scope)
        assert case.reports() == []
    case.complete.add("members:friends")
    assert case.reports() == case.said(True)


def test_needs_of_a_rule_that_is_gone_are_not_waited_for() -> None:
    case = Case()
    case.complete.discard("members:friends")
    assert case.reports(case.nic.id) == []
    [key] = case.rows["security_group:g"]
    del case.rows["security_group:g"][key]
    case.realised.changed([("security_group:g", key)])
    assert case.reports() == case.said(True)


def test_port_without_interface_is_not_realised() -> None:
    case = Case()
    interface = case.plugged.pop(case.nic.id)
    assert case.reports(case.nic.id) == case.said(False, "its interface is not plugged in")
    case.plugged[case.nic.id] = interface
    assert case.reports(case.nic.id) == case.said(True)
    del case.plugged[case.nic.id]
    assert case.reports(case.nic.id) == case.said(False, "its interface is not plugged in")


def test_port_whose_flows_fail_is_not_realised_until_they_do_not() -> None:
    case = Case()
    case.reports(case.nic.id)
    case.failures[SCOPE, case.nic.id] = "the switch refused"
    assert case.reports() == case.said(False, "the switch refused")
    case.failures.clear()
    assert case.reports() == case.said(True)


def test_failure_of_another_row_is_not_the_ports() -> None:
    case = Case()
    case.failures["neighbours:n", "somebody"] = "no"
    assert case.reports(case.nic.id) == case.said(True)


def test_port_that_is_down_is_not_realised() -> None:
    case = Case()
    case.rows[SCOPE][case.nic.id] = PortRow(
        id=case.nic.id, network="n", mac=case.nic.mac, admin_state_up=False, generation=3
    )
    assert case.reports(case.nic.id) == case.said(False, "it is administratively down")


def test_port_bound_anew_is_reported_anew() -> None:
    case = Case()
    case.reports(case.nic.id)
    case.rows[SCOPE][case.nic.id] = PortRow(id=case.nic.id, network="n", mac=case.nic.mac, generation=4)
    assert case.reports(case.nic.id) == case.said(True, generation=4)


def test_nothing_is_said_of_a_port_that_is_gone_and_of_interfaces_of_nobody() -> None:
    case = Case()
    case.reports(case.nic.id)
    del case.rows[SCOPE][case.nic.id]
    assert case.reports(case.nic.id, "a stranger's iface-id") == []
    case.rows[SCOPE][case.nic.id] = PortRow(id=case.nic.id, network="n", mac=case.nic.mac, generation=3)
    assert case.reports(case.nic.id) == case.said(True)
