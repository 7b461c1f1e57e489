# SPDX-License-Identifier: Apache-2.0
"""Mutual TLS from end to end: `alcor pki`, `all`, `agent` and `show` as processes, packets between real switches."""

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from alcor.agent.dial import dialler
from alcor.base.address import Address
from alcor.base.config import Settings
from alcor.base.wire.alcor_pb2 import Envelope, Hello, ScopeDigest
from alcor.base.wire.stream import StreamClosed
from alcor.lab import Host
from alcor.lab.cloud import ALCOR, Cloud
from alcor.lab.process import Child, run
from alcor.lab.rest import Body
from alcor.push.show import Shown
from tests.lab.site import booted, gone, ip, new_network

pytestmark = [pytest.mark.ovs, pytest.mark.asyncio(loop_scope="module")]

WAIT_S_MAX = 30.0


@dataclass(frozen=True)
class Secured:
    """A cloud whose push wants certificates: hosts one and two with agents, three without."""

    cloud: Cloud
    folder: Path
    both: Body  # a network with ports on one and two
    alone: Body  # a network with ports on two only

    async def show(self, *words: str, identity: str = "operator") -> tuple[int, str]:
        """Status and everything that `alcor show` printed, asked with a certificate of this folder."""
        pipe = asyncio.subprocess.PIPE
        flags = ("--push", self.cloud.push, *tls_flags(self.folder, identity))
        command = await asyncio.create_subprocess_exec(
            *ALCOR, "show", *words, *flags, stdout=pipe, stderr=pipe
        )
        told, complained = await command.communicate()
        assert command.returncode is not None
        return command.returncode, told.decode() + complained.decode()

    async def hosts(self) -> Shown:
        """What `alcor show hosts --json` prints."""
        status, text = await self.show("hosts", "--json")
        assert status == 0, text
        return msgspec.json.decode(text, type=Shown)

    def impostor(self, host: Host, name: str, flags: tuple[str, ...]) -> Child:
        """An agent on `host` that says it is `name`."""
        words = {
            "--host": name,
            "--push": self.cloud.push,
            "--tunnel-ip": host.tunnel_ip,
            "--ovsdb": f"unix:{host.ovsdb_socket}",
            "--openflow-dir": str(host.directory),
        }
        argv = [word for pair in words.items() for word in pair]
        return host.spawn(*ALCOR, "agent", *argv, *flags, log=f"impostor-{len(host.children)}.log")

    def settings(self, host: str) -> Settings:
        """Those of an agent with the certificate of `host`."""
        return Settings(
            push=Address(self.cloud.push),
            agent_tls_ca=self.folder / "ca.pem",
            agent_tls_cert=self.folder / f"host-{host}.pem",
            agent_tls_key=self.folder / f"host-{host}-key.pem",
        )


def tls_flags(folder: Path, name: str, role: str = "agent") -> tuple[str, ...]:
    """The flags that name the three files."""
    files = {"ca": "ca", "cert": name, "key": f"{name}-key"}
    return tuple(
        word for what, file in files.items() for word in (f"--{role}-tls-{what}", f"{folder}/{file}.pem")
    )


