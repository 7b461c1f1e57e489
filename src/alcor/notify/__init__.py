# SPDX-License-Identifier: Apache-2.0
"""Tells another system what the log says: a follower with a durable cursor of its own (docs/decisions/notify.md)."""
