# SPDX-License-Identifier: Apache-2.0
"""Serves the API on a socket: uvicorn on uvloop and httptools, with bounds on what a slow or greedy client can hold."""

from __future__ import annotations

import asyncio
import logging
import resource
import ssl
from time import monotonic
from typing import cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from alcor.api.app import App
from alcor.api.wire import error_body
from alcor.base.address import Address, host_and_port, is_local, socket_path
from alcor.base.config import Settings
from alcor.base.telemetry import log, log_warning

HEAD_BYTES_MAX = 65_536  # of a request's line and headers
KEEP_ALIVE_S = 75  # a connection without a request is closed after this
HANDSHAKE_S = 10.0  # that a client may take to agree on TLS
BACKLOG = 4_096  # connections that wait to be taken
_SWEEP_S = 1.0
_SPARE_FILES = 512  # descriptors that are not connections
_FINAL = (
    b"HTTP/1.1 2",
    b"HTTP/1.1 3",
    b"HTTP/1.1 4",
    b"HTTP/1.1 5",
)  # how a head begins that is not 100 Continue


class ExposedError(ValueError):
    """The address is reachable by others, and callers would be believed whatever they say."""


class Server:
    """A running API. `start` returns once it listens; `stop` lets requests under way finish."""

    def __init__(self, app: App, listen: Address, *, insecure_listen: bool = False) -> None:
        if app.parts.auth.is_open and not is_local(listen) and not insecure_listen:
            raise ExposedError(
                f"With auth 'none' everybody who reaches {listen} is admin."
                " Listen on loopback, or allow it with --insecure-listen."
            )
        self._settings = app.parts.world.settings
        self._listen = listen
        self._config = _config(app)
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that it listens on, also where any was asked for."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Listens. Raises OSError where the address cannot be had."""
        _allow_files(self._settings.connections_max + _SPARE_FILES)
        loop = asyncio.get_running_loop()
        path = socket_path(self._listen)
        if path is not None:
            self._server = await loop.create_unix_server(self._connection, path, backlog=BACKLOG)
        else:
            host, port = host_and_port(self._listen)
            tls = _tls(self._settings)
            self._server = await loop.create_server(
                self._connection,
                host,
                port,
                backlog=BACKLOG,
                ssl=tls,
                ssl_handshake_timeout=_handshake_s(tls),
            )
        self._sweeper = asyncio.create_task(self._sweep(), name="api sweep")
        log("api listens", address=path or f"{host_and_port(self._listen)[0]}:{self.port}")

    async def stop(self) -> None:
        """Takes no new connections, lets answers under way go out for `client_wait_s`, and ends."""
        assert self._server is not None
        assert self._sweeper is not None
        self._server.close()
        self._sweeper.cancel()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=self._settings.client_wait_s)
        for connection in list(self._state.connections):
            connection.transport.abort()
        await self._server.wait_closed()

    def _connection(self) -> _Connection:
        return _Connection(self._config, self._state, self._settings.connections_max)

    async def _sweep(self) -> None:
        """Drops connections whose request does not come whole, or whose client takes nothing of its answer."""
        wait_s = self._settings.client_wait_s
        while True:
            await asyncio.sleep(min(_SWEEP_S, wait_s / 4))
            now = monotonic()
            connections = cast("set[_Connection]", self._state.connections)
            late = [connection for connection in connections if connection.waited_s(now) > wait_s]
            for connection in late:
                connection.transport.abort()
            if late:
                log_warning("slow clients dropped", connections=len(late))


async def serve(app: App, listen: Address, *, insecure_listen: bool = False) -> None:
    """Serves until cancelled. Raises ExposedError, OSError."""
    server = Server(app, listen, insecure_listen=insecure_listen)
    await server.start()
    try:
        await asyncio.Event().wait()
    finally:
        await server.stop()


