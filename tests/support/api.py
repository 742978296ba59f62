"""The real API over fakes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from haloy.api.auth import token_hash
from haloy.api.events import EventFeed
from haloy.api.gatekeeper import Gatekeeper
from haloy.api.schema import Readiness
from haloy.api.server import Api
from haloy.api.spool import Spools
from haloy.daemon.logs import ServerLog
from haloy.deploy.interface import Deployments
from haloy.deploy.pruning import Pruning
from haloy.deploy.space import Space
from haloy.deploy.uploads import ImageUploads
from haloy.proxy.interface import Program
from haloy.store.database import Database
from haloy.store.registries import RegistryFile
from tests.fakes.certificates import FakeCertificates
from tests.fakes.database import MemoryDatabase
from tests.fakes.engine import FakeEngine
from tests.fakes.threads import InlinePool

TOKEN = "t" * 64
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def make_api(
    reactor: Any,
    folder: Path,
    deployments: Deployments,
    engine: FakeEngine,
    database: MemoryDatabase,
    *,
    readiness: Any = None,
    certificates: FakeCertificates | None = None,
    serving: Any = lambda: (Program("", "interpreted"),),
    space: Space | None = None,
    log: ServerLog | None = None,
    gatekeeper: Gatekeeper | None = None,
) -> Api:
    """Return an API; C{reactor} needs C{callFromThread} (a real one, InlineClock)."""

    async def ready() -> Readiness:
        found: Readiness = readiness() if readiness else Readiness("", "", "", "")
        return found

    async def programs() -> tuple[Program, ...]:
        found: tuple[Program, ...] = serving()
        return found

    space = space or Space(reserve_bytes=0)
    real = cast(Database, database)
    return Api(
        deployments,
        engine,
        reactor,
        "1.2.3",
        gatekeeper or Gatekeeper(real, reactor, lambda: NOW, token_hash(TOKEN)),
        ready,
        lambda: 7,
        programs,
        certificates or FakeCertificates(),
        ImageUploads(
            engine,
            real,
            reactor,
            cast(Any, InlinePool()),
            lambda: NOW,
            space,
            folder / "layers",
            folder / "tmp",
        ),
        Pruning(engine, real),
        Spools(space, folder / "tmp"),
        RegistryFile(folder / "registries.yaml"),
        log or ServerLog(),
        EventFeed(real, reactor, lambda: NOW),
    )
