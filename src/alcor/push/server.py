# SPDX-License-Identifier: Apache-2.0
"""The gRPC edge of push. Without certificates it listens on this machine only; with them a host must show its own."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from random import SystemRandom
from typing import Any

import grpc
import grpc.aio
import msgspec

from alcor.base.address import is_local, socket_path
from alcor.base.clock import SystemClock
from alcor.base.config import SettingError, Settings
from alcor.base.telemetry import Meters, log
from alcor.base.wire.alcor_pb2 import Answer, Question
from alcor.base.wire.stream import StreamClosed
from alcor.goal.declare import GoalFeature
from alcor.push.pki import OPERATOR
from alcor.push.service import Service, Unwelcome
from alcor.push.show import answer
from alcor.store.store import Outside, Store

SESSION, SHOW = "/alcor.v1.Goal/Session", "/alcor.v1.Goal/Show"
_PENDING_MAX = (
    1 << 20
)  # streams that gRPC may hold before we have seen them: a storm of hosts must not be refused
_STOP_GRACE_S = 0.5


@dataclass(frozen=True)
class Handle:
    """A running push."""

    service: Service
    address: str  # where it listens, with the real port
    _server: Any

    async def close(self) -> None:
        """Ends all sessions and stops listening."""
        await self.service.close()
        await self._server.stop(_STOP_GRACE_S)

    async def stopped(self) -> None:
        """Returns when it was closed; raises what broke it."""
        await self.service.stopped()


async def serve(
    store: Store, features: Sequence[GoalFeature], settings: Settings, meters: Meters | None = None
) -> Handle:
    """Push on `settings.push_listen`; it accepts hosts at once, and serves them when it has loaded.

    Raises SettingError if it may not listen there, or cannot.
    """
    credentials = _credentials(settings)
    if credentials is None and not is_local(settings.push_listen):
        raise SettingError(
            f"push_listen = {settings.push_listen} is reachable from other machines: "
            "set push_tls_cert, push_tls_key and push_tls_ca (`alcor pki` makes them), or listen on 127.0.0.1."
        )
    server = grpc.aio.server(options=_options(settings))
    outside = Outside(SystemClock(), SystemRandom(), settings, meters or Meters())
    name = f"{platform.node()} {settings.push_listen}"
    service = Service(store, features, outside, name)
    server.add_generic_rpc_handlers((_Handlers(service, is_certified=credentials is not None),))
    address = _bound(server, settings, credentials)
    service.start()
    await server.start()
    if (path := socket_path(settings.push_listen)) is not None:
        os.chmod(path, 0o600)  # noqa: PTH101  # one call that waits for nothing
    log("push listens", address=address, tls=credentials is not None)
    return Handle(service, address, server)


def _credentials(settings: Settings) -> Any:
    files = (settings.push_tls_key, settings.push_tls_cert, settings.push_tls_ca)
    if not any(files):
        return None
    try:
        key, cert, ca = (file.read_bytes() for file in files if file)
    except ValueError:
        raise SettingError(
            "push_tls_cert, push_tls_key and push_tls_ca go together: set all three."
        ) from None
    except OSError as error:
        raise SettingError(f"A TLS file of push cannot be read: {error}.") from error
    return grpc.ssl_server_credentials([(key, cert)], root_certificates=ca, require_client_auth=True)


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        ("grpc.server.max_pending_requests", _PENDING_MAX),
        ("grpc.server.max_pending_requests_hard_limit", _PENDING_MAX),
        ("grpc.so_reuseport", 0),  # a second push on the same port is told so
        ("grpc.keepalive_time_ms", int(settings.keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", int(settings.keepalive_timeout_s * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 500),
        ("grpc.http2.max_ping_strikes", 0),
    ]


def _bound(server: Any, settings: Settings, credentials: Any) -> str:
    address = settings.push_listen
    try:
        port = (
            server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        )
    except RuntimeError as error:
        reason = "it is taken, or not this machine's: choose another by push_listen (--push-listen)"
        raise SettingError(f"push cannot listen on {address}: {reason}.") from error
    return address if socket_path(address) else f"{address.rpartition(':')[0]}:{port}"


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Both calls, without serializers: messages of a session are bytes, encoded once for many hosts."""

    def __init__(self, service: Service, *, is_certified: bool) -> None:
        self._service = service
        self._is_certified = is_certified
        self._session = grpc.stream_stream_rpc_method_handler(self._attend)
        self._show = grpc.unary_unary_rpc_method_handler(self._answer)

    def service(self, handler_call_details: Any) -> Any:
        return {SESSION: self._session, SHOW: self._show}.get(handler_call_details.method)

    async def _attend(self, _requests: object, context: Any) -> None:
        try:
            await self._service.attend(_GrpcStream(context), self._proved_by(context))
        except Unwelcome as reason:
            self._service.refuse(context.peer(), reason)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(reason))

    async def _answer(self, request: bytes, context: Any) -> bytes:
        proved = self._proved_by(context)
        if proved is not None and OPERATOR not in proved:
            reason = "only the operator's certificate may ask"
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, reason)
        await self._service.loaded()
        question = Question.FromString(request)
        shown = await answer(self._service, question.what, question.name)
        return Answer(json=msgspec.json.encode(shown) if shown else b"").SerializeToString()

    def _proved_by(self, context: Any) -> frozenset[str] | None:
        return _peer_names(context) if self._is_certified else None


def _peer_names(context: Any) -> frozenset[str]:
    """What the peer's certificate calls it: alternative names, or the common name where there are none."""
    proved = context.auth_context()
    names = proved.get("x509_subject_alternative_name") or proved.get("x509_common_name") or ()
    return frozenset(name.decode() for name in names)


class _GrpcStream:
    """Fulfils `base.wire.stream.Stream`. It ends when the handler returns."""

    def __init__(self, context: Any) -> None:
        self._context = context

    async def write(self, message: bytes) -> None:
        try:
            await self._context.write(message)
        except grpc.aio.BaseError as error:
            raise StreamClosed(str(error)) from error

    async def read(self) -> bytes:
        try:
            message = await self._context.read()
        except grpc.aio.BaseError as error:
            raise StreamClosed(str(error)) from error
        if message is grpc.aio.EOF:
            raise StreamClosed("the agent ended the stream")
        return bytes(message)

    async def close(self) -> None:
        """The handler's return is the end."""
