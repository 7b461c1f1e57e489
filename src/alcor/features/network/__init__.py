# SPDX-License-Identifier: Apache-2.0
"""Networks: a layer-2 segment of a project, told apart on the wire by its VNI."""
