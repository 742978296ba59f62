"""Changes to the text of C{client.yaml} that keep every other line and comment.

The text is one that L{haloy.config.client_file} has read: a mapping or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import yaml

INDENT = 4


def put_server(text: str, name: str, entry: Mapping[str, str]) -> str:
    """Return C{text} with the server C{name}; an entry of that name is replaced."""
    text = drop_server(text, name)
    if text and not text.endswith("\n"):
        text += "\n"
    lines = text.splitlines(keepends=True)
    servers = _servers(text)
    if servers is None:
        return text + "servers:\n" + _block(name, entry, INDENT)
    key, value = servers
    if isinstance(value, yaml.MappingNode) and not value.flow_style:
        indent = value.value[0][0].start_mark.column
        at = _last_line(value) + 1
    elif _is_null(value):
        indent, at = INDENT, key.start_mark.line + 1
    else:
        return _rewritten(text, {**_known(text), name: dict(entry)})
    return "".join([*lines[:at], _block(name, entry, indent), *lines[at:]])


def drop_server(text: str, name: str) -> str:
    """Return C{text} without the server C{name}; unchanged when it has none."""
    servers = _servers(text)
    if servers is None or not isinstance(servers[1], yaml.MappingNode):
        return text
    value = servers[1]
    if value.flow_style:
        known = _known(text)
        if name not in known:
            return text
        return _rewritten(text, {key: known[key] for key in known if key != name})
    lines = text.splitlines(keepends=True)
    for key, entry in value.value:
        if key.value == name:
            first, last = key.start_mark.line, _last_line(entry)
            return "".join(lines[:first] + lines[last + 1 :])
    return text


def _servers(text: str) -> tuple[yaml.Node, yaml.Node] | None:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        return None
    for key, value in root.value:
        if key.value == "servers":
            return key, value
    return None


def _parsed(text: str) -> object:
    return yaml.safe_load(text)


def _known(text: str) -> dict[str, object]:
    value = _parsed(text)
    servers = value.get("servers") if isinstance(value, Mapping) else None
    return dict(servers) if isinstance(servers, Mapping) else {}


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _last_line(node: yaml.Node) -> int:
    """Return the line (from 0) where the last text of C{node} ends."""
    if isinstance(node, yaml.MappingNode) and node.value and not node.flow_style:
        return max(_last_line(part) for pair in node.value for part in pair)
    return int(node.end_mark.line)


def _block(name: str, entry: Mapping[str, str], indent: int) -> str:
    text = yaml.safe_dump({name: dict(entry)}, indent=INDENT, sort_keys=False)
    return "".join(" " * indent + line for line in text.splitlines(keepends=True))


def _rewritten(text: str, servers: Mapping[str, object]) -> str:
    """Return C{text} with other servers where they stand on one line in braces.

    Such a file has its values kept, not its comments.
    """
    value = _parsed(text)
    kept = dict(value) if isinstance(value, Mapping) else {}
    return yaml.safe_dump(
        {**kept, "servers": dict(servers)}, indent=INDENT, sort_keys=False
    )
