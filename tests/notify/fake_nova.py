# SPDX-License-Identifier: Apache-2.0
"""A small Nova, and the Keystone that says where it is, over real HTTP or HTTPS on loopback."""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from alcor.push.pki import Issued

EVENTS = "/v2.1/os-server-external-events"


class FakeNova:
    """What it got, and how it answers next; status 0 hangs up."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[dict[str, str]] = []
        self.sizes: list[int] = []
        self.tokens: list[str | None] = []
        self.answers: list[int] = []
        self.always = 200
        self.unknown: set[str] = set()  # servers
        self.refused: set[str] = set()  # tags: a request with one is answered with 400
        self.logins = 0
        self.is_garbled = False  # the next answer of Keystone
        self.begun: list[str] = []  # first tags of requests, before they are answered
        self.gate = Event()  # closed: nothing is answered
        self.gate.set()
        self.is_dripping = False  # answers come a byte now and then, and never to an end

    @property
    def tags(self) -> list[str]:
        return [event["tag"] for event in self.got]

    def told(self, tag: str) -> list[str]:
        """What it was told of one port."""
        return [event["name"] for event in self.got if event["tag"] == tag]

    def take(self, events: list[dict[str, str]]) -> tuple[int, Any]:
        """The answer of the Compute API to such a request."""
        self.begun.append(events[0]["tag"])
        self.gate.wait(20)
        if self.refused.intersection(event["tag"] for event in events):
            return 400, {"badRequest": {"code": 400, "message": "Invalid input for field/attribute events."}}
        status = self.answers.pop(0) if self.answers else self.always
        known = [event for event in events if event["server_uuid"] not in self.unknown]
        if status == 404 or (status == 200 and not known):
            return 404, {"itemNotFound": {"code": 404, "message": "No instances found for any event"}}
        if status not in (200, 207):
            return status, {}
        self.got += known
        self.sizes.append(len(events))
        coded = [event | {"code": 200 if event in known else 404} for event in events]
        return 200 if known == events else 207, {"events": coded}


class _Handler(BaseHTTPRequestHandler):
    server: "_Http"

    def do_POST(self) -> None:
        fake = self.server.fake
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v3/auth/tokens":
            return self._log_in()
        if self.path != EVENTS:
            return self._answer(404, "The resource could not be found.")
        fake.tokens.append(self.headers["X-Auth-Token"])
        status, said = fake.take(body["events"])
        if fake.is_dripping:
            self._drip()
        elif status:
            self._answer(status, said)
        return None

    def _log_in(self) -> None:
        fake = self.server.fake
        fake.logins += 1
        endpoint = {"interface": "public", "region_id": "one", "url": f"{fake.url}/v2.1"}
        catalogue: list[Any] = [{"type": "compute", "endpoints": [endpoint]}]
        if fake.is_garbled:
            fake.is_garbled, catalogue = False, [1]
        self._answer(201, {"token": {"catalog": catalogue}})

    def _drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        try:
            while self.server.fake.is_dripping:
                self.wfile.write(b" ")
                Event().wait(0.02)
        except OSError:
            return

    def _answer(self, status: int, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("X-Subject-Token", f"token-{self.server.fake.logins}")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        pass


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    fake: FakeNova

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went, or did not trust the certificate, is what tests do."""


@contextmanager
def fake_nova(certificate: Issued | None = None) -> Iterator[FakeNova]:
    """Runs one until the end of the block."""
    fake = FakeNova()
    server = _Http(("127.0.0.1", 0), _Handler)
    server.fake = fake
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.cert, certificate.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    fake.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}"
    try:
        yield fake
    finally:
        fake.gate.set()
        fake.is_dripping = False
        server.shutdown()
        thread.join()
        server.server_close()
