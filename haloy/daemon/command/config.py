"""C{haloyd config}: look at haloyd.yaml, check it, change one key of it."""

from __future__ import annotations

import json
import re
from typing import Any

import click
import yaml

from haloy.config.daemon_file import SECTIONS
from haloy.config.private import write_private
from haloy.daemon.command.options import as_owner
from haloy.daemon.command.output import json_option, tell
from haloy.daemon.paths import Directories
from haloy.daemon.reload import is_live
from haloy.daemon.settings import parse_settings, read_settings, values_of
from haloy.errors import InvalidValue, NotFound
from haloy.groups import SuggestingGroup

_KEY = re.compile(r"^(?P<indent> *)(?P<name>[\w]+) *:(?P<rest>.*)$")
_COMMENT = re.compile(r"\s+#.*$")


@click.group(cls=SuggestingGroup)
def config() -> None:
    """Show or check haloyd.yaml, or change one key of it."""


@config.command()
@as_owner
@click.argument("key", required=False, metavar="[KEY]")
@json_option
def get(chosen: Directories, key: str | None, as_json: bool) -> None:
    """Print the value in force of KEY, such as api.domain, or of all keys."""
    found = values_of(read_settings(chosen))
    if key is not None:
        if key not in found:
            raise NotFound(f"there is no key {key}; `haloyd config get` lists all")
        found = {key: found[key]}
        tell(found, [_shown(found[key])], as_json)
        return
    tell(found, (f"{name}: {_shown(value)}" for name, value in found.items()), as_json)


@config.command()
@as_owner
@json_option
def check(chosen: Directories, as_json: bool) -> None:
    """Check haloyd.yaml; mistakes are shown with their line."""
    read_settings(chosen)
    path, exists = str(chosen.config_file), chosen.config_file.exists()
    told = "ok" if exists else "there is no such file; every key has its default"
    tell({"ok": True, "file": path, "exists": exists}, [f"{path}: {told}"], as_json)


@config.command("set")
@as_owner
@click.argument("key")
@click.argument("value")
@json_option
def set_key(chosen: Directories, key: str, value: str, as_json: bool) -> None:
    """Set KEY to VALUE, written as in YAML; comments are kept.

    The file is checked before it is replaced. A reload of haloyd (SIGHUP) or, for some
    keys, a restart makes the change take effect: the command says which.
    """
    path = chosen.config_file
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    changed = with_value(text, key, value)
    settings = parse_settings(changed, path)
    write_private(path, changed.encode())
    now = values_of(settings).get(key)
    how = "reload" if is_live(key) else "restart"
    tell(
        {"key": key, "value": now, "file": str(path)},
        [f"{key}: {_shown(now)}", f"In force after `systemctl {how} haloyd`."],
        as_json,
    )


def with_value(text: str, key: str, value: str) -> str:
    """Return the text of a haloyd.yaml with C{key} set; nothing else is changed.

    @raise InvalidValue: the key or the value is none, or the section is written on
        one line.
    """
    try:
        yaml.safe_load(value)
    except yaml.YAMLError as problem:
        raise InvalidValue(f"{value!r} is not YAML", field=key) from problem
    section, _, name = key.rpartition(".")
    if "\n" in value or not re.fullmatch(r"(\w+\.)?\w+", key):
        raise InvalidValue(f"cannot set {key!r}", field="key")
    if (section or name) not in SECTIONS:
        raise InvalidValue(
            f"there is no {section or name}; `haloyd config get` lists all", field="key"
        )
    lines = text.splitlines()
    if not section:
        return _joined(_set_in(lines, 0, len(lines), "", name, value))
    for number, line in enumerate(lines):
        match = _KEY.match(line)
        if match is None or match["indent"] or match["name"] != section:
            continue
        if _COMMENT.sub("", match["rest"]).strip():
            raise InvalidValue(
                f"{section} is written on one line; edit the file by hand", field="key"
            )
        end = _end_of(lines, number + 1)
        return _joined(_set_in(lines, number + 1, end, "  ", name, value))
    return _joined(
        [*lines, *([""] if lines else []), f"{section}:", f"  {name}: {value}"]
    )


def _end_of(lines: list[str], start: int) -> int:
    """Return where the section ends that begins before C{start}."""
    end = start
    for number in range(start, len(lines)):
        line = lines[number]
        if line.strip() and not line.startswith((" ", "#")):
            break
        if line.startswith(" "):
            end = number + 1
    return end


def _set_in(
    lines: list[str], start: int, end: int, indent: str, name: str, value: str
) -> list[str]:
    """Set a key among C{lines[start:end]}; what stood for it goes, a comment stays."""
    for number in range(start, end):
        match = _KEY.match(lines[number])
        if match is None or match["name"] != name:
            continue
        if (indent and not match["indent"]) or (not indent and match["indent"]):
            continue
        rest = number + 1
        deeper = match["indent"] + " "
        while rest < end and lines[rest].startswith((deeper, match["indent"] + "- ")):
            rest += 1
        comment = _COMMENT.search(match["rest"])
        line = f"{match['indent']}{name}: {value}{comment[0] if comment else ''}"
        return [*lines[:number], line, *lines[rest:]]
    return [*lines[:end], f"{indent}{name}: {value}", *lines[end:]]


def _joined(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "(none)"
    return value if isinstance(value, str) else json.dumps(value)
