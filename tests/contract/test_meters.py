# SPDX-License-Identifier: Apache-2.0
"""The fake switch's meters count as Open vSwitch's do: random flows with meters, random pauses, frame by frame."""

import random

import pytest

from alcor.dataplane.values import Ct, Flow, Meter, Output, Resubmit, match
from alcor.testing.fake_switch import Emission, Tunnel
from alcor.testing.packet import Ipv4, Packet, Udp
from tests.contract.comparison import StillClock, fake_switch
from tests.contract.real_switch import RealSwitch

pytestmark = pytest.mark.ovs

ROUNDS, FRAMES = 20, 60
IP = match(eth_type=0x0800)


def frame(payload_bytes: int, dscp: int) -> bytes:
    """A datagram."""
    payload = Udp(1, 2, bytes(payload_bytes))
    ip = Ipv4("10.0.0.1", "10.0.0.2", payload, tos=dscp << 2)
    return Packet("02:00:00:00:00:01", "02:00:00:00:00:02", ip).build()


def order(emission: Emission) -> tuple[int, bytes]:
    """What emissions are sorted by."""
    return emission.port, emission.frame


def flows(*meters: Meter) -> list[Flow]:
    """The first meter before two outputs, the second before one of them: behind a fork, and not."""
    first, second = meters
    return [
        Flow(0, 2, match(eth_type=0x0800, udp_dst=2, ip_proto=17), (first, Resubmit(1), Output(3))),
        Flow(1, 1, match(eth_type=0x0800, ip_dscp=1), (second, Output(2))),
        Flow(1, 1, match(eth_type=0x0800, ip_dscp=0), (Ct(zone=1, table=2),)),
        Flow(2, 1, IP, (second, Output(2))),
    ]


def test_frames_pass_the_meters_of_both_alike(real: RealSwitch) -> None:
    rng = random.Random(7)
    told: set[str] = set()
    for _ in range(ROUNDS):
        meters = tuple(
            Meter(number, rng.choice((1, 8, 100)), rng.choice((1, 5, 20)), rng.random() < 0.5)
            for number in (1, 2)
        )
        clock = StillClock()
        fake = fake_switch(clock)
        fake.apply(flows(*meters))
        assert not real.make_meters(*meters)
        assert not real.install(flows(*meters))
        for _ in range(FRAMES):
            pause_s = rng.choice((0, 0, 0.001, 0.01, 0.3))
            clock.at_s = round(clock.at_s + pause_s, 3)
            if pause_s:
                real.warp(pause_s)
            sent = frame(rng.choice((0, 100, 1000)), rng.choice((0, 1)))
            came = real.send(1, sent, Tunnel())
            assert sorted(came, key=order) == sorted(fake.receive(1, sent), key=order)
            told.add("+".join(str(each.port) for each in sorted(came, key=order)))
    assert told == {"", "2+3", "3"}  # dropped by the first meter, by none, by the second behind its fork
