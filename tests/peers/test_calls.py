# SPDX-License-Identifier: Apache-2.0
"""The time that tempest waited for each service is read from its log."""

import pytest

from tests.peers.calls import waited

PREFIX = "2026-01-01 00:00:00.123 7 INFO tempest.lib.common.rest_client [req-1 ]"
LOG = f"""\
{PREFIX} Request (C:test_a): 201 POST http://h:1/v2.0/ports 0.100s
{PREFIX} Request (C:test_a): 500 GET http://h:1/v2.0/ports 0.300s
{PREFIX} Request (C:setUpClass): 201 POST http://h:2/v3/users 2.000s
{PREFIX} setUpClass raised nothing
"""


def test_calls_are_told_apart_by_service():
    spent = waited(LOG.splitlines(), {"network": "http://h:1", "identity": "http://h:2"})
    network, identity = spent["network"], spent["identity"]
    assert (network.calls, network.failed) == (2, 1)
    assert network.seconds == pytest.approx(0.4)
    assert network.median_ms == pytest.approx(200)
    assert (identity.calls, identity.seconds) == (1, pytest.approx(2.0))


def test_a_service_that_was_not_called_has_no_line():
    assert waited([], {"network": "http://h:1"}) == {}
