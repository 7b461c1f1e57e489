# SPDX-License-Identifier: Apache-2.0
"""Streams in memory keep order and bounds; faulty lines have the faults that were asked for."""

import asyncio
from random import Random

import pytest

from alcor.base.wire.stream import StreamClosed
from alcor.testing.transport import Faults, Line, stream_pair


async def test_messages_arrive_in_order_in_both_directions() -> None:
    one, other = stream_pair()
    for number in range(5):
        await one.write(bytes([number]))
        await other.write(bytes([number + 100]))
    assert [await other.read() for _ in range(5)] == [bytes([number]) for number in range(5)]
    assert [await one.read() for _ in range(5)] == [bytes([number + 100]) for number in range(5)]


async def test_a_writer_waits_for_a_reader_that_is_behind() -> None:
    one, other = stream_pair(bytes_max=10)
    await one.write(b"x" * 10)
    writing = asyncio.create_task(one.write(b"y"))
    await asyncio.sleep(0.01)
    assert not writing.done()
    assert await other.read() == b"x" * 10
    await writing
    assert await other.read() == b"y"


async def test_what_was_written_before_the_end_is_read() -> None:
    one, other = stream_pair()
    await one.write(b"last")
    await one.close()
    assert await other.read() == b"last"
    with pytest.raises(StreamClosed):
        await other.read()
    with pytest.raises(StreamClosed):
        await other.write(b"")


async def test_what_was_under_way_when_the_network_broke_is_lost() -> None:
    one, other = stream_pair(bytes_max=1)
    await one.write(b"lost")
    writing = asyncio.create_task(one.write(b"never sent"))
    await asyncio.sleep(0)
    await one.cut()
    with pytest.raises(StreamClosed):
        await writing
    with pytest.raises(StreamClosed):
        await other.read()


def test_a_line_without_faults_delivers_each_message_once() -> None:
    line = Line(Random(1), Faults())
    line.send(b"a")
    line.send(b"b")
    assert len(line) == 2
    assert [line.deliver() for _ in range(3)] == [b"a", b"b", None]


def test_a_faulty_line_loses_and_repeats() -> None:
    line = Line(Random(1), Faults(loss=0.5))
    for _ in range(1000):
        line.send(b"a")
    assert 400 < len(line) < 600
    line = Line(Random(1), Faults(repeat=0.5))
    line.send(b"a")
    line.send(b"b")
    delivered = list(iter(line.deliver, None))
    assert set(delivered) == {b"a", b"b"}
    assert delivered == sorted(delivered)
    line.send(b"c")
    line.cut()
    assert line.deliver() is None
