# SPDX-License-Identifier: Apache-2.0
"""How an agent reaches push: one gRPC channel per stream, over TLS where the agent has a certificate."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from alcor.base.address import Address, name_options
from alcor.base.config import SettingError, Settings
from alcor.base.wire.stream import Stream, StreamClosed

SESSION = "/alcor.v1.Goal/Session"


@dataclass(frozen=True)
class Certificate:
    """The agent's identity and whom it trusts, as PEM."""

    cert: bytes
    key: bytes
    ca: bytes


@dataclass(frozen=True)
class Keepalive:
    """When a silent stream is probed and given up."""

    every_s: float = 10.0
    timeout_s: float = 5.0


def dialler(settings: Settings) -> Callable[[], Awaitable[Stream]]:
    """What opens streams as the settings say. Raises SettingError if the certificate is not whole or not readable."""
    keepalive = Keepalive(settings.keepalive_s, settings.keepalive_timeout_s)
    certificate = _certificate(settings)
    return lambda: dial(settings.push, certificate, keepalive)


async def dial(address: Address, certificate: Certificate | None, keepalive: Keepalive) -> Stream:
    """A stream to push. Raises StreamClosed if there is no way to it."""
    options = [
        ("grpc.keepalive_time_ms", int(keepalive.every_s * 1000)),
        ("grpc.keepalive_timeout_ms", int(keepalive.timeout_s * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.use_local_subchannel_pool", 1),  # each attempt is a connection of its own, with our backoff
        ("grpc.enable_retries", 0),
    ]
    if certificate:
        credentials = grpc.ssl_channel_credentials(certificate.ca, certificate.key, certificate.cert)
        channel = grpc.aio.secure_channel(address, credentials, [*options, *name_options(address)])
    else:
        channel = grpc.aio.insecure_channel(address, options)
    return _GrpcStream(channel, channel.stream_stream(SESSION)())


class _GrpcStream:
    def __init__(self, channel: Any, call: Any) -> None:
        self._channel = channel
        self._call = call

    async def write(self, message: bytes) -> None:
        try:
            await self._call.write(message)
        except (grpc.aio.AioRpcError, grpc.aio.UsageError) as error:
            raise StreamClosed(_why(error)) from error
        except asyncio.InvalidStateError as error:  # what grpc raises on a call that is already over
            raise StreamClosed("the stream is over") from error

    async def read(self) -> bytes:
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise StreamClosed(_why(error)) from error
        if message is grpc.aio.EOF:
            raise StreamClosed("push ended the stream")
        return bytes(message)

    async def close(self) -> None:
        self._call.cancel()
        await self._channel.close()


def _why(error: Exception) -> str:
    if not isinstance(error, grpc.aio.AioRpcError):
        return str(error)
    is_there = error.code() is not grpc.StatusCode.UNAVAILABLE
    hint = "" if is_there else "; does push run where the setting push (--push) says?"
    return f"{error.code().name}: {error.details()}{hint}"


def _certificate(settings: Settings) -> Certificate | None:
    files = [settings.agent_tls_cert, settings.agent_tls_key, settings.agent_tls_ca]
    if not any(files):
        return None
    try:
        cert, key, ca = (file.read_bytes() for file in files if file)
    except ValueError:
        raise SettingError(
            "agent_tls_cert, agent_tls_key and agent_tls_ca go together: set all three."
        ) from None
    except OSError as error:
        raise SettingError(f"A TLS file of the agent cannot be read: {error}.") from error
    return Certificate(cert, key, ca)
