# SPDX-License-Identifier: Apache-2.0
"""What every benchmark shares: the machine and commit, figures of several rounds, a control plane, and load over HTTP.

It measures nothing by itself. Each benchmark is one command, and prints text, or with `--json` one JSON document.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from signal import SIGTERM
from statistics import median
from typing import Any

import httptools

from alcor.lab.cloud import ALCOR, free_address
from alcor.lab.process import Child

ROUNDS = 5
READY_S_MAX = 120.0  # from the start of a control plane to its first answer


@dataclass(frozen=True)
class Figure:
    """One line of a benchmark: what was measured in each round, and what it should be."""

    name: str
    unit: str  # "/s" and "x" (times) are better when they are more, any other when it is less
    rounds: list[float]
    least: float | None = None  # what counts as done
    aim: float | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """The figure itself."""
        return median(self.rounds)

    def reaches(self, bound: float) -> bool:
        """Whether the median is as good as `bound`."""
        return self.median >= bound if self.unit in ("/s", "x") else self.median <= bound

    def __str__(self) -> str:
        spread = ""
        if len(self.rounds) > 1:
            spread = (
                f" ({_number(min(self.rounds))} to {_number(max(self.rounds))}, {len(self.rounds)} rounds)"
            )
        bounds = [("at least", self.least), ("aim", self.aim)]
        judged = [
            f"{word} {_number(bound)}: {'yes' if self.reaches(bound) else 'NO'}"
            for word, bound in bounds
            if bound is not None
        ]
        figure = f"{_number(self.median)}{'' if self.unit == '/s' else ' '}{self.unit}{spread}"
        return "; ".join(filter(None, (f"{self.name:<46} {figure}", *judged, self.note)))


@dataclass
class Report:
    """What one benchmark says, as it finds out."""

    options: argparse.Namespace
    machine: dict[str, Any] = field(default_factory=lambda: machine())
    figures: list[Figure] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.options.json:
            print("; ".join(f"{name} {value}" for name, value in self.machine.items()), flush=True)

    def add(self, figure: Figure) -> None:
        """Says a figure."""
        self.figures.append(figure)
        if not self.options.json:
            print(figure, flush=True)

    def close(self) -> None:
        """Says everything once more for programs, if they asked."""
        if self.options.json:
            figures = [asdict(figure) | {"median": figure.median} for figure in self.figures]
            print(
                json.dumps(
                    {"machine": self.machine, "small": self.options.small, "figures": figures}, indent=1
                )
            )


def options(
    description: str | None, *more: Callable[[argparse.ArgumentParser], object]
) -> argparse.Namespace:
    """The command line of a benchmark."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a few seconds, to see that it works")
    parser.add_argument("--rounds", type=int, help="how many; the default is each benchmark's own")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
    parser.add_argument("--folder", default="/tmp", help="where the log's temporary folder goes (/tmp)")
    for add in more:
        add(parser)
    return parser.parse_args()


def machine() -> dict[str, Any]:
    """Where and of what the figures are."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    switch = _output("ovs-vswitchd", "--version").splitlines()[:1] or ["none"]
    changed = "+changes" if _output("git", "status", "--porcelain", "--", "src") else ""
    return {
        "commit": (_output("git", "rev-parse", "--short", "HEAD") or "none") + changed,
        "cores": os.cpu_count(),
        "processor": models[0].partition(": ")[2] if models else platform.machine(),
        "memory": f"{memory:.0f} GiB",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "OVS": switch[0].rpartition(" ")[2],
        "load before": round(os.getloadavg()[0], 1),
    }


@contextmanager
def scratch(options: argparse.Namespace) -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="alcor-bench-", dir=options.folder) as folder:
        yield Path(folder)


class Plane:
    """A control plane in a process of its own, on the log of a folder."""

    def __init__(
        self, folder: Path, role: str = "all", flags: tuple[str, ...] = (), level: str = "warning"
    ) -> None:
        self.listen = free_address("127.0.0.1:0")
        self.port = int(self.listen.rpartition(":")[2])
        self.push = f"unix:{folder}/push.sock"
        words = [role, f"--listen={self.listen}", f"--state={folder}", f"--log-level={level}", *flags]
        if role == "all":
            words.append(f"--push-listen={self.push}")
        self.child = Child((*ALCOR, *words), folder / "control.log", {})

    @property
    def is_listening(self) -> bool:
        """Whether the API takes connections by now. Raises RuntimeError if the process ended."""
        if not self.child.is_running:
            raise RuntimeError(f"the control plane ended:\n{self.child.last_words()}")
        listening = Path("/proc/net/tcp").read_text(encoding="ascii")
        return f":{self.port:04X} 00000000:0000 0A" in listening


def cpu_s(pid: int) -> float:
    """Processor seconds that a process has used."""
    used = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
    return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int, which: str = "VmRSS") -> float:
    """What a process holds; `VmHWM` is the most that it ever held."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(which):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"the kernel does not say {which}")


