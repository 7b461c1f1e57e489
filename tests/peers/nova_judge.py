# SPDX-License-Identifier: Apache-2.0
"""Nova's own client code against the network service, as machines start, migrate and end."""

import os
import subprocess
from pathlib import Path

from tests.peers.identity import PASSWORD, REGION, Keystone
from tests.peers.outcomes import Outcome, read_lines

SUITE = "nova.network"
SECONDS_MAX = 300
SCRIPT = Path(__file__).with_name("nova_sessions.py")
_SERVICE = """\
auth_type = password
auth_url = {url}
username = alcor
password = {password}
project_name = service
user_domain_id = default
project_domain_id = default
region_name = {region}
"""
CONFIGURATION = """\
[DEFAULT]
transport_url = fake:/
log_file = {folder}/nova.log
debug = true
[database]
connection = sqlite:///{folder}/nova.db
[api_database]
connection = sqlite:///{folder}/nova_api.db
[oslo_concurrency]
lock_path = {folder}
[neutron]
ovs_bridge = br-int
{service}
[service_user]
send_service_user_token = true
{service}
"""


def judged(programs: Path, folder: Path, keystone: Keystone) -> list[Outcome]:
    """What each session of the script came to. Raises CalledProcessError if it did not come to its end."""
    folder.mkdir(parents=True)
    service = _SERVICE.format(url=keystone.url, password=PASSWORD, region=REGION)
    configuration = folder / "nova.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, service=service))
    with (folder / "sessions.err").open("wb") as complaints:
        done = subprocess.run(
            [programs / "python", SCRIPT, configuration],
            env={**os.environ, **keystone.environ("demo", "demo")},
            check=True,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            timeout=SECONDS_MAX,
        )
    return read_lines(done.stdout)
