# shellcheck shell=bash
# What ./test and ./quickstart share: packages, the virtual environment, dockerd.
# Sourced, never run. The caller has done `set -euo pipefail` and `cd` to the checkout.

# HALOY_VENV names an environment that somebody else keeps; it is used as it is.
VENV=${HALOY_VENV:-$PWD/.venv}

say() { printf '%s\n' "$*"; }

fail() {
    printf '✖ %s\n' "$*" >&2
    exit 1
}

# as_root COMMAND…: run it as root, with sudo where that is needed and there.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "This needs root and there is no sudo: $*"
    fi
}

# have WHAT: whether a command, or what stands for a package without one, is there.
have() {
    case $1 in
        python3-dev) [ -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] ;;
        python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
        static-busybox) [ -x "$(command -v busybox)" ] && ! ldd "$(command -v busybox)" >/dev/null 2>&1 ;;
        ca-certificates) [ -s /etc/ssl/certs/ca-certificates.crt ] ;;
        *) PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null ;;
    esac
}

# package_of WHAT: the Debian package that brings it.
package_of() {
    case $1 in
        # Debian 13 has the command in a package of its own.
        docker) if apt-cache show docker-cli >/dev/null 2>&1; then say docker-cli; else say docker.io; fi ;;
        dockerd) say docker.io ;;
        ip) say iproute2 ;;
        pebble-challtestsrv) say pebble ;;
        static-busybox) say busybox-static ;;
        systemd-analyze) say systemd ;;
        testssl) say testssl.sh ;;
        named) say bind9 ;;
        nghttp) say nghttp2-client ;;
        ps) say procps ;;
        *) say "$1" ;;
    esac
}

# need WHAT…: install the Debian packages of what is missing, if anything is.
need() {
    local what missing=() packages=()
    for what in "$@"; do
        have "$what" || missing+=("$what")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null; then
        fail "Missing: ${missing[*]}. There is no apt-get here to install them with; install them, then start again."
    fi
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        fail "Missing: ${missing[*]}. Start again as root, or install them first."
    fi
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get -qq update || say "⚠ apt-get update failed; trying with the lists that are here."
    for what in "${missing[@]}"; do
        packages+=("$(package_of "$what")")
    done
    mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sort -u)
    say "Installing Debian packages: ${packages[*]}"
    as_root apt-get -qq install -y --no-install-recommends "${packages[@]}" >/dev/null
    for what in "${missing[@]}"; do
        have "$what" || fail "$what is still missing after installing $(package_of "$what")."
    done
}

# need_venv run|dev: make the virtual environment when pyproject.toml has changed;
# `dev` brings what the tests need besides.
need_venv() {
    local level=$1 python=${PYTHON:-python3} extra='' wanted
    [ -z "${HALOY_VENV:-}" ] || return 0
    [ "$level" = run ] || extra="[$level]"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "Haloy needs Python 3.11 or later; $python is $("$python" -V). Set PYTHON to another one."
    wanted=$({ "$python" -V && pwd && cat pyproject.toml; } | sha256sum)
    [ "$(cat "$VENV/.installed-$level" 2>/dev/null)" = "$wanted" ] && return 0
    say "Installing Haloy and its Python packages into ${VENV#"$PWD"/}"
    # One that was copied or moved here, or whose Python is gone, is made anew.
    if ! "$VENV/bin/python" -c '' 2>/dev/null || ! head -n 1 "$VENV/bin/pip" | grep -qF "$VENV/"; then
        "$python" -m venv --clear "$VENV"
    fi
    "$VENV/bin/python" -m pip --quiet --disable-pip-version-check install -e ".$extra"
    printf '%s\n' "$wanted" | tee "$VENV/.installed-run" >"$VENV/.installed-$level"
}

# Where programs for tests are kept that no Debian package has (tests/support/tools.py).
TOOLS=${XDG_CACHE_HOME:-$HOME/.cache}/haloy-tests
PEBBLE=v2.10.1
H2SPEC=v2.2.1+incompatible
NEWER_DEBIAN=forky

# need_newer_pebble: build the pebble that knows renewal windows and profiles.
need_newer_pebble() {
    local place=$TOOLS/pebble-$PEBBLE
    [ -x "$place/pebble" ] && return 0
    if ! PATH="$PATH:/usr/local/go/bin" command -v go >/dev/null; then
        say "⚠ There is no Go here to build pebble $PEBBLE with; tests that need it do not run."
        return 0
    fi
    say "Building pebble $PEBBLE"
    PATH="$PATH:/usr/local/go/bin" GOBIN="$place" \
        go install "github.com/letsencrypt/pebble/v2/cmd/pebble@$PEBBLE" ||
        say "⚠ pebble $PEBBLE cannot be built; tests that need it do not run."
}

# need_h2spec: build the conformance tests of HTTP/2.
need_h2spec() {
    local place=$TOOLS/h2spec-$H2SPEC
    [ -x "$place/h2spec" ] && return 0
    if ! PATH="$PATH:/usr/local/go/bin" command -v go >/dev/null; then
        say "⚠ There is no Go here to build h2spec with; its test does not run."
        return 0
    fi
    say "Building h2spec $H2SPEC"
    PATH="$PATH:/usr/local/go/bin" GOBIN="$place" timeout 300 \
        go install "github.com/summerwind/h2spec/cmd/h2spec@$H2SPEC" >/dev/null 2>&1 ||
        say "⚠ h2spec cannot be built; its test does not run."
}

