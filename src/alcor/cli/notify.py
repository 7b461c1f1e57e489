# SPDX-License-Identifier: Apache-2.0
"""`alcor notify`: tells Nova what becomes of its machines' ports; with --show, what could not be told."""

import random
import sys

from alcor.base.clock import SystemClock
from alcor.base.config import Settings
from alcor.base.errors import Unavailable
from alcor.base.telemetry import Meters, log_error, metrics_served
from alcor.cli.serve import LOG_FILE, notifying
from alcor.features.control import SCHEMA
from alcor.notify import ledger
from alcor.notify.service import LEDGER_FILE
from alcor.store.log.sqlite import SqliteLog
from alcor.store.store import Outside, Store


async def run(settings: Settings, *, show: bool) -> int:
    """Tells until cancelled; 2 without the settings for it, 1 if it cannot."""
    if show:
        return _show(settings)
    if not settings.nova_url:
        print("alcor: setting nova_url is missing: where Nova is, or `catalogue`.", file=sys.stderr)
        return 2
    outside = Outside(SystemClock(), random.SystemRandom(), settings, Meters(with_process=True))
    try:
        with metrics_served(outside.meters, settings.metrics_listen):
            store = await Store.open(SCHEMA, SqliteLog(settings.state / LOG_FILE), outside)
            try:
                async with notifying(store, outside) as task:
                    await task
            finally:
                await store.close()
    except (Unavailable, OSError, ValueError) as wrong:
        log_error("cannot notify", why=str(wrong))
        return 1
    return 0


def _show(settings: Settings) -> int:
    path = settings.state / LEDGER_FILE
    try:
        told = ledger.read(path)
    except (OSError, ValueError) as wrong:
        print(f"alcor: {path} cannot be read: {wrong}", file=sys.stderr)
        return 1
    if told is None:
        print(f"alcor: nothing was ever told from {settings.state}.", file=sys.stderr)
        return 1
    print(f"told up to revision {told.revision}: {told.delivered} delivered, {told.failed_count} given up")
    for failed in told.failed:
        notice = failed.notice
        print(f"  {failed.at} {notice.name} server={notice.server} tag={notice.tag}: {failed.why}")
    return 0
