# SPDX-License-Identifier: Apache-2.0
"""Nova's own client code against the network service, as machines start, migrate and end."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.peers.identity import PASSWORD, REGION, Keystone
from tests.peers.outcomes import Outcome, read_lines
from tests.peers.processes import NotUp, free_port, served
from tests.peers.service import Program

SUITE = "nova.network"
SECONDS_MAX = 300
FOLLOWS_S_MAX = 60
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


def judged(programs: Path, folder: Path, keystone: Keystone, program: Program | None) -> list[Outcome]:
    """What each session of the script came to, with a notifier of the program's, where there is one.

    Raises CalledProcessError if the script did not come to its end.
    """
    folder.mkdir(parents=True)
    service = _SERVICE.format(url=keystone.url, password=PASSWORD, region=REGION)
    configuration = folder / "nova.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, service=service))
    events = [str(free_port())] if program else []
    with ExitStack() as stack:
        if program:
            stack.enter_context(_notifier(program, keystone, events[0]))
        complaints = stack.enter_context((folder / "sessions.err").open("wb"))
        done = subprocess.run(
            [programs / "python", SCRIPT, configuration, *events],
            env={**os.environ, **keystone.environ("demo", "demo")},
            check=True,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            timeout=SECONDS_MAX,
        )
    return read_lines(done.stdout)


@contextmanager
def _notifier(program: Program, keystone: Keystone, port: str) -> Iterator[None]:
    """`alcor notify`, which follows the log by now."""
    metrics = f"127.0.0.1:{free_port()}"
    command = [
        *(program.alcor, "notify", "--state", program.folder / "state", "--metrics-listen", metrics),
        *("--nova-url", f"http://127.0.0.1:{port}/v2.1"),
        *("--keystone-url", keystone.url.removesuffix("/v3")),
    ]
    log = program.folder / "notify.log"
    with served(command, f"http://{metrics}/metrics", log, {"ALCOR_KEYSTONE_PASSWORD": PASSWORD}):
        deadline = time.monotonic() + FOLLOWS_S_MAX
        while not (program.folder / "state/notify.json").exists():
            if time.monotonic() > deadline:
                raise NotUp(f"alcor notify does not follow the log:\n{log.read_text()[-2_000:]}")
            time.sleep(0.05)
        yield
