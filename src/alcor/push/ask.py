# SPDX-License-Identifier: Apache-2.0
"""How an operator's tool asks push what `push.show` answers."""

import grpc
import grpc.aio
import msgspec

from alcor.base.address import name_options
from alcor.base.config import Settings
from alcor.base.wire.alcor_pb2 import Answer, Question
from alcor.push.server import SHOW
from alcor.push.show import Shown

_WAIT_S = 30.0
_ANSWER_BYTES_MAX = 256 << 20


class NotAnswered(Exception):
    """Push could not be reached, or does not answer this asker. The message says which."""


async def ask(settings: Settings, what: str, name: str = "") -> Shown | None:
    """Push's answer, None if there is no such thing. `settings.push` and `agent_tls_*` say whom to ask and as whom.

    Raises NotAnswered, and OSError if a file of the certificate cannot be read.
    """
    files = [settings.agent_tls_ca, settings.agent_tls_key, settings.agent_tls_cert]
    pems = [file.read_bytes() for file in files if file]
    options = [("grpc.max_receive_message_length", _ANSWER_BYTES_MAX)]
    if pems:
        named = [*options, *name_options(settings.push)]
        channel = grpc.aio.secure_channel(settings.push, grpc.ssl_channel_credentials(*pems), named)
    else:
        channel = grpc.aio.insecure_channel(settings.push, options)
    question = Question(what=what, name=name).SerializeToString()
    async with channel:
        try:
            answer = Answer.FromString(await channel.unary_unary(SHOW)(question, timeout=_WAIT_S))
        except grpc.aio.AioRpcError as error:
            is_there = error.code() is not grpc.StatusCode.UNAVAILABLE
            to_do = "" if is_there else "; start push, or set push (--push) to where it listens"
            raise NotAnswered(
                f"{settings.push} says {error.code().name}: {error.details()}{to_do}"
            ) from error
    return msgspec.json.decode(answer.json, type=Shown) if answer.json else None
