# SPDX-License-Identifier: Apache-2.0
"""What can go wrong while hosts are built on this machine."""


class LabFailure(Exception):
    """The machine refused a part of the lab; the message names it and the way out."""
