# SPDX-License-Identifier: Apache-2.0
"""The registry as clients see it: TLS and login before docker-registry, and the signature store."""
