# SPDX-License-Identifier: Apache-2.0
"""Refusals."""

import pytest

from alcor.base.errors import Conflict, NotFound, Refusal, TooLarge


def test_a_refusal_carries_neutrons_type_or_its_own() -> None:
    named = NotFound("Network n1 could not be found.", type="NetworkNotFound")
    assert (named.status, named.type, named.message, named.detail) == (
        404,
        "NetworkNotFound",
        "Network n1 could not be found.",
        "",
    )
    assert TooLarge("2,001 objects; at most 2,000.").type == "HTTPRequestEntityTooLarge"


def test_every_refusal_can_be_caught_as_one() -> None:
    with pytest.raises(Refusal, match="in use"):
        raise Conflict("Subnet s1 is in use by port p1.", detail="p1")
