# SPDX-License-Identifier: Apache-2.0
"""Allowed address pairs: what else than its own MAC and addresses a port may speak with, as a request gives it."""

import msgspec

from alcor.base.errors import Conflict, Invalid
from alcor.base.net import (
    Cidr,
    Ip,
    Mac,
    cidr_bounds,
    ip_version,
    parse_cidr,
    parse_ip,
    parse_mac,
    prefix_length,
)
from alcor.resource.parse import shown

PAIRS_MAX = 1_000  # whatever the setting `address_pairs_max` says


class AllowedPair(msgspec.Struct, frozen=True, gc=False):
    """A MAC ('' in a request: the port's own) and an address or network, each as it was given."""

    mac_address: Mac
    ip_address: str

    @property
    def cidr(self) -> Cidr:
        """The address as a network."""
        address = self.ip_address
        return Cidr(address if "/" in address else f"{address}/{32 if ip_version(Ip(address)) == 4 else 128}")

    @property
    def address(self) -> Ip | None:
        """The address, if it is one and not a network: such a one can be claimed."""
        cidr = self.cidr
        is_one = prefix_length(cidr) == (32 if ip_version(cidr) == 4 else 128)
        return Ip(cidr.partition("/")[0]) if is_one else None


def parse_pairs(value: object) -> tuple[AllowedPair, ...]:
    """Pairs as asked for. Raises Invalid in Neutron's words."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise Invalid("Allowed address pairs must be a list.", type="HTTPBadRequest")
    if len(value) > PAIRS_MAX:
        raise too_many_pairs(PAIRS_MAX)
    pairs = tuple(_parse_pair(entry) for entry in value)
    check_distinct(pairs)
    return pairs


def check_distinct(pairs: tuple[AllowedPair, ...]) -> None:
    """Raises Invalid where a pair is given twice."""
    seen: set[AllowedPair] = set()
    for pair in pairs:
        if pair in seen:
            raise Invalid(
                f"Invalid input for operation: Request contains duplicate address pair: mac_address"
                f" {pair.mac_address or None} ip_address {pair.ip_address}.",
                type="DuplicateAddressPairInRequest",
            )
        seen.add(pair)


def match_pair(pairs: tuple[AllowedPair, ...], text: str) -> bool:
    """Whether some pair fits `ip_address=…` or `mac_address=…`, as in Neutron's list filter."""
    kind, _, wanted = text.partition("=")
    if kind == "ip_address":
        return any(pair.ip_address == wanted for pair in pairs)
    return kind == "mac_address" and any(pair.mac_address == wanted.lower() for pair in pairs)


def too_many_pairs(most: int) -> Invalid:
    """The refusal of more pairs than a port may have."""
    return Invalid(
        f"The number of allowed address pair exceeds the maximum {most}.", type="AllowedAddressPairExhausted"
    )


def pairs_need_port_security() -> Conflict:
    """The refusal of pairs on a port that may say everything anyway."""
    return Conflict(
        "Port Security must be enabled in order to have allowed address pairs on a port.",
        type="AddressPairAndPortSecurityRequired",
    )


def _parse_pair(entry: object) -> AllowedPair:
    if not isinstance(entry, dict):
        raise ValueError(f"'{shown(entry)}' is not a dictionary")
    try:
        mac = _parse_mac(entry["mac_address"]) if "mac_address" in entry else Mac("")
        if "ip_address" not in entry:
            raise Invalid(
                "Invalid input for operation: AllowedAddressPair must contain ip_address.",
                type="AllowedAddressPairsMissingIP",
            )
        unknown = sorted(shown(name) for name in entry.keys() - {"mac_address", "ip_address"})
        if unknown:
            raise ValueError(f"Unrecognized attribute(s) '{', '.join(unknown)}'")
        return AllowedPair(mac, _parse_address(entry["ip_address"]))
    except ValueError as wrong:
        raise Invalid(str(wrong), type="HTTPBadRequest") from None


def _parse_mac(value: object) -> Mac:
    if not isinstance(value, str):
        raise ValueError(f"'{shown(value)}' is not a valid MAC address")
    try:
        return parse_mac(value)
    except ValueError:
        raise ValueError(f"'{shown(value)}' is not a valid MAC address") from None


def _parse_address(value: object) -> str:
    text = value if isinstance(value, str) else ""
    if "/" not in text:
        try:
            address = parse_ip(text)
        except ValueError:
            raise ValueError(f"'{shown(value)}' is not a valid IP address") from None
        if _is_multicast(Cidr(f"{address}/{128 if ':' in address else 32}")):
            raise ValueError(f"IP {address} is a multicast address, which is not supported.")
        return address
    try:
        cidr = parse_cidr(text)
    except ValueError:
        raise ValueError(f"'{shown(value)}' is not a valid IP subnet") from None
    network, _, length = cidr.partition("/")
    if text.partition("/")[2] != length or parse_ip(text.partition("/")[0]) != network:
        raise ValueError(f"'{shown(value)}' isn't a recognized IP subnet cidr, '{cidr}' is recommended")
    if cidr != "0.0.0.0/0" and _is_multicast(cidr):
        raise ValueError(f"Subnet {cidr} overlaps with multicast range, which is not supported.")
    return cidr


def _is_multicast(cidr: Cidr) -> bool:
    """Whether the network and the multicast addresses of its version have any in common."""
    first, last = cidr_bounds(cidr)
    lowest, highest = cidr_bounds(Cidr("224.0.0.0/4" if ip_version(cidr) == 4 else "ff00::/8"))
    return first <= highest and lowest <= last
