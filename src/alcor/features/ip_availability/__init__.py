# SPDX-License-Identifier: Apache-2.0
"""How many addresses of networks and subnets there are, and how many are used."""