class _Joined(asyncio.Transport):
    """A transport on which the head of an answer waits for the first of its body, so that a client wakes up once.

    uvicorn writes them apart, and uvloop sends each at once.
    """

    def __init__(self, to: asyncio.Transport) -> None:
        super().__init__()
        self._to = to
        self._head = b""

    def write(self, part: bytes | bytearray | memoryview) -> None:
        """Sends it, unless it is the head of an answer and nothing more."""
        if self._head:
            head, self._head = self._head, b""
            self._to.writelines((head, part))
        elif isinstance(part, bytes) and part.startswith(_FINAL) and part.endswith(b"\r\n\r\n"):
            self._head = part
        else:
            self._to.write(part)

    def flush(self) -> None:
        """Sends a head that has no body."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        self.flush()
        self._to.close()

    def abort(self) -> None:
        self._to.abort()

    def is_closing(self) -> bool:
        return self._to.is_closing()

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._to.get_extra_info(name, default)

    def pause_reading(self) -> None:
        self._to.pause_reading()

    def resume_reading(self) -> None:
        self._to.resume_reading()

    def get_write_buffer_size(self) -> int:
        return self._to.get_write_buffer_size()


class _Connection(HttpToolsProtocol):
    """uvicorn's connection, which also bounds the head of a request and knows whether its client is still there."""

    def __init__(self, config: uvicorn.Config, state: ServerState, connections_max: int) -> None:
        super().__init__(config, state, {})
        self._request_since: float | None = None  # monotonic: since when a whole request is awaited
        # monotonic: since when the client has taken nothing of what is to be sent. The first look may find some unsent.
        self._unsent_since = monotonic()
        self._unsent = 0  # bytes to be sent, at the last look
        self._head_bytes = 0
        self._connections_max = connections_max

    # asyncio's protocol says BaseTransport where uvicorn, and so we, are given a Transport.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._joined = _Joined(transport)
        super().connection_made(self._joined)
        if len(self.connections) > self._connections_max:
            self._refuse(
                b"503 Service Unavailable", "ServiceUnavailable", "Too many connections: try again later."
            )
            return
        self._request_since = monotonic()

    def waited_s(self, now: float) -> float:
        """How long the client has kept us waiting, as seen from one look to the next."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent < self._unsent:
            self._unsent_since = now
        self._unsent = unsent
        request_s = 0.0 if self._request_since is None else now - self._request_since
        return max(request_s, now - self._unsent_since)

    def resume_writing(self) -> None:
        """The client has taken enough for more, which may fill up what is unsent again before the next look."""
        super().resume_writing()
        self._unsent_since = monotonic()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._request_since = monotonic()
        self._head_bytes = 0
        scope = cast("dict[str, object]", self.scope)
        scope["alcor.is_gone"] = self.transport.is_closing

    def on_response_complete(self) -> None:
        self._joined.flush()
        super().on_response_complete()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        if not self.transport.is_closing():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._request_since = None
        if self.cycle is not None:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(b"400 Bad Request", "HTTPBadRequest", msg)

    def _count(self, length: int) -> None:
        self._head_bytes += length
        if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self._refuse(
                b"431 Request Header Fields Too Large",
                "HTTPRequestHeaderFieldsTooLarge",
                f"The request's URL and headers are longer than {HEAD_BYTES_MAX} bytes.",
            )

    def _refuse(self, status: bytes, type: str, message: str) -> None:
        """Answers without the application, and closes."""
        body = error_body(type, message)
        head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (status, len(body)) + body)
        self.transport.close()


def _config(app: App) -> uvicorn.Config:
    """What uvicorn's connection reads of its configuration."""
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    config.load()
    logging.getLogger("uvicorn.access").handlers.clear()
    logging.getLogger("uvicorn.access").propagate = False
    return config


def _allow_files(wanted: int) -> None:
    """Lets the process open so many files, as far as it may: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log_warning("fewer connections than set", allowed=allowed - _SPARE_FILES)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """What TLS needs, if it is wanted. Raises OSError (ssl.SSLError is one) for files that do not serve."""
    if settings.api_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.api_cert, settings.api_key)
    return context


def _handshake_s(tls: ssl.SSLContext | None) -> float | None:
    """How long a client may take to agree on TLS; without TLS the loop wants none to be named."""
    return None if tls is None else HANDSHAKE_S
