"""Find and read C{haloy.json}, C{.yaml}, C{.yml} or C{.toml}; errors with file:line."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from haloy.config.app_file import AppFile, Target
from haloy.config.document import Document, parse_document
from haloy.config.merge import InvalidTarget, targets
from haloy.config.reading import read_text
from haloy.config.validate import validate_target
from haloy.config.wire import Misplaced, app_file_from, wire_name
from haloy.errors import ConfigError, InvalidValue

#: In this order, as existing servers and clients expect (C{spec/config.md} 1.1).
NAMES = ("haloy.json", "haloy.yaml", "haloy.yml", "haloy.toml")
KINDS = {".json": "json", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml"}

_STEP = re.compile(r"([^.\[\]() ]+)|\[(\d+)\]|\((.+)\)")


@frozen
class AppDocument:
    """A C{haloy.yaml} with the text it came from, so that errors know their line."""

    file: AppFile
    document: Document
    kind: str

    def targets(
        self, servers: Collection[str] = (), only: Collection[str] | None = None
    ) -> dict[str, Target]:
        """Return merged and valid targets by key (L{haloy.config.merge.targets}).

        @raise ConfigError: the first thing that is wrong, with file and line.
        """
        try:
            merged = targets(self.file, servers, only)
            for key, target in merged.items():
                self._validate(key, target)
        except InvalidTarget as problem:
            raise self.error(problem, problem.target) from None
        return merged

    def problems(self, servers: Collection[str] = ()) -> tuple[ConfigError, ...]:
        """Return what is wrong with the targets, one problem of each that has any."""
        found = []
        for key in self.file.targets or ("",):
            try:
                self.targets(servers, {key})
            except ConfigError as problem:
                found.append(problem)
        return tuple({str(problem): problem for problem in found}.values())

    def error(self, problem: InvalidValue, target: str = "") -> ConfigError:
        """Return C{problem} at its line, its field in the casing of the file."""
        field = self._cased(problem.field)
        shown = InvalidTarget(problem.reason, field=field, target=target)
        return self.document.error(str(shown), self._place(problem.field, target))

    def _validate(self, key: str, target: Target) -> None:
        try:
            validate_target(target)
        except InvalidValue as problem:
            raise InvalidTarget(
                problem.reason,
                field=problem.field,
                target=key if self.file.targets else "",
            ) from None

    def _cased(self, field: str) -> str:
        if self.kind != "json":
            return field
        head, space, rest = field.partition(" ")
        return wire_name(head, camel=True) + space + rest

    def _place(self, field: str, target: str) -> tuple[str | int, ...]:
        """Return the deepest place that C{field} of C{target} may come from."""
        own: tuple[str | int, ...] = ("targets", target) if target else ()
        # A name is not inherited; everything else may stand at the root.
        places = [own] if field == "name" else [own, ()]
        best, best_depth = own, 0
        if field.startswith("image."):
            key = self._value((*own, self._cased("image_key")))
            key = key or self._value((self._cased("image_key"),))
            if isinstance(key, str):
                best = ("images", key)
                places.insert(0, best)
        for place in places:
            inside = place == best and place[:1] == ("images",)
            found, depth = self._follow(
                place, field.removeprefix("image.") if inside else field
            )
            if depth > best_depth:
                best, best_depth = found, depth
        return best

    def _follow(
        self, place: tuple[str | int, ...], field: str
    ) -> tuple[tuple[str | int, ...], int]:
        """Walk from C{place} along C{field} as far as the file goes."""
        depth = 0
        for key, index, name in _STEP.findall(field):
            step: str | int = self._cased(key) if key else int(index or 0)
            if name:  # an entry by its name: the index is that of the merged list
                step = self._index_of(place[:-1], name)
                place = place[:-1]
            if self._value((*place, step)) is None:
                break
            place, depth = (*place, step), depth + 1
        return place, depth

    def _index_of(self, place: tuple[str | int, ...], name: str) -> int:
        entries = self._value(place)
        if isinstance(entries, list):
            for index, entry in enumerate(entries):
                if isinstance(entry, Mapping) and entry.get("name") == name:
                    return index
        return -1

    def _value(self, place: tuple[str | int, ...]) -> Any:
        value: Any = self.document.value
        for step in place:
            if isinstance(value, Mapping):
                value = value.get(step)
            elif isinstance(value, list) and isinstance(step, int):
                value = value[step] if 0 <= step < len(value) else None
            else:
                return None
        return value


def find_app_file(path: Path) -> Path:
    """Return the file that C{path}, a file or a directory, means.

    @raise ConfigError: there is none, or its extension is none of ours.
    """
    if path.is_dir():
        for name in NAMES:
            if (path / name).is_file():
                return path / name
        raise ConfigError(
            f"has none of {', '.join(NAMES)}; `haloy init` writes one", path=str(path)
        )
    if not path.exists():
        raise ConfigError("does not exist", path=str(path))
    if path.suffix not in KINDS:
        raise ConfigError(
            f"must end in {', '.join(KINDS)}, not {path.suffix or 'nothing'}",
            path=str(path),
        )
    return path


def load_app_document(path: Path) -> AppDocument:
    """Return the file at C{path} (see L{find_app_file}) with its lines.

    @raise ConfigError: with file and line.
    """
    file = find_app_file(path)
    try:
        text = read_text(file)
    except FileNotFoundError:  # since it was found
        raise ConfigError("does not exist", path=str(file)) from None
    return parse_app_document(text, str(file), KINDS[file.suffix])


def load_app_file(path: Path) -> AppFile:
    """Return the file at C{path}. @raise ConfigError: with file and line."""
    return load_app_document(path).file


def parse_app_document(text: str, path: str, kind: str) -> AppDocument:
    """Return the app file in C{text}; C{kind} is C{yaml}, C{json} or C{toml}.

    @raise ConfigError: with file and line; one line for each thing that is wrong.
    """
    document = parse_document(text, path, kind)
    try:
        file = app_file_from(document.value, camel=kind == "json")
    except Misplaced as problem:
        raise located(problem, document) from None
    return AppDocument(file, document, kind)


def located(problem: Misplaced, document: Document) -> ConfigError:
    """Return C{problem} as an error of C{document}: each part at its own line."""
    first, *others = (
        document.error(str(one), one.path)
        for one in sorted(
            (problem, *problem.others), key=lambda one: document.line(one.path)
        )
    )
    first.others = tuple(others)
    return first
