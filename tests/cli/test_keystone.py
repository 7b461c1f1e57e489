# SPDX-License-Identifier: Apache-2.0
"""The role `api` with Keystone and with TLS, as its settings say."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from alcor.base.config import SettingError, load
from alcor.cli import serve
from alcor.push.pki import authority
from tests.api.fake_keystone import PASSWORD, fake_keystone


async def test_the_api_asks_keystone_and_speaks_tls(tmp_path: Path) -> None:
    signer = authority(tmp_path, datetime.now(UTC))
    issued = signer.issue_server("127.0.0.1", datetime.now(UTC))
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    with fake_keystone() as keystone:
        flags = {
            "auth": "keystone",
            "keystone_url": keystone.url,
            "keystone_password_file": str(password),
            "listen": "127.0.0.1:0",
            "state": str(tmp_path),
            "api_cert": str(issued.cert),
            "api_key": str(issued.key),
        }
        keystone.issue("t", "member", "reader")
        async with serve.running(load(flags, {}), api=True, push=False) as process:
            assert process.server is not None
            url = f"https://127.0.0.1:{process.server.port}"
            trust = ssl.create_default_context(cafile=signer.file)
            async with httpx.AsyncClient(base_url=url, verify=trust, trust_env=False) as http:
                versions = (await http.get("/")).json()["versions"]
                assert versions[0]["links"][0]["href"] == f"{url}/v2.0/"
                assert (await http.get("/v2.0/networks")).status_code == 401
                answer = await http.get("/v2.0/networks", headers={"X-Auth-Token": "t"})
                assert answer.json() == {"networks": []}
            plain = f"http://127.0.0.1:{process.server.port}"
            async with httpx.AsyncClient(base_url=plain, trust_env=False) as http:
                with pytest.raises(httpx.HTTPError):
                    await http.get("/")


@pytest.mark.parametrize(
    ("flags", "missing"),
    [
        ({"auth": "keystone"}, "keystone_url"),
        ({"api_cert": "cert.pem"}, "api_key"),
        ({"api_key": "key.pem"}, "api_cert"),
    ],
)
def test_settings_that_do_not_suffice_are_refused(flags: dict[str, str], missing: str) -> None:
    with pytest.raises(SettingError, match=missing):
        load(flags, {})


def test_the_password_comes_by_file_or_environment_not_by_flag() -> None:
    assert load({}, {"ALCOR_KEYSTONE_PASSWORD": "secret"}).keystone_password == "secret"


async def test_a_certificate_that_is_none_keeps_the_api_from_starting(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    flags = {"listen": "127.0.0.1:0", "state": str(tmp_path), "api_cert": str(wrong), "api_key": str(wrong)}
    assert await serve.run(load(flags, {}), api=True, push=False) == 1
