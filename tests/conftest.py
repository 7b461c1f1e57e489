# SPDX-License-Identifier: Apache-2.0
"""What all tests share: who may run them here."""

import os
import shutil

import pytest
from hypothesis import settings

settings.register_profile("alcor", deadline=None, print_blob=True)
settings.load_profile("alcor")

_SWITCH = shutil.which("ovs-vswitchd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
_WHY_NO_SWITCH = "they need root" if os.geteuid() != 0 else "" if _SWITCH else "they need openvswitch-switch"
_left_out: list[pytest.Item] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests that need a real switch where there is none; in CI that is a failure."""
    if not _WHY_NO_SWITCH:
        return
    _left_out[:] = [test for test in items if test.get_closest_marker("ovs")]
    if _left_out and os.environ.get("CI") == "true":
        pytest.exit(f"The tests with real switches cannot run: {_WHY_NO_SWITCH}.", returncode=1)
    items[:] = [test for test in items if test not in _left_out]
    config.hook.pytest_deselected(items=_left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what was left out, and why."""
    if _left_out:
        terminalreporter.write_line(
            f"{len(_left_out)} tests with real switches were left out: {_WHY_NO_SWITCH}."
        )
