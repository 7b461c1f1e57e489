# SPDX-License-Identifier: Apache-2.0
"""From objects to rows in scopes, and who is interested in them; incremental. Knows no feature and no host."""
