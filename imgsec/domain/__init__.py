# SPDX-License-Identifier: Apache-2.0
"""What the words mean. Pure values and rules: no file, socket, process, clock or environment."""
