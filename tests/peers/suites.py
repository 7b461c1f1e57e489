# SPDX-License-Identifier: Apache-2.0
"""Tempest aimed at the network service: its workspace, a run of it, and what came out."""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.peers.identity import PASSWORD, REGION, Keystone
from tests.peers.outcomes import Outcome, read_junit

TEST_S_MAX = 300
SUITES = {
    "tempest.api.network": r"^tempest\.api\.network\.",
    "neutron_tempest_plugin.api": r"^neutron_tempest_plugin\.api\.",
}
STESTR = """\
[DEFAULT]
test_path={tempest}/test_discover
top_dir={packages}
group_regex=([^\\.]*\\.)*
"""
CONFIGURATION = """\
[DEFAULT]
log_file = {folder}/tempest.log
[oslo_concurrency]
lock_path = {folder}/lock
[auth]
use_dynamic_credentials = true
create_isolated_networks = false
admin_username = admin
admin_password = {password}
admin_project_name = admin
admin_domain_name = Default
tempest_roles = member
[identity]
uri_v3 = {identity}
auth_version = v3
region = {region}
[identity-feature-enabled]
api_v2 = false
api_v2_admin = false
[enforce_scope]
neutron = true
keystone = true
[service_available]
neutron = true
nova = false
glance = false
cinder = false
swift = false
[network]
public_network_id = {public}
floating_network_name = public
project_network_cidr = 10.100.0.0/16
project_network_mask_bits = 28
[network-feature-enabled]
api_extensions = {extensions}
ipv6 = true
ipv6_subnet_attributes = true
port_admin_state_change = true
[validation]
run_validation = false
[neutron_plugin_options]
available_type_drivers = {types}
agent_availability_zone = nova
l3_agent_mode = legacy
provider_vlans = public
create_shared_resources = true
dns_domain = example.org.
"""


@dataclass(frozen=True)
class Bench:
    """What a run of tempest needs."""

    programs: Path  # the environment's bin
    folder: Path
    keystone: Keystone
    network_url: str
    workers: int


def laid_out(bench: Bench) -> None:
    """Makes the workspace, and the networks and pools that the suites expect."""
    (bench.folder / "etc").mkdir(parents=True)
    headers = {"X-Auth-Token": bench.keystone.token}
    with httpx.Client(base_url=f"{bench.network_url}/v2.0", headers=headers, timeout=60) as client:
        listed = client.get("/extensions").raise_for_status().json()["extensions"]
        aliases = sorted(extension["alias"] for extension in listed)
        public = _public_network(client, aliases)
    packages = subprocess.run(
        [bench.programs / "python", "-c", "import tempest; print(tempest.__path__[0])"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout.strip()
    stestr = STESTR.format(tempest=packages, packages=Path(packages).parent)
    (bench.folder / ".stestr.conf").write_text(stestr)
    values = {
        "folder": bench.folder,
        "password": PASSWORD,
        "identity": bench.keystone.url,
        "region": REGION,
        "public": public,
        "extensions": ",".join(aliases),
        "types": "vxlan,vlan,flat,local",
    }
    (bench.folder / "etc/tempest.conf").write_text(CONFIGURATION.format(**values))


def judged(bench: Bench, pattern: str) -> tuple[list[Outcome], float]:
    """Runs the tests that match; every outcome, and the seconds of wall time."""
    environ = {
        **os.environ,
        "PATH": f"{bench.programs}:{os.environ['PATH']}",
        "TEMPEST_CONFIG_DIR": str(bench.folder / "etc"),
        "TEMPEST_CONFIG": "tempest.conf",
        "OS_TEST_TIMEOUT": str(TEST_S_MAX),
    }

    def stestr(*words: str, check: bool = False) -> subprocess.CompletedProcess[bytes]:
        command = [bench.programs / "stestr", *words]
        return subprocess.run(command, cwd=bench.folder, env=environ, check=check, stdout=subprocess.PIPE)

    if not (bench.folder / ".stestr").exists():
        stestr("init", check=True)
    began = time.monotonic()
    run = stestr("run", "--concurrency", str(bench.workers), pattern)
    seconds = time.monotonic() - began
    (bench.folder / "stestr.out").write_bytes(run.stdout)
    stream = stestr("last", "--subunit").stdout
    reader = [bench.programs / "subunit2junitxml", f"--output-to={bench.folder / 'outcomes.xml'}"]
    subprocess.run(reader, input=stream, check=False, timeout=120)  # its status is that of the tests
    return read_junit((bench.folder / "outcomes.xml").read_text()), seconds


def _public_network(client: httpx.Client, aliases: list[str]) -> str:
    def made(kind: str, **fields: Any) -> str:
        answer = client.post(f"/{kind}s", json={kind: fields}).raise_for_status()
        return str(answer.json()[kind]["id"])

    is_external = {"router:external": True} if "external-net" in aliases else {}
    public = made("network", name="public", **is_external)
    for version, cidr in ((4, "172.24.4.0/24"), (6, "2001:db8::/64")):
        made("subnet", network_id=public, ip_version=version, cidr=cidr, enable_dhcp=False)
    if "default-subnetpools" in aliases:
        for name, prefix, length in (("v4", "10.1.0.0/20", 26), ("v6", "fd40:59c7:990::/56", 64)):
            pool = {"prefixes": [prefix], "default_prefixlen": length, "shared": True, "is_default": True}
            made("subnetpool", name=f"default-{name}", **pool)
    return public
