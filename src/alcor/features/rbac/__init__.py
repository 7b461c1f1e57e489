# SPDX-License-Identifier: Apache-2.0
"""RBAC policies: whom the owner of an object lets use it."""
