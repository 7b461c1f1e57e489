# SPDX-License-Identifier: Apache-2.0
"""Quality of service: what ports may send and receive, how their packets are marked, what they ask of placement."""
