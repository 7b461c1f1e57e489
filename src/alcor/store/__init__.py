# SPDX-License-Identifier: Apache-2.0
"""Tables, turns and the log with its backends. Knows no feature."""
