# SPDX-License-Identifier: Apache-2.0
"""A real Keystone on SQLite and uWSGI, with the projects, users and service catalogue that the peers need."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.peers.processes import free_port, served

PASSWORD = "secret"  # of every user of a Keystone that lives for one run on loopback
REGION = "RegionOne"
PROJECTS = {"demo": ("demo", ("member",)), "service": ("alcor", ("service", "admin"))}  # project: user, roles
CONFIGURATION = """\
[DEFAULT]
log_file = {folder}/keystone.log
[database]
connection = sqlite:///{folder}/keystone.db
sqlite_synchronous = false
[cache]
enabled = true
backend = dogpile.cache.memory
[token]
provider = fernet
expiration = 86400
[fernet_tokens]
key_repository = {folder}/fernet-keys
[credential]
key_repository = {folder}/credential-keys
[oslo_policy]
enforce_scope = true
enforce_new_defaults = true
[identity]
password_hash_rounds = 4
"""


@dataclass(frozen=True)
class Keystone:
    """A Keystone that answers."""

    url: str  # with /v3
    token: str  # of the administrator of project admin

    def environ(self, user: str, project: str) -> dict[str, str]:
        """What the clients read of the environment."""
        return {
            "OS_AUTH_TYPE": "password",
            "OS_AUTH_URL": self.url,
            "OS_USERNAME": user,
            "OS_PASSWORD": PASSWORD,
            "OS_PROJECT_NAME": project,
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default",
            "OS_REGION_NAME": REGION,
        }


@contextmanager
def keystone(programs: Path, folder: Path, network_url: str, port: int = 0) -> Iterator[Keystone]:
    """A Keystone in `folder` whose catalogue says that the network service is at `network_url`."""
    folder.mkdir(parents=True)
    configuration = folder / "keystone.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder))
    root = f"http://127.0.0.1:{port or free_port()}"
    _set_up(programs / "keystone-manage", configuration, f"{root}/v3")
    # One process and one thread: of two that write, SQLite refuses one, and uWSGI closes its connection without a word.
    command = [
        *(programs / "uwsgi", "--http-socket", root.removeprefix("http://")),
        *("--module", "keystone.wsgi.api:application", "--virtualenv", programs.parent),
        *(
            "--master",
            "--processes",
            "1",
            "--threads",
            "1",
            "--enable-threads",
            "--lazy-apps",
            "--die-on-term",
        ),
        *(
            "--buffer-size",
            "65535",
            "--disable-logging",
            "--add-header",
            "Connection: close",
            "--listen",
            "100",
        ),
    ]
    environ = {"OS_KEYSTONE_CONFIG_DIR": str(folder)}
    with served(command, f"{root}/v3", folder / "uwsgi.log", environ):
        found = Keystone(f"{root}/v3", _token(f"{root}/v3"))
        _seed(found, network_url)
        yield found


def _set_up(manage: Path, configuration: Path, url: str) -> None:
    owner = ("--keystone-user", configuration.owner(), "--keystone-group", configuration.group())
    addresses = [
        part for kind in ("admin", "internal", "public") for part in (f"--bootstrap-{kind}-url", url)
    ]
    steps: list[tuple[str, ...]] = [
        ("db_sync",),
        ("fernet_setup", *owner),
        ("credential_setup", *owner),
        ("bootstrap", "--bootstrap-password", PASSWORD, *addresses, "--bootstrap-region-id", REGION),
    ]
    for step in steps:
        with (configuration.parent / "manage.log").open("ab") as log:
            command = [manage, "--config-file", configuration, *step]
            subprocess.run(command, check=True, timeout=120, stdout=log, stderr=log)


def _token(url: str) -> str:
    domain = {"domain": {"id": "default"}}
    who = {"methods": ["password"], "password": {"user": {"name": "admin", "password": PASSWORD, **domain}}}
    asked = {"auth": {"identity": who, "scope": {"project": {"name": "admin", **domain}}}}
    answer = httpx.post(f"{url}/auth/tokens", json=asked, timeout=60).raise_for_status()
    return answer.headers["X-Subject-Token"]


def _seed(keystone: Keystone, network_url: str) -> None:
    """Adds the network service, and each project with a user and roles."""
    with httpx.Client(base_url=keystone.url, headers={"X-Auth-Token": keystone.token}, timeout=60) as client:

        def made(kind: str, **fields: Any) -> str:
            answer = client.post(f"/{kind}s", json={kind: fields}).raise_for_status()
            return str(answer.json()[kind]["id"])

        service = made("service", type="network", name="alcor")
        for interface in ("public", "internal", "admin"):
            place = {"service_id": service, "interface": interface, "region_id": REGION, "url": network_url}
            made("endpoint", **place)
        roles = {role["name"]: role["id"] for role in client.get("/roles").raise_for_status().json()["roles"]}
        for project, (user, names) in PROJECTS.items():
            project_id = made("project", name=project, domain_id="default")
            user_id = made("user", name=user, domain_id="default", password=PASSWORD)
            for name in names:
                role_id = roles.get(name) or made("role", name=name)
                client.put(f"/projects/{project_id}/users/{user_id}/roles/{role_id}").raise_for_status()