async def make_pki(folder: Path, *hosts: str) -> str:
    """What `alcor pki` prints."""
    return await run(
        sys.executable, "-m", "alcor", "pki", str(folder), "--server", "localhost", "--hosts", *hosts
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def secured(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    folder = tmp_path_factory.mktemp("pki")
    printed = await make_pki(folder, "one", "two", "three")
    assert {f"{folder}/{name}" for name in ("ca.pem", "push.pem", "host-two-key.pem")} <= set(printed.split())
    async with Cloud(flags=tls_flags(folder, "push", "push")) as cloud:
        cloud.agent_flags = lambda host: tls_flags(folder, f"host-{host.name}")
        await cloud.add_hosts("one", "two")
        await cloud.underlay.add_hosts("three")
        yield Secured(cloud, folder, await new_network(cloud, "both"), await new_network(cloud, "alone"))


async def until_said(child: Child, words: str) -> None:
    """Returns when the process has said so."""
    async with asyncio.timeout(WAIT_S_MAX):
        while words not in child.log.read_text():
            assert child.is_running, child.last_words()
            await asyncio.sleep(0.02)


async def test_hosts_with_their_own_certificates_are_served_and_their_machines_talk(secured: Secured) -> None:
    one, two, _ = secured.cloud.hosts
    left = await booted(secured.cloud, secured.both, one, "left")
    right = await booted(secured.cloud, secured.both, two, "right")
    assert await left.ping(ip(right), tries=3)
    shown = await secured.hosts()
    assert [(host.host, host.is_connected) for host in shown.hosts] == [("one", True), ("two", True)]
    assert shown.refused == []
    for vm in (left, right):
        await gone(secured.cloud, vm)


async def test_agent_that_claims_another_hosts_name_is_refused_and_shown_and_displaces_nobody(
    secured: Secured,
) -> None:
    one, two, three = secured.cloud.hosts
    left = await booted(secured.cloud, secured.both, one, "left")
    right = await booted(secured.cloud, secured.both, two, "right")
    why = "the certificate is not that of host two"
    impostor = secured.impostor(three, "two", tls_flags(secured.folder, "host-three"))
    await until_said(impostor, why)
    status, text = await secured.show("hosts")
    assert status == 0
    assert "Refused an agent from unix:" in text
    assert why in " ".join(text.split())
    shown = await secured.hosts()
    assert [(host.host, host.is_connected) for host in shown.hosts] == [("one", True), ("two", True)]
    assert {refused.reason for refused in shown.refused} == {why}
    assert await left.ping(ip(right), tries=3)
    assert right.spec.port_id not in await three.ofctl("dump-flows")
    assert (await secured.cloud.rest.show("port", right.spec.port_id))["status"] == "ACTIVE"
    await impostor.stop()
    for vm in (left, right):
        await gone(secured.cloud, vm)


async def test_agent_without_a_certificate_of_this_authority_is_refused_and_its_host_stays_without_session(
    secured: Secured, tmp_path: Path
) -> None:
    three = secured.cloud.hosts[2]
    await make_pki(tmp_path, "three")
    foreign = tls_flags(tmp_path, "host-three")
    trusting = (*foreign[2:], "--agent-tls-ca", f"{secured.folder}/ca.pem")  # it would believe this push
    for flags in ((), foreign, trusting):
        impostor = secured.impostor(three, "three", flags)
        await until_said(impostor, "session ended")
        assert "session opened" not in impostor.log.read_text()
        assert [host.host for host in (await secured.hosts()).hosts] == ["one", "two"]
        await impostor.stop()
    port = await secured.cloud.rest.create("port", {"network_id": secured.both["id"]})
    answer = await secured.cloud.rest.client.put(
        f"/v2.0/ports/{port['id']}", json={"port": {"binding:host_id": "three"}}
    )
    assert answer.json()["port"]["binding:vif_type"] == "binding_failed"
    await secured.cloud.rest.delete("port", port["id"])


async def test_only_the_operators_certificate_may_ask_about_hosts(secured: Secured) -> None:
    status, text = await secured.show("host", "two", identity="host-one")
    assert status == 1
    assert "only the operator's certificate may ask" in text


async def test_host_cannot_get_the_scopes_of_another_whatever_it_claims(secured: Secured) -> None:
    cloud, (_, two, _) = secured.cloud, secured.cloud.hosts
    secret = await booted(cloud, secured.alone, two, "secret")
    theirs = [f"{kind}:{secured.alone['id']}" for kind in ("network", "neighbours", "flood")] + ["host:two"]
    claimed = [ScopeDigest(scope=scope, digest=bytes(16)) for scope in theirs]
    own = Hello(host="three", tunnel_ip="10.99.0.3", digests=claimed, compared=True)
    heard = b""
    stream = await dialler(secured.settings("three"))()
    await stream.write(Envelope(hello=own).SerializeToString())
    port = None
    try:
        async with asyncio.timeout(5):
            while port is None or port["id"].encode() not in heard:
                message = await stream.read()
                if Envelope.FromString(message).WhichOneof("kind") != "leave":
                    heard += message
                if port is None:  # three is known from its hello on, and is now told of a port of its own
                    wanted = {"network_id": secured.both["id"], "binding:host_id": "three"}
                    port = await cloud.rest.create("port", wanted)
    finally:
        await stream.close()
    assert secured.both["id"].encode() in heard
    for foreign in (*theirs, secret.spec.port_id, secret.spec.mac, secured.alone["id"]):
        assert foreign.encode() not in heard

    stream = await dialler(secured.settings("three"))()
    await stream.write(Envelope(hello=Hello(host="two", tunnel_ip="10.99.0.3")).SerializeToString())
    with pytest.raises(StreamClosed, match="certificate is not that of host two"):
        await stream.read()
    await stream.close()
    await cloud.rest.delete("port", port["id"])
    await gone(cloud, secret)
