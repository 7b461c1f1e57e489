# SPDX-License-Identifier: Apache-2.0
"""Availability zones: which hosts fail together, as their agents say it."""
