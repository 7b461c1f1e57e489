# SPDX-License-Identifier: Apache-2.0
"""Flavors: what operators offer of a service, and the providers that serve it."""
