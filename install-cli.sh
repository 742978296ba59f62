#!/bin/sh
# Install `haloy`, the command, for the user who runs this.
#
#   sh install-cli.sh             the checkout that it is in; elsewhere the newest
#                                 version, from the package index
#   sh install-cli.sh PACKAGE     a wheel, a checkout, or haloy==VERSION
#
# It gets an environment of its own in ~/.local/share/haloy and a link in
# ~/.local/bin (DIR chooses another folder); completion of your shell is installed too.
# Started again it upgrades. `sh install-cli.sh --remove` takes all of it away.
set -eu

BIN=${DIR:-$HOME/.local/bin}
DATA=${XDG_DATA_HOME:-$HOME/.local/share}
HOME_OF_IT=$DATA/haloy/venv
PYTHON=${PYTHON:-python3}
BASH_FILE=$DATA/bash-completion/completions/haloy
ZSH_FILE=$DATA/zsh/site-functions/_haloy
FISH_FILE=${XDG_CONFIG_HOME:-$HOME/.config}/fish/completions/haloy.fish

say() { printf '%s\n' "$*"; }
fail() {
    printf '✖ %s\n' "$*" >&2
    exit 1
}

remove() {
    # Only what this script has written: a file of another haloy stays.
    if [ "$(readlink "$BIN/haloy" 2>/dev/null)" = "$HOME_OF_IT/bin/haloy" ]; then
        rm -f "$BIN/haloy"
    fi
    rm -rf "$HOME_OF_IT"
    rmdir "$DATA/haloy" 2>/dev/null || true
    rm -f "$BASH_FILE" "$ZSH_FILE" "$FISH_FILE"
    say "haloy is removed; ~/.config/haloy with your servers stays"
}

# write_completion SHELL FILE: write the completion script, whole or not at all.
write_completion() {
    mkdir -p "$(dirname "$2")"
    if "$HOME_OF_IT/bin/haloy" completion "$1" >"$2.new"; then
        mv "$2.new" "$2"
        say "completion for $1: $2"
    else
        rm -f "$2.new"
    fi
}

case ${1:-} in
    -h | --help)
        sed -n '2,9s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    --remove)
        remove
        exit 0
        ;;
esac

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "haloy needs Python 3.11 or later; set PYTHON to one"
"$PYTHON" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "Python's venv is missing (on Debian: apt install python3-venv)"
if [ -e "$BIN/haloy" ] && [ "$(readlink "$BIN/haloy")" != "$HOME_OF_IT/bin/haloy" ]; then
    fail "$BIN/haloy is there already and not from here; move it away first"
fi

# Started by a pipe it has no folder, and the current one may be any project.
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
if [ $# -eq 0 ] && [ -f "$here/install-cli.sh" ] && [ -f "$here/pyproject.toml" ]; then
    set -- "$here"
fi
# To pip a folder is one only by its path: without a slash it is a package's name.
case ${1:-} in
    */*) ;;
    ?*) [ ! -e "$1" ] || set -- "./$1" ;;
esac

# A new environment beside the old one: what fails leaves the old one as it is.
new=$HOME_OF_IT.new
rm -rf "$new"
mkdir -p "$(dirname "$HOME_OF_IT")" "$BIN"
"$PYTHON" -m venv "$new"
"$new/bin/python" -m pip --quiet --disable-pip-version-check install --upgrade "${1:-haloy}" ||
    {
        rm -rf "$new"
        fail "the installation failed; nothing is changed"
    }
# Programs name the environment they were installed into.
rm -rf "$HOME_OF_IT"
mv "$new" "$HOME_OF_IT"
for program in "$HOME_OF_IT"/bin/*; do
    if [ -f "$program" ] && head -c 200 "$program" | grep -qF "$new/"; then
        # A path with a blank stands in the second line, by pip's way round it.
        sed -i "1,3s|$new/|$HOME_OF_IT/|g" "$program"
    fi
done
ln -sf "$HOME_OF_IT/bin/haloy" "$BIN/haloy"
say "haloy $("$BIN/haloy" version) is at $BIN/haloy"

case $(basename "${SHELL:-sh}") in
    bash) write_completion bash "$BASH_FILE" ;;
    zsh)
        write_completion zsh "$ZSH_FILE"
        say "zsh finds it by this in ~/.zshrc, before compinit: fpath=($(dirname "$ZSH_FILE") \$fpath)"
        ;;
    fish) write_completion fish "$FISH_FILE" ;;
esac
case ":$PATH:" in
    *":$BIN:"*) ;;
    *) say "⚠ $BIN is not in your PATH; add: export PATH=\"$BIN:\$PATH\"" ;;
esac
