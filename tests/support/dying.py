"""Processes that end at chosen moments, as by C{kill -9}; else they are as they are.

A moment is a module, a function in it, and C{before} or C{after}, with colons between.
This file is also their C{sitecustomize}: the first who comes to a moment that is armed
dies there.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from importlib.machinery import ModuleSpec
from inspect import iscoroutinefunction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

VARIABLE = "HALOY_TEST_DYING"


class Finder:
    """Finds modules as others do, and changes some when they are loaded."""

    def __init__(self, folder: Path, moments: list[str]) -> None:
        self._folder = folder
        self._moments: dict[str, list[str]] = defaultdict(list)
        for moment in moments:
            self._moments[moment.split(":")[0]].append(moment)

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> ModuleSpec | None:
        """Return how to load C{name}; C{None}: others know."""
        moments = self._moments.pop(name, None)
        found = importlib.util.find_spec(name) if moments else None
        if not moments or found is None or found.loader is None:
            return None
        load = found.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            for moment in moments:
                self._change(module, moment)

        found.loader.exec_module = load_and_change  # type: ignore[method-assign]  # of this one
        return found

    def _change(self, module: ModuleType, moment: str) -> None:
        _, path, when = moment.split(":")
        *owners, name = path.split(".")
        owner: Any = functools.reduce(getattr, owners, module)
        setattr(owner, name, self._deadly(getattr(owner, name), moment, when))

    def _deadly(
        self, call: Callable[..., Any], moment: str, when: str
    ) -> Callable[..., Any]:
        if iscoroutinefunction(call):

            @functools.wraps(call)
            async def run_later(*given: Any, **named: Any) -> Any:
                result = await call(*given, **named)
                self._die(moment)
                return result

            if when == "after":
                return run_later

        @functools.wraps(call)
        def run(*given: Any, **named: Any) -> Any:
            if when == "before":
                self._die(moment)
            result = call(*given, **named)
            if when == "after":
                self._die(moment)
            return result

        return run

    def _die(self, moment: str) -> None:
        for armed in self._folder.glob("now-*"):
            try:
                if armed.read_text() == moment:
                    armed.unlink()
                    os.kill(os.getpid(), signal.SIGKILL)
            except FileNotFoundError:  # somebody else was first
                continue


class Moments:
    """The test's side."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def arm(self, moment: str) -> None:
        """Let the next one who comes to C{moment} die."""
        new = self._folder / f"new-{moment}"
        new.write_text(moment)
        new.rename(self._folder / f"now-{moment}")

    @property
    def armed(self) -> list[Path]:
        """What nobody has come to yet."""
        return list(self._folder.glob("now-*"))


def prepare(
    folder: Path, moments: Iterable[str], monkeypatch: pytest.MonkeyPatch
) -> Moments:
    """Have the processes that are started from now on watch for C{moments}."""
    folder.mkdir()
    (folder / "moments").write_text("\n".join(dict.fromkeys(moments)))
    shutil.copy(__file__, folder / "sitecustomize.py")
    monkeypatch.setenv(VARIABLE, str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    return Moments(folder)


if folder := os.environ.get(VARIABLE):
    moments = Path(folder, "moments").read_text().split()
    sys.meta_path.insert(0, Finder(Path(folder), moments))
