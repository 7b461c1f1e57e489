# SPDX-License-Identifier: Apache-2.0
"""The sessions of openstacksdk that conformance runs with Keystone hold without one too."""

from collections.abc import Callable, Iterator
from pathlib import Path

import openstack
import pytest
from openstack.connection import Connection

from tests.api.served import served
from tests.peers.sdk import SESSIONS

pytestmark = pytest.mark.filterwarnings("ignore:::openstack", "ignore:::keystoneauth1")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Connection]:
    with (
        served(tmp_path) as server,
        openstack.connect(
            auth_type="none", auth={"endpoint": server.url}, load_yaml_config=False, load_envvars=False
        ) as connection,
    ):
        yield connection


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.__name__)
def test_a_program_on_the_sdk_gets_what_it_asks_for(session: Callable[[Connection], None], cloud: Connection):
    session(cloud)
    assert list(cloud.network.networks()) == []
