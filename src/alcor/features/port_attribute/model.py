# SPDX-License-Identifier: Apache-2.0
"""Attributes of ports that no packet's way depends on. A row is there only where a port has one of them."""

from typing import Annotated

import msgspec

from alcor.base.errors import Invalid
from alcor.features.port.model import PORT
from alcor.resource.declare import Api
from alcor.resource.parse import parse_int, shown
from alcor.store.declare import Reference, Stored, Table, own_id

OPTIONS_MAX = 64  # DHCP options of one port
NAME_LENGTH_MAX = 64  # of a DHCP option
VALUE_LENGTH_MAX = 255
BLANK_NAMES = ("router", "classless-static-route")  # DHCP options whose value may be empty


class DhcpOption(msgspec.Struct, frozen=True, gc=False):
    """A DHCP option for the port alone; null as its value takes it away."""

    opt_name: str
    opt_value: str | None
    ip_version: int = 4


def parse_options(value: object) -> tuple[DhcpOption, ...]:
    """DHCP options as asked for. Raises Invalid."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _wrong(f"'{shown(value)}' is not a list")
    if len(value) > OPTIONS_MAX:
        raise _wrong(f"a port may have at most {OPTIONS_MAX} DHCP options, not {len(value)}")
    return tuple(_parse_option(entry) for entry in value)


def _parse_option(entry: object) -> DhcpOption:
    if not isinstance(entry, dict) or entry.keys() - {"opt_name", "opt_value", "ip_version"}:
        raise _wrong(f"'{shown(entry)}' is not a DHCP option")
    name, text = entry.get("opt_name"), entry.get("opt_value")
    if not _is_line(name, NAME_LENGTH_MAX) or "opt_value" not in entry:
        raise _wrong(
            f"'{shown(entry)}' needs an opt_name of at most {NAME_LENGTH_MAX} characters and an opt_value"
        )
    is_blank = text == "" and name in BLANK_NAMES
    if text is not None and not is_blank and not _is_line(text, VALUE_LENGTH_MAX):
        raise _wrong(f"'{shown(text)}' is not a value of at most {VALUE_LENGTH_MAX} characters in one line")
    try:
        version = parse_int(entry.get("ip_version", 4))
    except ValueError as wrong:
        raise _wrong(str(wrong)) from None
    if version not in (4, 6):
        raise _wrong(f"'{version}' is not in [4, 6]")
    return DhcpOption(str(name), text, version)


def _is_line(text: object, length_max: int) -> bool:
    return isinstance(text, str) and bool(text.strip()) and len(text) <= length_max and "\n" not in text


def _wrong(reason: str) -> Invalid:
    return Invalid(f"Invalid input for operation: {reason}.", type="InvalidInput")


class _OtherConfig(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    tx_steering: str | msgspec.UnsetType = msgspec.field(name="tx-steering", default=msgspec.UNSET)


class _OpenVSwitch(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    other_config: _OtherConfig | msgspec.UnsetType = msgspec.UNSET


class _Hints(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    openvswitch: _OpenVSwitch | msgspec.UnsetType = msgspec.UNSET


def parse_hints(value: object) -> dict[str, object] | None:
    """Hints for the switch, of those that Neutron knows; no hint is none. Raises ValueError."""
    try:
        hints = msgspec.convert(value, _Hints)
    except msgspec.ValidationError as wrong:
        raise ValueError(f"'{shown(value)}' is not valid: {wrong}") from None
    made: dict[str, object] = msgspec.to_builtins(hints)
    steering = tx_steering(made)
    if steering is not None and steering not in ("thread", "hash"):
        raise ValueError(f"'{shown(steering)}' is not in ['thread', 'hash']")
    return made or None


def tx_steering(hints: object) -> str | None:
    """What parsed hints ask of Open vSwitch for the port's interface, if anything."""
    for name in ("openvswitch", "other_config", "tx-steering"):
        hints = hints.get(name) if isinstance(hints, dict) else None
    return hints if isinstance(hints, str) else None


class PortAttributes(Stored, frozen=True, kw_only=True):
    """What is kept with a port. `id` is the port's."""

    plane_status: Annotated[
        str | None,
        Api(
            name="data_plane_status",
            post=False,
            put=True,
            choices=("ACTIVE", "DOWN"),
            set_by="admin",
            filter=False,
            sort=False,
        ),
    ] = None
    propagate_uplink_status: Annotated[bool, Api(put=True, filter=False, sort=False)] = True
    device_profile: Annotated[str | None, Api(max_length=255, filter=False, sort=False)] = None
    numa_affinity_policy: Annotated[
        str | None,
        Api(put=True, choices=("required", "preferred", "legacy", "socket"), filter=False, sort=False),
    ] = None
    hints: Annotated[
        dict[str, object] | None,
        Api(put=True, parse=parse_hints, set_by="admin", seen_by="admin", filter=False, sort=False),
    ] = None
    extra_dhcp_opts: Annotated[
        tuple[DhcpOption, ...],
        Api(put=True, parse=parse_options, nullable=True, filter=False, sort=False),
    ] = ()


PORT_ATTRIBUTES: Table[PortAttributes] = Table(
    "port_attributes", PortAttributes, references=(Reference("port", PORT, own_id),)
)
