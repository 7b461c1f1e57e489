# SPDX-License-Identifier: Apache-2.0
"""Which port was the last to claim an address that several may have."""

from alcor.base.net import Ip, Mac
from alcor.features.port.model import PORT
from alcor.store.declare import Index, Reference, Stored, Table


class AddressOwner(Stored, frozen=True, kw_only=True):
    """A claim that was seen on the port's host. `id` is `NETWORK/ADDRESS`: a later claim takes its place."""

    network_id: str
    address: Ip
    mac: Mac
    port_id: str


BY_PORT: Index[AddressOwner] = Index("port_id", lambda owner: (owner.port_id,))

# Seen on hosts, and yet an input of goal: it is the port's own pairs that bound what it may say.
ADDRESS_OWNER: Table[AddressOwner] = Table(
    "address_owner",
    AddressOwner,
    indexes=(BY_PORT,),
    references=(Reference("port", PORT, lambda owner: (owner.port_id,), by=BY_PORT),),
)
