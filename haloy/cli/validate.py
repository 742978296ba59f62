"""C{haloy validate-config}."""

from __future__ import annotations

from typing import Any

import click
import yaml

from haloy.cli.build import build_paths
from haloy.cli.context import Selected, load_project
from haloy.cli.exits import CONFIGURATION
from haloy.cli.output import Output
from haloy.config.app_file import Target
from haloy.config.images import should_build
from haloy.config.interpolate import interpolate
from haloy.config.validate import validate_target
from haloy.config.wire import unstructure
from haloy.errors import HaloyError


@click.command()
@click.option("-c", "--config", default=".", show_default=True, help="File or folder.")
@click.option("--no-secrets", is_flag=True, help="Do not fetch any secret.")
@click.option(
    "--show-resolved-config", is_flag=True, help="Print each target, secrets masked."
)
@click.option("--reveal", is_flag=True, help="With --show-resolved-config: unmasked.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
def validate_config(
    config: str,
    no_secrets: bool,
    show_resolved_config: bool,
    reveal: bool,
    as_json: bool,
) -> None:
    """Check the configuration: every target, its paths and its secrets."""
    output = Output(as_json=as_json)
    project = load_project(config)
    chosen = project.select((), bool(project.file.targets))
    problems: list[str] = []
    for one in chosen:
        try:
            validate_target(one.target)
            _check_paths(one, project.folder)
            target = one.target if no_secrets else interpolate(project.resolve(one))
        except HaloyError as problem:
            problems.append(
                f"{one.name}: {problem}" if len(chosen) > 1 else str(problem)
            )
            continue
        if show_resolved_config:
            shown = unstructure(target, camel=False)
            output.line(f"# {one.name}")
            output.line(yaml.safe_dump(shown if reveal else _masked(shown)).rstrip())
    if as_json:
        output.json(
            {"file": str(project.path), "ok": not problems, "problems": problems}
        )
    for problem_text in problems:
        output.error(f"{project.path}: {problem_text}")
    if problems:
        raise SystemExit(CONFIGURATION)
    output.success(f"{project.path} is valid")


def _check_paths(one: Selected, folder: Any) -> None:
    target: Target = one.target
    if target.image is not None and should_build(target.image):
        build_paths(target.image, folder)


def _masked(value: Any) -> Any:
    """Return the target without literal values: any of them may be a secret."""
    if isinstance(value, dict):
        return {
            key: "***" if key == "value" else _masked(one) for key, one in value.items()
        }
    if isinstance(value, list):
        return [_masked(one) for one in value]
    return value
