# SPDX-License-Identifier: Apache-2.0
"""Subnet pools: prefixes from which subnets are cut. What may be done with them stands with subnets."""
