# SPDX-License-Identifier: Apache-2.0
"""Values to text, JSON and Kubernetes manifests; nothing here asks or decides anything."""
