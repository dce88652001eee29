# SPDX-License-Identifier: Apache-2.0
"""The commands: parse, one operation, show, exit. Heavy modules are imported inside them."""
