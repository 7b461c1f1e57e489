# SPDX-License-Identifier: Apache-2.0
"""Hosts with real switches: what they have before an agent runs, and what a restart takes away."""

import pytest

from alcor.lab import Host, LabFailure, Underlay
from alcor.lab.namespace import Namespace
from alcor.lab.ovsdb import transact
from tests.lab.pair import Pair, spec

pytestmark = [pytest.mark.ovs, pytest.mark.asyncio(loop_scope="module")]


async def test_new_host_drops_all_and_holds_no_flow(pair: Pair) -> None:
    (host,) = await pair.underlay.add_hosts("three")
    assert (await host.vsctl("get-fail-mode", "br-int")).strip() == "secure"
    assert "actions" not in await host.ofctl("dump-flows")


async def test_two_vms_on_two_hosts_reach_each_other_through_the_tunnel(pair: Pair) -> None:
    assert await pair.left.ping("10.0.0.2")
    assert await pair.right.ping("10.0.0.1")
    assert await pair.left.ping("fd00::2")
    assert await pair.left.ping("fe80::f816:3eff:fe00:2")
    assert await pair.left.ping("10.0.0.77", timeout_s=0.1, tries=2) is None


async def test_interface_is_known_by_its_port(pair: Pair) -> None:
    found = await pair.one.vsctl("--bare", "--columns=external_ids", "list", "interface", pair.left.tap)
    assert set(found.split()) == {
        f"iface-id={spec(1).port_id}",
        "iface-status=active",
        f"attached-mac={spec(1).mac}",
    }


async def test_unplugged_vm_reaches_nobody_until_it_is_plugged_again(pair: Pair) -> None:
    await pair.left.unplug()
    assert await pair.left.ping("10.0.0.2", timeout_s=0.2) is None
    assert await pair.left.plug() == await pair.one.ofport(pair.left.tap)
    await pair.join()
    assert await pair.left.ping("10.0.0.2")


async def test_removed_vm_leaves_no_interface_on_its_host(pair: Pair) -> None:
    vm = await pair.two.add_vm(spec(9))
    await vm.listen(80)
    await vm.remove()
    assert vm.tap not in await pair.two.vsctl("list-ports", "br-int")
    assert vm not in pair.two.vms
    assert (await pair.two.add_vm(spec(9), plug=False)).tap == vm.tap


async def test_vswitchd_restart_loses_flows_and_keeps_ports_and_tunnel_address(pair: Pair) -> None:
    await pair.one.restart_vswitchd()
    assert "actions" not in await pair.one.ofctl("dump-flows")
    assert pair.left.tap in await pair.one.vsctl("list-ports", "br-int")
    await pair.join()
    assert await pair.left.ping("10.0.0.2", tries=5)


async def test_killed_vswitchd_forwards_nothing_until_it_is_started(pair: Pair) -> None:
    await pair.two.kill_vswitchd()
    assert await pair.left.ping("10.0.0.2", timeout_s=0.2) is None
    await pair.two.start_vswitchd()
    await pair.join()
    assert await pair.left.ping("10.0.0.2", tries=5)


async def test_command_in_a_host_runs_in_its_network(pair: Pair) -> None:
    child = pair.one.spawn("ip", "-brief", "addr", "show", "br-phy", log="addr.log")
    assert child.wait() == 0
    assert str(pair.one.tunnel_ip) in child.last_words()


async def test_daemon_that_ends_at_start_is_reported_with_its_last_words(pair: Pair) -> None:
    broken = Host(pair.underlay.wire, "broken", pair.one.tunnel_ip)
    (pair.underlay.directory / "new.db").rename(pair.underlay.directory / "kept.db")
    try:
        (pair.underlay.directory / "new.db").write_text("not a database")
        with pytest.raises(LabFailure, match=r"ovsdb-server.*broken ended"):
            await broken.start()
    finally:
        (pair.underlay.directory / "kept.db").rename(pair.underlay.directory / "new.db")


async def test_failing_switch_command_is_reported_with_its_complaint(pair: Pair) -> None:
    with pytest.raises(LabFailure, match="no port named absent"):
        await pair.one.vsctl("del-port", "absent")


async def test_namespace_of_a_taken_name_is_refused_with_the_way_out(pair: Pair) -> None:
    with pytest.raises(LabFailure, match="need root with CAP_SYS_ADMIN"):
        await Namespace(pair.one.namespace.name).create()


async def test_transaction_that_ovsdb_refuses_says_why(pair: Pair) -> None:
    with pytest.raises(LabFailure, match="OVSDB refused"):
        await transact(pair.one.ovsdb_socket, {"op": "select", "table": "Absent", "where": []})


async def test_host_name_that_is_no_link_name_is_refused(pair: Pair) -> None:
    with pytest.raises(LabFailure, match="'Host One' is not"):
        await pair.underlay.add_hosts("Host One")


async def test_geneve_and_vxlan_tunnels_stand_side_by_side() -> None:
    async with Underlay(tunnels=("vxlan", "geneve")) as underlay:
        (host,) = await underlay.add_hosts("one")
        assert (await host.vsctl("list-ports", "br-int")).split() == ["gnv0", "vx0"]
        assert await host.ofport("gnv0") > 0
