# SPDX-License-Identifier: Apache-2.0
"""The HTTP edge: application, wire format, authentication, discovery. Decides nothing: `resource` and `features` do."""
