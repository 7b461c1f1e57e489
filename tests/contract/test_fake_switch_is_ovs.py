# SPDX-License-Identifier: Apache-2.0
"""The fake switch does what Open vSwitch does: random flows and packets through both, packet by packet.

ALCOR_CONTRACT_SEED repeats a run, ALCOR_CONTRACT_CASES sets how many (flow set, packet) cases it has.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from alcor.dataplane.values import Conjunction, Flow
from alcor.testing import conntrack
from alcor.testing.ovs.check import FlowRefused, checked_pattern
from alcor.testing.ovs.extract import Layout
from tests.contract.comparison import Case, difference, is_usable, run_fake, shown, shrunk
from tests.contract.coverage_of_kinds import kinds_of, state_name, table_of, wanted
from tests.contract.flow_sets import FlowSets, Recipe, spoilt
from tests.contract.frames import arrivals
from tests.contract.real_switch import TUNNEL_PORT, RealSwitch

pytestmark = pytest.mark.ovs

FRAMES_PER_SET = 16
AIMED_PER_SET = 6
CASES_MIN = 2_000
REFUSALS = 2_000


def test_random_packets_fare_alike_in_the_fake_switch_and_in_ovs(real: RealSwitch) -> None:
    seed = int(os.environ.get("ALCOR_CONTRACT_SEED") or random.SystemRandom().randrange(1 << 32))
    cases = int(os.environ.get("ALCOR_CONTRACT_CASES") or CASES_MIN)
    print(f"seed {seed}: ALCOR_CONTRACT_SEED={seed} repeats this run")
    rng, seen, done = random.Random(seed), Counter[str](), 0
    while done < cases or (wanted() - set(seen) and done < 4 * cases):
        case = _next_case(rng, seen)
        differs = difference(real, case)
        if differs:
            pytest.fail(f"seed {seed}, case {done}\n{_report(real, case)}")
        _count(case, seen)
        done += len(case.arrivals)
    print(f"{done} cases; kinds exercised:\n{table_of(seen)}")
    assert not wanted() - set(seen), f"never exercised: {sorted(wanted() - set(seen))}"


def test_both_refuse_the_same_flows(real: RealSwitch) -> None:
    seed = int(os.environ.get("ALCOR_CONTRACT_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"seed {seed}")
    rng, seen = random.Random(seed), Counter[str]()
    verdicts = Counter[str]()
    while sum(verdicts.values()) < REFUSALS:
        flows = FlowSets(rng, Recipe(arrivals(rng, FRAMES_PER_SET), seen)).make()
        for flow in flows:
            tried = spoilt(rng, flow, rng.choice(flows))
            try:
                ovs = real.install([tried])
            except ValueError:
                continue  # the encoder does not even say it
            fake = _refusal(tried)
            assert bool(ovs) == bool(fake), (
                f"seed {seed}: {tried}\n  OVS:  {ovs or 'takes it'}\n  fake: {fake or 'takes it'}"
            )
            verdicts[fake.partition(":")[0]] += 1
    print(verdicts)
    assert len(verdicts) > 4, verdicts


def _refusal(flow: Flow) -> str:
    try:
        checked_pattern(flow)
    except FlowRefused as refused:
        return str(refused)
    return ""


def _next_case(rng: random.Random, seen: Counter[str]) -> Case:
    while True:
        frames = tuple(arrivals(rng, FRAMES_PER_SET))
        missing = sorted(wanted() - set(seen))
        aim = rng.sample(missing, min(AIMED_PER_SET, len(missing))) if seen else []
        case = Case(FlowSets(rng, Recipe(frames, seen, aim)).make(), frames)
        if is_usable(case):
            return case


def _count(case: Case, seen: Counter[str]) -> None:
    with _watched_conntrack(seen):
        fake, outcomes = run_fake(case)
    taken = [flow for flow in case.flows if fake.packets(*flow.identity)]
    satisfied = {term.value for flow in taken for term in flow.match if term.field == "conj_id"}
    for flow in case.flows:
        parts = [part for part in flow.actions if isinstance(part, Conjunction) and part.id in satisfied]
        if flow in taken or parts:
            seen.update(kinds_of(flow))
        seen.update(f"conjunction of {part.of}" for part in parts)
    seen["packet-in"] += sum(len(each.packet_ins) for each in outcomes)
    seen["tunnel out"] += sum(port == TUNNEL_PORT for each in outcomes for port, _ in each.frames)
    seen["loop"] += fake.abandoned


@contextmanager
def _watched_conntrack(seen: Counter[str]) -> Iterator[None]:
    original = conntrack.Conntrack.track

    def track(
        self: conntrack.Conntrack,
        frame: bytes | bytearray,
        layout: Layout,
        before: conntrack.Tracked,
        request: conntrack.CtRequest,
    ) -> conntrack.Tracked:
        after = original(self, frame, layout, before, request)
        seen[f"ct_state {state_name(after.state)}"] += 1
        seen[f"ct of proto {layout.proto}"] += 1
        return after

    conntrack.Conntrack.track = track  # type: ignore[method-assign]  # only watched, for the time of one case
    try:
        yield
    finally:
        conntrack.Conntrack.track = original  # type: ignore[method-assign]  # as it was


def _report(real: RealSwitch, case: Case) -> str:
    small = shrunk(real, case)
    differs = difference(real, small)
    real.install(small.flows)
    dump = ["ovs-ofctl", "-OOpenFlow14", "--no-stats", "dump-flows", f"unix:{real.folder}/br0.mgmt"]
    flows = subprocess.run(dump, check=True, capture_output=True, text=True, timeout=10).stdout
    frames = "\n".join(
        f" {n}: {each.port} {shown(each.frame)} {each.tunnel} +{each.after_s}s"
        for n, each in enumerate(small.arrivals)
    )
    return f"{differs}\nflows:\n{flows}\nframes:\n{frames}\n{small.flows}"
