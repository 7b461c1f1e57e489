# SPDX-License-Identifier: Apache-2.0
"""One case: flows and frames, given to both switches, and what differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from alcor.dataplane.values import Action, Clone, Ct, Flow, Resubmit
from alcor.testing.fake_switch import Emission, FakeSwitch, FlowRefused
from tests.contract.flow_sets import without
from tests.contract.frames import Arrival
from tests.contract.real_switch import LOCAL_IP, PORTS, TUNNEL_PORT, RealSwitch, key_of

EMISSIONS_MAX = (
    40  # for one frame; a dummy device holds no more than 100 frames, the controller's queue is bounded too
)
FRAGMENT_BYTES_MIN = 1200  # only fragments make frames as long as that
LOOK_UPS_MAX = 3_000  # for one case; flows that send packets round in circles can multiply them
_TOLD = ("in_port", "metadata", "reg", "tun_")


@dataclass(frozen=True, slots=True)
class Case:
    """Flows, and frames that come in one after another."""

    flows: tuple[Flow, ...]
    arrivals: tuple[Arrival, ...]


@dataclass(slots=True)
class StillClock:
    """A clock that moves when it is told to."""

    at_s: float = 1000.0

    def now_s(self) -> float:
        """The same as monotonic_s."""
        return self.at_s

    def monotonic_s(self) -> float:
        """The time that it was set to."""
        return self.at_s


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a frame led to, comparable between switches: frames by port, and packets to the controller."""

    frames: tuple[tuple[int, tuple[Emission, ...]], ...]
    packet_ins: tuple[object, ...]


def fake_switch(clock: StillClock) -> FakeSwitch:
    """A fake switch with the ports of the real one."""
    switch = FakeSwitch(clock)
    for port in PORTS:
        switch.add_port(port)
    switch.add_tunnel_port(TUNNEL_PORT, LOCAL_IP)
    return switch


def run_fake(case: Case) -> tuple[FakeSwitch, list[Outcome]]:
    """The case on a fake switch."""
    clock = StillClock()
    switch = fake_switch(clock)
    switch.apply(case.flows)
    outcomes = []
    for arrival in case.arrivals:
        clock.at_s += arrival.after_s
        switch.packet_ins.clear()
        emissions = switch.receive(arrival.port, arrival.frame, arrival.tunnel)
        told = tuple(
            (each.frame, each.table, each.cookie, each.userdata, _told(each.metadata))
            for each in switch.packet_ins
        )
        outcomes.append(Outcome(_by_port(emissions), told))
    return switch, outcomes


def run_real(real: RealSwitch, case: Case) -> list[Outcome]:
    """The case's frames on a real switch that has its flows."""
    outcomes = []
    for arrival in case.arrivals:
        if arrival.after_s:
            real.warp(arrival.after_s)
        real.packet_ins.clear()
        emissions = real.send(arrival.port, arrival.frame, arrival.tunnel)
        told = tuple(
            (
                each.packet,
                each.table,
                each.cookie,
                each.userdata,
                _told({t.field: t.value for t in each.metadata}),
            )
            for each in real.packet_ins
        )
        outcomes.append(Outcome(_by_port(emissions), told))
    return outcomes


def difference(real: RealSwitch, case: Case) -> str:
    """The first thing in which the switches differ, or an empty text."""
    fake, expected = run_fake(case)
    error = real.install(case.flows)
    if error:
        return error
    actual = run_real(real, case)
    if waiting := fake.fragments_waiting:
        real.forget_fragments(waiting)
        return _differing(expected, actual)
    return _differing(expected, actual) or _miscount(real, case, fake)


def _differing(expected: list[Outcome], actual: list[Outcome]) -> str:
    for number, (one, other) in enumerate(zip(expected, actual, strict=True)):
        if one != other:
            return f"packet {number}:\n  fake {_shown(one)}\n  OVS  {_shown(other)}"
    return ""


