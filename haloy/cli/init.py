"""C{haloy init}: a few questions, and a commented C{haloy.yaml}."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import click

from haloy.cli.asking import interruptible
from haloy.cli.numbers import Whole
from haloy.cli.options import output_options
from haloy.cli.output import Output
from haloy.config.client_file import client_folder, normalise_server, read_client_file
from haloy.config.images import is_reference
from haloy.config.load import NAMES, parse_app_document
from haloy.config.scaffold import Answers, exposed_port, render_app_file
from haloy.errors import ConfigError, Conflict, InvalidValue
from haloy.model.names import parse_app_name, parse_domain_name

FILE = "haloy.yaml"
DEFAULT_PORT = 8080
REPLICAS_LIMIT = 100


@click.command("init")
@click.option("--name", default=None, help="Name of the app.")
@click.option("--server", default=None, help="Server to deploy to.")
@click.option("--domain", default=None, help="Domain of the app.")
@click.option("--image", default=None, help="Image to pull; if left out, one is built.")
@click.option("--port", type=Whole(1, 65535), help="The container's port.")
@click.option("--replicas", type=Whole(1, REPLICAS_LIMIT), help="Number of containers.")
@click.option("--yes", "-y", is_flag=True, help="Ask nothing; use the defaults.")
@click.option("--force", "-f", is_flag=True, help="Replace an existing haloy.yaml.")
@output_options
def init_(
    name: str | None,
    server: str | None,
    domain: str | None,
    image: str | None,
    port: int | None,
    replicas: int | None,
    yes: bool,
    force: bool,
    output: Output,
) -> None:
    """Write a commented haloy.yaml for the app in this folder.

    It asks for what it cannot find out; the port is read from EXPOSE in the Dockerfile.
    """
    here = next((one for one in NAMES if Path(one).exists()), None)
    if here is not None and not (force and here == FILE):
        raise Conflict(
            f"there is a {here} here already"
            + ("; --force replaces it" if here == FILE else "")
        )
    ask = _Asking(not yes and not output.as_json and sys.stdin.isatty())
    dockerfile = Path("Dockerfile")
    exposed = _exposed(dockerfile)
    if exposed is not None and port is None:
        output.info(f"{dockerfile} exposes port {exposed}")
    port_here = exposed or DEFAULT_PORT
    with interruptible():
        answers = Answers(
            name=ask.text("Name of the app", name, _name_here(), _name),
            server=ask.text("Server", server, _only_server(), _server),
            domain=ask.text("Domain (empty: none)", domain, "", _domain),
            image=_image(ask, dockerfile) if image is None else _given(image),
            port=ask.number("Port of the container", port, port_here, 65535),
            replicas=ask.number("Replicas", replicas, 1, REPLICAS_LIMIT),
        )
    text = render_app_file(answers)
    parse_app_document(text, FILE, "yaml").targets()  # never write what is not valid
    Path(FILE).write_text(text, encoding="utf-8")
    if output.as_json:
        output.json({"file": FILE, "name": answers.name, "port": answers.port})
    output.success(f"{FILE} is written")
    output.info(f"Next: {_before(answers.server)}haloy deploy --dry-run")


class _Asking:
    """Asks in a terminal; elsewhere the defaults are taken."""

    def __init__(self, asks: bool) -> None:
        self._asks = asks

    def text(
        self, what: str, given: str | None, default: str | None, check: Any
    ) -> str:
        """Return the answer; without a default it is asked again while empty."""
        if given is not None:
            return str(check(given))
        if not self._asks:
            return str(check(default or ""))
        return str(
            click.prompt(what, default=default, value_proc=_checked(check), err=True)
        )

    def number(self, what: str, given: int | None, default: int, top: int) -> int:
        if given is not None or not self._asks:
            return default if given is None else given
        kind = Whole(1, top)
        return int(click.prompt(what, default=default, type=kind, err=True))

    def confirm(self, what: str, default: bool) -> bool:
        return click.confirm(what, default=default, err=True) if self._asks else default


def _checked(check: Any) -> Any:
    """Return a check as click takes it: what is not right is asked again."""

    def value_of(text: str) -> str:
        try:
            return str(check(text.strip()))
        except InvalidValue as problem:
            raise click.UsageError(problem.reason) from None

    return value_of


def _name(text: str) -> str:
    return str(parse_app_name(text))


def _server(text: str) -> str:
    return normalise_server(text) if text else ""


def _domain(text: str) -> str:
    return str(parse_domain_name(text, "--domain", wildcard=True)) if text else ""


def _reference(text: str) -> str:
    if not is_reference(text):
        raise InvalidValue(
            f"{text!r} is not an image, as in ghcr.io/you/app:1.0", field="--image"
        )
    return text


def _given(image: str) -> str:
    return _reference(image) if image else ""


def _image(ask: _Asking, dockerfile: Path) -> str:
    """Return the image to pull, C{""} for one that is built here."""
    if dockerfile.exists() and ask.confirm("Build the image from ./Dockerfile?", True):
        return ""
    if not ask.confirm("Pull an image that exists already?", False):
        return ""
    return ask.text("Image", None, None, _reference)


def _name_here() -> str:
    """Return a name after the folder, as names of apps and images are written."""
    found = re.sub(r"[^a-z0-9_-]+", "-", Path.cwd().name.lower()).strip("-_")
    return found or "app"


def _before(server: str) -> str:
    """Return what comes before a deployment where the file has no C{server}."""
    if server:
        return ""
    if known := ", ".join(_servers()):
        return f"put server: into {FILE} (you have added {known}), then "
    return "haloy server add URL TOKEN, then "


def _only_server() -> str:
    servers = _servers()
    return servers[0] if len(servers) == 1 else ""


def _servers() -> tuple[str, ...]:
    try:
        return tuple(read_client_file(client_folder(os.environ, Path.home())).servers)
    except ConfigError:
        return ()


def _exposed(dockerfile: Path) -> int | None:
    try:
        return exposed_port(dockerfile.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
