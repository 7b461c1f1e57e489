# SPDX-License-Identifier: Apache-2.0
"""Where a process listens or connects: `HOST:PORT`, `[IPv6]:PORT` or `unix:PATH`, parsed once at the edge."""

import ipaddress
from typing import NewType

Address = NewType("Address", str)


def parse_address(text: str) -> Address:
    """The address that `text` names. Raises ValueError with a sentence if it names none."""
    if text.startswith("unix:"):
        if len(text) == len("unix:"):
            raise ValueError(f"'{text}' names no socket: write unix:PATH.")
        return Address(text)
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError(f"'{text}' is not an address: write HOST:PORT, [IPv6]:PORT or unix:PATH.")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"'{text}' is ambiguous: write the IPv6 address in brackets, as in [::1]:{port}.")
    return Address(text)


def socket_path(address: Address) -> str | None:
    """The path of a `unix:` address, or None for one with a port."""
    return address.removeprefix("unix:") if address.startswith("unix:") else None


def host_and_port(address: Address) -> tuple[str, int]:
    """Host (no brackets) and port of an address that is no `unix:` one."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def is_local(address: Address) -> bool:
    """Whether only this machine can reach it: a socket, a loopback address or `localhost`."""
    if socket_path(address) is not None:
        return True
    host, _ = host_and_port(address)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: who answers to it is not known here
        return False


def name_options(address: Address) -> list[tuple[str, str]]:
    """gRPC's options for the name that a TLS certificate behind the address must have: a socket's is `localhost`."""
    return [("grpc.ssl_target_name_override", "localhost")] if socket_path(address) else []
