"""A haloyd that has lost its data directory, and the way back to its containers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.site import Server, identifier, write_certificate
from tests.support.waiting import wait_until

pytestmark = pytest.mark.docker

SHOP = "shop.example.test"


def told(haloyd: Server, *arguments: str, code: int = 0) -> Any:
    """Run a C{haloyd} command; return its JSON."""
    where = {
        "HALOY_CONFIG_DIR": str(haloyd.daemon.config),
        "HALOY_DATA_DIR": str(haloyd.daemon.data),
    }
    done = subprocess.run(
        [str(Path(sys.executable).with_name("haloyd")), *arguments, "--json"],
        env={**os.environ, **haloyd.docker.environment, **where},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_lost_data_directory(haloyd: Server) -> None:
    """The log and verify name the command; after it all is routed as before.

    Until then nothing is touched. The file with the name alone may be lost: it is kept
    beside the database, too.
    """
    haloyd.deploy(identifier(0), "app:one")
    name = (haloyd.daemon.data / "instance-id").read_text().strip()
    haloyd.daemon.kill()
    (haloyd.daemon.data / "instance-id").unlink()
    haloyd.daemon.start()
    haloyd.until_serves(SHOP, "one")
    before = haloyd.docker.docker("ps", "-aq", "--no-trunc")
    haloyd.daemon.kill()
    shutil.rmtree(haloyd.daemon.data)
    write_certificate(haloyd.daemon.data / "certs", "*.example.test")
    haloyd.daemon.start()
    advice = f"haloyd adopt {name}"
    wait_until(lambda: advice in haloyd.daemon.log_text(), haloyd.daemon.log_text)
    assert haloyd.get(SHOP)[0] != 200
    report = told(haloyd, "verify", code=1)
    (wrong,) = [
        one["problem"] for one in report["checks"] if one["name"] == "containers"
    ]
    assert advice in wrong
    refused = told(haloyd, "adopt", name, "--yes", code=1)
    assert "stop it first" in refused["error"]["message"]
    haloyd.daemon.stop()
    (listed,) = told(haloyd, "adopt")["instances"]
    assert (listed["instance"], listed["this"], listed["apps"]) == (
        name,
        False,
        ["shop"],
    )
    assert told(haloyd, "adopt", name, "--yes")["instance"] == name
    haloyd.daemon.start()
    haloyd.until_serves(SHOP, "one")
    assert haloyd.docker.docker("ps", "-aq", "--no-trunc") == before
    end = haloyd.deploy(identifier(1), "app:two")
    assert end["isDeploymentSuccess"], end
    haloyd.until_containers("shop", [f"shop-{identifier(1)}"])
