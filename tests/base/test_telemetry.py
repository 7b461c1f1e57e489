# SPDX-License-Identifier: Apache-2.0
"""Log lines and metrics."""

import json
import logging
import socket
from collections.abc import Iterator
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from alcor.base import telemetry
from alcor.base.address import Address
from alcor.base.metrics import HOSTS_CONNECTED, METRICS, REQUEST_SECONDS, REQUESTS, CounterOf
from alcor.base.telemetry import (
    Meters,
    configure_log,
    log,
    log_debug,
    log_error,
    log_warning,
    metrics_served,
    request_id,
)


class NoonClock:
    """A clock that stands."""

    def now_s(self) -> float:
        return 1_700_000_000.25

    def monotonic_s(self) -> float:
        return 0.0


@pytest.fixture
def lines() -> Iterator[list[str]]:
    written: list[str] = []
    handlers, level = logging.root.handlers[:], logging.root.level
    configure_log("info", "text", write=written.append, clock=NoonClock())
    yield written
    configure_log("info", "text")
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def test_a_line_has_time_level_words_and_facts(lines: list[str]) -> None:
    log("port bound", port="p1", host="h1", rev=7, took_s=0.123456789)
    assert lines == ["2023-11-14T22:13:20.250Z info port bound port=p1 host=h1 rev=7 took_s=0.123457\n"]


def test_a_fact_is_quoted_where_it_would_not_read_as_one_word(lines: list[str]) -> None:
    log("seen", a="two words", b="", c='say "x"', d="k=v", e="line\nbreak", f=None)
    assert lines[0].partition("seen ")[2] == (
        'a="two words" b="" c="say \\"x\\"" d="k=v" e="line\\nbreak" f=None\n'
    )


def test_what_is_below_the_level_is_not_written(lines: list[str]) -> None:
    log_debug("unseen")
    configure_log("warning", "text", write=lines.append, clock=NoonClock())
    log("unseen")
    log_warning("seen")
    log_error("seen too")
    configure_log("debug", "text", write=lines.append, clock=NoonClock())
    log_debug("seen as well")
    configure_log("error", "text", write=lines.append, clock=NoonClock())
    log_warning("unseen")
    assert [line.split(" ", 1)[1] for line in lines] == [
        "warning seen\n",
        "error seen too\n",
        "debug seen as well\n",
    ]


def test_the_request_being_served_is_in_its_lines(lines: list[str]) -> None:
    token = request_id.set("req-1")
    log("inside")
    request_id.reset(token)
    log("outside")
    assert lines[0].endswith("inside request=req-1\n")
    assert "request" not in lines[1]


def test_lines_may_be_json(lines: list[str]) -> None:
    configure_log("info", "json", write=lines.append, clock=NoonClock())
    log("port bound", port="p1", seen={"odd"})
    assert json.loads(lines[0]) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "event": "port bound",
        "port": "p1",
        "seen": "{'odd'}",
    }


def test_what_libraries_log_becomes_lines_of_the_same_form(lines: list[str]) -> None:
    try:
        raise OSError("gone")
    except OSError:
        logging.getLogger("some.library").exception("no %s", "luck")
    logging.getLogger("some.library").info("chatter")
    assert [line.partition("Z ")[2] for line in lines] == [
        "error library says of=some.library says=\"no luck\" raised=OSError('gone')\n"
    ]


def test_lines_go_to_standard_error_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.log_error("said aloud")
    assert capsys.readouterr().err.endswith("error said aloud\n")


def test_two_meters_share_no_figure() -> None:
    one, two = Meters(), Meters()
    one.counter(REQUESTS, "GET", "ports", "200").inc()
    assert one.value(REQUESTS, "GET", "ports", "200") == 1
    assert two.value(REQUESTS, "GET", "ports", "200") == 0


def test_every_kind_of_metric_counts_and_is_shown() -> None:
    meters = Meters()
    meters.counter(REQUESTS, "GET", "ports", "200").inc(3)
    meters.gauge(HOSTS_CONNECTED).set(5)
    meters.histogram(REQUEST_SECONDS, "GET").observe(0.02)
    shown = meters.exposition().decode()
    assert 'alcor_requests_total{method="GET",resource="ports",status="200"} 3.0' in shown
    assert "alcor_hosts_connected 5.0" in shown
    assert 'alcor_request_seconds_bucket{le="0.025",method="GET"} 1.0' in shown
    assert "_created" not in shown
    assert meters.value(REQUEST_SECONDS, "GET") == 1
    assert meters.value(HOSTS_CONNECTED) == 5


def test_the_process_is_shown_on_request() -> None:
    assert "process_resident_memory_bytes" in Meters(with_process=True).exposition().decode()
    assert "process_resident_memory_bytes" not in Meters().exposition().decode()


def test_metric_names_are_unique_and_counters_say_total() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert all(metric.name.endswith("_total") is isinstance(metric, CounterOf) for metric in METRICS)


def test_a_process_without_an_api_answers_metrics_where_it_is_told() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    meters = Meters()
    meters.gauge(HOSTS_CONNECTED).set(3)
    with metrics_served(meters, Address(f"127.0.0.1:{port}")):
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            assert b"alcor_hosts_connected 3.0" in answer.read()
        with pytest.raises(OSError, match="in use"), metrics_served(meters, Address(f"127.0.0.1:{port}")):
            pass
    with pytest.raises(URLError):
        urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10)
    with metrics_served(meters, None):
        pass
