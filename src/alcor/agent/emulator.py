# SPDX-License-Identifier: Apache-2.0
"""Many hosts in one process that have real sessions and no switch: rows are held, and acknowledged at once.

For benchmarks and for trying push at scale. To such a host every interface is plugged, and every row is in the switch.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from alcor.agent.inspect import Inspector, row_held, rows_held
from alcor.agent.realised import Realised
from alcor.agent.rows import Changed, HostRows
from alcor.agent.session import Backoff, HostIdentity, Session, run
from alcor.base.wire.held import Held
from alcor.base.wire.stream import Stream
from alcor.dataplane.rows import HostFeature, Interface


class EmulatedHost:
    """One host without a switch."""

    def __init__(self, identity: HostIdentity, features: Sequence[HostFeature]) -> None:
        rows = HostRows([kind for feature in features for kind in feature.rows])
        self.session = Session(identity, rows)
        self._own = f"host:{identity.host}"
        self._realised = Realised(features, rows.scopes, _plugged)
        self._inspector = Inspector(self.session, self._held)

    def changed(self, changed: Changed) -> None:
        """Takes a difference, and acknowledges it."""
        rows = self.session.rows
        touched = {key for scope, _, key in changed.rows if scope == self._own}
        reports = self._realised.reports(self._own, touched, rows.complete, rows.faults)
        for key in touched - rows.scopes.get(self._own, {}).keys():
            self.session.forget_report(key)
        if rows.position is not None:
            self.session.ack(rows.position, reports, ())

    async def _held(self, what: str, name: str) -> Held:
        scopes = {"scope": [name], "host": list(self.session.rows.bodies())}.get(what, [])
        row = row_held(self.session, self._realised, name) if what == "row" else None
        held = await rows_held(self.session, scopes)
        return replace(held, row=row, why_no_flows="it is emulated and has no switch")


def _plugged(iface_id: str) -> Interface:
    return Interface(iface_id, iface_id, 1)


class Emulator:
    """Emulated hosts, each with a stream of its own."""

    def __init__(
        self, features: Sequence[HostFeature], connect: Callable[[], Awaitable[Stream]], backoff: Backoff
    ) -> None:
        self.hosts: dict[str, EmulatedHost] = {}
        self._features = features
        self._connect = connect
        self._backoff = backoff
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, identity: HostIdentity) -> EmulatedHost:
        """A host that keeps a stream open from now on."""
        host = self.hosts[identity.host] = EmulatedHost(identity, self._features)
        work = run(host.session, self._connect, host.changed, self._backoff)
        self._tasks.append(asyncio.create_task(work, name=f"emulated {identity.host}"))
        return host

    @property
    def whole(self) -> int:
        """How many hosts have received everything that they need."""
        return sum(host.session.rows.is_whole for host in self.hosts.values())

    async def stopped(self) -> None:
        """Returns when all hosts were closed; raises what broke one."""
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Ends all streams."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
