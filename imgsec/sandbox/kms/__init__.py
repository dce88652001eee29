# SPDX-License-Identifier: Apache-2.0
"""Key Protect API v2, as far as standard keys go. Root keys can be kept, but do nothing."""
