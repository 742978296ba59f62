"""Whether the hot modules run compiled or as they are written."""

from __future__ import annotations

from haloy.proxy import exchange


def form() -> str:
    """Return C{"compiled"} or C{"interpreted"}."""
    source = exchange.__file__ or ""
    return "interpreted" if source.endswith((".py", ".pyc")) else "compiled"
