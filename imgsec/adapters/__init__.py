# SPDX-License-Identifier: Apache-2.0
"""One outside system per module. `_http` and `_process` are the two doors out."""
