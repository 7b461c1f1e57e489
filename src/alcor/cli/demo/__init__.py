# SPDX-License-Identifier: Apache-2.0
"""`alcor demo`: a control plane, three hosts, virtual machines, and who reaches whom, drawn in the terminal.

On real switches as root, on the built-in fake one otherwise; the story is the same, and so is the judge.
"""

from alcor.cli.demo.run import run

__all__ = ["run"]
