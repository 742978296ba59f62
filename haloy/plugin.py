"""What C{twisted/plugins} registers: subcommands of twistd, loaded when used."""

from __future__ import annotations

from typing import Any

from twisted.application.service import IServiceMaker, ServiceMaker
from twisted.plugin import IPlugin
from zope.interface import implementer

from haloy.garbage import not_looked_for
from haloy.libraries import load


@implementer(IPlugin, IServiceMaker)
class Subcommand(ServiceMaker):
    """One whose module cannot be loaded is told in a line, not by a traceback."""

    @property
    def options(self) -> Any:
        """The class that reads its command line."""
        return self._load().Options

    @property
    def makeService(self) -> Any:
        """What makes its service."""
        return self._load().makeService

    def _load(self) -> Any:
        with not_looked_for():
            return load(self.module, self.tapname)
