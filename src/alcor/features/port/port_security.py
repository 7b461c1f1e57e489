# SPDX-License-Identifier: Apache-2.0
"""What a port may say of itself: its own MAC and addresses in Ethernet, IP, ARP and neighbour discovery, and no others.

What no port may say (router advertisements, DHCP answers) stands once in the pipeline, above all of this.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from alcor.base.net import Cidr, Mac, cidr_bounds, ip_version, mac_int
from alcor.dataplane.pipeline import (
    ANSWER,
    MLD_REPORTS,
    ND_SECURITY,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
    PORT_SECURITY,
    flow,
    go,
    icmpv6,
    where,
)
from alcor.dataplane.values import ETH_ARP, ETH_IPV4, ETH_IPV6, UDP, Controller, Flow


@dataclass(frozen=True, slots=True)
class Identity:
    """A MAC, and addresses that may be used with it; `claim` is told to the agent when ARP or ND says so."""

    mac: Mac
    cidr: Cidr
    claim: bytes = b""


def port_security_flows(port: int, identities: Iterable[Identity]) -> Iterator[Flow]:
    """What passes PORT_SECURITY and ND_SECURITY from local port `port`; all else drops."""
    macs: dict[int, None] = {}
    for identity in dict.fromkeys(identities):
        mac = mac_int(identity.mac)
        macs[mac] = None
        addresses = masked(identity.cidr)
        if ip_version(identity.cidr) == 4:
            yield from _ipv4_flows(port, mac, addresses, identity.claim)
        else:
            yield from _ipv6_flows(port, mac, addresses, identity.claim)
    for mac in macs:
        yield from _without_address_flows(port, mac)


def masked(cidr: Cidr) -> tuple[int, int]:
    """The network as value and mask of a match."""
    first, last = cidr_bounds(cidr)
    width = 32 if ip_version(cidr) == 4 else 128
    return first, ~(first ^ last) & (1 << width) - 1


def _ipv4_flows(port: int, mac: int, addresses: tuple[int, int], told: bytes) -> Iterator[Flow]:
    from_me = where(source_port=port, eth_src=mac, eth_type=ETH_IPV4, ip_src=addresses)
    yield flow(PORT_SECURITY, 50, from_me, go(ANSWER))
    claim = where(source_port=port, eth_src=mac, eth_type=ETH_ARP, arp_sha=mac, arp_spa=addresses)
    yield flow(PORT_SECURITY, 50, claim, *_telling(told), go(ANSWER))
    # RFC 5227: whether anybody else has the address that is mine.
    probe = where(
        source_port=port, eth_src=mac, eth_type=ETH_ARP, arp_op=1, arp_sha=mac, arp_spa=0, arp_tpa=addresses
    )
    yield flow(PORT_SECURITY, 50, probe, go(ANSWER))


def _ipv6_flows(port: int, mac: int, addresses: tuple[int, int], told: bytes) -> Iterator[Flow]:
    from_me = where(source_port=port, eth_src=mac, eth_type=ETH_IPV6, ipv6_src=addresses)
    yield flow(PORT_SECURITY, 50, from_me, go(ND_SECURITY))
    # RFC 4862: duplicate address detection of an address that is mine.
    probe = icmpv6(
        NEIGHBOUR_SOLICITATION, icmpv6_code=0, source_port=port, eth_src=mac, ipv6_src=0, nd_target=addresses
    )
    yield flow(PORT_SECURITY, 60, probe, go(ND_SECURITY))
    for target_mac in (mac, 0):  # 0: the option is absent
        claim = icmpv6(
            NEIGHBOUR_ADVERTISEMENT,
            icmpv6_code=0,
            source_port=port,
            eth_src=mac,
            nd_target=addresses,
            nd_tll=target_mac,
        )
        yield flow(ND_SECURITY, 50, claim, *_telling(told), go(ANSWER))
    if told:
        asking = icmpv6(
            NEIGHBOUR_SOLICITATION, icmpv6_code=0, source_port=port, eth_src=mac, ipv6_src=addresses
        )
        yield flow(PORT_SECURITY, 60, asking, *_telling(told), go(ND_SECURITY))


def _telling(claim: bytes) -> tuple[Controller, ...]:
    return (Controller(claim),) if claim else ()


def _without_address_flows(port: int, mac: int) -> Iterator[Flow]:
    """What a port says before it has an address, or independent of one."""
    request = where(
        source_port=port, eth_src=mac, eth_type=ETH_IPV4, ip_src=0, ip_proto=UDP, udp_src=68, udp_dst=67
    )
    yield flow(PORT_SECURITY, 50, request, go(ANSWER))
    for kind in MLD_REPORTS:
        yield flow(PORT_SECURITY, 60, icmpv6(kind, source_port=port, eth_src=mac, ipv6_src=0), go(ANSWER))
    for source_mac in (mac, 0):  # 0: the option is absent
        question = icmpv6(
            NEIGHBOUR_SOLICITATION, icmpv6_code=0, source_port=port, eth_src=mac, nd_sll=source_mac
        )
        yield flow(ND_SECURITY, 50, question, go(ANSWER))
