"""C{twistd haloyd}: options, and the service they make."""

from __future__ import annotations

import os
import sys
from typing import Any, ClassVar

from twisted.application.service import IService
from twisted.logger import Logger
from twisted.python.usage import Options as BaseOptions

from haloy.clock import make_monotonic
from haloy.daemon.assemble import assemble
from haloy.daemon.dataplane import is_split
from haloy.daemon.paths import DEFAULT_CONFIG, DEFAULT_DATA, find_directories
from haloy.daemon.settings import (
    read_environment,
    read_token_hash,
    start_settings,
)
from haloy.errors import ConfigError
from haloy.proxy.form import form, tell_of_loss
from haloy.turns import LONG_TURN_NS, let_others_first


class Options(BaseOptions):
    """What can be said on the command line; files say the rest."""

    synopsis = "[options]"
    longdesc = "Deploy containers and route HTTPS traffic to them."
    optParameters: ClassVar[list[list[Any]]] = [
        [
            "config-dir",
            "c",
            None,
            f"Configuration directory (HALOY_CONFIG_DIR; default {DEFAULT_CONFIG}).",
        ],
        [
            "data-dir",
            "d",
            None,
            f"Data directory (HALOY_DATA_DIR; default {DEFAULT_DATA}).",
        ],
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        ["debug", None, "Log more (HALOY_DEBUG=true); changes nothing else."],
        ["check", None, "Validate the configuration and exit."],
    ]


def makeService(options: Options) -> IService:
    """Return the daemon.

    @raise SystemExit: the configuration is not right; its one line tells file and
        line. A C{UsageError} would come out as a traceback: twistd catches it only
        while it reads the command line.
    """
    from twisted.internet import reactor  # noqa: PLC0415, TID251  (twistd's entry)

    chosen = find_directories(options["config-dir"], options["data-dir"], os.environ)
    environment = read_environment(chosen)
    try:
        settings = start_settings(chosen)
        token_hash = read_token_hash(chosen)
    except ConfigError as problem:
        raise SystemExit(f"haloyd: {problem}") from None
    if options["check"]:
        if settings.problem:
            raise SystemExit(f"haloyd: {settings.problem}")
        sys.stdout.write(f"{chosen.config_file}: ok\n")
        sys.exit(0)
    make_monotonic(reactor)
    tell_of_loss(Logger(), form())
    if is_split(settings.file.proxy):
        let_others_first(LONG_TURN_NS)
    debug = bool(options["debug"]) or environment.get("HALOY_DEBUG") == "true"
    return assemble(reactor, chosen, settings, token_hash, debug)