def _miscount(real: RealSwitch, case: Case, fake: FakeSwitch) -> str:
    if any(_goes_back(flow.table, flow.actions) for flow in case.flows):
        return ""  # OVS miscounts a packet that meets one flow of its datapath within itself
    counted = real.counts()
    for flow in case.flows:
        fakes, reals = fake.packets(*flow.identity), counted[key_of(flow)]
        if fakes != reals:
            return f"packets counted by {flow}: fake {fakes}, OVS {reals}"
    return ""


def _goes_back(table: int, actions: Sequence[Action]) -> bool:
    for action in actions:
        if isinstance(action, Clone):
            if _goes_back(table, action.actions):
                return True
        elif isinstance(action, Resubmit | Ct) and action.table is not None and action.table <= table:
            return True
    return False


def is_usable(case: Case) -> bool:
    """Whether the outcome is defined by the flows alone, and small enough to be carried by dummy devices."""
    try:
        fake, outcomes = run_fake(case)
    except FlowRefused:
        return False
    most = max((sum(len(frames) for _, frames in each.frames) for each in outcomes), default=0)
    most = max(most, max((len(each.packet_ins) for each in outcomes), default=0))
    looked_up = sum(fake.packets(*flow.identity) for flow in case.flows)
    if fake.ambiguities or fake.out_of_bounds or most > EMISSIONS_MAX or looked_up > LOOK_UPS_MAX:
        return False
    # Fragments that go round in circles together with their likes are let go in an order of OVS's own.
    in_pieces = any(len(each.frame) > FRAGMENT_BYTES_MIN for each in case.arrivals)
    return not (in_pieces and any(_goes_back(flow.table, flow.actions) for flow in case.flows))


def shrunk(real: RealSwitch, case: Case, tries_max: int = 400) -> Case:
    """A smaller case that still differs: fewer frames, flows and actions."""
    tries = 0
    while True:
        for smaller in _smaller(case):
            tries += 1
            if tries > tries_max:
                return case
            if is_usable(smaller) and difference(real, smaller):
                case = smaller
                break
        else:
            return case


def _smaller(case: Case) -> Sequence[Case]:
    options = (
        [replace(case, arrivals=case.arrivals[: len(case.arrivals) // 2])] if len(case.arrivals) > 1 else []
    )
    half = len(case.flows) // 2
    if half:
        options += [replace(case, flows=case.flows[:half]), replace(case, flows=case.flows[half:])]
    for number in range(len(case.arrivals)):
        options.append(replace(case, arrivals=case.arrivals[:number] + case.arrivals[number + 1 :]))
    for number in range(len(case.flows)):
        options.append(replace(case, flows=case.flows[:number] + case.flows[number + 1 :]))
    for number, flow in enumerate(case.flows):
        for place in range(len(flow.actions)):
            changed = (*case.flows[:number], without(flow, place), *case.flows[number + 1 :])
            options.append(replace(case, flows=changed))
    return options


def _by_port(emissions: Sequence[Emission]) -> tuple[tuple[int, tuple[Emission, ...]], ...]:
    ports = sorted({each.port for each in emissions})
    return tuple((port, tuple(each for each in emissions if each.port == port)) for port in ports)


def _told(metadata: dict[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(
        sorted((name, value) for name, value in metadata.items() if value and name.startswith(_TOLD))
    )


def shown(frame: bytes) -> str:
    """The frame's bytes; of a long one the beginning."""
    return frame.hex() if len(frame) <= 200 else f"{frame[:80].hex()}... ({len(frame)} bytes)"


def _shown(outcome: Outcome) -> str:
    lines = [
        f"port {port}: {shown(each.frame)} {each.tunnel}"
        for port, each_port in outcome.frames
        for each in each_port
    ]
    lines += [f"packet-in {told}" for told in outcome.packet_ins]
    return "\n       ".join(lines) or "nothing"
