# SPDX-License-Identifier: Apache-2.0
"""The product as a host sees it: the features that stand for flows, in dependency order; all that the agent imports."""

from alcor.dataplane.pipeline import static_flows
from alcor.dataplane.rows import HostFeature
from alcor.features.address_group.flows import FEATURE as ADDRESS_GROUP
from alcor.features.address_pair.flows import FEATURE as ADDRESS_PAIR
from alcor.features.binding.flows import FEATURE as BINDING
from alcor.features.network.flows import FEATURE as NETWORK
from alcor.features.port.flows import FEATURE as PORT
from alcor.features.port_attribute.flows import FEATURE as PORT_ATTRIBUTE
from alcor.features.qos.flows import FEATURE as QOS
from alcor.features.security_group.flows import FEATURE as SECURITY_GROUP

PIPELINE = HostFeature(name="pipeline", rows=(), static=static_flows)

HOST: tuple[HostFeature, ...] = (
    PIPELINE,
    NETWORK,
    ADDRESS_GROUP,
    SECURITY_GROUP,
    PORT,
    QOS,
    ADDRESS_PAIR,
    BINDING,
    PORT_ATTRIBUTE,
)
