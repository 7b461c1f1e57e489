# SPDX-License-Identifier: Apache-2.0
"""The openstack command and openstacksdk as a member of a project uses them, with Keystone and its catalogue."""

import os
import subprocess
import time
from pathlib import Path

from tests.peers.identity import Keystone
from tests.peers.outcomes import Outcome, read_lines

SECONDS_MAX = 180

# Sessions of the command, by what they are about; each must end with nothing to complain of.
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
    "trunks": """
        network create -f json tn
        network create -f json tm
        port create -f json --network tn tp
        port create -f json --network tm ts
        network trunk create -f json --parent-port tp --subport port=ts,segmentation-type=vlan,segmentation-id=100 t1
        network trunk set --name t2 --description second t1
        network subport list -f json --trunk t2
        network trunk subport remove t2 ts
        network trunk subport add --segmentation-type vlan --segmentation-id 101 t2 ts
        network trunk list -f json --long
        network trunk unset --subport ts t2
        network trunk delete t2
        port delete tp ts
        network delete tn tm
        """,
    "tags": """
        network create -f json --tag red --tag blue tags
        network unset --tag red tags
        network set --tag green tags
        network list -f json --tags blue,green
        network unset --all-tag tags
        network list -f json --not-any-tags blue
        network delete tags
        """,
    "extensions": """
        extension list -f json --network
        """,
    "what_is_there": """
        availability zone list -f json --network
        network service provider list -f json
        network flavor list -f json
        network qos policy list -f json
        network qos rule type list -f json --limit 2
        quota show -f json --network --usage
        """,
}
# What the default policy leaves to managers and admins: as the administrator.
ADMIN_SESSIONS = {
    "qos": """
        network qos policy create -f json --share q1
        network qos rule create -f json --type bandwidth-limit --max-kbps 1000 --max-burst-kbits 800 --ingress q1
        network qos rule create -f json --type dscp-marking --dscp-mark 10 q1
        network qos rule create -f json --type minimum-bandwidth --min-kbps 100 --egress q1
        network qos rule create -f json --type minimum-packet-rate --min-kpps 10 --any q1
        network qos rule list -f json q1
        network qos rule type show -f json bandwidth_limit
        network qos policy set --name q2 --no-share --default q1
        network create -f json qn
        port create -f json --network qn --qos-policy q2 qp
        port unset --qos-policy qp
        port delete qp
        network set --no-qos-policy qn
        network delete qn
        network qos policy delete q2
        """,
    "quotas": """
        quota set --networks 7 --ports -1 service
        quota show -f json --network service
        quota list -f json --network
        quota delete --network service
        quota show -f json --network --default service
        """,
    "flavors_and_agents": """
        network flavor create -f json --service-type QOS --disable f1
        network flavor set --enable --name f2 f1
        network flavor profile list -f json
        network flavor delete f2
        network agent list -f json --long
        """,
}
SDK = Path(__file__).with_name("sdk.py")


def judged(programs: Path, keystone: Keystone) -> list[Outcome]:
    """What each session, and each function of the SDK's script, came to."""
    environ, admin = ({**os.environ, **keystone.environ(name, name)} for name in ("demo", "admin"))
    command = programs / "openstack"
    found = [_session(command, name, text, environ) for name, text in SESSIONS.items()]
    found += [_session(command, name, text, admin) for name, text in ADMIN_SESSIONS.items()]
    script = [programs / "python", SDK]
    done = subprocess.run(
        script, env=environ, check=True, capture_output=True, text=True, timeout=SECONDS_MAX
    )
    return found + read_lines(done.stdout)


def _session(program: Path, name: str, text: str, environ: dict[str, str]) -> Outcome:
    began = time.monotonic()
    done = subprocess.run(
        [program], input=text, env=environ, capture_output=True, text=True, timeout=SECONDS_MAX
    )
    # Its status at the end of its input says nothing of the commands: what it answers and complains of does.
    complaints = " ".join(done.stderr.split())[:300]
    outcome = "fail" if complaints or not done.stdout.strip() else "pass"
    return Outcome(f"openstack.command.{name}", outcome, time.monotonic() - began, complaints)
