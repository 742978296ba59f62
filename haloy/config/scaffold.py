"""The commented C{haloy.yaml} that C{haloy init} writes, from a few answers."""

from __future__ import annotations

import json
import re

from attrs import frozen

from haloy.config.document import parse_document

_INSTRUCTION = re.compile(r"[ \t]*([A-Za-z]+)[ \t]+(.*)")
_PLAIN = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_./:-]*[a-zA-Z0-9]|[a-zA-Z]")
_PORT = re.compile(r"([0-9]{1,5})(?:/tcp)?", re.IGNORECASE)


@frozen
class Answers:
    """What C{init} asks for; C{""} is "not given".

    C{image} is a reference to pull; without one the app is built here.
    """

    name: str
    server: str = ""
    domain: str = ""
    image: str = ""
    port: int = 8080
    replicas: int = 1


def exposed_port(dockerfile: str) -> int | None:
    """Return the first TCP port that the last stage of a Dockerfile exposes.

    C{None} when it exposes none, or one that only a build argument knows.
    """
    found: int | None = None
    for instruction, rest in _instructions(dockerfile):
        if instruction == "FROM":
            found = None
        elif instruction == "EXPOSE" and found is None:
            ports = (_PORT.fullmatch(word) for word in rest.split())
            numbers = (int(match[1]) for match in ports if match)
            found = next((one for one in numbers if 1 <= one <= 65535), None)
    return found


def render_app_file(answers: Answers) -> str:
    """Return a valid C{haloy.yaml} that says what the answers do, with comments."""
    rows = [
        "# What runs where. All keys: docs/reference/haloy-yaml.md",
        f"name: {_scalar(answers.name)}",
    ]
    if answers.server:
        rows.append(f"server: {_scalar(answers.server)}")
    else:
        rows.append("# server: haloy.example.com  # needed once you have several")
    rows.append("")
    if answers.image:
        rows.append(f"image: {_scalar(answers.image)}")
    else:
        rows += [
            "# Built here from ./Dockerfile and sent to the server. To pull one:",
            "# image: ghcr.io/you/app:1.0",
        ]
    rows += [
        f"port: {answers.port}  # the container listens here",
        f"replicas: {answers.replicas}",
        "",
    ]
    if answers.domain:
        rows += ["domains:", f"  - domain: {_scalar(answers.domain)}"]
        rows.append("    # aliases: [www.example.com]  # redirected to it")
    else:
        rows += ["# domains:", "#   - domain: app.example.com"]
    rows += [
        "",
        "# health_check_path: /healthz  # answers 200 to 399 when all is well",
        "# env:",
        "#   - {name: LOG_LEVEL, value: info}",
        "#   - {name: TOKEN, from: {env: TOKEN}}  # from .env or your environment",
    ]
    return "\n".join(rows) + "\n"


def _instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Return instructions in upper case with the rest of their (joined) lines."""
    joined = re.sub(r"\\[ \t]*\n", " ", dockerfile.replace("\r\n", "\n"))
    return [
        (match[1].upper(), match[2])
        for match in map(_INSTRUCTION.fullmatch, joined.split("\n"))
        if match
    ]


def _scalar(text: str) -> str:
    """Return C{text} as YAML writes it, in quotes where it would be something else."""
    plain = _PLAIN.fullmatch(text) and parse_document(text, "", "yaml").value == text
    return text if plain else json.dumps(text)
