"""A copy of what a wheel is built from: building leaves nothing in the checkout."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGED = (
    "haloy",
    "twisted",
    "pyproject.toml",
    "setup.cfg",
    "README.md",
    "LICENSE",
    "setup.py",
)


def copy_checkout(folder: Path) -> Path:
    """Copy all that is packaged into C{folder}, without what runs have left there."""
    kept_out = shutil.ignore_patterns("__pycache__", "dropin.cache")
    for name in PACKAGED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=kept_out)
        else:
            shutil.copy(source, folder / name)
    return folder
