# SPDX-License-Identifier: Apache-2.0
"""`alcor policy` prints what may be overridden, and says whether a file is understood; the API holds to the file."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from alcor.base.config import load
from alcor.cli import serve
from alcor.cli.main import main
from alcor.features.control import REST
from alcor.resource.engine import Engine
from alcor.resource.sample import sample


def test_sample_names_every_rule_and_is_read_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["policy", "--sample"]) == 0
    printed = capsys.readouterr().out
    for requests in (
        "# Specify `binding:host_id` when creating a port\n# POST  /ports\n# Intended scope(s): project\n",
        '# Intended scope(s): project\n#"create_port:binding:host_id": "(rule:admin_only) or (rule:service_api)"',
        "# Get an address scope\n# GET  /address-scopes\n# GET  /address-scopes/{address_scope_id}\n",
        "# Adds prefixes to the pool.\n# PUT  /subnetpools/{subnetpool_id}/add_prefixes\n",
        "# Moves the port to this host.\n# PUT  /ports/{port_id}/bindings/{host}/activate\n",
        "# Delete `tags` of a trunk\n# DELETE  /trunks/{trunk_id}/tags\n# DELETE  /trunks/{trunk_id}/tags/{tags_id}\n",
        "# Create a dscp marking rule\n# POST  /qos/policies/{policy_id}/dscp_marking_rules\n",
        "# Bounds of all projects.\n# GET  /quotas\n# GET  /quotas/{project_id}\n",
    ):
        assert requests in printed
    file = tmp_path / "policy.yaml"
    file.write_text(
        "\n".join(line.removeprefix("#") for line in printed.splitlines() if line.startswith('#"'))
    )
    assert len(file.read_text().splitlines()) == len(Engine(REST).policy.defaults)
    assert main(["policy", "--policy-file", str(file)]) == 0


def test_whoever_has_read_enough_may_leave(tmp_path: Path) -> None:
    with (tmp_path / "said").open("w+") as said:
        command = [sys.executable, "-m", "alcor", "policy", "--sample"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said) as printing:
            assert printing.stdout is not None
            printing.stdout.close()
        said.seek(0)
        assert said.read() == ""


def test_rules_of_a_file_that_are_not_here_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text('"create_netwrok": "role:member"\n"create_port": "rule:admin_onyl"\n')
    assert main(["policy", "--policy-file", str(file)]) == 0
    told = capsys.readouterr().out.splitlines()[1:]
    assert [line.partition(" ")[0] for line in told] == ["create_netwrok", "rule:admin_onyl"]


def test_wrong_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text('"create_network": "role:a or"\n')
    assert main(["policy", "--policy-file", str(file)]) == 1
    assert "create_network" in capsys.readouterr().err
    assert main(["policy"]) == 1


def test_sample_says_of_every_rule_what_it_decides_but_for_what_is_not_there() -> None:
    blocks = "\n".join(sample(Engine(REST))).split("\n\n")
    untold = [block.rpartition('#"')[2].partition('"')[0] for block in blocks if "  /" not in block]
    nowhere = [
        name for name in untold if "_" in name and name.startswith(("create_", "get_", "update_", "delete_"))
    ]
    later = (
        "auto_allocated_topology",
        "segment",
        "network_segment_range",
        "default_security_group",
        "flavor_service_profile",
    )
    assert [name for name in nowhere if not any(noun in name for noun in later)] == []


async def test_api_holds_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text('"create_network": "role:network_admin"\n')
    flags = {"listen": "127.0.0.1:0", "state": str(tmp_path), "policy_file": str(file)}
    async with serve.running(load(flags, {}), api=True, push=False) as process:
        assert process.server is not None
        url = f"http://127.0.0.1:{process.server.port}/v2.0/networks"
        async with httpx.AsyncClient(trust_env=False) as http:
            for roles, status in (("member", 403), ("network_admin,member", 201)):
                headers = {"X-Project-Id": "p1", "X-Roles": roles}
                answer = await http.post(url, json={"network": {}}, headers=headers)
                assert answer.status_code == status
    file.write_text('"create_network": "role:"and"\n')
    assert await serve.run(load(flags, {}), api=True, push=False) == 1
