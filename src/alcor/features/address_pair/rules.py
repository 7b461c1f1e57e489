# SPDX-License-Identifier: Apache-2.0
"""What is made of a claim that a host has seen: it counts if the port is bound there and may have the address."""

from collections.abc import Sequence

from alcor.base.net import Ip, Mac
from alcor.dataplane.rows import Claim
from alcor.features.address_pair.model import ADDRESS_OWNER, AddressOwner
from alcor.features.port.model import PORT, Port
from alcor.store.reader import Txn


def on_claims(txn: Txn, host: str, claims: Sequence[Claim]) -> None:
    """Writes down who has the addresses now. What a host says of ports elsewhere, or of other addresses, is ignored."""
    for claim in claims:
        port = txn.peek(PORT, claim.key)
        if port is None or port.host != host or not may_have(port, claim.address, claim.mac):
            continue
        owner = AddressOwner(
            id=f"{port.network_id}/{claim.address}",
            network_id=port.network_id,
            address=claim.address,
            mac=claim.mac,
            port_id=port.id,
        )
        known = txn.peek(ADDRESS_OWNER, owner.id)
        if known is None:
            txn.insert(ADDRESS_OWNER, owner)
        elif known != owner:
            txn.update(ADDRESS_OWNER, owner)


def may_have(port: Port, address: Ip, mac: Mac) -> bool:
    """Whether an allowed pair of the port is this address with this MAC."""
    return any(pair.mac_address == mac and pair.address == address for pair in port.allowed_address_pairs)
