# SPDX-License-Identifier: Apache-2.0
"""The command line: `alcor VERB`, and `python -m alcor`."""

import sys

from alcor.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
