"""A line of a file that people wrote, as a message may show it."""

from __future__ import annotations

import re

#: A literal value on the line that is shown: it may be a secret.
_VALUE = re.compile(r"((?:^|[\s{,])[\"']?(?:value|password|token)[\"']?\s*[:=]\s*).*")
_LONGEST = 120


def shown_line(line: str) -> str:
    """Return C{line} with what may be a secret masked, at most 120 characters."""
    return _VALUE.sub(r"\1***", line.rstrip())[:_LONGEST]
