#!/bin/sh
# Install or upgrade Haloy's daemon on this server. Run it as root; it may be repeated.
#
#   ./install.sh [--wheel FILE [--sha256 HEX]] [--find-links DIR] [--api-domain NAME]
#                [--one-process] [--compiled] [--no-start] [--requirements F]
#
#   --wheel FILE     the wheel to install; by default a checkout's own source is, else
#                    the newest wheel beside this script, else that of the package index
#   --sha256 HEX     what the wheel must hash to; without it FILE.sha256 counts, if it is
#                    there
#   --find-links DIR take packages from DIR and from no index
#   --requirements F what pip installs first, with hashes (pip --require-hashes)
#   --api-domain N   public name of the API, for haloyd init
#   --one-process    haloyd serves ports 80 and 443 itself; no haloy-proxy
#   --compiled       compile the proxy on this machine, from the source beside this
#                    script: 7 to 40 % less CPU for small requests. It wants gcc and
#                    Python's headers, two minutes of a core and 600 MB of memory
#   --no-start       enable nothing and start nothing
#
# It makes: users haloy and haloy-proxy, /opt/haloy (program), /etc/haloy, /var/lib/haloy,
# systemd units (elsewhere: it says how to start haloyd). What exists is kept.
set -eu
# The users of the services must be able to read the program, whatever root's umask is.
umask 022

here=$(cd "$(dirname "$0")" && pwd)
prefix=/opt/haloy
wheel='' from_source='' sha256='' find_links='' requirements='' api_domain='' one_process='' compiled='' start=yes

say() { printf '%s\n' "$*"; }
step() { printf '==> %s\n' "$*"; }
fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
        --wheel) wheel=${2:?--wheel wants a file}; shift ;;
        --sha256) sha256=${2:?--sha256 wants a hash}; shift ;;
        --find-links) find_links=${2:?--find-links wants a folder}; shift ;;
        --requirements) requirements=${2:?--requirements wants a file}; shift ;;
        --api-domain) api_domain=${2:?--api-domain wants a name}; shift ;;
        --one-process) one_process=yes ;;
        --compiled) compiled=yes ;;
        --no-start) start= ;;
        -h | --help)
            sed -n '2,24s/^# \{0,1\}//p' "$0"
            exit 0
            ;;
        *) fail "unknown option $1; --help lists all" ;;
    esac
    shift
done

has() { command -v "$1" >/dev/null 2>&1; }
systemd_runs() { [ -d /run/systemd/system ]; }

# What the distribution calls a package of ours.
packages() {
    if has apt-get; then
        say "python3 python3-venv ca-certificates"
    elif has dnf; then
        say "python3 ca-certificates"
    elif has apk; then
        say "python3 py3-pip ca-certificates shadow"
    fi
}

install_packages() {
    # shellcheck disable=SC2046  # one word a package
    if has apt-get; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get -qq update || say "    apt-get update failed; trying with the lists that are here"
        apt-get -qq install -y --no-install-recommends $(packages) >/dev/null
    elif has dnf; then
        dnf -q -y install $(packages)
    elif has apk; then
        apk add --quiet $(packages)
    else
        fail "no apt-get, dnf or apk here: install Python 3.11 with venv, then start again"
    fi
}

# The newest Python that will do.
find_python() {
    for name in python3.14 python3.13 python3.12 python3.11 python3; do
        if has "$name" && "$name" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return 0
        fi
    done
    return 1
}

check_machine() {
    [ "$(id -u)" = 0 ] || fail "run this as root"
    [ "$(uname -s)" = Linux ] || fail "Haloy's daemon runs on Linux; for the client: pip install haloy"
    python=$(find_python) || {
        step "Installing Python"
        install_packages
        python=$(find_python) || fail "this system has no Python 3.11 or later with venv"
    }
    say "    Python: $("$python" -V 2>&1), $python"
    if has docker && docker info >/dev/null 2>&1; then
        say "    Docker: $(docker version --format '{{.Server.Version}}')"
    elif [ -n "$start" ]; then
        fail "Docker does not answer; install it and start it (https://docs.docker.com/engine/install/), or use --no-start"
    else
        say "    Docker does not answer yet; haloyd will need it"
    fi
}

