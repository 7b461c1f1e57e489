# SPDX-License-Identifier: Apache-2.0
"""Traffic between virtual machines: what is answered, what is silent, and what is lost on the way."""

import asyncio

import pytest

from tests.lab.pair import Pair

pytestmark = [pytest.mark.ovs, pytest.mark.asyncio(loop_scope="module")]


async def silence(pair: Pair) -> None:
    """Takes the flows away; the switch goes on with what it has cached until it has looked again."""
    await pair.one.ofctl("del-flows")
    async with asyncio.timeout(10):
        while await pair.left.ping("10.0.0.2", timeout_s=0.1):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("ip", ["10.0.0.2", "fd00::2"])
async def test_tcp_and_udp_are_echoed_by_a_listener(pair: Pair, ip: str) -> None:
    await pair.right.listen(8080)
    try:
        assert await pair.left.tcp(ip, 8080)
        assert await pair.left.udp(ip, 8080)
    finally:
        pair.right.hang_up()


async def test_nobody_answers_where_nobody_listens(pair: Pair) -> None:
    assert await pair.left.tcp("10.0.0.2", 81) is None
    assert await pair.left.udp("10.0.0.2", 81, timeout_s=0.2) is None
    assert await pair.left.ping("10.0.0.77", timeout_s=0.2) is None
    assert await pair.left.ping("192.0.2.1", timeout_s=0.2) is None


async def test_continuous_ping_loses_nothing_while_flows_stand(pair: Pair) -> None:
    async with pair.left.pinging("10.0.0.2", interval_s=0.005) as ping:
        await asyncio.sleep(0.3)
    assert ping.sent > 20
    assert ping.lost == 0
    assert ping.longest_gap_s == 0
    assert len(ping.round_trips_ms) == ping.sent


async def test_continuous_ping_counts_what_is_lost_in_a_gap(pair: Pair) -> None:
    async with pair.left.pinging("10.0.0.2", interval_s=0.01) as ping:
        await asyncio.sleep(0.1)
        await silence(pair)
        await pair.join()
        await asyncio.sleep(0.1)
    assert 0 < ping.lost < ping.sent
    assert ping.longest_gap_s == pytest.approx(ping.lost * 0.01)


async def test_tcp_stream_is_alive_while_packets_flow(pair: Pair) -> None:
    await pair.right.listen(8080)
    try:
        async with pair.left.stream("10.0.0.2", 8080) as stream:
            assert await stream.is_alive()
            await silence(pair)
            assert not await stream.is_alive(timeout_s=0.3)
            await pair.join()
            assert await stream.is_alive(timeout_s=5)
    finally:
        pair.right.hang_up()
    assert stream.echoes > 0
    assert stream.longest_silence_s > 0


async def test_stream_to_nobody_is_refused(pair: Pair) -> None:
    with pytest.raises(OSError, match="Connect call failed"):
        async with pair.left.stream("10.0.0.2", 81):
            pytest.fail("a stream was opened to a port where nobody listens")


async def test_raw_frame_arrives_as_it_was_sent(pair: Pair) -> None:
    frame = bytes.fromhex("fa163e000002020000000bad88b5") + b"any sender it claims".ljust(50, b"\0")
    with pair.right.capture() as capture:
        pair.left.send_frame(frame)
        assert await capture.first(lambda seen: seen == frame, timeout_s=2)
        assert await capture.first(lambda seen: seen == b"never sent", timeout_s=0.1) is None
