# SPDX-License-Identifier: Apache-2.0
"""The limits of the store: every queue, wait and interval of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StoreSettings:
    """Each with its unit last in its name."""

    turn_ms_max: float = 20.0  # a turn admits requests for so long, and ends with the one that it then runs
    turn_requests_max: int = 2000  # and at most so many
    waiting_max: int = 20_000  # requests that wait for a turn; one more is refused
    answer_s: float = 30.0  # a request without a deadline of its own is answered by then
    pen_wait_s: float = 2.0  # how long a turn waits for another process to drop the pen
    poll_ms_min: float = 5.0  # between looks at the head of the log while other processes write
    poll_ms_max: float = 20.0  # and while they do not
    read_wait_s: float = 5.0  # how long a read waits for the log's answer
    retry_ms_max: float = 500.0  # between attempts to reach a log that is out of reach
    rerun_max: int = 5  # how often a turn that was not committed is run again
    follow_records_max: int = 2000  # read from the log at once
    history_s: float = 86_400.0  # how long history is kept
    trim_interval_s: float = 60.0  # between looks for history that is older
    trim_records_max: int = 2000  # forgotten in one commit
