# SPDX-License-Identifier: Apache-2.0
"""Builds the images offline, and runs them as a cluster would."""
