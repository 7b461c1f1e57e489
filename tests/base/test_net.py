# SPDX-License-Identifier: Apache-2.0
"""Network values: canonical text, numbers and back, membership."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alcor.base.net import (
    Cidr,
    Ip,
    Mac,
    cidr_bounds,
    eui64,
    ip_in,
    ip_int,
    ip_of,
    ip_version,
    link_local,
    mac_int,
    mac_of,
    parse_cidr,
    parse_ip,
    parse_mac,
    prefix_length,
)

ADDRESSES = st.ip_addresses()
NETWORKS = st.builds(
    lambda address, share: ipaddress.ip_network(
        f"{address}/{share * address.max_prefixlen // 64}", strict=False
    ),
    ADDRESSES,
    st.integers(0, 64),
)


@pytest.mark.parametrize("text", ["FA:16:3E:00:00:0A", "fa-16-3e-00-00-0a", "fa:16:3e:00:00:0a"])
def test_a_mac_has_one_spelling(text: str) -> None:
    assert parse_mac(text) == "fa:16:3e:00:00:0a"


@pytest.mark.parametrize(
    "text",
    ["", "fa:16:3e", "fa:16:3e:00:00:0g", "fa:16-3e:00:00:0a", " fa:16:3e:00:00:0a", "fa:16:3e:00:00:0a:0b"],
)
def test_what_is_no_mac_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid MAC address"):
        parse_mac(text)


@pytest.mark.parametrize(
    "text", ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "33:33:00:00:00:01", "00:00:00:00:00:00"]
)
def test_a_mac_that_no_interface_can_have_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid MAC address"):
        parse_mac(text)


@given(st.integers(0, 2**48 - 1))
def test_a_mac_is_a_number_and_back(number: int) -> None:
    assert mac_int(mac_of(number)) == number


def test_an_address_has_one_spelling() -> None:
    assert parse_ip("2001:DB8:0::1") == "2001:db8::1"
    assert parse_ip("10.0.0.1") == "10.0.0.1"


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.256", "10.0.0.01", "::g", "10.0.0.1/24", " 10.0.0.1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid IP address"):
        parse_ip(text)


@given(ADDRESSES)
def test_an_address_is_a_number_and_back(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    ip = parse_ip(str(address))
    assert ip_version(ip) == address.version
    assert ip_int(ip) == int(address)
    assert ip_of(int(address), address.version) == ip


def test_a_cidr_has_no_host_bits() -> None:
    assert parse_cidr("10.0.0.77/24") == "10.0.0.0/24"
    assert parse_cidr("2001:DB8::5/64") == "2001:db8::/64"


@pytest.mark.parametrize(
    ("text", "why"),
    [("10.0.0.0", "it has no prefix length"), ("10.0.0.0/33", "valid CIDR"), ("x/8", "valid CIDR")],
)
def test_what_is_no_cidr_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_cidr(text)


@given(NETWORKS, ADDRESSES)
def test_membership_is_that_of_the_standard_library(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    cidr = parse_cidr(str(network))
    assert cidr_bounds(cidr) == (int(network.network_address), int(network.broadcast_address))
    assert prefix_length(cidr) == network.prefixlen
    assert ip_in(parse_ip(str(address)), cidr) is (address in network)
    assert ip_in(Ip(str(network.network_address)), cidr)


def test_addresses_made_of_macs_are_those_of_the_rfc() -> None:
    mac = Mac("34:56:78:9a:bc:de")
    assert eui64(Cidr("2001:db8::/64"), mac) == "2001:db8::3656:78ff:fe9a:bcde"
    assert link_local(mac) == "fe80::3656:78ff:fe9a:bcde"
