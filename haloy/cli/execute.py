"""C{haloy exec}: a command in an app's container."""

from __future__ import annotations

import sys
from typing import Any

import click

from haloy.cli.answers import tell_answers
from haloy.cli.context import Selected, choose, client_for
from haloy.cli.exits import exit_code, exit_code_of_several
from haloy.cli.options import Selection, app_options, output_options
from haloy.cli.output import Output
from haloy.cli.running import run, together
from haloy.errors import HaloyError


@click.command("exec", context_settings={"allow_interspersed_args": False})
@app_options
@click.option("-it", "--interactive", is_flag=True, help="Attach your terminal.")
@click.option(
    "-i", "--input", "with_input", is_flag=True, help="Pass on your standard input."
)
@click.option("--container", default="", help="Only this one: its id or the beginning.")
@click.option("--all-containers", is_flag=True, help="Run it in all replicas.")
@output_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(
    selection: Selection,
    interactive: bool,
    with_input: bool,
    container: str,
    all_containers: bool,
    command: tuple[str, ...],
    output: Output,
) -> None:
    """Run COMMAND in the app's first container, as in haloy exec -- ls -l.

    The exit code is that of COMMAND. With -it it gets your terminal, with -i your
    standard input:

    \b
        haloy exec -it -- sh
        haloy exec -i -- psql < dump.sql
    """  # noqa: D301  (click's mark of what is not wrapped)
    if container and all_containers:
        raise click.UsageError("give --container or --all-containers, not both")
    project, chosen = choose(selection)
    if interactive or with_input:
        if len(chosen) > 1 or all_containers or output.as_json:
            raise click.UsageError("-i and -it work in one container, without --json")
        if interactive and not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise click.UsageError(
                "-it needs a terminal; in scripts use -i, or neither"
            )
        from haloy.cli.terminal import interact  # noqa: PLC0415  (POSIX only)

        one, limit_s = chosen[0], selection.limit_s
        code = interact(
            project, one, limit_s, container, command, as_terminal=interactive
        )
        raise SystemExit(code)

    async def carry_out(reactor: Any) -> list[list[dict[str, Any]] | HaloyError]:
        return await together(
            client_for(reactor, project, one, selection.limit_s).exec(
                one.app, command, container, all_containers
            )
            for one in chosen
        )

    def show(_: Selected, found: list[dict[str, Any]], prefix: str) -> None:
        _show(found, prefix, output)

    answers = run(carry_out)
    tell_answers(chosen, answers, output, lambda found: {"results": found}, show)
    raise SystemExit(code_of(answers))


def code_of(answers: list[Any]) -> int:
    """Return the exit code: the command's own where it ran everywhere."""
    problems = [one for one in answers if isinstance(one, HaloyError)]
    if problems:
        return exit_code_of_several(problems, len(answers))
    results = [result for found in answers for result in found]
    codes = [_code(result) for result in results]
    return next((code for code in codes if code), 0)


def _code(result: dict[str, Any]) -> int:
    code = int(result.get("exitCode") or 0)
    if code < 0 or (result.get("error") and not code):
        return exit_code(HaloyError(""))
    return min(code, 255)


def _show(results: list[dict[str, Any]], prefix: str, output: Output) -> None:
    for result in results:
        if len(results) > 1:
            output.line(f"Container {str(result.get('containerId'))[:12]}", prefix)
        _write(str(result.get("stdout") or ""), prefix, sys.stdout)
        _write(str(result.get("stderr") or ""), prefix, sys.stderr)
        if result.get("error"):
            output.error(str(result["error"]), prefix)
        elif len(results) > 1 and result.get("exitCode"):
            output.warn(f"exit code {result['exitCode']}", prefix)


def _write(text: str, prefix: str, to: Any) -> None:
    """Write what a command has written, as it is; marked when there are several."""
    if not prefix:
        click.echo(text, file=to, nl=False)
        return
    for line in text.splitlines():
        click.echo(f"{click.style(prefix, bold=True)} {line}", file=to)
