"""What changes between two targets, key by key, without showing a secret.

For the plan that C{haloy deploy} shows first, and for C{haloy diff}. Lists of things
with a name are compared by name, so that one more variable is one change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import evolve, frozen

from haloy.config.app_file import Target
from haloy.config.wire import unstructure

#: What is shown for a literal value: any may be a secret.
HIDDEN = "***"

#: Which key names an entry of a list.
_NAMES = ("name", "domain")


@frozen
class Change:
    """One key; C{None} is "not there", C{""} is "there, and no more to say".

    A value that may be a secret is C{***}.
    """

    key: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        """Return C{+ key: after}, C{- key: before} or C{~ key: before -> after}."""
        if self.before is None:
            return f"+ {self.key}: {self.after}".removesuffix(": ")
        if self.after is None:
            return f"- {self.key}: {self.before}".removesuffix(": ")
        if self.before == self.after:
            return f"~ {self.key}: changed"
        return f"~ {self.key}: {self.before} -> {self.after}"


def changes(before: Target | None, after: Target) -> tuple[Change, ...]:
    """Return what is different in C{after}, in the order of the keys.

    Hooks and the API token are the client's own and left out. C{None} for C{before}
    is an app that does not run: everything is new.
    """
    old = _flat(before) if before is not None else {}
    new = _flat(after)
    return tuple(
        Change(key, _shown(old.get(key)), _shown(new.get(key)))
        for key in (*new, *(key for key in old if key not in new))
        if old.get(key) != new.get(key)
        and not _only_fuller(key, old, new)
        and not _only_fuller(key, new, old)
    )


@frozen
class _Leaf:
    text: str
    hidden: bool
    bare: bool = False


def _only_fuller(
    key: str, one: Mapping[str, _Leaf], other: Mapping[str, _Leaf]
) -> bool:
    """Return whether an entry that is a bare name in C{one} has keys in C{other}."""
    leaf = one.get(key)
    bare = leaf is not None and leaf.bare
    return bare and any(name.startswith(f"{key}.") for name in other)


def _flat(target: Target) -> dict[str, _Leaf]:
    server_side = evolve(
        target, api_token=None, image_key=None, pre_deploy=None, post_deploy=None
    )
    return dict(_leaves(unstructure(server_side, camel=False), "", False))


def _leaves(value: Any, key: str, hidden: bool) -> Iterator[tuple[str, _Leaf]]:
    if isinstance(value, Mapping):
        for name, one in value.items():
            inner = f"{key}.{name}" if key else str(name)
            yield from _leaves(one, inner, hidden or name == "value")
    elif isinstance(value, list) and all(isinstance(one, Mapping) for one in value):
        for index, one in enumerate(value):
            named = [name for name in _NAMES if name in one]
            shown = one[named[0]] if named else index
            rest = {name: part for name, part in one.items() if name not in named[:1]}
            if "domain" in named:
                # Whether it has aliases or not: that it comes or goes is what counts.
                yield f"{key}[{shown}]", _Leaf("", False)
            elif not rest:
                yield f"{key}[{shown}]", _Leaf("", False, bare=True)
            yield from _leaves(rest, f"{key}[{shown}]", hidden)
    elif isinstance(value, list):
        yield key, _Leaf(", ".join(map(_plain, value)), hidden)
    else:
        yield key, _Leaf(_plain(value), hidden)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shown(leaf: _Leaf | None) -> str | None:
    if leaf is None:
        return None
    return HIDDEN if leaf.hidden else leaf.text
