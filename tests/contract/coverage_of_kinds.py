# SPDX-License-Identifier: Apache-2.0
"""Which kinds of match, action, state and conjunction a run has really exercised: those of flows that packets took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from alcor.dataplane.values import FIELDS, Action, Clone, Conjunction, Ct, Flow, Move, SetField
from tests.contract.flow_sets import SETTABLE

ACTIONS = [
    "Output",
    "OutputField",
    "InPort",
    "SetField",
    "Move",
    "Resubmit",
    "Ct",
    "Conjunction",
    "Controller",
    "Clone",
]
CT_STATES_WANTED = {"trk+new", "trk+est", "trk+est+rpl", "trk+rel", "trk+rel+rpl", "trk+inv"}
_BITS = ((0x20, "trk"), (0x01, "new"), (0x02, "est"), (0x04, "rel"), (0x08, "rpl"), (0x10, "inv"))


def wanted() -> set[str]:
    """Every kind that a run must have met; it grows with values.py by itself."""
    moves = {f"move from {name}" for name in FIELDS if name != "conj_id" and not name.startswith("ct_")}
    return {
        *(f"match {name}" for name in FIELDS),
        *(f"match {name} masked" for name, field in FIELDS.items() if field.maskable),
        *(f"set {name}" for name in SETTABLE),
        *(f"set {name} masked" for name in SETTABLE if FIELDS[name].maskable),
        *moves,
        *(f"move to {name}" for name in SETTABLE),
        *(f"action {name}" for name in ACTIONS),
        *(f"ct_state {name}" for name in CT_STATES_WANTED),
        *(
            f"ct {name}"
            for name in (
                "commit",
                "no commit",
                "table",
                "no table",
                "zone number",
                "zone field",
                "mark",
                "mark masked",
            )
        ),
        *(f"ct of proto {number}" for number in (1, 6, 17, 58)),
        *(f"conjunction of {number}" for number in (2, 3, 4)),
        "conjunction flow of several",
        "packet-in",
        "tunnel out",
        "loop",
    }


def kinds_of(flow: Flow) -> Iterable[str]:
    """What a flow exercises when a packet takes it."""
    for term in flow.match:
        full = (1 << FIELDS[term.field].bits) - 1
        yield f"match {term.field}" + (" masked" if term.mask != full else "")
    for action in flow.actions:
        yield from _kinds_of_action(action)
    if len(flow.actions) > 1 and isinstance(flow.actions[0], Conjunction):
        yield "conjunction flow of several"


def _kinds_of_action(action: Action) -> Iterable[str]:
    yield f"action {type(action).__name__}"
    match action:
        case SetField(name, _, mask):
            yield f"set {name}" + (" masked" if mask is not None else "")
        case Move(src, dst):
            yield f"move from {src}"
            yield f"move to {dst}"
        case Clone(inner):
            for each in inner:
                yield from _kinds_of_action(each)
        case Ct(zone, commit, table, nested):
            yield "ct commit" if commit else "ct no commit"
            yield "ct no table" if table is None else "ct table"
            yield "ct zone field" if isinstance(zone, str) else "ct zone number"
            for each in nested:
                yield "ct mark" if each.mask is None else "ct mark masked"
        case _:
            pass


def state_name(bits: int) -> str:
    """ct_state as ovs-ofctl names its bits, without signs."""
    return "+".join(name for bit, name in _BITS if bits & bit)


def table_of(seen: Counter[str]) -> str:
    """The counts, most frequent kinds first in each group, in lines of moderate length."""
    lines, line = [], ""
    for name, count in sorted(seen.items()):
        word = f"{name}={count}  "
        if len(line) + len(word) > 150:
            lines.append(line)
            line = ""
        line += word
    return "\n".join([*lines, line])
