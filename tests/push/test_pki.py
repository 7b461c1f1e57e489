# SPDX-License-Identifier: Apache-2.0
"""Certificates: what `alcor pki` makes, and who is let in with which."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from alcor.agent.dial import Certificate, Keepalive, dial, dialler
from alcor.base.address import Address
from alcor.base.config import SettingError, Settings
from alcor.base.wire.alcor_pb2 import Envelope, Hello
from alcor.base.wire.stream import StreamClosed
from alcor.push.ask import NotAnswered, ask
from alcor.push.pki import OPERATOR, authority, make_lab
from tests.push.conftest import PROMPT, Cloud, cloud_of

NOW = datetime.now(UTC)


def test_a_lab_is_made_in_one_folder_with_keys_for_their_owner_alone(tmp_path: Path) -> None:
    files = make_lab(tmp_path / "pki", "push.example", ["h1", "h2"], NOW)
    assert {file.name for file in files} == {
        *("ca.pem", "push.pem", "push-key.pem", "operator.pem", "operator-key.pem"),
        *("host-h1.pem", "host-h1-key.pem", "host-h2.pem", "host-h2-key.pem"),
    }
    assert {file.stat().st_mode & 0o777 for file in tmp_path.rglob("*-key.pem")} == {0o600}


def test_an_authority_is_kept_and_signs_later_hosts(tmp_path: Path) -> None:
    make_lab(tmp_path, "push.example", ["h1"], NOW)
    ca = (tmp_path / "ca.pem").read_bytes()
    make_lab(tmp_path, "push.example", ["h2"], NOW)
    assert (tmp_path / "ca.pem").read_bytes() == ca
    signer = x509.load_pem_x509_certificate(ca)
    for file in ("host-h1.pem", "host-h2.pem", "push.pem"):
        x509.load_pem_x509_certificate((tmp_path / file).read_bytes()).verify_directly_issued_by(signer)


@pytest.mark.parametrize("name", ["", "../h1", "a/b", "-h", "h\n", OPERATOR])
def test_a_name_that_is_no_hosts_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="is no name for a host"):
        authority(tmp_path, NOW).issue_host(name, NOW)


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    authority(tmp_path, NOW)
    key = ed25519.Ed25519PrivateKey.generate()
    pem, pkcs8, plain = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "ca-key.pem").write_bytes(key.private_bytes(pem, pkcs8, plain))
    with pytest.raises(ValueError, match="not a key that `alcor pki` has made"):
        authority(tmp_path, NOW)


@dataclass
class Lab:
    """A cloud whose push wants certificates."""

    cloud: Cloud
    folder: Path

    def settings(self, name: str, folder: Path | None = None) -> Settings:
        """An agent's settings with the certificate `name`."""
        folder = folder or self.folder
        return Settings(
            push=Address(self.cloud.push.address),
            agent_tls_ca=self.folder / "ca.pem",
            agent_tls_cert=folder / f"{name}.pem",
            agent_tls_key=folder / f"{name}-key.pem",
        )

    async def greet(self, settings: Settings, host: str) -> Envelope:
        """Says hello as `host`; answers what comes."""
        stream = await dialler(settings)()
        try:
            await stream.write(Envelope(hello=Hello(host=host, tunnel_ip="10.0.0.1")).SerializeToString())
            return Envelope.FromString(await stream.read())
        finally:
            await stream.close()


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    folder = tmp_path / "pki"
    make_lab(folder, "127.0.0.1", ["r0", "r1"], NOW)
    settings = msgspec.structs.replace(
        PROMPT,
        push_listen=Address("127.0.0.1:0"),
        push_tls_ca=folder / "ca.pem",
        push_tls_cert=folder / "push.pem",
        push_tls_key=folder / "push-key.pem",
    )
    async with cloud_of(tmp_path, settings) as cloud:
        yield Lab(cloud, folder)


async def test_a_host_with_its_own_certificate_is_served(lab: Lab) -> None:
    assert (await lab.greet(lab.settings("host-r0"), "r0")).sequence == 1
    agent = lab.cloud.start_agent("r0", dialler(lab.settings("host-r0")))
    await lab.cloud.until(lambda: lab.cloud.is_settled(agent))


async def test_a_host_cannot_pose_as_another(lab: Lab) -> None:
    with pytest.raises(StreamClosed, match="certificate is not that of host r1"):
        await lab.greet(lab.settings("host-r0"), "r1")
    assert lab.cloud.heard.hellos == []


async def test_the_operator_is_no_host(lab: Lab) -> None:
    with pytest.raises(StreamClosed, match="certificate is not that of host"):
        await lab.greet(lab.settings("operator"), OPERATOR)


async def test_nobody_is_let_in_without_a_certificate_of_this_authority(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(StreamClosed):
        await lab.greet(Settings(push=Address(lab.cloud.push.address)), "r0")

    other = tmp_path / "other"
    make_lab(other, "127.0.0.1", ["r0"], NOW)
    with pytest.raises(StreamClosed):
        await lab.greet(lab.settings("host-r0", other), "r0")

    ca = (lab.folder / "ca.pem").read_bytes()
    cert, key = (lab.folder / "push.pem").read_bytes(), (lab.folder / "push-key.pem").read_bytes()
    stream = await dial(Address(lab.cloud.push.address), Certificate(cert, key, ca), Keepalive())
    with pytest.raises(StreamClosed):
        await stream.read()
    await stream.close()


async def test_an_agent_refuses_a_push_that_it_does_not_trust(lab: Lab, tmp_path: Path) -> None:
    other = tmp_path / "other"
    make_lab(other, "127.0.0.1", [], NOW)
    distrustful = msgspec.structs.replace(lab.settings("host-r0"), agent_tls_ca=other / "ca.pem")
    with pytest.raises(StreamClosed):
        await lab.greet(distrustful, "r0")


async def test_only_the_operator_is_shown_every_host(lab: Lab) -> None:
    shown = await ask(lab.settings("operator"), "hosts")
    assert shown is not None
    assert shown.hosts == []
    with pytest.raises(NotAnswered, match="only the operator's certificate"):
        await ask(lab.settings("host-r0"), "hosts")


async def test_half_a_certificate_is_said_to_be_one(lab: Lab) -> None:
    half = msgspec.structs.replace(lab.settings("host-r0"), agent_tls_key=None)
    with pytest.raises(SettingError, match="all three"):
        dialler(half)
