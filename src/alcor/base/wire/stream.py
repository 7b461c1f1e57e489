# SPDX-License-Identifier: Apache-2.0
"""The stream of messages between one agent and push, whatever carries it: gRPC, or memory in tests."""

from collections.abc import Awaitable
from typing import Protocol


class StreamClosed(ConnectionError):
    """The stream is over: the other end, the network or this end closed it. The message says why."""


class Stream(Protocol):
    """One end of a stream of whole messages, in order. Loss of anything is the end of the stream."""

    def write(self, message: bytes) -> Awaitable[None]:
        """Hands a message over, waiting while the other end reads too slowly. Raises StreamClosed."""

    def read(self) -> Awaitable[bytes]:
        """The next message. Raises StreamClosed once there are no more."""

    def close(self) -> Awaitable[None]:
        """Ends the stream; the other end reads what was written, then StreamClosed."""
