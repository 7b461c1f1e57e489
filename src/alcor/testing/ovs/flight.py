# SPDX-License-Identifier: Apache-2.0
"""A packet inside the switch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from alcor.testing.conntrack import Tracked
from alcor.testing.ovs.extract import Layout


@dataclass(slots=True)
class InFlight:
    """A packet's bytes, where its headers are, and what conntrack said of it."""

    frame: bytearray
    arrived_dst: int = 0  # the outer address that it was tunnelled to
    layout: Layout = field(default_factory=Layout)
    tracked: Tracked = field(default_factory=Tracked)

    def copy(self) -> InFlight:
        """The same packet, to be changed on its own."""
        return InFlight(bytearray(self.frame), self.arrived_dst, replace(self.layout), self.tracked)
