# SPDX-License-Identifier: Apache-2.0
"""How the attributes of a port change: as they are given, but for DHCP options, which are merged."""

import msgspec

from alcor.features.port.model import Port
from alcor.features.port_attribute.model import BLANK_NAMES, PORT_ATTRIBUTES, DhcpOption, PortAttributes
from alcor.resource.declare import Context, Extends, Extension, RestFeature, Written
from alcor.store.reader import Txn


def on_write(txn: Txn, ctx: Context, written: Written[Port, PortAttributes]) -> PortAttributes:
    """The attributes with the options that are asked for put into those that there are; an empty profile is none."""
    new = msgspec.structs.replace(written.new, device_profile=written.new.device_profile or None)
    if "extra_dhcp_opts" not in ctx.given:
        return new
    old = written.old.extra_dhcp_opts if written.old is not None else ()
    return msgspec.structs.replace(new, extra_dhcp_opts=merged(old, new.extra_dhcp_opts))


def merged(old: tuple[DhcpOption, ...], asked: tuple[DhcpOption, ...]) -> tuple[DhcpOption, ...]:
    """The options after an update, as Neutron does it: by name and version; null takes one away, blank changes none."""
    options = {(option.opt_name, option.ip_version): option for option in old}
    for option in asked:
        place = option.opt_name, option.ip_version
        if option.opt_value is None:
            options.pop(place, None)
        elif option.opt_value or option.opt_name in BLANK_NAMES:
            options[place] = option
    return tuple(options.values())


REST = RestFeature(
    name="port_attribute",
    extends=(Extends("port", table=PORT_ATTRIBUTES, on_write=on_write),),
    extensions=(
        Extension(
            "data-plane-status",
            "Port data plane status extension",
            "Expose status of underlying data plane",
            "2017-01-24T10:00:00-00:00",
        ),
        Extension(
            "uplink-status-propagation",
            "Uplink status propagation extension",
            "Provides ability to propagate port uplink status.",
            "2018-05-31T18:00:00-00:00",
        ),
        Extension(
            "uplink-status-propagation-updatable",
            "Uplink status propagation updatable extension",
            "Provides ability to update the port uplink status.",
            "2024-09-03T18:00:00-00:00",
        ),
        Extension(
            "port-device-profile",
            "Port device profile",
            "Expose the port device profile (Cyborg)",
            "2020-12-17T10:00:00-00:00",
        ),
        Extension(
            "port-numa-affinity-policy",
            "Port NUMA affinity policy",
            "Expose the port NUMA affinity policy",
            "2020-07-08T10:00:00-00:00",
        ),
        Extension(
            "port-numa-affinity-policy-socket",
            'Port NUMA affinity policy "socket"',
            'Adds "socket" to the supported port NUMA affinity policies',
            "2024-02-09T10:00:00-00:00",
        ),
        Extension(
            "port-hints",
            "Port hints",
            "Backend specific port hints to allow backend specific tuning",
            "2023-01-01T00:00:00-00:00",
        ),
        Extension(
            "port-hint-ovs-tx-steering",
            "Port hint: Open vSwitch Tx steering",
            "Enable Port hint: Open vSwitch Tx steering",
            "2023-01-01T00:00:00-00:00",
        ),
        Extension(
            "extra_dhcp_opt",
            "Neutron Extra DHCP options",
            "Extra options configuration for DHCP. For example PXE boot options to DHCP clients can be specified"
            " (e.g. tftp-server, server-ip-address, bootfile-name)",
            "2013-03-17T12:00:00-00:00",
        ),
    ),
)
