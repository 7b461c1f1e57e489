# SPDX-License-Identifier: Apache-2.0
"""What the REST API does in a second behind Keystone, on a durable SQLite log: `python bench/keystone.py`.

The control plane (`alcor all`) runs in a process of its own and asks Keystone who a caller is; that is a third process,
the small Keystone of the tests. The callers are members of a project with the default policies: eight tokens over 64
connections, each asked about when it comes first, and then known. All checks are on: token, policy, default group,
quota, addresses from a /12.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from signal import SIGTERM
from statistics import median

import uvloop
from harness import ROUNDS, Connection, Figure, Plane, Report, control_plane, load, options, request, scratch

from alcor.lab.process import Child

CONNECTIONS = 64
TOKENS = [f"gAAAAA{number}{'t' * 176}" for number in range(8)]  # as long as Keystone's own
QUOTA = "--quota-port=100000000"  # a quota that is checked, and never reached
START_S_MAX = 20.0
ROOT = Path(__file__).parents[1]


@contextmanager
def keystone(folder: Path) -> Iterator[str]:
    """Where a Keystone is that knows the tokens, in a process of its own."""
    said = folder / "keystone.log"
    child = Child((sys.executable, "-m", "tests.api.fake_keystone", *TOKENS), said, {"PYTHONPATH": str(ROOT)})
    try:
        until = time.monotonic() + START_S_MAX
        while not said.read_text().endswith("\n"):
            if not child.is_running or time.monotonic() > until:
                raise RuntimeError(f"Keystone does not start:\n{child.last_words()}")
            time.sleep(0.02)
        yield said.read_text().strip()
    finally:
        child.send(SIGTERM)
        child.wait()


def by(token: str, asked: bytes) -> bytes:
    """The request with a token."""
    head, _, body = asked.partition(b"\r\n\r\n")
    return head + f"\r\nX-Auth-Token: {token}\r\n\r\n".encode() + body


async def given(plane: Plane) -> dict[str, object]:
    """What a new port says of itself, on a network with a million addresses."""
    api = await Connection.open(plane.port)

    async def made(noun: str, **fields: object) -> str:
        answer = await api.ask(by(TOKENS[0], request("POST", f"{noun}s", {noun: fields})))
        found = re.search(rb'"id":\s*"([^"]+)"', answer)
        assert found is not None, answer
        return found[1].decode()

    network = await made("network", name="bench")
    await made("subnet", network_id=network, ip_version=4, cidr="10.0.0.0/12")
    api.close()
    return {"network_id": network, "name": "p", "device_id": "vm", "device_owner": "compute:nova"}


async def measured(plane: Plane, report: Report, count: int) -> None:
    """Rounds of POST, and how often Keystone was asked meanwhile."""
    port = await given(plane)
    asked = [by(token, request("POST", "ports", {"port": port})) for token in TOKENS]
    await load(plane, cycle(asked), max(count // 10, CONNECTIONS), CONNECTIONS)
    rounds = [
        await load(plane, cycle(asked), count, CONNECTIONS) for _ in range(report.options.rounds or ROUNDS)
    ]
    api = await Connection.open(plane.port)
    shown = (await api.ask(request("GET", "metrics", root=True))).decode()
    api.close()
    questions = sum(map(float, re.findall(r"^alcor_tokens_total\S* (\S+)", shown, re.MULTILINE)))
    seconds = [second for each in rounds for second in each.seconds]
    said = (
        f"a request {median(seconds) * 1000:.1f} ms, p99 {median(each.p99_ms for each in rounds):.1f} ms;"
        f" CPU {median(each.cpu_s / each.count * 1e6 for each in rounds):,.0f} us;"
        f" Keystone was asked about {questions:.0f} tokens in all"
    )
    name = f"POST port with Keystone, {CONNECTIONS} connections"
    report.add(Figure(name, "/s", [each.rate for each in rounds], 2_500, note=said))


def main() -> None:
    """Prints the machine, the commit and the figures."""
    asked = options(__doc__)
    report = Report(asked)
    with scratch(asked) as folder, keystone(folder) as url:
        password = folder / "password"
        password.write_text("known to the service alone")
        flags = ("--auth=keystone", f"--keystone-url={url}", f"--keystone-password-file={password}", QUOTA)
        with control_plane(folder, "all", flags) as plane:
            uvloop.run(measured(plane, report, 500 if asked.small else 10_000))
    report.close()


if __name__ == "__main__":
    main()
