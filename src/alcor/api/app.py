# SPDX-License-Identifier: Apache-2.0
"""The ASGI application: finds the URL, the caller and the handler, and answers whatever they raise in Neutron's form.

Knows no noun. What is written here once per request is what every request pays.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from contextlib import aclosing
from time import perf_counter

from alcor.api.parts import Parts
from alcor.api.urls import Place, made
from alcor.api.wire import (
    BODIES_EXCEEDED,
    REQUEST_ID,
    ClientGoneError,
    Message,
    Receive,
    Reply,
    Request,
    Scope,
    Send,
    error_body,
    refused,
)
from alcor.base import metrics
from alcor.base.errors import MethodNotAllowed, NotFound, Refusal, TooLarge, Unauthorized
from alcor.base.telemetry import log, log_debug, log_error, request_id
from alcor.resource.context import Asked

_Figures = tuple[Callable[[], None], Callable[[float], None]]  # counts a request, observes its seconds
_REQUEST_ID = re.compile(rb"req-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"})
LINGER_BODIES = 8  # longest bodies' worth of bytes that are taken and thrown away after a refusal
GONE = 499  # in metrics only: the client left before it was answered


class App:
    """The REST API over one store."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._places = made(parts.engine)
        self._figures: dict[tuple[str, str, int], _Figures] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection scope."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = perf_counter()
        headers = dict(scope["headers"])
        request = Request(
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"],
            headers=headers,
            scheme=scope["scheme"],
            receive=receive,
            is_gone=scope.get("alcor.is_gone", _never),
            id=self._id(headers),
            bodies=self.parts.bodies,
        )
        request_id.set(request.id)
        place, last = self._places.find(request.path)
        status = GONE
        try:
            reply = await self._replied(request, place, last)
            status = reply.status
            await self._send(reply, request, send)
        except ClientGoneError:
            log_debug("client gone")
        finally:
            self.parts.bodies.release(request.held_bytes)
            seconds = perf_counter() - begun
            self._count(request, place.label if place else "", status, seconds)
            log("answered", method=request.method, path=request.path, status=status, seconds=seconds)

    async def _replied(self, request: Request, place: Place | None, last: tuple[str, ...]) -> Reply:
        try:
            return await self._handled(request, place, last)
        except Refusal as refusal:
            self.parts.meters.counter(metrics.REFUSALS, refusal.type).inc()
            log_debug("refused", type=refusal.type, message=refusal.message)
            reply = refused(refusal)
            reply.closes = isinstance(refusal, TooLarge) or refusal.type == BODIES_EXCEEDED
            if isinstance(refusal, MethodNotAllowed) and place is not None:
                reply.headers.append((b"allow", place.allow))
            if isinstance(refusal, Unauthorized):
                reply.headers.append((b"www-authenticate", self.parts.auth.challenge))
            return reply
        except ClientGoneError:
            raise
        except Exception as error:  # noqa: BLE001  # the edge: whatever went wrong is answered, and its evidence kept
            return self._failed(request, error)

    async def _handled(self, request: Request, place: Place | None, last: tuple[str, ...]) -> Reply:
        if place is None:
            raise NotFound("The resource could not be found.")
        method = "GET" if request.method == "HEAD" else request.method
        handler = place.methods.get(method)
        if handler is None:
            if method == "OPTIONS":
                return Reply(204, headers=[(b"allow", place.allow)])
            raise MethodNotAllowed(f"The method {request.method} is not allowed for this resource.")
        if not place.is_open:
            who = await self.parts.auth.authenticate(request.headers)
            asked = request.asked = Asked(self.parts.world, who, request.id)
            policy = self.parts.engine.policy
            policy.refresh(self.parts.world.clock.monotonic_s())
            asked.rights = policy.rights(who)
            asked.is_admin = asked.rights.is_admin
        return await handler(self.parts, request, *last)

    async def _send(self, reply: Reply, request: Request, send: Send) -> None:
        headers = [(REQUEST_ID, request.id.encode()), *reply.headers]
        if reply.closes:
            headers.append((b"connection", b"close"))
        if reply.status != 204:
            headers.append((b"content-type", reply.kind))
        if reply.chunks is None:
            if reply.status != 204:
                headers.append((b"content-length", b"%d" % len(reply.body)))
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            body = b"" if request.method == "HEAD" else reply.body
            is_cut = reply.closes and request.has_more
            if is_cut:
                await self._linger(request, body, send)
            await send({"type": "http.response.body", "body": b"" if is_cut else body})
            return
        async with aclosing(reply.chunks):
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            async for chunk in reply.chunks:
                if request.method == "HEAD":
                    break
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _linger(self, request: Request, body: bytes | bytearray, send: Send) -> None:
        """Answers and takes what the client still sends, within a bound: closing at once resets the connection, and
        a client that sends all before it reads would never see the answer. The server bounds how long it may take.
        """
        await send({"type": "http.response.body", "body": body, "more_body": True})
        left = self.parts.world.settings.body_bytes_max * LINGER_BODIES
        while left > 0 and request.has_more:
            left -= len((await request.next_part()).get("body", b""))

    def _failed(self, request: Request, error: Exception) -> Reply:
        """An answer to a fault of ours: the process stays, the evidence is in the log under the request's id."""
        log_error(
            "request failed",
            method=request.method,
            path=request.path,
            error=repr(error),
            trace="".join(traceback.format_exception(error)),
        )
        self.parts.meters.counter(metrics.REFUSALS, "HTTPInternalServerError").inc()
        message = f"An unexpected error happened. The log has it under {request.id}."
        return Reply(500, error_body("HTTPInternalServerError", message))

    def _id(self, headers: dict[bytes, bytes]) -> str:
        """The caller's request id if it is one of OpenStack's, else a new one."""
        given = headers.get(REQUEST_ID)
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given.decode()
        digits = self.parts.world.entropy(16).hex()
        return f"req-{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"

    def _count(self, request: Request, label: str, status: int, seconds: float) -> None:
        figures = self._figures.get((request.method, label, status))
        if figures is None:
            figures = self._made_figures(request.method, label, status)
        count, observe = figures
        count()
        observe(seconds)

    def _made_figures(self, method: str, label: str, status: int) -> _Figures:
        meters = self.parts.meters
        shown = method if method in _METHODS else "other"
        figures = (
            meters.counter(metrics.REQUESTS, shown, label, str(status)).inc,
            meters.histogram(metrics.REQUEST_SECONDS, shown).observe,
        )
        if method in _METHODS:
            self._figures[method, label, status] = figures
        return figures


async def _lifespan(receive: Receive, send: Send) -> None:
    message: Message = await receive()
    while message["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
        message = await receive()
    await send({"type": "lifespan.shutdown.complete"})


def _never() -> bool:
    return False
