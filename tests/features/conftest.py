# SPDX-License-Identifier: Apache-2.0
"""A control plane in this process, spoken to over its REST API; and hosts that are given rows."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.features.door import Door, open_door
from tests.features.fabrics import both_fabrics, fabric

__all__ = ["both_fabrics", "fabric"]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Door]:
    async with open_door(tmp_path) as door:
        yield door


@pytest.fixture
async def net(api: Door) -> dict[str, Any]:
    """A network with one IPv4 subnet, 10.0.0.0/24."""
    network = await api.create("network", name="net")
    await api.create("subnet", network_id=network["id"], ip_version=4, cidr="10.0.0.0/24")
    return network
