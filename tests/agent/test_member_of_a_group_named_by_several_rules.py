# SPDX-License-Identifier: Apache-2.0
"""One group that several rules name as their remote: its members stand in the clauses of every one of them."""

from alcor.agent.derive import Deriver
from alcor.dataplane.rows import HostFacts, Row
from alcor.dataplane.values import Conjunction
from alcor.features.host import HOST
from alcor.features.security_group.flows import GroupSetRow, RuleRow


def rule(number: int, protocol: int) -> RuleRow:
    """A rule of group S that lets members of group R in."""
    return RuleRow(
        group="S", number=number, direction="ingress", version=4, protocol=protocol, remote_group="R"
    )


def clauses(deriver: Deriver) -> set[int]:
    """The conjunctions in which group set 7 is the remote."""
    return {
        action.id
        for (_, _, match), flow in deriver.wanted.items()
        for action in flow.actions
        if isinstance(action, Conjunction) and any(t.field == "reg6" and t.value == 7 for t in match)
    }


def test_member_is_the_remote_of_every_rule_that_names_its_group() -> None:
    rows: dict[str, dict[str, Row]] = {
        "security_group:S": {"one": rule(1, protocol=1), "two": rule(2, protocol=6)},
        "members:R": {"7": GroupSetRow(number=7)},
    }
    deriver = Deriver(HOST, rows, HostFacts("here", "192.0.2.1", 1))
    deriver.apply([(scope, key) for scope, held in rows.items() for key in held])
    assert clauses(deriver) == {1, 2}

    del rows["security_group:S"]["one"]
    deriver.apply([("security_group:S", "one")])
    assert clauses(deriver) == {2}
