# SPDX-License-Identifier: Apache-2.0
"""The whole story on one machine: a sandbox, two images, and every command with its real tools."""
