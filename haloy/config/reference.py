"""The reference of C{haloy.yaml} and its schemas, written from the classes.

C{python -m haloy.config.reference docs/reference} writes them anew; a test fails
when they are not what it would write.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import attrs

from haloy.config import app_file
from haloy.config.app_file import AppFile, Target
from haloy.config.json_schema import json_schema
from haloy.config.key_help import help_of
from haloy.config.wire import wire_name

_HEAD = """\
# haloy.yaml

One file says what runs where. `haloy` looks for `haloy.json`, `haloy.yaml`,
`haloy.yml` and `haloy.toml`, in this order, in the current folder or where `--config`
points. YAML and TOML use the keys below; JSON the camelCase names beside them. Unknown
keys are refused with file, line and the nearest known key. Keys at the root that begin
with `x-` are yours, for anchors. A key with nothing behind it counts as not set.

For editors: `# yaml-language-server: $schema=haloy.schema.json` as the first line, or
`"$schema": "haloy-json.schema.json"` in JSON, with the path or URL of
[the schema](haloy.schema.json) ([for JSON](haloy-json.schema.json)).

A file without `targets` is one app. With `targets`, each entry is an app and the keys
of the root are its defaults: what a target says comes before what its preset says, and
that before the root. Lists replace each other; `env` is merged by name; `image` is
merged key by key. The options under `proxy` and `resources` with their bounds and the
servers that know them are in [app-options](app-options.md).
"""

_TAIL = """
## Values from elsewhere

A value is a literal (`value:`), a variable (`from: {env: NAME}`) or a secret
(`from: {secret: "provider:source:key"}`). Only what a command needs is fetched, each
source once. `${NAME}` in a value of `env` is another variable of the same list; other
text with a dollar stays as it is.

| provider | a source is | a key is |
|---|---|---|
| `onepassword` | an item, read by `op` | the label of a field |
| `sops` | an encrypted file, read by `sops` | a path as `users.0.name` |
| `file` | a plain file, or a folder | the same; in a folder, a file's name |
| `command` | a program's output | the same |

A source that is one text has the key `value`. What `op` prints is taken by its
published form; it was not tried against the real service.

## Environment files

Variables are taken from the first of these that has them:

1. the process's own environment,
2. `.env.<target>`, `.env.local`, `.env` beside the configuration,
3. the same three in the current folder,
4. the same three in the client's folder (`~/.config/haloy`).

`.env.<target>` counts for that target only. Haloy's Go command lets `.env.local` win
over the process and reads `.env.<target>` last: where you rely on that, move the value.

A line is `NAME=value`, with or without `export`. Double quotes know `\\n` and `\\"`,
single quotes take everything as it is, `$NAME` is an earlier variable of the file.
"""

_SECTIONS: Mapping[str, str] = {
    "Target": "An app (root or `targets.<name>`)",
    "AppFile": "Only at the root",
    "ImageConfig": "`image`, `images.<name>`",
    "BuildConfig": "`image.build_config`",
    "BuildArg": "`image.build_config.args[]`",
    "History": "`image.history`",
    "Registry": "`image.registry`",
    "DomainEntry": "`domains[]`",
    "EnvVar": "`env[]`",
    "ValueSource": "`api_token`, `registry.username`, `registry.password`",
    "ValueFrom": "`from`",
    "ResourcesEntry": "`resources`",
    "ProxyEntry": "`proxy`",
    "SecretProviders": "`secret_providers`, each a mapping of source names",
    "OnePasswordSource": "`secret_providers.onepassword.<source>`",
    "SopsSource": "`secret_providers.sops.<source>`",
    "FileSource": "`secret_providers.file.<source>`",
    "CommandSource": "`secret_providers.command.<source>`",
}


def render_reference() -> str:
    """Return the reference as Markdown."""
    sections = (_section(name, title) for name, title in _SECTIONS.items())
    return _HEAD + "".join(sections) + _TAIL


def files() -> dict[str, str]:
    """Return the content of every file that is written, by name."""
    return {
        "haloy-yaml.md": render_reference(),
        "haloy.schema.json": _shown(json_schema(camel=False)),
        "haloy-json.schema.json": _shown(json_schema(camel=True)),
    }


def main(folder: str) -> None:
    """Write the files into C{folder}."""
    for name, content in files().items():
        (Path(folder) / name).write_text(content, encoding="utf-8")


def _section(name: str, title: str) -> str:
    rows = "".join(f"{row}\n" for row in _rows(getattr(app_file, name)))
    return (
        f"\n## {title}\n\n| key | JSON name | type | default | meaning |\n"
        f"|---|---|---|---|---|\n{rows}"
    )


def _rows(kind: type) -> Iterator[str]:
    hints = get_type_hints(kind)
    own = {one.name for one in attrs.fields(Target)} if kind is AppFile else set()
    for one in attrs.fields(kind):
        if one.name in own:
            continue
        told = help_of(kind, one.name)
        default = told.default or (
            "required" if one.default is attrs.NOTHING else "none"
        )
        text = told.text
        if told.choices:
            text += " " + ", ".join(f"`{choice}`" for choice in told.choices) + "."
        if told.least is not None:
            text += f" At least {told.least}"
            text += f", at most {told.most}." if told.most is not None else "."
        key, name = wire_name(one.name, camel=False), wire_name(one.name, camel=True)
        yield (
            f"| `{key}` | `{name}` | {_type(hints[one.name], one.name)} "
            f"| {default} | {text} |"
        )


def _type(hint: Any, field: str) -> str:
    if field == "port":
        return "text or number"
    if field == "image":
        return "text or mapping"
    shown = str(hint)
    for mark, word in (
        ("Mapping", "mapping"),
        ("tuple", "list"),
        ("app_file.", "mapping"),
        ("bool", "true or false"),
        ("int", "whole number"),
        ("float", "number"),
    ):
        if mark in shown:
            return word
    return "true or false" if hint is bool else "text"


def _shown(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main(sys.argv[1])
