# SPDX-License-Identifier: Apache-2.0
"""Create, show, list, update and delete over HTTP, with Neutron's envelopes and status codes."""


async def test_network_lives_from_create_to_delete(api):
    made = await api.call("POST", "networks", {"network": {"name": "blue"}})
    assert made.status_code == 201
    network = made.json()["network"]
    assert network["name"] == "blue"
    assert network["revision_number"] == 1
    assert network["tenant_id"] == network["project_id"] != ""

    shown = await api.get(f"networks/{network['id']}")
    assert shown.status_code == 200
    assert shown.json() == {"network": network}

    changed = await api.call("PUT", f"networks/{network['id']}", {"network": {"name": "green"}})
    assert changed.status_code == 200
    assert changed.json()["network"]["name"] == "green"
    assert changed.json()["network"]["revision_number"] == 2

    listed = await api.get("networks")
    assert listed.json() == {"networks": [changed.json()["network"]]}

    gone = await api.call("DELETE", f"networks/{network['id']}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await api.get(f"networks/{network['id']}")).status_code == 404
    assert (await api.get("networks")).json() == {"networks": []}
