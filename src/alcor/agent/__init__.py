# SPDX-License-Identifier: Apache-2.0
"""The host edge: session, reconciler, OVSDB and OpenFlow. Derives no flows: `features/*/flows.py` do."""
