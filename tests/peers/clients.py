# SPDX-License-Identifier: Apache-2.0
"""The openstack command and openstacksdk as a member of a project uses them, with Keystone and its catalogue."""

import os
import subprocess
import time
from pathlib import Path

from tests.peers.identity import Keystone
from tests.peers.outcomes import Outcome, read_lines

SECONDS_MAX = 180

# One session of the command per noun; each must end with nothing to complain of.
SESSIONS = {
    "networks": """
        network create -f json --description first n1
        network list -f json --name n1
        network set --name n2 --disable n1
        network show -f json n2
        network delete n2
        """,
    "subnets": """
        network create -f json sn
        subnet create -f json --network sn --subnet-range 10.0.0.0/24 --dns-nameserver 9.9.9.9 s1
        subnet set --name s2 --no-dhcp s1
        subnet list -f json --network sn
        subnet delete s2
        network delete sn
        """,
    "ports": """
        network create -f json pn
        subnet create -f json --network pn --subnet-range 10.0.0.0/24 ps
        security group create -f json pg
        port create -f json --network pn --fixed-ip subnet=ps,ip-address=10.0.0.50 --security-group pg p1
        port set --name p2 --disable p1
        port list -f json --network pn
        port unset --security-group pg p2
        port delete p2
        security group delete pg
        network delete pn
        """,
    "security_groups": """
        security group create -f json g1
        security group rule create -f json --protocol tcp --dst-port 80:81 --remote-ip 192.0.2.0/24 g1
        security group rule list -f json g1
        security group set --name g2 g1
        security group delete g2
        """,
    "extensions": """
        extension list -f json --network
        """,
}
SDK = Path(__file__).with_name("sdk.py")


def judged(programs: Path, keystone: Keystone) -> list[Outcome]:
    """What each session, and each function of the SDK's script, came to."""
    environ = {**os.environ, **keystone.environ("demo", "demo")}
    found = [_session(programs / "openstack", name, environ) for name in SESSIONS]
    script = [programs / "python", SDK]
    done = subprocess.run(
        script, env=environ, check=True, capture_output=True, text=True, timeout=SECONDS_MAX
    )
    return found + read_lines(done.stdout)


def _session(program: Path, name: str, environ: dict[str, str]) -> Outcome:
    began = time.monotonic()
    done = subprocess.run(
        [program], input=SESSIONS[name], env=environ, capture_output=True, text=True, timeout=SECONDS_MAX
    )
    # Its status at the end of its input says nothing of the commands: what it answers and complains of does.
    complaints = " ".join(done.stderr.split())[:300]
    outcome = "fail" if complaints or not done.stdout.strip() else "pass"
    return Outcome(f"openstack.command.{name}", outcome, time.monotonic() - began, complaints)
