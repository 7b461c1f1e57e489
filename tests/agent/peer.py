# SPDX-License-Identifier: Apache-2.0
"""A switch of which the test decides what it answers, when, and whether at all."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from alcor.dataplane.openflow import replies
from alcor.dataplane.openflow.messages import Bundle, Kind, message
from alcor.dataplane.values import Flow

Answer = Callable[[int, bytes], bytes]  # xid and body of a request -> what is written back


def error(xid: int, kind: int, code: int) -> bytes:
    """A refusal."""
    return message(Kind.ERROR, xid, struct.pack(">HH", kind, code))


def part(xid: int, flows: bytes = b"", *, is_last: bool = True) -> bytes:
    """One part of a flow-stats reply."""
    return message(Kind.MULTIPART_REPLY, xid, struct.pack(">HH4x", 1, not is_last) + flows)


@dataclass
class Peer:
    """Answers as a switch without flows would, but where `answers` says otherwise; remembers what it got."""

    path: str
    answers: dict[int, Answer] = field(default_factory=dict)
    got: list[tuple[int, int, bytes]] = field(default_factory=list)  # kind, xid, body
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    refuse: Callable[[Flow], tuple[str, int, int] | None] = lambda _flow: (
        None
    )  # when ("add", "commit"), type, code
    bundle: list[tuple[int, Flow]] = field(default_factory=list)
    installed: list[list[Flow]] = field(default_factory=list)  # by bundle

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.writers.append(writer)
        try:
            while True:
                kind, length, xid = replies.header(await reader.readexactly(8))
                body = await reader.readexactly(length - 8)
                self.got.append((kind, xid, body))
                writer.write(self.answers.get(kind, self.usual(kind))(xid, body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the agent went
        finally:
            writer.close()

    def usual(self, kind: int) -> Answer:
        """What a switch answers."""
        simple: dict[int, Answer] = {
            Kind.HELLO: lambda xid, _body: message(Kind.HELLO, xid),
            Kind.ECHO_REQUEST: lambda xid, body: message(Kind.ECHO_REPLY, xid, body),
            Kind.BARRIER_REQUEST: lambda xid, _body: message(Kind.BARRIER_REPLY, xid),
            Kind.MULTIPART_REQUEST: lambda xid, _body: part(xid),
            Kind.BUNDLE_CONTROL: self.control,
            Kind.BUNDLE_ADD: self.add,
        }
        return simple.get(kind, lambda _xid, _body: b"")

    def control(self, xid: int, body: bytes) -> bytes:
        """Opens or commits."""
        number, step, flags = struct.unpack(">IHH", body)
        if step == Bundle.OPEN:
            self.bundle = []
            return message(Kind.BUNDLE_CONTROL, xid, struct.pack(">IHH", number, Bundle.OPENED, flags))
        for inner, flow in self.bundle:
            if (refusal := self.refuse(flow)) and refusal[0] == "commit":
                return error(inner, *refusal[1:]) + error(xid, 17, 13)
            if refusal and refusal[0] == "nameless":
                return error(xid, *refusal[1:])
        self.installed.append([flow for _, flow in self.bundle])
        return message(Kind.BUNDLE_CONTROL, xid, struct.pack(">IHH", number, Bundle.COMMITTED, flags))

    def add(self, xid: int, body: bytes) -> bytes:
        """Takes a flow into the bundle."""
        flow = replies.decode_flow_mod(body[8:])
        if (refusal := self.refuse(flow)) and refusal[0] == "add":
            return error(xid, *refusal[1:])
        self.bundle.append((xid, flow))
        return b""

    def kinds(self) -> list[int]:
        """Of the messages that came."""
        return [kind for kind, _, _ in self.got]


@asynccontextmanager
async def peer(folder: Path) -> AsyncIterator[Peer]:
    """A peer that listens on a socket in `folder`."""
    made = Peer(str(folder / "br-int.mgmt"))
    server = await asyncio.start_unix_server(made.serve, made.path)
    try:
        yield made
    finally:
        server.close()
        for writer in made.writers:
            writer.close()
        await server.wait_closed()
