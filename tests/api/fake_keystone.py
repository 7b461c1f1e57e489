# SPDX-License-Identifier: Apache-2.0
"""A small Keystone over real HTTP on loopback: logs in one service user, knows the tokens that a test issues."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

PASSWORD = "known to the service alone"


def moment(in_s: float) -> str:
    """So many seconds from now, as Keystone writes it."""
    return (datetime.now(UTC) + timedelta(seconds=in_s)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass
class FakeKeystone:
    """What it knows, what it was asked, and how it fails."""

    url: str = ""
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    logins: int = 0
    asked: list[str] = field(default_factory=list)  # tokens, in the order of the questions
    status: int = 0  # with which everything is answered, if not 0
    gate: Event = field(default_factory=Event)  # closed: questions about tokens wait

    def issue(self, token: str, *roles: str, expires_in_s: float = 3_600, **parts: Any) -> str:
        """Makes a token of a project, or of what `parts` say."""
        body = {
            "expires_at": moment(expires_in_s),
            "issued_at": moment(-1),
            "methods": ["password"],
            "user": {"id": "user-1", "name": "ann", "domain": {"id": "default", "name": "Default"}},
            "roles": [{"id": f"id-of-{role}", "name": role} for role in roles],
        }
        if not {"system", "domain", "project"} & set(parts):
            body["project"] = {"id": "p1", "name": "p1", "domain": {"id": "default", "name": "Default"}}
        self.tokens[token] = body | parts
        return token

    def login(self, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        self.logins += 1
        if body["auth"]["identity"]["password"]["user"]["password"] != PASSWORD:
            return 401, {}, {}
        own = self.issue(f"own-{self.logins}", "admin")
        return 201, {"X-Subject-Token": own}, {"token": self.tokens[own]}

    def validate(self, headers: Any, query: dict[str, list[str]]) -> tuple[int, dict[str, str], Any]:
        self.asked.append(headers["X-Subject-Token"])
        self.gate.wait(10)
        if headers["X-Auth-Token"] not in self.tokens:
            return 401, {}, {}
        token = self.tokens.get(headers["X-Subject-Token"])
        if token is None or (token["expires_at"] <= moment(0) and "allow_expired" not in query):
            return 404, {}, {}
        return 200, {}, {"token": token}


@contextmanager
def fake_keystone() -> Iterator[FakeKeystone]:
    """Runs one until the end of the block."""
    keystone = FakeKeystone()
    keystone.gate.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            self._answer(*(self._failing() or keystone.validate(self.headers, query)))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(*(self._failing() or keystone.login(body)))

        def _failing(self) -> Any:
            return (keystone.status, {}, {}) if keystone.status else None

        def _answer(self, status: int, headers: dict[str, str], value: Any) -> None:
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            for name, header in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, header)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    class Http(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

    server = Http(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    keystone.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield keystone
    finally:
        keystone.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()


def main() -> None:
    """Serves the tokens named as arguments, of members of a project, until it is ended; says where."""
    with fake_keystone() as keystone:
        for token in sys.argv[1:]:
            keystone.issue(token, "member", "reader")
        print(keystone.url, flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