@contextmanager
def control_plane(folder: Path, role: str = "all", flags: tuple[str, ...] = ()) -> Iterator[Plane]:
    """A control plane that answers."""
    plane = Plane(folder, role, flags)
    try:
        until = time.monotonic() + READY_S_MAX
        while not plane.is_listening:
            if time.monotonic() > until:
                raise RuntimeError(f"the control plane does not listen:\n{plane.child.last_words()}")
            time.sleep(0.02)
        yield plane
    finally:
        plane.child.send(SIGTERM)
        plane.child.wait()


class Connection(asyncio.Protocol):
    """One connection to an API that is kept alive, with one request at a time."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._answer: asyncio.Future[bytes] | None = None
        self.is_kept = True  # by the server, for another request

    @classmethod
    async def open(cls, port: int, host: str = "127.0.0.1") -> Connection:
        """A connection to a port, of this machine if nothing else is said."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        return connection

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        """The body of the answer. Raises RuntimeError for a refusal."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    async def json(self, method: str, path: str, body: object = None) -> Any:
        """The answer to a request, read."""
        answer = await self.ask(request(method, path, body))
        return json.loads(answer) if answer else None

    def close(self) -> None:
        """Closes it."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport: Any = transport

    def data_received(self, some: bytes) -> None:
        self._parser.feed_data(some)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the API closed the connection"))

    def on_body(self, body: bytes) -> None:
        """A part of the answer."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """All of the answer is there."""
        self.is_kept = self._parser.should_keep_alive()
        body, self._body = b"".join(self._body), []
        answer, self._answer = self._answer, None
        if answer is None or answer.done():
            return
        if self._parser.get_status_code() >= 400:
            answer.set_exception(RuntimeError(f"{self._parser.get_status_code()} {body.decode()}"))
        else:
            answer.set_result(body)


def request(method: str, path: str, body: object = None, *, root: bool = False) -> bytes:
    """A request as it goes over the wire, below /v2.0/ or, with `root`, below /."""
    text = b"" if body is None else json.dumps(body).encode()
    head = f"{method} /{'' if root else 'v2.0/'}{path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(text)}\r\n"
    return head.encode() + b"Content-Type: application/json\r\n\r\n" + text


@dataclass(frozen=True)
class Round:
    """What one round of load took."""

    count: int
    wall_s: float
    cpu_s: float  # of the control plane
    seconds: list[float]  # of each request

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.count / self.wall_s

    @property
    def p99_ms(self) -> float:
        """What all but one in a hundred requests stayed below."""
        return percentile(self.seconds, 99) * 1000


async def load(plane: Plane, asked: Iterable[bytes], count: int, connections: int) -> Round:
    """Makes the first `count` requests over so many connections, each as soon as the one before is answered."""
    left = islice(asked, count)
    seconds: list[float] = []
    opened = [await Connection.open(plane.port) for _ in range(connections)]

    async def client(connection: Connection) -> None:
        for each in left:
            begun = time.perf_counter()
            await connection.ask(each)
            seconds.append(time.perf_counter() - begun)

    begun, used = time.perf_counter(), cpu_s(plane.child.pid)
    await asyncio.gather(*map(client, opened))
    done = Round(count, time.perf_counter() - begun, cpu_s(plane.child.pid) - used, seconds)
    for connection in opened:
        connection.close()
    return done


def percentile(figures: list[float], percent: float) -> float:
    """What `percent` of the figures do not exceed."""
    ordered = sorted(figures)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def _number(figure: float) -> str:
    return f"{figure:,.0f}" if abs(figure) >= 100 or figure == int(figure) else f"{figure:.3g}"


def _output(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20).stdout.strip()
    except FileNotFoundError:
        return ""
