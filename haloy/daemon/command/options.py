"""Options that several C{haloyd} commands share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

import click

from haloy.daemon.command.owner import become_owner
from haloy.daemon.paths import (
    DEFAULT_CONFIG,
    DEFAULT_DATA,
    Directories,
    find_directories,
)

F = TypeVar("F", bound=Callable[..., Any])


def directory_options(command: F) -> F:
    """Add C{--config-dir} and C{--data-dir}."""
    data = click.option(
        "--data-dir",
        metavar="DIR",
        help=f"Data directory (HALOY_DATA_DIR; default {DEFAULT_DATA}).",
    )
    config = click.option(
        "--config-dir",
        metavar="DIR",
        help=f"Configuration directory (HALOY_CONFIG_DIR; default {DEFAULT_CONFIG}).",
    )
    return config(data(command))


def as_owner(command: F) -> F:
    """Add the directories, which arrive as C{chosen}, and act as their owner.

    What a command reads or writes as who called it comes before: such a command
    takes L{directory_options} and calls C{become_owner} itself.
    """

    @functools.wraps(command)
    def wrapper(
        *args: Any, config_dir: str | None, data_dir: str | None, **given: Any
    ) -> Any:
        chosen = directories(config_dir, data_dir)
        become_owner(chosen)
        return command(*args, chosen=chosen, **given)

    return cast(F, directory_options(wrapper))


def directories(config_dir: str | None, data_dir: str | None) -> Directories:
    """Return the directories of this call: option, else environment, else default."""
    return find_directories(config_dir, data_dir, os.environ)
