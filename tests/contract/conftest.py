# SPDX-License-Identifier: Apache-2.0
"""One real switch for the contract tests of a module."""

from collections.abc import Iterator

import pytest

from tests.contract.real_switch import RealSwitch


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSwitch]:
    """A bridge of a real ovs-vswitchd."""
    switch = RealSwitch(tmp_path_factory.mktemp("ovs"))
    try:
        switch.start()
        yield switch
    finally:
        switch.stop()
