# SPDX-License-Identifier: Apache-2.0
"""Every figure that a process shows at `/metrics`, declared once; `docs/metrics.md` is generated from this table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CounterOf:
    """Counts what happened; only grows. The name ends in `_total`."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class GaugeOf:
    """A figure that goes up and down."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class HistogramOf:
    """How often a figure fell into which range."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


Metric = CounterOf | GaugeOf | HistogramOf

_SIZES = (1.0, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)

# REST API
REQUESTS = CounterOf("alcor_requests_total", "Requests answered.", ("method", "resource", "status"))
REQUEST_SECONDS = HistogramOf("alcor_request_seconds", "From the whole request to the answer.", ("method",))
REFUSALS = CounterOf(
    "alcor_refusals_total", "Requests refused, by the type that the answer names.", ("type",)
)
TOKENS = CounterOf("alcor_tokens_total", "Tokens that Keystone was asked about, by its answer.", ("answer",))

KEYSTONE_SECONDS = HistogramOf(
    "alcor_keystone_seconds", "How long Keystone took to answer a request of ours."
)

# Store and log
TURNS = CounterOf("alcor_turns_total", "Turns committed.")
TURN_SECONDS = HistogramOf("alcor_turn_seconds", "How long a turn held the pen, its commit included.")
TURN_REQUESTS = HistogramOf("alcor_turn_requests", "Requests in one turn.", buckets=_SIZES)
TURN_RECORDS = HistogramOf("alcor_turn_records", "Records in one turn.", buckets=_SIZES)
TURN_FAILURES = CounterOf(
    "alcor_turn_failures_total", "Turns whose commit failed or is unknown.", ("reason",)
)
LOG_REVISION = GaugeOf("alcor_log_revision", "Revision up to which this process has followed the log.")
LOG_LAG = GaugeOf("alcor_log_lag", "Records of the log that this process has not followed yet.")
LOG_RELOADS = CounterOf(
    "alcor_log_reloads_total", "Times the log turned out to be another one and was loaded again."
)

# Goal and push
ROWS_DERIVED = CounterOf("alcor_rows_derived_total", "Objects whose rows were derived again.")
HOSTS_CONNECTED = GaugeOf("alcor_hosts_connected", "Hosts with a session here.")
HOST_SNAPSHOTS = CounterOf("alcor_host_snapshots_total", "Snapshots of scopes sent to hosts.", ("reason",))
HOST_DROPS = CounterOf("alcor_host_drops_total", "Slow hosts dropped to a later snapshot.", ("bound",))
HOST_LAG = GaugeOf("alcor_host_lag", "Largest distance in revisions between the log and a connected host.")
REPORTS = CounterOf("alcor_reports_total", "Reports of hosts, by what they say.", ("outcome",))

# Notify
NOTICES = CounterOf("alcor_notices_total", "Events for Nova, by what became of them.", ("outcome",))
NOTIFY_LAG = GaugeOf("alcor_notify_lag", "Records of the log of which Nova was not told yet.")

# Agent
SESSIONS = CounterOf(
    "alcor_agent_sessions_total", "Sessions opened to push, by how the last one ended.", ("end",)
)
FLOWS_DERIVED = CounterOf("alcor_agent_rows_derived_total", "Rows whose flows were derived again.")
FLOW_CHANGES = CounterOf("alcor_agent_flow_changes_total", "Flow changes sent to the switch.", ("change",))
FLOW_REPAIRS = CounterOf(
    "alcor_agent_flow_repairs_total", "Flows found other than wanted and mended.", ("kind",)
)
FLOW_FAILURES = CounterOf("alcor_agent_flow_failures_total", "Flow changes that the switch refused.")
FLOODS_CUT = CounterOf(
    "alcor_agent_floods_cut_total",
    "Parts of large networks that broadcasts did not get to: too many at once.",
)
SWITCH_CONNECTS = CounterOf("alcor_agent_switch_connects_total", "Times the switch was connected to.")

METRICS: tuple[Metric, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, CounterOf | GaugeOf | HistogramOf)
)
