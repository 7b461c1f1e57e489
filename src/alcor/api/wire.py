# SPDX-License-Identifier: Apache-2.0
"""HTTP as the handlers see it: a request with its whole body read within bounds, and a reply, whole or in chunks.

Past this module JSON is plain Python values; what Neutron's clients read of an error is made here too.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from alcor.base.config import Settings
from alcor.base.errors import Invalid, Refusal, TooLarge, Unauthorized, Unavailable, UnsupportedMedia
from alcor.resource.context import Asked

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON = b"application/json"
REVISION = b"x-alcor-revision"  # the log revision at which an answer was true
REQUEST_ID = b"x-openstack-request-id"

BODIES_EXCEEDED = "RequestBodiesExceeded"  # the type of its refusal

DEPTH_MAX = 32  # lists and objects within each other in a body
_TOO_DEEP = f"it is nested more than {DEPTH_MAX} deep"
_MANY_DIGITS = re.compile(rb"[0-9]{19}")  # of a number that may not fit into 64 bits

encode = msgspec.json.Encoder().encode
encode_into = msgspec.json.Encoder().encode_into
_decode = msgspec.json.Decoder().decode


class ClientGoneError(Exception):
    """The client has closed its connection: nobody waits for an answer."""


class Bodies:
    """Bounds what the bodies of all requests under way may hold of the process's memory."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.bytes = 0

    def hold(self, size: int) -> None:
        """Counts bytes of a body in. Raises Unavailable where they are too many."""
        if self.bytes + size > self._bytes_max:
            message = (
                f"All requests' bodies together may hold {self._bytes_max} bytes: try again in a moment."
            )
            raise Unavailable(message, type=BODIES_EXCEEDED)
        self.bytes += size

    def release(self, size: int) -> None:
        """Counts them out: their request has been answered."""
        self.bytes -= size


@dataclass(slots=True)
class Request:
    """One request. `asked` is set once the caller is known."""

    method: str
    path: str
    query: bytes
    headers: Mapping[bytes, bytes]
    scheme: str
    receive: Receive
    is_gone: Callable[[], bool]
    id: str
    bodies: Bodies
    held_bytes: int = 0  # of the process's bound on bodies
    has_more: bool = True  # whether part of the body has not been read
    asked: Asked | None = None

    def known(self) -> Asked:
        """Who asks. Only for URLs that authenticate."""
        assert self.asked is not None
        return self.asked

    def base_url(self) -> str:
        """The address under which the client reaches this service."""
        scheme = self.headers.get(b"x-forwarded-proto", self.scheme.encode()).decode("latin-1")
        host = self.headers.get(b"x-forwarded-host") or self.headers.get(b"host") or b"localhost"
        return f"{scheme}://{host.decode('latin-1')}"

    async def json(self, settings: Settings, *, is_optional: bool = False) -> object:
        """The body's value; an empty object for no body that is optional.

        Raises UnsupportedMedia, TooLarge, Invalid, ClientGoneError.
        """
        kind = self.headers.get(b"content-type")
        if kind and kind.partition(b";")[0].strip().lower() != JSON:
            name = kind.decode("latin-1")
            raise UnsupportedMedia(f"The content type {name} is not read here: send application/json.")
        body = await self.body(settings)
        return {} if is_optional and not body else parse_json(body)

    async def body(self, settings: Settings) -> bytes:
        """The body, held until the request is answered.

        Raises TooLarge before more than the limit is read, Unavailable where all bodies together are too many, and
        ClientGoneError. How long a body may take is the server's to limit.
        """
        most = settings.body_bytes_max
        length = self.headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > most:
            raise _too_large(most)
        message = await self.next_part()
        if not message.get("more_body", False):
            body: bytes = message.get("body", b"")
            if len(body) > most:
                raise _too_large(most)
            self._hold(len(body))
            return body
        parts = [message.get("body", b"")]
        size = len(parts[0])
        self._hold(size)
        while message.get("more_body", False):
            message = await self.next_part()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            self._hold(len(parts[-1]))
            if size > most:
                raise _too_large(most)
        return b"".join(parts)

    def _hold(self, size: int) -> None:
        self.bodies.hold(size)
        self.held_bytes += size

    async def next_part(self) -> Message:
        """The next part of the body. Raises ClientGoneError."""
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        self.has_more = message.get("more_body", False)
        return message


@dataclass(slots=True)
class Reply:
    """An answer: `body`, or `chunks` where it is long and made while it is sent."""

    status: int
    body: bytes | bytearray = b""
    kind: bytes = JSON
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    chunks: AsyncGenerator[bytes | bytearray, None] | None = None
    closes: bool = False  # the connection is of no more use: part of the request was not read


def parse_json(body: bytes) -> object:
    """The value of a JSON text. Raises Invalid, also for what could not be kept or would exhaust the stack."""
    try:
        value = _decode(body)
    except (msgspec.DecodeError, RecursionError) as wrong:
        reason = _TOO_DEEP if isinstance(wrong, RecursionError) else str(wrong)
        raise Invalid(f"Body contains invalid data: {reason}") from None
    if body.count(b"[") + body.count(b"{") > DEPTH_MAX and _is_deep(value):
        raise Invalid(f"Body contains invalid data: {_TOO_DEEP}")
    if _MANY_DIGITS.search(body):
        try:
            msgspec.msgpack.encode(value)
        except OverflowError:
            raise Invalid("Body contains invalid data: a number is longer than 64 bits") from None
    return value


def _is_deep(value: object) -> bool:
    """Whether lists and objects are nested more than `DEPTH_MAX` deep."""
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [
            inner
            for outer in level
            for inner in (
                outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ()
            )
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def json_reply(status: int, value: object, revision: int | None = None) -> Reply:
    """A whole JSON answer, true at `revision`."""
    reply = Reply(status, encode(value))
    if revision is not None:
        reply.headers.append((REVISION, b"%d" % revision))
    return reply


def refused(refusal: Refusal) -> Reply:
    """A refusal in Neutron's form; that of an unknown caller in the form of Keystone's middleware."""
    if isinstance(refusal, Unauthorized):
        error = {"code": refusal.status, "title": "Unauthorized", "message": refusal.message}
        return Reply(refusal.status, encode({"error": error}))
    return Reply(refusal.status, error_body(refusal.type, refusal.message, refusal.detail))


def error_body(type: str, message: str, detail: str = "") -> bytes:
    """The JSON that Neutron's clients read of an error."""
    return encode({"NeutronError": {"type": type, "message": message, "detail": detail}})


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"The request body is longer than {most} bytes.")
