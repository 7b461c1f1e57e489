# SPDX-License-Identifier: Apache-2.0
"""Addresses to listen on and connect to."""

import pytest

from alcor.base.address import host_and_port, is_local, name_options, parse_address, socket_path


def test_an_address_splits_into_host_and_port() -> None:
    assert host_and_port(parse_address("127.0.0.1:9696")) == ("127.0.0.1", 9696)
    assert host_and_port(parse_address("[::1]:0")) == ("::1", 0)


def test_a_socket_has_a_path_and_no_port() -> None:
    assert socket_path(parse_address("unix:/run/alcor/push.sock")) == "/run/alcor/push.sock"
    assert socket_path(parse_address("localhost:1")) is None


@pytest.mark.parametrize(
    "text", ["", "9696", ":9696", "host:", "host:x", "host:65536", "::1:9696", "unix:", "h:²"]
)
def test_what_names_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("127.0.0.1:1", True),
        ("127.8.9.1:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/x", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("example.org:1", False),
    ],
)
def test_only_what_this_machine_alone_can_reach_is_local(text: str, local: bool) -> None:
    assert is_local(parse_address(text)) is local


def test_only_the_certificate_behind_a_socket_has_a_name_of_its_own() -> None:
    assert name_options(parse_address("unix:/run/push.sock")) == [
        ("grpc.ssl_target_name_override", "localhost")
    ]
    assert name_options(parse_address("192.0.2.1:9697")) == []
