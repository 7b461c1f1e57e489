# SPDX-License-Identifier: Apache-2.0
"""What every part stands on: errors, network values, settings, clock, telemetry. Imports nothing of Alcor."""
