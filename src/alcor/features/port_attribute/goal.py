# SPDX-License-Identifier: Apache-2.0
"""Who must know of a port's attributes: of hints for the switch, the host of the port."""

from collections.abc import Iterator

from alcor.features.binding.model import PORT_BINDING, PortBinding
from alcor.features.port.model import PORT
from alcor.features.port_attribute.flows import HintsRow, hints_key
from alcor.features.port_attribute.model import PORT_ATTRIBUTES, PortAttributes, tx_steering
from alcor.goal.declare import Derivation, GoalFeature, Placed, View, host_scope


def hints_rows(view: View, attributes: PortAttributes) -> Iterator[Placed]:
    """The hints of a bound port, on its host."""
    port = view.peek(PORT, attributes.id)
    if port is not None and port.is_bound:
        yield from _placed(port.host, attributes)


def waiting_rows(view: View, binding: PortBinding) -> Iterator[Placed]:
    """The same on a host where the port waits for its activation."""
    attributes = view.peek(PORT_ATTRIBUTES, binding.port_id)
    if attributes is not None and binding.vif_type == "ovs":
        yield from _placed(binding.host, attributes)


def _placed(host: str, attributes: PortAttributes) -> Iterator[Placed]:
    steering = tx_steering(attributes.hints)
    if steering:
        row = HintsRow(port=attributes.id, tx_steering=steering)
        yield Placed(host_scope(host), hints_key(attributes.id), row)


GOAL = GoalFeature(
    name="port_attribute",
    derivations=(Derivation(PORT_ATTRIBUTES, hints_rows), Derivation(PORT_BINDING, waiting_rows)),
)