# What compiling wants, looked at before anything is changed.
check_compiler() {
    [ -n "$compiled" ] || return 0
    [ -z "$wheel" ] || fail "--wheel is installed as it is: leave it or --compiled out"
    [ -f "$here/setup.py" ] ||
        fail "--compiled needs Haloy's source: run the install.sh of a checkout"
    headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    compiler=$("$python" -c 'import sysconfig; print((sysconfig.get_config_var("CC") or "cc").split()[0])')
    if has "$compiler" && printf '#include <Python.h>\n' |
        "$compiler" -I"$headers" -fsyntax-only -x c - 2>/dev/null; then
        return 0
    fi
    if has apt-get; then
        needed="apt-get install gcc libc6-dev python3-dev"
    elif has dnf; then
        needed="dnf install gcc python3-devel"
    elif has apk; then
        needed="apk add gcc musl-dev python3-dev"
    else
        needed="install them"
    fi
    fail "--compiled needs a C compiler ($compiler) and Python's headers ($headers): $needed"
}

# The shape of a domain; haloyd itself looks closer, before anything is switched.
check_api_domain() {
    case $api_domain in
        '' | localhost) return 0 ;;
        *[[:space:]/:@,]* | .* | *. | *..*) ;;
        *.*) return 0 ;;
    esac
    fail "--api-domain: '$api_domain' is not a domain: it needs at least two parts, as in example.com"
}

# What is installed: a wheel, or the source beside this script. In a checkout that is meant,
# not a wheel that somebody made of it once.
find_wheel() {
    [ -z "$wheel" ] || { [ -f "$wheel" ] || fail "there is no $wheel"; return 0; }
    if [ -f "$here/pyproject.toml" ]; then
        from_source=yes
        return 0
    fi
    # shellcheck disable=SC2012  # the newest; names of wheels have no odd letters
    wheel=$(ls -t "$here"/haloy-*.whl 2>/dev/null | head -n 1 || true)
}

check_wheel() {
    if [ -z "$wheel" ]; then
        [ -z "$sha256" ] || fail "--sha256 is that of a wheel: name it with --wheel"
        return 0
    fi
    if [ -z "$sha256" ] && [ -f "$wheel.sha256" ]; then
        sha256=$(cut -d' ' -f1 "$wheel.sha256")
    fi
    if [ -z "$sha256" ]; then
        say "    $wheel is not checked: no --sha256, no $wheel.sha256"
        return 0
    fi
    found=$(sha256sum "$wheel" | cut -d' ' -f1)
    [ "$found" = "$sha256" ] || fail "$wheel has the SHA-256 $found, not $sha256"
    say "    $wheel: SHA-256 is right"
}

add_user() { # NAME HOME
    getent group "$1" >/dev/null 2>&1 || groupadd --system "$1"
    getent passwd "$1" >/dev/null 2>&1 ||
        useradd --system --gid "$1" --home-dir "$2" --no-create-home --shell /usr/sbin/nologin "$1"
}

make_users() {
    add_user haloy /var/lib/haloy
    getent group docker >/dev/null 2>&1 || groupadd --system docker
    usermod -aG docker haloy
    [ -n "$one_process" ] || {
        add_user haloy-proxy /var/lib/haloy-proxy
        usermod -aG haloy-proxy haloy
        install -d -o haloy-proxy -g haloy-proxy -m 0700 /var/lib/haloy-proxy
        install -d -o haloy -g haloy-proxy -m 2770 /run/haloy
    }
    for folder in /etc/haloy /var/lib/haloy; do
        install -d -o haloy -g haloy -m 0700 "$folder"
    done
}

