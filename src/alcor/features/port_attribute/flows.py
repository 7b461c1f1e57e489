# SPDX-License-Identifier: Apache-2.0
"""How the switch of a port's host is to treat its interface: what hints ask of Open vSwitch."""

from alcor.dataplane.rows import HostFeature, Row, Setting


class HintsRow(Row, tag="hints", frozen=True, kw_only=True):
    """In `host:H` under `hints_key`: which queue of the interface its packets go to, as ovs-vswitchd.conf.db(5)."""

    port: str
    tx_steering: str


def hints_key(port: str) -> str:
    """The key of a port's row."""
    return f"hints/{port}"


FEATURE = HostFeature(
    name="port_attribute",
    rows=(HintsRow,),
    settings=(
        Setting(
            HintsRow, ("tx-steering",), lambda row: row.port, lambda row: {"tx-steering": row.tx_steering}
        ),
    ),
)
