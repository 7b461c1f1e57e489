# SPDX-License-Identifier: Apache-2.0
"""One request id, from the API's log line to the line of each agent that it gave rows."""

import json

from alcor.base.telemetry import configure_log
from alcor.testing.loop import simulate
from alcor.testing.world import World

ID = "req-12345678-1234-4123-8123-123456789abc"


def test_the_id_of_a_request_is_in_the_line_of_the_agent_that_it_concerns() -> None:
    lines: list[str] = []

    async def main() -> None:
        async with World() as world:
            world.add_host("h1")
            await world.until_registered("h1")
            net = await world.create("network")
            port = {"network_id": net["id"], "binding:host_id": "h1"}
            configure_log("info", "json", write=lines.append)
            headers = {"X-Openstack-Request-Id": ID}
            answer = await world.client.post("/v2.0/ports", json={"port": port}, headers=headers)
            assert answer.status_code == 201
            await world.settle()

    try:
        simulate(main())
    finally:
        configure_log("info", "text")
    said = [json.loads(line) for line in lines]
    assert [line["status"] for line in said if line.get("request") == ID] == [201]
    at_agent = [
        line for line in said if line["event"] == "rows changed" and ID in line["requests"].split(",")
    ]
    assert len(at_agent) == 1
    assert at_agent[0]["rows"] > 0
