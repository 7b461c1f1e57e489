# SPDX-License-Identifier: Apache-2.0
"""Trunks: ports by whose interface the frames of other ports come and go, told apart by VLAN tags."""
