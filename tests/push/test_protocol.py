# SPDX-License-Identifier: Apache-2.0
"""Whatever happens to streams, hosts, push and log, every host comes to hold exactly the rows that it needs."""

from random import Random

import pytest

from alcor.push.session import Limits
from alcor.testing.transport import Faults
from tests.goal import toy
from tests.goal.histories import State, random_turns
from tests.push.simulation import Simulation

TINY = Limits(queue_rows_max=12, queue_bytes_max=2_000, chunk_bytes_max=120, recent_max=30)
SEEDS = range(30)


def turns(seed: int, count: int) -> list[list[toy.Write]]:
    return [list(turn) for turn in random_turns(toy.random_write, seed, count)]


def run(simulation: Simulation, seed: int, *, steps: int = 25, count: int = 60) -> None:
    for turn in turns(seed, count):
        simulation.turn(turn)
        for _ in range(simulation.random.randrange(steps)):
            simulation.random_step()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("limits", [Limits(), TINY], ids=["wide", "tiny"])
def test_hosts_follow_however_messages_interleave(seed: int, limits: Limits) -> None:
    simulation = Simulation(seed, limits=limits)
    run(simulation, seed)
    simulation.settle()
    simulation.check()
    assert all(host.refusals == 0 for host in simulation.hosts.values())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("limits", [Limits(), TINY], ids=["wide", "tiny"])
def test_hosts_follow_through_loss_and_repetition(seed: int, limits: Limits) -> None:
    simulation = Simulation(seed, faults=Faults(loss=0.05, repeat=0.05), limits=limits)
    run(simulation, seed)
    assert any(host.refusals for host in simulation.hosts.values())
    simulation.settle()
    simulation.check()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("limits", [Limits(), TINY], ids=["wide", "tiny"])
def test_hosts_follow_through_broken_streams_and_restarts(seed: int, limits: Limits) -> None:
    simulation = Simulation(seed, limits=limits)
    for turn in turns(seed, 80):
        simulation.turn(turn)
        for _ in range(simulation.random.randrange(20)):
            simulation.random_step()
        host = simulation.random.choice(list(simulation.hosts.values()))
        match simulation.random.randrange(12):
            case 0:
                simulation.restart_push()
            case 1:
                simulation.restart_agent(host)
            case 2 | 3:
                simulation.lose_stream(host)
            case 4:
                simulation.connect(host)  # push does not know yet that the old stream is gone
    simulation.settle()
    simulation.check()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("limits", [Limits(), TINY], ids=["wide", "tiny"])
def test_hosts_converge_to_a_restored_older_log(seed: int, limits: Limits) -> None:
    simulation = Simulation(seed, limits=limits)
    past = turns(seed, 30)
    for turn in past:
        simulation.turn(turn)
        for _ in range(20):
            simulation.random_step()
    older = State(toy.SCHEMA, epoch=1)
    for turn in past[: Random(seed).randrange(len(past))]:
        older.take(turn)
    simulation.restore(older)
    run(simulation, seed + 1, count=20)
    simulation.settle()
    simulation.check()


def test_a_host_that_reads_nothing_is_bounded_and_slows_nobody() -> None:
    simulation = Simulation(1, limits=TINY)
    simulation.settle()
    slow = simulation.hosts["r0"]
    quick = [host for host in simulation.hosts.values() if host is not slow]
    for turn in turns(5, 150):
        simulation.turn(turn)
        assert slow.at_push is not None
        assert slow.at_push.waiting[1] <= TINY.queue_bytes_max
        for host in quick:
            while simulation.push_sends(host) or simulation.agent_reads(host):
                pass
            assert host.rows.position is not None
            assert host.at_push is not None
            assert host.at_push.waiting == (0, 0)
    assert simulation.publisher.counts.drops.total() > 0
    simulation.settle()
    simulation.check()
