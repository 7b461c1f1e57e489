# SPDX-License-Identifier: Apache-2.0
"""Quotas: how many objects of each noun a project may have."""
