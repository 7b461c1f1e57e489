# SPDX-License-Identifier: Apache-2.0
"""What the process says of itself: log lines with fields and a request id, and metrics for Prometheus.

A log line is one decision: constant words, facts as fields. Metrics are declared in `base.metrics`; a process (or a
test) makes its own `Meters`, so that two worlds in one process never share a figure.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    start_http_server,
)

from alcor.base.address import Address, host_and_port
from alcor.base.clock import Clock, SystemClock
from alcor.base.metrics import METRICS, CounterOf, GaugeOf, HistogramOf, Metric

request_id: ContextVar[str] = ContextVar(
    "request_id", default=""
)  # of the request being served, "" outside of one

# A series per series, of when it began, would double the figures, and nobody asks for it.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left this one untyped

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_NAMES = {number: name for name, number in LEVELS.items()}
_WORD = re.compile(r"[!#-<>-~]+")  # the usual one: of ASCII, without a space, a quote and =


def _to_stderr(line: str) -> None:
    sys.stderr.write(line)


@dataclass
class _Log:
    """Where this process's lines go; there is one, as there is one standard error."""

    level: int = LEVELS["info"]
    is_json: bool = False
    write: Callable[[str], None] = _to_stderr
    clock: Clock = field(default_factory=SystemClock)
    second: int = -1  # of which `stamp` is the text
    stamp: str = ""


_log = _Log()


def configure_log(
    level: str, form: str, *, write: Callable[[str], None] = _to_stderr, clock: Clock | None = None
) -> None:
    """Sets the least level that is logged and the form (`text` or `json`) for the whole process.

    What libraries log through `logging` becomes lines of the same form.
    """
    _log.level = LEVELS[level]
    _log.is_json = form == "json"
    _log.write = write
    _log.clock = clock or SystemClock()
    logging.root.handlers[:] = [_FromLibraries()]
    logging.root.setLevel(max(_log.level, LEVELS["warning"]))


def log(event: str, /, **facts: object) -> None:
    """Logs a decision at level info. `event` is constant words; what varies is a field."""
    if _log.level <= 20:
        _line(20, event, facts)


def log_debug(event: str, /, **facts: object) -> None:
    """Logs what only a developer looks for."""
    if _log.level <= 10:
        _line(10, event, facts)


def log_warning(event: str, /, **facts: object) -> None:
    """Logs that the world failed in a way that is being retried, or that an operator should look at."""
    if _log.level <= 30:
        _line(30, event, facts)


def log_error(event: str, /, **facts: object) -> None:
    """Logs a failure that ends something."""
    _line(40, event, facts)


def _line(level: int, event: str, facts: dict[str, object]) -> None:
    now_s = _log.clock.now_s()
    second = int(now_s)
    if second != _log.second:
        _log.second, _log.stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    stamp = f"{_log.stamp}.{int((now_s - second) * 1000):03d}Z"
    if request := request_id.get():
        facts = {**facts, "request": request}
    if _log.is_json:
        line = json.dumps({"time": stamp, "level": _NAMES[level], "event": event, **facts}, default=str)
    else:
        line = f"{stamp} {_NAMES[level]} {event}"
        for name, fact in facts.items():
            line += f" {name}={_text(fact)}"
    _log.write(line + "\n")


def _text(fact: object) -> str:
    """A fact after `=`: as it is, or quoted where it would not read as one word."""
    text = f"{fact:.6g}" if isinstance(fact, float) else str(fact)
    if _WORD.fullmatch(text) or (text and text.isprintable() and not any(sign in text for sign in ' "=')):
        return text
    return json.dumps(text, ensure_ascii=False)


class _FromLibraries(logging.Handler):
    """Turns the records of libraries into our lines."""

    def emit(self, record: logging.LogRecord) -> None:
        facts: dict[str, object] = {"of": record.name, "says": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:
            facts["raised"] = repr(record.exc_info[1])
        _line(min(max(record.levelno // 10 * 10, 10), 40), "library says", facts)


class Meters:
    """The figures of one process: what `METRICS` declares, in a registry of its own.

    On a hot path keep what `counter`, `gauge` or `histogram` answer: `.inc()`, `.set()` and `.observe()` on that
    cost less than a microsecond.
    """

    def __init__(self, metrics: Sequence[Metric] = METRICS, *, with_process: bool = False) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._by_name = {metric.name: _made(metric, self.registry) for metric in metrics}
        self._bound: dict[tuple[str, ...], Any] = {}
        if with_process:
            ProcessCollector(registry=self.registry)
            PlatformCollector(registry=self.registry)

    def counter(self, metric: CounterOf, *labels: str) -> Counter:
        """The counter with these label values."""
        counter: Counter = self._with(metric, labels)
        return counter

    def gauge(self, metric: GaugeOf, *labels: str) -> Gauge:
        """The gauge with these label values."""
        gauge: Gauge = self._with(metric, labels)
        return gauge

    def histogram(self, metric: HistogramOf, *labels: str) -> Histogram:
        """The histogram with these label values."""
        histogram: Histogram = self._with(metric, labels)
        return histogram

    def value(self, metric: Metric, *labels: str) -> float:
        """What the metric says; of a histogram, the number of observations. 0 before the first."""
        sample = metric.name + ("_count" if isinstance(metric, HistogramOf) else "")
        return self.registry.get_sample_value(sample, dict(zip(metric.labels, labels, strict=True))) or 0.0

    def exposition(self) -> bytes:
        """All figures in Prometheus's text format, version 0.0.4."""
        return generate_latest(self.registry)

    def _with(self, metric: Metric, labels: tuple[str, ...]) -> Any:
        key = (metric.name, *labels)
        if (bound := self._bound.get(key)) is None:
            whole = self._by_name[metric.name]
            bound = self._bound[key] = whole.labels(*labels) if metric.labels else whole
        return bound


@contextmanager
def metrics_served(meters: Meters, address: Address | None) -> Iterator[None]:
    """Answers `/metrics` at `address`, from a thread of its own, until left; nothing without an address.

    Raises OSError where it cannot listen.
    """
    if address is None:
        yield
        return
    host, port = host_and_port(address)
    server, thread = start_http_server(port, host, registry=meters.registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _made(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    match metric:
        case CounterOf():
            return Counter(metric.name, metric.meaning, metric.labels, registry=registry)
        case GaugeOf():
            return Gauge(metric.name, metric.meaning, metric.labels, registry=registry)
        case HistogramOf():
            return Histogram(
                metric.name, metric.meaning, metric.labels, registry=registry, buckets=metric.buckets
            )
