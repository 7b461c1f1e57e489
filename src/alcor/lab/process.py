# SPDX-License-Identifier: Apache-2.0
"""Processes of the lab: commands that end by themselves, and children that live as long as the lab.

A child never outlives its lab, even if that is killed: the kernel kills it with its parent.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from alcor.lab.errors import LabFailure

COMMAND_S_MAX = 20.0  # longest that a one-shot command may take
STOP_S_MAX = 5.0  # from SIGTERM to SIGKILL


async def run(*argv: str, stdin: str = "") -> str:
    """The standard output of a command. Raises LabFailure with its complaint if it fails or takes too long."""
    return await asyncio.to_thread(_run, argv, stdin)


def _run(argv: Sequence[str], stdin: str) -> str:
    try:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=COMMAND_S_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        raise LabFailure(f"`{' '.join(argv)}` did not end within {COMMAND_S_MAX} s") from None
    if done.returncode != 0:
        raise LabFailure(f"`{' '.join(argv)}` failed: {done.stderr.strip() or stdin}")
    return done.stdout


class Child:
    """A process that runs until it is told to stop, with its output in a file."""

    def __init__(self, argv: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self.argv = tuple(argv)
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ("setpriv", "--pdeathsig", "KILL", *argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
            )

    @property
    def pid(self) -> int:
        """The process id, also after its end."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal; to a process that has ended, nothing happens."""
        self._process.send_signal(number)

    def wait(self, until_s: float | None = None) -> int:
        """The exit status. A process that has not ended at `until_s` (monotonic; default: `STOP_S_MAX`) is killed."""
        left_s = STOP_S_MAX if until_s is None else until_s - time.monotonic()
        try:
            return self._process.wait(max(0, left_s))
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and wait for the end, at most `STOP_S_MAX`."""
        self.send(number)
        return await asyncio.to_thread(self.wait)

    def last_words(self, lines_max: int = 12) -> str:
        """The end of its output, for error messages."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines_max:])


def stop_all(children: Sequence[Child], number: signal.Signals) -> None:
    """Signal all at once, then wait for all, `STOP_S_MAX` at most."""
    until_s = time.monotonic() + STOP_S_MAX
    for child in children:
        child.send(number)
    for child in children:
        child.wait(until_s)
