# SPDX-License-Identifier: Apache-2.0
"""Hosts on one machine: real Open vSwitch in network namespaces, virtual machines, and the traffic between them.

async with Underlay() as underlay:
    one, two = await underlay.add_hosts("one", "two")
    web = await one.add_vm(VmSpec(name="web", port_id=..., mac=..., addresses=("10.0.0.5/24",)))
    await web.ping("10.0.0.6")
"""

from alcor.lab.errors import LabFailure
from alcor.lab.host import BRIDGE, Host
from alcor.lab.underlay import Underlay
from alcor.lab.vm import Vm, VmSpec

__all__ = ["BRIDGE", "Host", "LabFailure", "Underlay", "Vm", "VmSpec"]
