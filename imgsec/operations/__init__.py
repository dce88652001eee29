# SPDX-License-Identifier: Apache-2.0
"""One verb per module, told in domain words and ports; what a command does, without its options."""
