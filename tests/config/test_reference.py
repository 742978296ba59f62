from __future__ import annotations

from pathlib import Path

import pytest

from haloy.config.reference import files, main, render_reference

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", sorted(files()))
def test_what_is_published_is_what_the_classes_say(name: str) -> None:
    """If this fails: C{python -m haloy.config.reference docs/reference}."""
    assert (FOLDER / name).read_text(encoding="utf-8") == files()[name]


def test_files_are_written(tmp_path: Path) -> None:
    """Every one, into the folder that is named."""
    main(str(tmp_path))
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == files()


def test_every_section_has_rows() -> None:
    """No heading is without a table."""
    parts = render_reference().split("\n## ")[1:]
    for part in parts[:-1]:
        assert "\n| `" in part
    assert parts[-1].startswith("Environment files")
