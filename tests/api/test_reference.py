"""The published description of the API is that of its routes and classes."""

from __future__ import annotations

from pathlib import Path

from haloy.api.reference import main, render_reference

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "api.md"


def test_what_is_published_is_what_the_classes_say(tmp_path: Path) -> None:
    """If this fails: C{python -m haloy.api.reference docs/reference}."""
    assert PAGE.read_text(encoding="utf-8") == render_reference()
    main(str(tmp_path))
    assert (tmp_path / "api.md").read_text(encoding="utf-8") == render_reference()
