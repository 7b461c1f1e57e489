# SPDX-License-Identifier: Apache-2.0
"""One agent for each bridge: two would take each other's flows away, ten times a second."""

import asyncio
import errno
import hashlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from alcor.base.telemetry import log_warning

RETRY_S = 0.1


@asynccontextmanager
async def only_agent(where: str) -> AsyncIterator[None]:
    """Has the bridge whose socket is `where` to itself, in this network namespace; waits while another agent has it.

    The right is an abstract socket's name, which the kernel frees however its process ends.
    """
    name = "\0alcor-agent-" + hashlib.sha256(where.encode()).hexdigest()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        is_told = False
        while not _is_bound(held, name):
            if not is_told:
                to_do = "end it; this one waits for that"
                log_warning("another agent has the bridge", where=where, to_do=to_do)
            is_told = True
            await asyncio.sleep(RETRY_S)
        yield


def _is_bound(held: socket.socket, name: str) -> bool:
    try:
        held.bind(name)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise
    return True
