# SPDX-License-Identifier: Apache-2.0
"""The API on a real socket, against clients that are slow, greedy, broken or gone."""

import asyncio
import json
import resource
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from alcor.api.app import App
from alcor.api.auth import NoAuth
from alcor.api.parts import Parts
from alcor.api.serve import HEAD_BYTES_MAX, ExposedError, Server, serve
from alcor.base.address import Address
from alcor.base.config import Settings
from alcor.features import control
from alcor.resource.context import Identity, World
from alcor.resource.engine import Engine
from tests.api.served import Served, served
from tests.api.world import Api, running

_SEGMENTS_WITH_BYTES = 152  # where linux/tcp.h has tcpi_data_segs_in


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    """Patience is short, so that a test need not be long."""
    with served(tmp_path, client_wait_s=0.5, body_bytes_max=100_000, connections_max=200) as running_server:
        yield running_server


def connected(server: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def rest_of(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not happened():  # nothing tells us
            await asyncio.sleep(0.01)


def until_let_go(connection: socket.socket) -> None:
    """Returns when the server has closed its end: the client, which reads nothing, cannot see that by itself."""
    ours, theirs = f":{connection.getsockname()[1]:04X}", f":{connection.getpeername()[1]:04X}"
    end_s = time.monotonic() + 30
    while time.monotonic() < end_s:
        rows = [line.split()[1:4] for line in Path("/proc/net/tcp").read_text().splitlines()]
        at_server = [
            state for local, remote, state in rows if local.endswith(theirs) and remote.endswith(ours)
        ]
        if at_server != ["01"]:  # established
            return
        time.sleep(0.02)
    raise AssertionError("the server still holds the connection")


def is_well(server: Served) -> bool:
    return httpx.get(f"{server.url}/healthz").status_code == 200


def test_body_over_the_limit_is_refused_before_it_is_read(server: Served):
    with connected(server) as connection:
        connection.sendall(
            b"POST /v2.0/networks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 10000000\r\n\r\n" + b"x" * 1000
        )
        answer = rest_of(connection)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"HTTPRequestEntityTooLarge"' in answer
    assert is_well(server)


def test_client_that_sends_all_of_too_long_a_body_before_it_reads_gets_the_answer(server: Served):
    with connected(server) as connection:
        connection.sendall(
            b"POST /v2.0/networks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 700000\r\n\r\n" + b"x" * 700_000
        )
        answer = connection.makefile("rb").readline()
    assert answer.startswith(b"HTTP/1.1 413")
    assert is_well(server)


def test_client_that_never_ends_its_body_is_let_go(server: Served):
    with connected(server) as connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
        connection.sendall(
            b"POST /v2.0/networks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 90000000\r\n\r\n" + b"x" * 90_000_000
        )
    assert is_well(server)


def test_chunked_body_over_the_limit_is_refused_while_it_comes(server: Served):
    with connected(server) as connection:
        connection.sendall(
            b"POST /v2.0/networks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        answer = b""
        try:
            for _ in range(200):
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = rest_of(connection)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413")
    assert is_well(server)


def test_body_that_does_not_come_closes_the_connection(server: Served):
    with connected(server) as connection:
        connection.sendall(
            b"POST /v2.0/networks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b'Content-Length: 100\r\n\r\n{"network"'
        )
        assert rest_of(connection) == b""
    assert is_well(server)


@pytest.mark.parametrize(
    "begun", [b"", b"GET /v2.0/netw", b"GET /v2.0/networks HTTP/1.1\r\nHost: x\r\nX-A: "]
)
def test_request_head_that_does_not_come_closes_the_connection(server: Served, begun: bytes):
    with connected(server) as connection:
        connection.sendall(begun)
        assert rest_of(connection) == b""
    assert is_well(server)


def test_second_request_on_a_connection_is_held_to_the_same_patience(server: Served):
    with connected(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost")
        assert rest_of(connection) == b""


def test_head_without_end_is_431(server: Served):
    with connected(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        try:
            for number in range(2 * HEAD_BYTES_MAX // 1000):
                connection.sendall(b"X-%d: " % number + b"y" * 1000 + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = rest_of(connection)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431")
    assert is_well(server)


def test_what_is_not_http_is_400_in_neutrons_form(server: Served):
    with connected(server) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        answer = rest_of(connection)
    assert answer.startswith(b"HTTP/1.1 400")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["NeutronError"]["type"] == "HTTPBadRequest"
    assert is_well(server)


def test_connections_are_bounded_and_those_within_are_served(server: Served):
    open_ones = [connected(server) for _ in range(200)]
    try:
        extra = [connected(server) for _ in range(20)]
        answers = [rest_of(connection) for connection in extra]
        assert all(answer.startswith(b"HTTP/1.1 503") for answer in answers)
        open_ones[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert rest_of(open_ones[0]).startswith(b"HTTP/1.1 200")
    finally:
        for connection in [*open_ones, *extra]:
            connection.close()
    time.sleep(0.1)
    assert is_well(server)


@contextmanager
def process(folder: Path) -> Iterator[int]:
    """`alcor api` in a process of its own; answers its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "alcor", "api", f"--listen=127.0.0.1:{port}", f"--state={folder}"]
    with subprocess.Popen(command) as running_process:
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    assert running_process.poll() is None
                    time.sleep(0.05)
            yield port
        finally:
            running_process.terminate()


def test_ten_thousand_connections_are_all_served(tmp_path: Path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with process(tmp_path) as port, ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            for _ in range(10_000)
        ]
        for client in clients:
            client.sendall(b"GET /v2.0/networks?fields=id HTTP/1.1\r\nHost: x\r\n\r\n")
        answers = {client.recv(4096).partition(b"\r\n")[0] for client in clients}
        assert answers == {b"HTTP/1.1 200 OK"}
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200


def test_an_answer_comes_in_one_piece(server: Served):
    with connected(server) as connection:
        for asked in range(1, 50):
            connection.sendall(b"GET /v2.0/networks HTTP/1.1\r\nhost: a\r\n\r\n")
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert json.loads(body) == {"networks": []}
            of_kernel = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
            assert struct.unpack_from("I", of_kernel, _SEGMENTS_WITH_BYTES) == (asked,)


@pytest.mark.parametrize(
    ("asked", "status"),
    [(b"HEAD /v2.0/networks", b"200 OK"), (b"DELETE /v2.0/networks/none", b"404 Not Found")],
)
def test_an_answer_of_a_head_alone_comes_at_once(server: Served, asked: bytes, status: bytes):
    with connected(server) as connection:
        for _ in range(3):
            connection.sendall(asked + b" HTTP/1.1\r\nhost: a\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 " + status)


def test_a_client_that_asks_is_told_to_go_on(server: Served):
    with connected(server) as connection:
        connection.sendall(
            b"POST /v2.0/networks HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 14\r\n\r\n"
        )
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b'{"network":{}}')
        assert connection.recv(65536).startswith(b"HTTP/1.1 201 Created")


def test_pipelined_requests_are_answered_in_order(server: Served):
    with connected(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        answer = b""
        while answer.count(b"HTTP/1.1 200") < 3:
            answer += connection.recv(65536)


def test_client_that_does_not_read_a_long_answer_is_let_go(server: Served):
    network = httpx.post(f"{server.url}/v2.0/networks", json={"network": {}}).json()["network"]["id"]
    many = {"ports": [{"network_id": network, "description": "x" * 250}] * 280}
    for _ in range(30):
        assert httpx.post(f"{server.url}/v2.0/ports", json=many, timeout=30).status_code == 201
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(b"GET /v2.0/ports HTTP/1.1\r\nHost: x\r\n\r\n")
        until_let_go(connection)
        connection.settimeout(10)
        answer = rest_of(connection)
    assert not answer.endswith(b"0\r\n\r\n"), "the answer must have been cut off"
    with httpx.stream("GET", f"{server.url}/v2.0/ports", timeout=30) as slowly:
        parts = []
        for part in slowly.iter_raw(131_072):
            time.sleep(0.03)
            parts.append(part)
    assert len(json.loads(b"".join(parts))["ports"]) == 8400, "who takes its time gets all of it"


async def test_request_whose_client_has_gone_is_dropped_before_its_turn(api: Api):
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v2.0/networks",
        "query_string": b"",
        "headers": [],
        "scheme": "http",
        "alcor.is_gone": lambda: True,
    }
    sent = []

    async def receive():
        return {"type": "http.request", "body": b'{"network": {}}', "more_body": False}

    async def send(message):
        sent.append(message)

    await api.app(scope, receive, send)
    assert sent == []
    assert (await api.get("networks")).json() == {"networks": []}


async def test_request_whose_client_goes_while_it_speaks_changes_nothing(api: Api):
    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        raise AssertionError("nobody is there to be answered")

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v2.0/networks",
        "query_string": b"",
        "headers": [],
        "scheme": "http",
    }
    await api.app(scope, receive, send)
    assert (await api.get("networks")).json() == {"networks": []}


async def test_request_that_waits_too_long_for_its_turn_is_503_and_changes_nothing(start):
    api = await start(request_timeout_s=0.1)

    def hold(txn):
        time.sleep(0.3)

    holding = asyncio.create_task(api.store.submit(hold, tenant="p1", deadline_s=10))
    await asyncio.sleep(0)
    status, kind, message = await api.refusal("POST", "networks", {"network": {}})
    assert (status, kind) == (503, "ServiceUnavailable")
    assert "Nothing was changed" in message
    await holding
    assert (await api.get("networks")).json() == {"networks": []}


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:9696", "myhost:9696"])
async def test_open_service_refuses_to_listen_where_others_reach_it(tmp_path: Path, listen: str):
    async with running(tmp_path, Settings()) as api:
        with pytest.raises(ExposedError, match="--insecure-listen"):
            Server(api.app, Address(listen))


async def test_open_service_listens_anywhere_when_told_so(tmp_path: Path):
    async with running(tmp_path, Settings()) as api:
        server = Server(api.app, Address("0.0.0.0:0"), insecure_listen=True)
        await server.start()
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{server.port}/healthz")).status_code == 200
        await server.stop()


async def test_service_listens_on_a_unix_socket(tmp_path: Path):
    async with running(tmp_path, Settings()) as api:
        path = tmp_path / "api.sock"
        serving = asyncio.create_task(serve(api.app, Address(f"unix:{path}")))
        await until(path.exists)
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path))) as client:
            assert (await client.get("http://api/healthz")).status_code == 200
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving


class Gate(NoAuth):
    """Lets callers in once it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.came, self.opened = asyncio.Event(), asyncio.Event()

    async def authenticate(self, headers: Mapping[bytes, bytes]) -> Identity:
        self.came.set()
        await self.opened.wait()
        return await super().authenticate(headers)


async def test_stopping_lets_requests_under_way_finish(tmp_path: Path):
    gate = Gate()
    async with running(tmp_path, Settings(), auth=gate) as api:
        server = Server(api.app, Address("127.0.0.1:0"))
        await server.start()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
            posted = asyncio.create_task(client.post("/v2.0/networks", json={"network": {}}))
            await gate.came.wait()
            stopping = asyncio.create_task(server.stop())
            await asyncio.sleep(0.05)
            with pytest.raises(httpx.TransportError):
                await client.get("/healthz")
            gate.opened.set()
            assert (await posted).status_code == 201
            await stopping


async def test_app_answers_the_lifespan_of_any_asgi_server():
    parts = Parts(Engine(control.REST), None, NoAuth(), World(Settings()))  # type: ignore[arg-type]
    asked = iter(["lifespan.startup", "lifespan.shutdown"])
    sent = []

    async def receive():
        return {"type": next(asked)}

    async def send(message):
        sent.append(message["type"])

    await App(parts)({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
