# SPDX-License-Identifier: Apache-2.0
"""A real switch for the tests of a module."""

from collections.abc import Iterator

import pytest

from tests.dataplane.bridge import Bridge


@pytest.fixture(scope="module")
def bridge() -> Iterator[Bridge]:
    """Open vSwitch with ports 1 to 3."""
    made = Bridge()
    yield made
    made.stop()
