# SPDX-License-Identifier: Apache-2.0
"""Help out of docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any


def paragraphs(command: Callable[..., Any]) -> str:
    """A docstring as help: one line per paragraph, for the terminal to wrap."""
    found = re.split(r"\n{2,}", inspect.cleandoc(command.__doc__ or ""))
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in found)
