# SPDX-License-Identifier: Apache-2.0
"""The Alcor that is judged: the control plane and two emulated hosts, asking the run's Keystone who a caller is."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from alcor.base.config import declared
from alcor.base.metrics import KEYSTONE_SECONDS
from tests.peers.identity import PASSWORD, Keystone
from tests.peers.processes import served

QUOTA = 500  # of each noun: what Neutron was given for the outcomes of `neutron29.tsv`
OWN_QUOTA = "quota_rbac_policy"  # a test uses it up: the default, as in Neutron
HOSTS = 2


@dataclass(frozen=True)
class Program:
    """Where `alcor` is, and where a run of it lives."""

    alcor: Path
    folder: Path
    url: str


@contextmanager
def alcor(program: Program, keystone: Keystone) -> Iterator[None]:
    """Alcor at `program.url`, with hosts that realise what they are told."""
    program.folder.mkdir(parents=True)
    push = f"unix:{program.folder}/push.sock"
    command = [
        *(program.alcor, "all", "--state", program.folder / "state", "--push-listen", push),
        *("--listen", program.url.removeprefix("http://")),
        *("--auth", "keystone", "--keystone-url", keystone.url.removesuffix("/v3")),
        *("--network-vlan-ranges", "public,physnet2:100:2000"),  # Neutron's, too
        *(word for name in _quotas() for word in (f"--{name.replace('_', '-')}", str(QUOTA))),
    ]
    hosts = [program.alcor, "emulate", "--hosts", str(HOSTS), "--prefix", "host", "--push", push]
    with (
        served(command, program.url, program.folder / "alcor.log", {"ALCOR_KEYSTONE_PASSWORD": PASSWORD}),
        served(hosts, program.url, program.folder / "hosts.log"),
    ):
        yield


def waited_for_keystone(url: str) -> tuple[int, float]:
    """How many requests Alcor has made of Keystone, and their seconds."""
    text = httpx.get(f"{url}/metrics", timeout=60).raise_for_status().text
    found = dict(re.findall(rf"^{KEYSTONE_SECONDS.name}_(count|sum) (\S+)$", text, re.MULTILINE))
    return int(float(found["count"])), float(found["sum"])


def _quotas() -> list[str]:
    return [
        setting.name
        for setting in declared()
        if setting.name.startswith("quota_") and setting.name != OWN_QUOTA
    ]
