# SPDX-License-Identifier: Apache-2.0
"""What is the same for every REST noun: shapes, verbs, bulk, lists, policy, quota. Knows no feature."""
