# SPDX-License-Identifier: Apache-2.0
"""Security groups and their rules: who may talk to a port, and the numbered sets of groups that ports carry."""