# build PIP-OPTION…: make the wheel, from a copy of the source, which stays as it is.
build() {
    failed="this checkout could not be made into a wheel; nothing was changed"
    if [ -n "$compiled" ]; then
        say "    compiling the proxy; this takes minutes"
        failed="the proxy could not be compiled; nothing was changed"
    fi
    mkdir -p "$new/wheel/source"
    for name in haloy twisted pyproject.toml setup.cfg setup.py README.md LICENSE; do
        cp -R "$here/$name" "$new/wheel/source/"
    done
    HALOY_COMPILED=${compiled:+1} "$new/bin/python" -m pip wheel "$@" --no-deps \
        --wheel-dir "$new/wheel" "$new/wheel/source" || fail "$failed"
    wheel=$(ls "$new/wheel"/haloy-*.whl)
}

domain_check='
import sys
from haloy.errors import HaloyError
from haloy.model.names import parse_domain_name
try:
    parse_domain_name(sys.argv[1], "--api-domain")
except HaloyError as problem:
    sys.exit(str(problem))
'
# As haloyd upgrade does it: what no process runs from any more goes.
forget='
import sys
from pathlib import Path
from haloy.daemon.command.upgrade import Environments
Environments(Path(sys.argv[1])).forget(Path(sys.argv[2]))
'

# A new environment beside the one in use; the link is replaced when it is whole.
install_program() {
    mkdir -p "$prefix/venvs"
    # The lock is haloyd upgrade's, too; it goes with this process.
    exec 9<"$prefix"
    ! has flock || flock -n 9 || fail "another installation or upgrade is under way"
    free_kib=$(df -Pk "$prefix/venvs" | awk 'NR == 2 { print $4 }')
    needed_mib=200 # also in haloy/daemon/command/upgrade.py
    [ -z "$compiled" ] || needed_mib=400
    [ "$((${free_kib:-0} / 1024))" -ge "$needed_mib" ] ||
        fail "$prefix/venvs has $((${free_kib:-0} / 1024)) MiB left, and a version needs $needed_mib MiB: make room on that disk first"
    new=$prefix/venvs/$(date -u +%Y%m%dT%H%M%SZ)
    [ ! -e "$new" ] || new=$new-$$
    trap 'rm -rf "$new"' EXIT
    "$python" -m venv "$new"
    set -- --quiet --disable-pip-version-check
    [ -z "$find_links" ] || set -- "$@" --no-index --find-links "$find_links"
    if [ -n "$requirements" ]; then
        "$new/bin/python" -m pip install "$@" --require-hashes -r "$requirements"
    fi
    [ -z "$from_source" ] || build "$@"
    "$new/bin/python" -m pip install "$@" "${wheel:-haloy}"
    told=$("$new/bin/haloyd" version) || fail "the new version does not start; nothing was changed"
    case $compiled$told in
        yes*compiled*) ;;
        yes*) fail "haloyd $told: the proxy was not compiled; nothing was changed" ;;
    esac
    [ -z "$api_domain" ] || "$new/bin/python" -c "$domain_check" "$api_domain" >&2 ||
        fail "nothing was changed"
    # Lists the plugins, too: twistd's cache of them is written now, later it cannot be.
    "$new/bin/twistd" haloyd --help >/dev/null || fail "twistd does not know haloyd; nothing was changed"
    [ ! -d "$prefix/venv" ] || [ -L "$prefix/venv" ] || mv "$prefix/venv" "$prefix/venvs/before-links"
    before=$(readlink -f "$prefix/venv") && [ -d "$before" ] || before=$prefix/venvs/before-links
    ln -sfn "$new" "$prefix/.venv.new"
    mv -Tf "$prefix/.venv.new" "$prefix/venv"
    trap - EXIT
    mkdir -p /usr/local/bin
    for name in haloyd haloy; do ln -sfn "$prefix/venv/bin/$name" "/usr/local/bin/$name"; done
    rm -rf "$new/wheel"
    say "    haloyd $("$prefix/venv/bin/haloyd" version) in $new"
}

