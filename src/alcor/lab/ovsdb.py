# SPDX-License-Identifier: Apache-2.0
"""One OVSDB transaction over a unix socket (RFC 7047), for what must not wait for an `ovs-vsctl` process.

Everything that may take its time goes through `Host.vsctl`.
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alcor.lab.errors import LabFailure

WAIT_MS = (
    20_000  # how long vswitchd may take to give an interface its number: it may wait 8 s for its database
)
_ANSWER_BYTES_MAX = 1_048_576


async def add_port(socket: Path, bridge: str, name: str, external_ids: Mapping[str, str]) -> int:
    """Add an interface to a bridge; its OpenFlow port number, which it has when this returns."""
    interface = {"name": name, "external_ids": ["map", list(external_ids.items())]}
    port = {"name": name, "interfaces": ["named-uuid", "interface"]}
    await transact(
        socket,
        {"op": "insert", "table": "Interface", "row": interface, "uuid-name": "interface"},
        {"op": "insert", "table": "Port", "row": port, "uuid-name": "port"},
        {
            "op": "mutate",
            "table": "Bridge",
            "where": [["name", "==", bridge]],
            "mutations": [["ports", "insert", ["named-uuid", "port"]]],
        },
        {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "+=", 1]]},
    )
    this = {"table": "Interface", "where": [["name", "==", name]], "columns": ["ofport"]}
    unset = {"op": "wait", "until": "!=", "rows": [{"ofport": ["set", []]}], "timeout": WAIT_MS}
    _, selected = await transact(socket, this | unset, this | {"op": "select"})
    return int(selected["rows"][0]["ofport"])


async def transact(socket: Path, *operations: Mapping[str, object]) -> list[Any]:
    """The result of each operation. Raises LabFailure if one failed: then none was done."""
    reader, writer = await asyncio.open_unix_connection(socket, limit=_ANSWER_BYTES_MAX)
    try:
        asked = {"method": "transact", "params": ["Open_vSwitch", *operations], "id": 0}
        writer.write(json.dumps(asked).encode())
        answer = await _first_value(reader)
    finally:
        writer.close()
        await writer.wait_closed()
    results: list[Any] = answer["result"] or [{"error": answer["error"]}]
    for result in results:
        if result and result.get("error"):
            raise LabFailure(f"OVSDB refused: {result['error']} {result.get('details', '')}")
    return results


async def _first_value(reader: asyncio.StreamReader) -> dict[str, Any]:
    # JSON values follow each other without a separator; only one is asked for here.
    text = b""
    while piece := await reader.read(_ANSWER_BYTES_MAX):
        text += piece
        with contextlib.suppress(json.JSONDecodeError):  # The rest is on its way.
            return dict(json.loads(text))
    raise LabFailure("ovsdb-server closed the connection")
