"""C{haloy completion}: the scripts by which shells complete C{haloy}."""

from __future__ import annotations

import os

import click
import click.shell_completion
from click.shell_completion import (
    CompletionItem,
    ShellComplete,
    add_completion_class,
    get_completion_class,
)

from haloy.cli.main import main

SHELLS = ("bash", "zsh", "fish", "powershell")

_POWERSHELL = """\
Register-ArgumentCompleter -Native -CommandName %(prog_name)s -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $before = $commandAst.CommandElements |
        Where-Object { $_.Extent.StartOffset -lt $cursorPosition } |
        ForEach-Object { $_.ToString() }
    $env:%(complete_var)s = 'powershell_complete'
    $env:COMP_WORDS = $before -join "`n"
    $env:COMP_CWORD = $wordToComplete
    try {
        %(prog_name)s | ForEach-Object {
            $kind, $value, $help = $_ -split "`t", 3
            if ($kind -eq 'plain') {
                if (-not $help) { $help = $value }
                [System.Management.Automation.CompletionResult]::new(
                    $value, $value, 'ParameterValue', $help)
            }
        }
    } finally {
        Remove-Item Env:%(complete_var)s, Env:COMP_WORDS, Env:COMP_CWORD
    }
}
"""


class PowerShellComplete(ShellComplete):
    """What PowerShell asks, and how it takes the answer."""

    name = "powershell"
    source_template = _POWERSHELL

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one that is completed, and that one."""
        words = os.environ.get("COMP_WORDS", "").split("\n")[1:]
        incomplete = os.environ.get("COMP_CWORD", "")
        if incomplete and words and words[-1] == incomplete:
            words.pop()
        return words, incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """Return one answer on one line."""
        help_text = (item.help or "").replace("\n", " ").replace("\t", " ")
        return f"{item.type}\t{item.value}\t{help_text}"


class ZshComplete(click.shell_completion.ZshComplete):
    """click's, for every Tab: where zsh loads it by name, click's works once."""

    source_template = click.shell_completion.ZshComplete.source_template.replace(
        "$zsh_eval_context[-1] == loadautofunc", '"$funcstack[1]" == _%(prog_name)s'
    )


add_completion_class(PowerShellComplete)
add_completion_class(ZshComplete)


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def completion_(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash: haloy completion bash > ~/.local/share/bash-completion/completions/haloy
    zsh:  haloy completion zsh > "${fpath[1]}/_haloy"
    fish: haloy completion fish > ~/.config/fish/completions/haloy.fish
    PowerShell: haloy completion powershell >> $PROFILE
    """  # noqa: D301  (click's mark of what is not wrapped)
    found = get_completion_class(shell)
    if found is None:
        raise AssertionError(f"{shell} is a choice and has no class")
    variables = found(main, {}, "haloy", "_HALOY_COMPLETE")
    click.echo(variables.source_template % variables.source_vars())
