# SPDX-License-Identifier: Apache-2.0
"""Makes the switch have the flows that are wanted: sends differences, compares on connection and now and then.

Never flushes. Until the host's rows have once been complete, what a former agent left in the switch is neither altered
nor deleted. Decides no flow (`agent.derive` does) and keeps no connection (`agent.main` does).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from alcor.agent.derive import Change, Identity
from alcor.agent.switch import SwitchGone
from alcor.base.metrics import FLOW_CHANGES, FLOW_FAILURES, FLOW_REPAIRS
from alcor.base.telemetry import Meters, log, log_warning
from alcor.dataplane.pipeline import CLASSIFY, COOKIE, where
from alcor.dataplane.values import Action, Flow, Meter

AT_ONCE_MAX = 1_000  # flows given to the switch at once, and so atomically
TOLD_MAX = 10  # failures told one by one; the rest are counted
_TELL_PORTS = {term.field for term in where(in_port=0, source_port=0)}  # in CLASSIFY


class FlowFailure(Protocol):
    """A flow that is not as it was asked for, and why."""

    @property
    def flow(self) -> Flow:
        """What was asked for."""

    @property
    def reason(self) -> str:
        """Why the switch refused."""


class FlowSwitch(Protocol):
    """What a switch must offer; `agent.switch.Switch` does."""

    async def dump(self) -> list[Flow]:
        """All flows of all tables."""

    async def apply(self, adds: Sequence[Flow], deletes: Sequence[Flow]) -> Sequence[FlowFailure]:
        """Adds, then deletes, in atomic bundles; returns when that is done but for the failures."""

    async def keep_meters(self, used: Collection[int]) -> None:
        """Deletes all meters but these."""

    async def flush_ct_zone(self, zone: int) -> None:
        """Forgets all connections of a zone."""

    async def packet_out(self, packet: bytes, actions: Sequence[Action]) -> None:
        """Does actions with a packet that came in by no port."""


@dataclass(frozen=True, slots=True)
class Repairs:
    """What a comparison found other than wanted."""

    missing: int = 0
    altered: int = 0
    foreign: int = 0  # wanted by nobody, and not of ours by its cookie
    stale: int = 0  # wanted by nobody, and of ours

    @property
    def count(self) -> int:
        """All of them."""
        return self.missing + self.altered + self.foreign + self.stale


class Reconciler:
    """One switch against one set of wanted flows.

    `is_settled`: the rows were complete once, and the switch has since been made to have exactly what is wanted.
    `refused`: by identity, why the switch does not have a wanted flow.
    """

    def __init__(self, wanted: dict[Identity, Flow], meters: Meters) -> None:
        self.is_settled = False
        self.refused: dict[Identity, str] = {}
        self._wanted = wanted
        self._meters = meters
        self._switch: FlowSwitch | None = None
        self._inherited: set[Identity] = set()  # of a former agent, other than wanted; not ours to touch yet
        self._zones: set[int] = set()  # of ports that the switch has had flows for

    @property
    def is_attached(self) -> bool:
        """Whether there is a switch to send to."""
        return self._switch is not None

    @property
    def keeps_inherited(self) -> bool:
        """Whether a former agent's flows stand in the place of what is wanted."""
        return bool(self._inherited)

    async def attach(self, switch: FlowSwitch, ofports: Iterable[int]) -> Collection[Flow]:
        """Begins with a newly connected switch: sends what it lacks, whatever it has lost or kept.

        `ofports` are the ports that are plugged now, and the numbers of those that are reached by another's.
        Answers what the switch had.
        """
        self._switch = switch
        self.refused.clear()
        held = await self._held()
        self._zones = _zones_of(held)
        await self.forget_connections(ofports)
        repairs = await self._compare(held)
        log("switch attached", flows=len(held), wanted=len(self._wanted), sent=repairs.count)
        return held.values()

    def detach(self) -> None:
        """The connection is gone; the switch goes on with what it has."""
        self._switch = None

    async def settle(self) -> None:
        """The rows are complete: from here on the switch has what is wanted, and nothing else."""
        if self._switch is None or self.is_settled:
            return
        self.is_settled = True
        if self._inherited:
            held = await self._held()
            repairs = await self._compare(held)
            for zone in _zones_of(held) - _zones_of(self._wanted):  # of ports that went meanwhile
                await self._switch.flush_ct_zone(zone)
            log("switch settled", altered=repairs.altered, stale=repairs.stale, foreign=repairs.foreign)

    async def apply(self, change: Change) -> None:
        """Sends what changed. What cannot be sent now is found by the comparison on the next connection."""
        for gone in change.deletes:
            self.refused.pop(gone, None)
        adds = [flow for identity, flow in change.adds.items() if identity not in self._inherited]
        deletes = [flow for identity, flow in change.deletes.items() if identity not in self._inherited]
        await self._send(adds, deletes)

    async def look(self) -> list[Flow]:
        """What the switch has. Raises SwitchGone, also where there is none."""
        if self._switch is None:
            raise SwitchGone("the agent has no connection to its switch")
        return await self._switch.dump()

    async def put_out(self, packet: bytes, actions: Sequence[Action]) -> None:
        """Does actions with a packet, where there is a switch."""
        if self._switch is not None:
            await self._switch.packet_out(packet, actions)

    async def audit(self) -> Repairs:
        """Compares the switch with what is wanted, and mends and counts what is other."""
        if self._switch is None:
            return Repairs()
        repairs = await self._compare(await self._held())
        for kind in ("missing", "altered", "foreign", "stale"):
            self._meters.counter(FLOW_REPAIRS, kind).inc(getattr(repairs, kind))
        if repairs.count:
            log_warning(
                "flows repaired",
                missing=repairs.missing,
                altered=repairs.altered,
                foreign=repairs.foreign,
                stale=repairs.stale,
            )
        return repairs

    async def forget_connections(self, ofports: Iterable[int]) -> None:
        """Flushes the zones of ports that are new to the switch; a zone may have been another port's."""
        for ofport in ofports:
            if self._switch is not None and ofport not in self._zones:
                self._zones.add(ofport)
                await self._switch.flush_ct_zone(ofport)

    async def empty(self, zones: Iterable[int]) -> None:
        """Flushes zones that no port has any longer."""
        for zone in zones:
            self._zones.discard(zone)
            if self._switch is not None:
                await self._switch.flush_ct_zone(zone)

    def unplugged(self, ofport: int) -> None:
        """The port is gone; whoever gets its number gets its zone empty."""
        self._zones.discard(ofport)

    async def _held(self) -> dict[Identity, Flow]:
        assert self._switch is not None, "compared only while attached"
        return {flow.identity: flow for flow in await self._switch.dump()}

    async def _compare(self, held: dict[Identity, Flow]) -> Repairs:
        missing, altered = [], []
        for identity, flow in self._wanted.items():
            have = held.get(identity)
            if have is None:
                missing.append(flow)
            elif have.actions != flow.actions:
                altered.append(flow)
        extra = [flow for identity, flow in held.items() if identity not in self._wanted]
        if self.is_settled:
            self._inherited = set()
        else:
            self._inherited = {flow.identity for flow in (*altered, *extra)}
            altered, extra = [], []
        lost = sum(flow.identity not in self.refused for flow in missing)
        await self._send([*missing, *altered], extra)
        if self.is_settled and self._switch is not None:
            # Not before the flows that used them are gone: a meter takes its flows along.
            actions = (action for flow in self._wanted.values() for action in flow.actions[:1])
            await self._switch.keep_meters({action.id for action in actions if isinstance(action, Meter)})
        stale = sum(flow.cookie == COOKIE for flow in extra)
        return Repairs(lost, len(altered), len(extra) - stale, stale)

    async def _send(self, adds: Sequence[Flow], deletes: Sequence[Flow]) -> None:
        if self._switch is None or not (adds or deletes):
            return
        # Where it takes several bundles: first what drops, then from the last table to the first, so that a packet
        # finds either nothing or all that is after; and what goes, goes from the first table on.
        adds = sorted(adds, key=lambda flow: (bool(flow.actions), -flow.table))
        deletes = sorted(deletes, key=lambda flow: (not flow.actions, flow.table))
        for flow in adds:
            self.refused.pop(flow.identity, None)
        if len(adds) + len(deletes) <= AT_ONCE_MAX:
            failures = [*await self._switch.apply(adds, deletes)]
        else:
            failures = []
            for start in range(0, len(adds), AT_ONCE_MAX):
                failures += await self._switch.apply(adds[start : start + AT_ONCE_MAX], ())
            for start in range(0, len(deletes), AT_ONCE_MAX):
                failures += await self._switch.apply((), deletes[start : start + AT_ONCE_MAX])
        self._meters.counter(FLOW_CHANGES, "add").inc(len(adds))
        self._meters.counter(FLOW_CHANGES, "delete").inc(len(deletes))
        if failures:
            self._note(failures)

    def _note(self, failures: Sequence[FlowFailure]) -> None:
        self._meters.counter(FLOW_FAILURES).inc(len(failures))
        for failure in failures:
            if failure.flow.identity in self._wanted:
                self.refused[failure.flow.identity] = failure.reason
        for failure in failures[:TOLD_MAX]:
            log_warning("flow refused", flow=failure.flow, reason=failure.reason)
        if len(failures) > TOLD_MAX:
            reasons = Counter(failure.reason for failure in failures[TOLD_MAX:])
            log_warning("more flows refused", count=reasons.total(), commonest=reasons.most_common(1)[0][0])


def _zones_of(flows: Iterable[Identity]) -> set[int]:
    """The conntrack zones of the ports that flows of CLASSIFY tell."""
    matches = (match for table, _, match in flows if table == CLASSIFY.number)
    return {term.value for match in matches for term in match if term.field in _TELL_PORTS}
