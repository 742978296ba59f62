"""A real registry that asks user C{me} for the password C{secret}."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import free_port
from tests.support.waiting import wait_until

CONFIG = """version: 0.1
log: {{accesslog: {{disabled: false}}}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "{host}:{port}"}}
auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}
"""
# The salt's alphabet and length are bcrypt's.
BCRYPT = 'print crypt("secret", q($2b$05$abcdefghijklmnopqrstuu))'


@contextmanager
def private_registry(folder: Path, host: str = "127.0.0.1") -> Iterator[str]:
    """Run a registry that keeps all in C{folder}; yield its host and port."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    hashed = subprocess.run(["perl", "-e", BCRYPT], check=True, capture_output=True)
    (folder / "htpasswd").write_bytes(b"me:" + hashed.stdout + b"\n")
    config = folder / "registry.yml"
    config.write_text(CONFIG.format(folder=folder, host=host, port=port))
    log = folder / "registry.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=output, stderr=output
        ) as process,
    ):
        try:
            wait_until(lambda: _answers(f"{host}:{port}"), log.read_text)
            yield f"{host}:{port}"
        finally:
            process.terminate()


def write_login(folder: Path, registry: str) -> None:
    """Log a C{docker --config folder} in at C{registry}."""
    folder.mkdir(parents=True, exist_ok=True)
    auth = base64.b64encode(b"me:secret").decode()
    text = json.dumps({"auths": {registry: {"auth": auth}}})
    (folder / "config.json").write_text(text)


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(f"http://{address}/v2/", timeout=5).close()
    except urllib.error.HTTPError as refused:
        refused.close()
    except OSError:
        return False
    return True
