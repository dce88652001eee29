# SPDX-License-Identifier: Apache-2.0
"""Older policies, taken over as Portieris's v1 or as an intent, and what changes in meaning."""
