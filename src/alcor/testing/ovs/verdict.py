# SPDX-License-Identifier: Apache-2.0
"""What a tracked connection says of one more packet of its own."""

from enum import Enum, auto


class Verdict(Enum):
    """The outcome of showing a packet to its connection."""

    NONE = auto()  # there was no connection to ask
    VALID = auto()  # established
    VALID_NEW = auto()  # belongs to it, and it is still new
    INVALID = auto()
    RENEW = auto()  # the connection was over: this packet starts another
