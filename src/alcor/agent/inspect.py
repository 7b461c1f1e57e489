# SPDX-License-Identifier: Apache-2.0
"""What this host says when push asks what it has: rows, interfaces, and its switch read anew beside what is wanted.

Runs beside the agent's steps, gives way every few milliseconds and changes nothing, so programming waits for no answer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from alcor.agent.derive import Deriver, Identity
from alcor.agent.realised import Realised
from alcor.agent.reconcile import Reconciler
from alcor.agent.session import Session
from alcor.agent.switch import SwitchGone, SwitchRefused
from alcor.base.wire.alcor_pb2 import Inspect, Inspected
from alcor.base.wire.digest import row_hash
from alcor.base.wire.held import (
    LISTED_MAX,
    FlowDifference,
    FlowOfRow,
    FlowsHeld,
    Held,
    InterfaceHeld,
    Listed,
    ReportHeld,
    RowFault,
    RowHash,
    RowHeld,
    ScopeHeld,
    encoded,
)
from alcor.dataplane.pipeline import COOKIE
from alcor.dataplane.rows import Interface
from alcor.dataplane.text import flow_text
from alcor.dataplane.values import Flow

IDLE_WAIT_S = 0.5  # for changes that are under way, before the switch is read in their midst
SLICE = 500  # things looked at before others in the loop get their turn
SCOPES_MAX = 5_000
IN_SWITCH = "in the switch"

Flows = Mapping[Identity, Flow]


class Inspector:
    """Answers one question at a time; a newer one takes the place of what is not answered yet."""

    def __init__(self, session: Session, answer: Callable[[str, str], Awaitable[Held]]) -> None:
        self._session = session
        self._answer = answer
        self._task: asyncio.Task[None] | None = None
        session.on_inspect = self._asked

    def close(self) -> None:
        """Answers nothing any more."""
        if self._task is not None:
            self._task.cancel()

    def _asked(self, question: Inspect) -> None:
        self.close()
        self._task = asyncio.create_task(self._tell(question), name="inspection")
        self._task.add_done_callback(_raise_fault)

    async def _tell(self, question: Inspect) -> None:
        held = await self._answer(question.what, question.name)
        self._session.inspected(Inspected(id=question.id, json=encoded(held)))


@dataclass
class Survey:
    """The parts of an agent that its answers are made of; `look` reads the switch, and may be replaced."""

    session: Session
    deriver: Deriver
    reconciler: Reconciler
    realised: Realised
    idle: Callable[[], Awaitable[None]]  # returns once nothing is under way
    look: Callable[[], Awaitable[list[Flow]]]

    async def held(self, what: str, name: str) -> Held:
        """What the host has, `what` and `name` being those of an Inspect."""
        if what == "scope":
            return await rows_held(self.session, (name,))
        is_idle = await self._is_idle()
        before = dict(self.deriver.wanted)
        switch, why = None, ""
        try:
            switch = {flow.identity: flow for flow in await self.look()}
        except (SwitchGone, SwitchRefused) as reason:
            why = f"its switch cannot be read: {reason}"
        wanted = dict(self.deriver.wanted)
        scopes = list(self.session.rows.bodies()) if what == "host" else []
        return replace(
            await rows_held(self.session, scopes),
            is_busy=not is_idle or before != wanted,
            keeps_inherited=self.reconciler.keeps_inherited,
            faults=Listed.of(self._faults(), LISTED_MAX[0]),
            interfaces=Listed.of(self._interfaces(), LISTED_MAX[0]),
            flows=await self._compared(wanted, switch, before) if switch is not None else None,
            why_no_flows=why,
            row=self._row(name, switch) if what == "row" else None,
        )

    async def _is_idle(self) -> bool:
        try:
            async with asyncio.timeout(IDLE_WAIT_S):
                await self.idle()
        except TimeoutError:
            return False
        return True

    def _faults(self) -> list[RowFault]:
        failing = {**self.session.rows.faults, **self.deriver.failed}
        return [
            RowFault(scope=scope, key=key, reason=reason) for (scope, key), reason in sorted(failing.items())
        ]

    def _interfaces(self) -> list[InterfaceHeld]:
        bound = self.realised.iface_ids(own_scope(self.session))
        return [
            replace(_interface(each), is_bound=each.iface_id in bound) for each in self.deriver.interfaces()
        ]

    async def _compared(self, wanted: Flows, switch: Flows, before: Flows) -> FlowsHeld:
        """What differs; what changed while the switch was read is left to the next look."""
        found: list[tuple[str, Identity]] = []
        async for identity in _in_slices(wanted):
            state = self._state(wanted[identity], switch)
            if state != IN_SWITCH and before.get(identity) == wanted[identity]:
                found.append((state, identity))
        async for identity in _in_slices(switch):
            if identity not in wanted and identity not in before:
                is_ours = switch[identity].cookie == COOKIE
                found += [("stale" if is_ours else "foreign", identity)]
        found.sort()
        counts = Counter(state for state, _ in found)
        return FlowsHeld(
            wanted=len(wanted),
            held=len(switch),
            missing=counts["missing"],
            refused=counts["refused"],
            altered=counts["altered"],
            stale=counts["stale"],
            foreign=counts["foreign"],
            difference=Listed(
                len(found),
                tuple(
                    FlowDifference(
                        state=state,
                        wanted=_text(wanted.get(identity)),
                        held=_text(switch.get(identity)),
                        reason=self.reconciler.refused.get(identity, ""),
                        rows=tuple(self.deriver.owners(identity)),
                    )
                    for state, identity in found[: LISTED_MAX[0]]
                ),
            ),
        )

    def _state(self, flow: Flow, switch: Flows) -> str:
        held = switch.get(flow.identity)
        if held is not None and held.actions == flow.actions:
            return IN_SWITCH
        if flow.identity in self.reconciler.refused:
            return "refused"
        return "missing" if held is None else "altered"

    def _row(self, key: str, switch: Flows | None) -> RowHeld:
        row = row_held(self.session, self.realised, key)
        iface_id = self.realised.iface_id(own_scope(self.session), key)
        interface = self.deriver.interface(iface_id) if iface_id is not None else None
        flows = []
        for place in row.places:
            for flow in self.deriver.flows((place.scope, key)):
                state = self._state(flow, switch) if switch is not None else ""
                held = _text(switch.get(flow.identity)) if switch is not None and state != IN_SWITCH else ""
                reason = self.reconciler.refused.get(flow.identity, "")
                told = FlowOfRow(
                    scope=place.scope, flow=flow_text(flow), state=state, held=held, reason=reason
                )
                flows.append((flow.table, -flow.priority, told))
        flows.sort(key=lambda each: each[:2])
        return replace(
            row,
            interface=_interface(interface) if interface is not None else None,
            flows=Listed.of((told for _, _, told in flows), LISTED_MAX[0]),
        )


async def rows_held(session: Session, scopes: Collection[str]) -> Held:
    """Where the host stands, and what it has of these scopes."""
    rows = session.rows
    found = []
    for scope in scopes:
        bodies = rows.bodies().get(scope)
        if bodies is not None:
            found.append(ScopeHeld(scope=scope, rows=len(bodies), digest=rows.digest(scope).hex()))
        await asyncio.sleep(0)  # to hash a large scope takes milliseconds
    return Held(
        revision=rows.position.revision if rows.position is not None else None,
        is_whole=rows.is_whole,
        scopes=Listed.of(found, SCOPES_MAX),
    )


def row_held(session: Session, realised: Realised, key: str) -> RowHeld:
    """What the host has of the row under `key`, wherever it is; nothing of interface and flows."""
    rows = session.rows
    places = tuple(
        RowHash(scope=scope, hash=f"{row_hash(key, bodies[key]):032x}")
        for scope, bodies in sorted(rows.bodies().items())
        if key in bodies
    )
    report = session.report(key)
    return RowHeld(
        key=key,
        places=places,
        report=ReportHeld(generation=report.generation, is_realised=report.is_realised, reason=report.reason)
        if report is not None
        else None,
        waits_for=tuple(realised.lacking(own_scope(session), key, rows.complete)),
    )


def own_scope(session: Session) -> str:
    """The name of the host's own scope."""
    return f"host:{session.identity.host}"


async def _in_slices(flows: Flows) -> AsyncIterator[Identity]:
    for number, identity in enumerate(flows):
        if number % SLICE == 0:
            await asyncio.sleep(0)
        yield identity


def _text(flow: Flow | None) -> str:
    return flow_text(flow) if flow is not None else ""


def _interface(interface: Interface) -> InterfaceHeld:
    return InterfaceHeld(iface_id=interface.iface_id, name=interface.name, ofport=interface.ofport)


def _raise_fault(task: asyncio.Task[None]) -> None:
    """A fault is ours: the loop tells it with its trace, and push is told nothing."""
    if not task.cancelled():
        task.result()
