# SPDX-License-Identifier: Apache-2.0
"""Named sets of addresses that security group rules name as their remote."""
