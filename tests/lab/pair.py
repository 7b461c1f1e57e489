# SPDX-License-Identifier: Apache-2.0
"""Two hosts with one virtual machine each, joined by static flows: what an agent would do, in three lines."""

from dataclasses import dataclass

from alcor.base.net import Mac
from alcor.lab import Host, Underlay, Vm, VmSpec

VNI = 5001


@dataclass(frozen=True)
class Pair:
    """Two virtual machines on two hosts."""

    underlay: Underlay
    one: Host
    two: Host
    left: Vm  # on `one`
    right: Vm  # on `two`

    async def join(self) -> None:
        """Static flows between the two, through the tunnel."""
        for host, vm, peer in ((self.one, self.left, self.two), (self.two, self.right, self.one)):
            tap, tunnel = await host.ofport(vm.tap), await host.ofport("vx0")
            to_tunnel = f"set_field:{VNI}->tun_id,set_field:{peer.tunnel_ip}->tun_dst,output:{tunnel}"
            flows = f"in_port={tap},actions={to_tunnel}\nin_port={tunnel},tun_id={VNI},actions=output:{tap}\n"
            await host.ofctl("add-flows", "-", stdin=flows)


def spec(number: int) -> VmSpec:
    """What the virtual machine with this number is made from."""
    return VmSpec(
        name=f"vm{number}",
        port_id=f"{number:08d}-0000-4000-8000-000000000000",
        mac=Mac(f"fa:16:3e:00:00:{number:02x}"),
        addresses=(f"10.0.0.{number}/24", f"fd00::{number}/64"),
    )