# need_grpc_go: install the sources of grpc-go, for its tests as client and server; they
# are built with the Go that is here, as Debian's takes longer to come than they to run.
need_grpc_go() {
    [ -d /usr/share/gocode/src/google.golang.org/grpc ] && return 0
    if ! PATH="$PATH:/usr/local/go/bin" command -v go >/dev/null; then
        say "⚠ There is no Go here to build grpc-go with; its tests do not run."
        return 0
    fi
    say "Installing the sources of grpc-go"
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get -qq update || say "⚠ apt-get update failed; trying with the lists that are here."
    as_root apt-get -qq install -y --no-install-recommends golang-google-grpc-dev >/dev/null ||
        say "⚠ golang-google-grpc-dev cannot be installed; its tests do not run."
}

# need_sslyze: install it into an environment of its own; it wants an older cryptography.
need_sslyze() {
    local place=$TOOLS/sslyze
    [ -x "$place/bin/sslyze" ] && return 0
    say "Installing sslyze"
    if ! "${PYTHON:-python3}" -m venv --clear "$place" ||
        ! "$place/bin/python" -m pip --quiet --disable-pip-version-check install sslyze; then
        say "⚠ sslyze cannot be installed; tests that need it do not run."
    fi
}

# need_newer_docker: take the dockerd of Debian's next release out of its package; it runs
# beside the machine's, with the machine's containerd, and nothing is installed.
need_newer_docker() {
    local place=$TOOLS/docker-newer apt
    [ -x "$place/usr/sbin/dockerd" ] && return 0
    say "Fetching a newer dockerd"
    apt=$(mktemp -d)
    mkdir -p "$apt/lists/partial" "$apt/archives/partial"
    printf 'deb [signed-by=%s] http://deb.debian.org/debian %s main\n' \
        /usr/share/keyrings/debian-archive-keyring.gpg "$NEWER_DEBIAN" >"$apt/sources.list"
    cat >"$apt/apt.conf" <<EOF
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "$apt/none";
Dir::State::Lists "$apt/lists";
Dir::Cache "$apt";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Languages "none";
APT::Sandbox::User "";
EOF
    if ! (
        cd "$apt" && export APT_CONFIG=$apt/apt.conf
        timeout 120 apt-get -qq update && timeout 120 apt-get -qq download docker.io &&
            dpkg-deb -x docker.io_*.deb unpacked && unpacked/usr/sbin/dockerd --version &&
            rm -rf "$place" && mkdir -p "$TOOLS" && cp -r unpacked "$place"
    ) >/dev/null 2>&1; then
        say "⚠ A newer dockerd cannot be had or does not run here; its tests are skipped."
    fi
    rm -rf "$apt"
}

docker_answers() { docker info >/dev/null 2>&1; }

# start_dockerd FOLDER: start dockerd if none answers; its log and the word of how to
# stop it go to FOLDER. Returns 1 with a reason in $dockerd_problem when it cannot.
start_dockerd() {
    local folder=$1 tries
    dockerd_problem=
    docker_answers && return 0
    mkdir -p "$folder"
    if [ -n "${DOCKER_HOST:-}" ]; then
        dockerd_problem="DOCKER_HOST is $DOCKER_HOST and nothing answers there"
    elif [ -S /var/run/docker.sock ] && [ "$(id -u)" -ne 0 ] && ! [ -w /var/run/docker.sock ]; then
        dockerd_problem="you may not use Docker; join the group docker, or run this as root"
    elif [ "$(id -u)" -ne 0 ]; then
        dockerd_problem="no dockerd runs and only root can start one"
    fi
    [ -z "$dockerd_problem" ] || return 1
    say "Starting dockerd"
    : >"$folder/dockerd.log"
    if [ -d /run/systemd/system ]; then
        systemctl start docker >>"$folder/dockerd.log" 2>&1 && say systemd >"$folder/dockerd.started"
    else
        PATH="$PATH:/usr/sbin:/sbin" setsid dockerd >>"$folder/dockerd.log" 2>&1 </dev/null &
        say $! >"$folder/dockerd.started"
    fi
    for ((tries = 0; tries < 120; tries++)); do
        docker_answers && return 0
        [ -e "$folder/dockerd.started" ] || break
        [ -d /run/systemd/system ] || kill -0 "$(cat "$folder/dockerd.started")" 2>/dev/null || break
        sleep 0.5
    done
    dockerd_problem="dockerd does not start; the end of its log ($folder/dockerd.log):
$(tail -n 30 "$folder/dockerd.log")"
    stop_dockerd "$folder"
    return 1
}

# stop_dockerd FOLDER: stop a dockerd that start_dockerd started.
stop_dockerd() {
    local folder=$1 started
    [ -e "$folder/dockerd.started" ] || return 0
    started=$(cat "$folder/dockerd.started")
    rm -f "$folder/dockerd.started"
    if [ "$started" = systemd ]; then
        systemctl stop docker.socket docker >/dev/null 2>&1 || true
    else
        end_process "$started" dockerd
    fi
}

# end_process PID NAME: ask it to end, insist after 20 s; only if PID still is a NAME.
end_process() {
    local pid=$1 name=$2 tries
    grep -qsaF "$name" "/proc/$pid/cmdline" || return 0
    kill "$pid" 2>/dev/null || return 0
    for ((tries = 0; tries < 200; tries++)); do
        kill -0 "$pid" 2>/dev/null || return 0
        # A child of ours that has ended stays until somebody asks for it.
        grep -qs '^State:.Z' "/proc/$pid/status" && return 0
        sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
}
