# SPDX-License-Identifier: Apache-2.0
"""`alcor pki`: an authority and certificates for a lab, and which file belongs where."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from alcor.push import pki


def run(directory: str, server: str, hosts: Sequence[str]) -> int:
    """Makes the files and lists them; 1 if it cannot, the reason said in one line."""
    try:
        files = pki.make_lab(Path(directory), server, hosts, datetime.now(UTC))
    except (OSError, ValueError) as wrong:
        print(f"alcor: {wrong}", file=sys.stderr)
        return 1
    for file in files:
        print(file)
    print(
        "Push reads push_tls_ca, push_tls_cert, push_tls_key: ca.pem, push.pem, push-key.pem. An agent reads"
        " agent_tls_ca, agent_tls_cert, agent_tls_key: ca.pem, host-NAME.pem, host-NAME-key.pem;"
        " `alcor show` the same three: ca.pem, operator.pem, operator-key.pem."
    )
    return 0
