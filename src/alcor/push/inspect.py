# SPDX-License-Identifier: Apache-2.0
"""Questions to hosts what they have: one under way for each host, answered within seconds or not at all.

They pass by what waits for a host, and what it answers changes nothing here.
"""

import asyncio
from dataclasses import dataclass

import msgspec

from alcor.base.wire.alcor_pb2 import Inspected
from alcor.base.wire.held import BYTES_MAX, Held
from alcor.push import encode
from alcor.push.session import HostSession

WAIT_S = 5.0

_decode = msgspec.json.Decoder(Held).decode


@dataclass(frozen=True, eq=False)
class _Question:
    session: HostSession
    number: int
    answer: asyncio.Future[bytes | None]  # None: the session ended first


class Inspections:
    """The questions that are under way."""

    def __init__(self) -> None:
        self._under_way: dict[str, _Question] = {}  # by host
        self._number = 0

    async def ask(self, session: HostSession, what: str, name: str) -> Held | str:
        """What the host has, or why it does not say."""
        if not session.is_inspectable:
            return "its agent does not answer such questions"
        try:
            async with asyncio.timeout(WAIT_S):
                while (earlier := self._under_way.get(session.host)) is not None:
                    await asyncio.wait((earlier.answer,))
                return _read(await self._answer(session, what, name))
        except TimeoutError:
            return f"it did not answer within {WAIT_S:g} s"

    def answered(self, session: HostSession, inspected: Inspected) -> None:
        """A host has answered; what nobody waits for any more is dropped."""
        question = self._under_way.get(session.host)
        if question is not None and question.session is session and question.number == inspected.id:
            _settle(question, inspected.json)

    def ended(self, session: HostSession) -> None:
        """The stream is over: no answer will come."""
        question = self._under_way.get(session.host)
        if question is not None and question.session is session:
            _settle(question, None)

    async def _answer(self, session: HostSession, what: str, name: str) -> bytes | None:
        self._number += 1
        question = _Question(session, self._number, asyncio.get_running_loop().create_future())
        self._under_way[session.host] = question
        session.inspect(encode.inspect(question.number, what, name))
        try:
            return await question.answer
        finally:
            del self._under_way[session.host]
            question.answer.cancel()  # whoever waits for the next turn looks again


def _settle(question: _Question, answer: bytes | None) -> None:
    if not question.answer.done():
        question.answer.set_result(answer)


def _read(answer: bytes | None) -> Held | str:
    if answer is None:
        return "its session ended"
    if len(answer) > BYTES_MAX:
        return f"its answer is longer than {BYTES_MAX} bytes"
    try:
        return _decode(answer)
    except msgspec.MsgspecError as error:
        return f"its answer cannot be read: {error}"
