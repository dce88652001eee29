# SPDX-License-Identifier: Apache-2.0
"""The parts of scripts/render-tasks.

plans      the tables: what Tekton needs to know besides what the commands say themselves
documents  commands and plans -> Tasks and the Pipeline, as data
samples    a Task or Pipeline -> a run of it, and the rights that it needs
files      data -> YAML and Markdown, through templates/, proven to say the same
"""
