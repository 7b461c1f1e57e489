# SPDX-License-Identifier: Apache-2.0
"""What a network is."""

from typing import Annotated

from alcor.base.errors import Conflict
from alcor.resource.declare import Api, Standard
from alcor.store.declare import Index, Pool, Table


class Network(Standard, frozen=True, kw_only=True):
    """A layer-2 segment. Networks are told apart on the wire by `vni` (RFC 7348), unique among living networks."""

    name: Annotated[str, Api(put=True, max_length=255)] = ""
    admin_state_up: Annotated[bool, Api(put=True)] = True
    shared: Annotated[bool, Api(put=True, set_by="admin")] = False
    port_security_enabled: Annotated[bool, Api(put=True)] = True  # default for the network's ports
    mtu: Annotated[int, Api(post=False)] = 0  # bytes of an IP packet that the tunnel carries whole
    network_type: Annotated[str, Api(name="provider:network_type", post=False, seen_by="admin")] = "vxlan"
    physical_network: Annotated[
        str | None, Api(name="provider:physical_network", post=False, seen_by="admin")
    ] = None
    vni: Annotated[int, Api(name="provider:segmentation_id", post=False, seen_by="admin")] = 0


VNI_POOL: Pool[Network] = Pool(
    "vni",
    holds=lambda network: (("vxlan", network.vni),) if network.vni else (),
    taken=lambda network, key, number: Conflict(
        f"The VNI {number} is in use by another network.", type="TunnelIdInUse"
    ),
)
BY_PROJECT: Index[Network] = Index("project_id", lambda network: (network.project_id,))
BY_NAME: Index[Network] = Index("name", lambda network: (network.name,) if network.name else ())
SHARED: Index[Network] = Index("shared", lambda network: (True,) if network.shared else ())

NETWORK: Table[Network] = Table("network", Network, indexes=(BY_PROJECT, BY_NAME, SHARED), pools=(VNI_POOL,))
