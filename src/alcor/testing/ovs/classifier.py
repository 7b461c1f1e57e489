# SPDX-License-Identifier: Apache-2.0
"""One flow table: the highest-priority flow that a packet matches, conjunctions included.

Tuple space search: one dictionary per set of masks. A conjunctive match is found as OVS 3.1 finds it (ovs-fields(7),
"Conjunctive Match Fields"): clauses of one priority compete with other flows by that priority, and a satisfied
conjunction is looked up again with conj_id set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter

from alcor.dataplane.values import Conjunction, Flow
from alcor.testing.ovs.state import CONJ_ID, WHOLE, Pattern, State

REMEMBERED_MAX = 10_000  # outcomes of look-ups, per table


@dataclass(slots=True, eq=False)
class Rule:
    """A flow in the switch and what it has seen."""

    flow: Flow
    pattern: Pattern
    conjunctions: tuple[Conjunction, ...]
    packets: int = 0


def rule_of(flow: Flow, pattern: Pattern) -> Rule:
    """The flow as a rule that has seen nothing; `pattern` is its match."""
    conjunctions = tuple(action for action in flow.actions if isinstance(action, Conjunction))
    return Rule(flow, pattern, conjunctions)


@dataclass(frozen=True, slots=True)
class Ambiguity:
    """Two flows of equal priority that both matched a packet and do different things: OVS may choose either."""

    table: int
    flows: tuple[Flow, Flow]


Masks = tuple[tuple[int, int], ...]  # (slot, mask)


def _reader(masks: Masks) -> Callable[[State], tuple[int, ...]]:
    """What reads the masked values of these slots. Slots that are looked at whole, the usual case, are read at once."""
    if len(masks) > 1 and all(mask == WHOLE.get(slot) for slot, mask in masks):
        return itemgetter(*(slot for slot, _ in masks))
    return lambda state: tuple([state[slot] & mask for slot, mask in masks])


@dataclass(slots=True)
class _Subtable:
    masks: Masks
    read: Callable[[State], tuple[int, ...]]
    rules: dict[tuple[int, ...], list[Rule]] = field(default_factory=dict)  # by priority, highest first
    priority_max: int = -1

    def refresh(self) -> None:
        self.priority_max = max((rules[0].flow.priority for rules in self.rules.values()), default=-1)


class Classifier:
    """The rules of one table."""

    def __init__(self) -> None:
        self._by_masks: dict[Masks, _Subtable] = {}
        self._ordered: list[_Subtable] = []
        self._is_ordered = True
        self._read_all = _reader(())
        self._found: dict[tuple[int, ...], Rule | None] = {}
        self.ambiguities: list[Ambiguity] = []

    def __iter__(self) -> Iterator[Rule]:
        for subtable in self._by_masks.values():
            for rules in subtable.rules.values():
                yield from rules

    def find(self, priority: int, pattern: Pattern) -> Rule | None:
        """The rule of exactly this priority and pattern."""
        subtable = self._by_masks.get(pattern.slots)
        rules = subtable.rules.get(pattern.values, ()) if subtable else ()
        return next((rule for rule in rules if rule.flow.priority == priority), None)

    def add(self, rule: Rule) -> None:
        """Add the rule, in place of one of the same priority and pattern."""
        self.remove(rule.flow.priority, rule.pattern)
        subtable = self._by_masks.setdefault(
            rule.pattern.slots, _Subtable(rule.pattern.slots, _reader(rule.pattern.slots))
        )
        rules = subtable.rules.setdefault(rule.pattern.values, [])
        rules.append(rule)
        rules.sort(key=lambda each: -each.flow.priority)
        self._is_ordered = False

    def remove(self, priority: int, pattern: Pattern) -> Rule | None:
        """Remove the rule and return it; None if there is none."""
        rule = self.find(priority, pattern)
        if rule is None:
            return None
        subtable = self._by_masks[pattern.slots]
        subtable.rules[pattern.values].remove(rule)
        if not subtable.rules[pattern.values]:
            del subtable.rules[pattern.values]
        if not subtable.rules:
            del self._by_masks[pattern.slots]
        self._is_ordered = False
        return rule

    def lookup(self, state: State) -> Rule | None:
        """The rule that the packet takes, or None for a table miss."""
        if not self._is_ordered:
            self._order()
        # What is found depends on nothing but the rules and the bits that some rule looks at.
        key = self._read_all(state)
        try:
            return self._found[key]
        except KeyError:
            rule = self._lookup(state, conjunctive=True)
            if len(self._found) >= REMEMBERED_MAX:
                self._found.clear()
            self._found[key] = rule
            return rule

    def _order(self) -> None:
        union: dict[int, int] = {}
        for subtable in self._by_masks.values():
            subtable.refresh()
            for slot, mask in subtable.masks:
                union[slot] = union.get(slot, 0) | mask
        self._ordered = sorted(self._by_masks.values(), key=lambda each: -each.priority_max)
        self._read_all = _reader(tuple(union.items()))
        self._found.clear()
        self._is_ordered = True

    def _lookup(self, state: State, conjunctive: bool) -> Rule | None:
        hard: Rule | None = None
        hard_priority, soft_priority = -1, -1
        soft: list[list[Rule]] = []
        for subtable in self._ordered:
            if subtable.priority_max < hard_priority:
                break
            rules = subtable.rules.get(subtable.read(state))
            if rules is None or rules[0].flow.priority < hard_priority:
                continue
            priority = rules[0].flow.priority
            if rules[0].conjunctions:
                if conjunctive and priority > hard_priority:
                    soft.append(rules)
                    soft_priority = max(soft_priority, priority)
            elif hard is not None and priority == hard_priority:
                self._compare(hard, rules[0])
            else:
                hard, hard_priority = rules[0], priority
        if hard_priority >= soft_priority:
            return hard
        return self._among_conjunctions(state, hard, soft)

    def _among_conjunctions(self, state: State, hard: Rule | None, soft: list[list[Rule]]) -> Rule | None:
        """`soft` holds, per subtable, the matching clauses and what lies under them at lower priorities."""
        while True:
            floor = hard.flow.priority if hard else -1
            soft = [rules for rules in soft if rules and rules[0].flow.priority > floor]
            if not soft:
                return hard
            top = max(rules[0].flow.priority for rules in soft)
            found = self._satisfied(state, [rules[0] for rules in soft if rules[0].flow.priority == top])
            if found is not None:
                return found
            lower = []
            for rules in soft:
                rest = rules[1:] if rules[0].flow.priority == top else rules
                if rest and not rest[0].conjunctions:
                    if hard is None or rest[0].flow.priority > hard.flow.priority:
                        hard = rest[0]
                elif rest:
                    lower.append(rest)
            soft = lower

    def _satisfied(self, state: State, clauses: list[Rule]) -> Rule | None:
        """The flow behind a conjunction of which every clause is among `clauses`."""
        seen: dict[int, set[int]] = {}
        found: Rule | None = None
        for rule in clauses:
            for part in rule.conjunctions:
                if part.of > len(clauses):
                    continue
                have = seen.setdefault(part.id, set())
                have.add(part.clause)
                if len(have) == part.of:
                    behind = self._with_conj_id(state, part.id)
                    if behind is not None and found is not None:
                        self._compare(found, behind)
                    found = found or behind
        return found

    def _with_conj_id(self, state: State, number: int) -> Rule | None:
        saved, state[CONJ_ID] = state[CONJ_ID], number
        rule = self._lookup(state, conjunctive=False)
        state[CONJ_ID] = saved
        return rule

    def _compare(self, one: Rule, other: Rule) -> None:
        if one.flow.actions != other.flow.actions:
            self.ambiguities.append(Ambiguity(one.flow.table, (one.flow, other.flow)))
