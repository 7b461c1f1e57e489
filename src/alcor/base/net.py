# SPDX-License-Identifier: Apache-2.0
"""Network values: MAC addresses, IP addresses and CIDRs as canonical text, parsed once at the edge.

Each is a `str` with a type of its own, so it compares, hashes, encodes and prints as what it is.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable, Iterator
from typing import NewType, cast

Mac = NewType("Mac", str)  # lower case, colons: fa:16:3e:00:00:01
Ip = NewType("Ip", str)  # IPv4 dotted, IPv6 as in RFC 5952
Cidr = NewType("Cidr", str)  # network address/prefix length, host bits zero

_MAC = re.compile(r"[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}")


def parse_mac(text: str) -> Mac:
    """The canonical MAC. Raises ValueError if `text` is none, or is not a unicast address."""
    lower = text.lower()
    if not _MAC.fullmatch(lower) or int(lower[1], 16) & 1 or not lower.strip("0:-"):  # a group's, or nobody's
        raise ValueError(f"'{text}' is not a valid MAC address.")
    return Mac(lower.replace("-", ":"))


def parse_ip(text: str) -> Ip:
    """The canonical IPv4 or IPv6 address. Raises ValueError if `text` is none."""
    try:
        return Ip(str(ipaddress.ip_address(text)))
    except ValueError:
        raise ValueError(f"'{text}' is not a valid IP address.") from None


def parse_cidr(text: str) -> Cidr:
    """The canonical network of `text`, host bits cleared. Raises ValueError if it is none or has no prefix length."""
    if "/" not in text:
        raise ValueError(f"'{text}' is not a valid CIDR: it has no prefix length.")
    try:
        return Cidr(str(ipaddress.ip_network(text, strict=False)))
    except ValueError:
        raise ValueError(f"'{text}' is not a valid CIDR.") from None


def mac_int(mac: Mac) -> int:
    """The MAC as a 48-bit number."""
    return int(mac.replace(":", ""), 16)


def mac_of(number: int) -> Mac:
    """The MAC of a 48-bit number."""
    return Mac(number.to_bytes(6, "big").hex(":"))


def ip_version(ip: Ip | Cidr) -> int:
    """4 or 6."""
    return 6 if ":" in ip else 4


def ip_int(ip: Ip) -> int:
    """The address as a number (32 or 128 bits)."""
    if ":" in ip:
        return int.from_bytes(socket.inet_pton(socket.AF_INET6, ip), "big")
    return int.from_bytes(socket.inet_aton(ip), "big")


def ip_of(number: int, version: int) -> Ip:
    """The address of a number."""
    if version == 4:
        return Ip(socket.inet_ntoa(number.to_bytes(4, "big")))
    return Ip(str(ipaddress.IPv6Address(number)))


def cidr_bounds(cidr: Cidr) -> tuple[int, int]:
    """The first and the last address of the network, as numbers, both included."""
    address, length = cidr.split("/")
    width = 128 if ":" in address else 32
    first = ip_int(Ip(address))
    return first, first | (1 << (width - int(length))) - 1


def prefix_length(cidr: Cidr) -> int:
    """The prefix length of the network."""
    return int(cidr.rsplit("/", 1)[1])


def is_multicast(cidr: Cidr) -> bool:
    """Whether the network lies within the multicast addresses."""
    return ipaddress.ip_network(cidr).is_multicast


def is_loopback(cidr: Cidr) -> bool:
    """Whether the network lies within the loopback addresses."""
    return ipaddress.ip_network(cidr).is_loopback


def ip_in(ip: Ip, cidr: Cidr) -> bool:
    """Whether the address lies in the network; never across versions."""
    if ip_version(ip) != ip_version(cidr):
        return False
    first, last = cidr_bounds(cidr)
    return first <= ip_int(ip) <= last


def eui64(cidr: Cidr, mac: Mac) -> Ip:
    """The address that SLAAC gives `mac` in a /64 (RFC 4291, appendix A)."""
    number = mac_int(mac)
    low = (number >> 24 ^ 0x020000) << 40 | 0xFFFE << 24 | number & 0xFFFFFF
    return ip_of(cidr_bounds(cidr)[0] | low, 6)


def link_local(mac: Mac) -> Ip:
    """The IPv6 link-local address that a host with `mac` makes for itself (RFC 4291, appendix A)."""
    return eui64(Cidr("fe80::/64"), mac)


def merged(prefixes: Iterable[Cidr]) -> tuple[Cidr, ...]:
    """The fewest prefixes that cover the same addresses, in order. All are of one IP version."""
    networks = cast("list[ipaddress.IPv4Network]", [ipaddress.ip_network(prefix) for prefix in prefixes])
    return tuple(Cidr(str(network)) for network in ipaddress.collapse_addresses(networks))


def left_of(prefixes: Iterable[Cidr], taken: Iterable[Cidr], version: int) -> Iterator[Cidr]:
    """What is left of prefixes, as prefixes in order, without the addresses of `taken`."""
    gone = sorted(cidr_bounds(each) for each in taken)
    for prefix in prefixes:
        start, end = cidr_bounds(prefix)
        for first, last in gone:
            if last < start or first > end:
                continue
            yield from _between(start, first - 1, version)
            start = last + 1
        yield from _between(start, end, version)


def covers(prefixes: Iterable[Cidr], cidr: Cidr) -> bool:
    """Whether all of `cidr` lies in one of the prefixes."""
    first, last = cidr_bounds(cidr)
    return any(start <= first and last <= end for start, end in map(cidr_bounds, prefixes))


def overlap(some: Iterable[Cidr], others: Iterable[Cidr]) -> bool:
    """Whether an address lies in one of each."""
    bounds = [cidr_bounds(each) for each in others]
    return any(
        first <= other_last and other_first <= last
        for first, last in map(cidr_bounds, some)
        for other_first, other_last in bounds
    )


def _between(first: int, last: int, version: int) -> Iterator[Cidr]:
    width = 32 if version == 4 else 128
    while first <= last:
        size = min(first & -first or 1 << width, 1 << (last - first + 1).bit_length() - 1)
        yield Cidr(f"{ip_of(first, version)}/{width - size.bit_length() + 1}")
        first += size
