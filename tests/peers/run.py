# SPDX-License-Identifier: Apache-2.0
"""`make conformance`: a real Keystone, Alcor, and against them the peers' own clients and test suites.

Exits 1 when a test of `passing.txt` does not pass, or a failure has no reason in `accepted.toml`.
"""

import argparse
import shutil
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.peers import clients, nova_judge, report
from tests.peers.calls import Waited, waited
from tests.peers.contract import attributes_differ, reviewed, stale
from tests.peers.environments import NotMadeError, folder, prepared
from tests.peers.identity import Keystone, keystone
from tests.peers.outcomes import PASSING, Outcome, accepted, named, reference, spread, verdict
from tests.peers.processes import free_port
from tests.peers.service import Program, alcor, waited_for_keystone
from tests.peers.suites import SUITES, Bench, judged, laid_out


@dataclass(frozen=True)
class Judged:
    """What one run found."""

    outcomes: list[Outcome]
    walls: dict[str, float]  # suite: seconds
    spent: dict[str, Waited]  # service: time in calls that tempest made
    tokens: tuple[int, float]  # requests that Alcor made of Keystone, and their seconds


def main() -> int:
    """Runs, writes the tables, and says what is wrong."""
    options = _options()
    began = time.monotonic()
    try:
        found = judge(options)
    except NotMadeError as wrong:
        print(wrong, file=sys.stderr)
        return 1
    is_whole = not (options.tests or options.url)
    outcome = verdict(found.outcomes, named(PASSING), accepted(), is_whole=is_whole)
    if options.record:
        still = [] if is_whole else named(PASSING)
        PASSING.write_text("".join(f"{test}\n" for test in sorted({*still, *report.passed(found.outcomes)})))
    page = report.page(report.Found(found.outcomes, found.walls, found.spent, options.workers, found.tokens))
    (folder() / "results.md").write_text(page)
    (folder() / "outcomes.tsv").write_text(report.lines(found.outcomes))
    if options.record and is_whole:
        report.PAGE.write_text(page)
    print(report.spoken(outcome))
    for difference in stale(attributes_differ(), reviewed()):
        print(f"no longer so, and is in differences.toml: {difference}")
    print(
        f"{time.monotonic() - began:.0f} s. Outcomes: {folder()}/outcomes.tsv, tables: {folder()}/results.md"
    )
    return 0 if outcome.is_good or options.record else 1


def judge(options: argparse.Namespace) -> Judged:
    """Starts what is needed, and runs what was asked for."""
    programs = prepared("keystone", "tempest", "client", "nova")
    place = folder() / "run"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    url = options.url or f"http://127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        known = stack.enter_context(
            keystone(programs["keystone"], place / "keystone", url, options.identity_port)
        )
        ours = None if options.url else Program(options.alcor, place / "alcor", url)
        if ours:
            stack.enter_context(alcor(ours, known))
        bench = Bench(programs["tempest"], place / "tempest", known, url, options.workers)
        laid_out(bench)
        outcomes: list[Outcome] = []
        walls: dict[str, float] = {}
        if not options.tests:
            print("Running the openstack command and openstacksdk", flush=True)
            began = time.monotonic()
            outcomes += clients.judged(programs["client"], known)
            walls["clients"] = time.monotonic() - began
            print("Running Nova's own client", flush=True)
            began = time.monotonic()
            outcomes += nova_judge.judged(programs["nova"], place / "nova", known, ours)
            walls[nova_judge.SUITE] = time.monotonic() - began
        for suite, pattern in ({options.tests: options.tests} if options.tests else SUITES).items():
            print(f"Running {suite}", flush=True)
            said, walls[suite] = judged(bench, pattern)
            outcomes += spread(said, reference())
        spent, tokens = _spent(bench, known), (0, 0.0) if options.url else waited_for_keystone(url)
    return Judged(outcomes, walls, spent, tokens)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make conformance", description=__doc__)
    parser.add_argument("--tests", help="run only tempest's tests that match this regular expression")
    parser.add_argument("--workers", type=int, default=2, help="tests side by side (2)")
    parser.add_argument(
        "--url", help="judge the network service there, which asks this run's Keystone (see --identity-port)"
    )
    parser.add_argument("--identity-port", type=int, default=0, help="where Keystone listens (any free port)")
    parser.add_argument(
        "--alcor",
        type=Path,
        default=Path(sys.executable).with_name("alcor"),
        help="the program that is judged",
    )
    parser.add_argument(
        "--record", action="store_true", help="write passing.txt, and after a whole run the page of results"
    )
    return parser.parse_args()


def _spent(bench: Bench, known: Keystone) -> dict[str, Waited]:
    log = bench.folder / "tempest.log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return waited(lines, {"network": bench.network_url, "identity": known.url})


if __name__ == "__main__":
    sys.exit(main())
