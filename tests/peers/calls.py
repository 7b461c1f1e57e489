# SPDX-License-Identifier: Apache-2.0
"""How long tempest waited for each service, by the line that it logs for each request."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

_REQUEST = re.compile(
    r"Request \((?P<caller>[^)]*)\): (?P<status>\d+) [A-Z]+ (?P<url>\S+) (?P<seconds>[\d.]+)s"
)


@dataclass(frozen=True)
class Waited:
    """What was spent in the calls to one service."""

    calls: int
    seconds: float
    median_ms: float
    failed: int  # answered with 5xx


def waited(lines: Iterable[str], services: dict[str, str]) -> dict[str, Waited]:
    """By the service's name: the time in its calls. `services` are names and the URLs that theirs begin with."""
    spent: dict[str, list[float]] = defaultdict(list)
    failed: dict[str, int] = defaultdict(int)
    for line in lines:
        found = _REQUEST.search(line)
        if not found:
            continue
        for name, url in services.items():
            if found["url"].startswith(url):
                spent[name].append(float(found["seconds"]))
                failed[name] += found["status"].startswith("5")
    return {
        name: Waited(len(times), sum(times), median(times) * 1_000, failed[name])
        for name in services
        if (times := spent[name])
    }