install_units() {
    if ! [ -d /etc/systemd/system ]; then
        say "    no systemd here: start haloyd as user haloy with
    $prefix/venv/bin/twistd --nodaemon --pidfile= haloyd"
        return 0
    fi
    units=$here/systemd
    [ -d "$units" ] || units=$prefix/venv/share/haloy/systemd
    [ -f "$units/haloyd.service" ] || fail "there are no units in $units"
    install -m 0644 "$units/haloyd.service" /etc/systemd/system/
    if [ -n "$one_process" ]; then
        install -d /etc/systemd/system/haloyd.service.d
        install -m 0644 "$units/haloyd.service.d/one-process.conf" /etc/systemd/system/haloyd.service.d/
    else
        rm -f /etc/systemd/system/haloyd.service.d/one-process.conf
        install -m 0644 "$units/haloy-proxy.service" "$units/haloy-proxy.socket" /etc/systemd/system/
        install -d /etc/sysusers.d /etc/tmpfiles.d
        install -m 0644 "$units/sysusers.d/haloy.conf" /etc/sysusers.d/haloy.conf
        install -m 0644 "$units/tmpfiles.d/haloy.conf" /etc/tmpfiles.d/haloy.conf
    fi
    ! systemd_runs || systemctl daemon-reload
}

# as_haloy COMMAND…: what the daemon reads must be its own.
as_haloy() { (cd / && setpriv --reuid haloy --regid haloy --init-groups "$@"); }

init_server() {
    if [ -e /etc/haloy/haloyd.yaml ]; then
        say "    /etc/haloy is set up already: kept"
        as_haloy "$prefix/venv/bin/haloyd" config check
        if [ -n "$api_domain" ] &&
            [ "$(as_haloy "$prefix/venv/bin/haloyd" config get api.domain)" != "$api_domain" ]; then
            say "    --api-domain is for a new server; here: haloyd config set api.domain $api_domain"
        fi
        return 0
    fi
    if ! docker info >/dev/null 2>&1; then
        say "    when Docker runs: haloyd init${api_domain:+ --api-domain $api_domain}"
        return 0
    fi
    if [ -n "$api_domain" ]; then
        as_haloy "$prefix/venv/bin/haloyd" init --api-domain "$api_domain"
    else
        as_haloy "$prefix/venv/bin/haloyd" init
    fi
    mode='split'
    [ -z "$one_process" ] || mode=embedded
    as_haloy "$prefix/venv/bin/haloyd" config set proxy.mode $mode >/dev/null
}

# The socket holds the ports while haloy-proxy restarts. It cannot have them from a
# haloy-proxy that has started without it, as one does once the ports have become free.
start_proxy() {
    if ! systemctl is-active --quiet haloy-proxy.socket; then
        systemctl stop haloy-proxy
        systemctl reset-failed haloy-proxy.socket haloy-proxy 2>/dev/null || true
    fi
    if systemctl is-active --quiet haloy-proxy; then
        systemctl reload haloy-proxy
    elif ! systemctl start haloy-proxy.socket haloy-proxy; then
        journalctl --unit=haloy-proxy --output=cat --quiet --lines=20 |
            grep '^haloy-proxy: ' | tail -n 1 >&2 || true
        fail "haloy-proxy does not start; its log: journalctl -u haloy-proxy. Then start this again"
    fi
}

start_units() {
    if [ -z "$start" ] || ! systemd_runs; then
        return 0
    fi
    if [ -z "$one_process" ]; then
        systemctl enable --quiet haloy-proxy.socket haloy-proxy.service
        start_proxy
    fi
    systemctl enable --quiet haloyd
    systemctl restart haloyd
    # haloyd says that it is ready before haloy-proxy has heard of everything.
    tries=0
    until "$prefix/venv/bin/haloyd" verify >/dev/null 2>&1 || [ $tries -ge 10 ]; do
        tries=$((tries + 1))
        sleep 1
    done
    "$prefix/venv/bin/haloyd" verify || fail "haloyd does not run as it should; its log: journalctl -u haloyd"
}

step "Looking at this machine"
check_machine
check_api_domain
check_compiler
find_wheel
check_wheel
step "Users and directories"
make_users
step "Program"
install_program
step "Units"
install_units
step "Configuration"
init_server
[ -z "$start" ] || step "Starting"
start_units
"$prefix/venv/bin/python" -c "$forget" "$prefix" "$before" 2>/dev/null ||
    say "    old environments in $prefix/venvs could not be removed"
step "Done. haloyd verify checks this server, haloyd uninstall takes Haloy away again."
