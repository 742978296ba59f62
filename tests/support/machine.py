"""A machine with systemd as its first process, in namespaces of its own.

Its files are this machine's, or a folder's, read through an overlay: what the test
installs, the users it makes and the units it enables are in memory, and gone at the
end. It has its own processes, network and control groups; units of this machine are
masked there.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import define, field

START_LIMIT_S = 60.0
SYSTEMD = Path("/lib/systemd/systemd")
#: Of this machine's units none may touch the kernel or start a service there.
MASKED = (
    *("docker.service", "docker.socket", "containerd.service", "ssh.service"),
    *(
        "systemd-sysctl.service",
        "systemd-modules-load.service",
        "proc-sys-fs-binfmt_misc.automount",
    ),
    *(
        "systemd-udevd.service",
        "systemd-udev-trigger.service",
        "systemd-binfmt.service",
    ),
    *(
        "systemd-random-seed.service",
        "systemd-remount-fs.service",
        "systemd-timesyncd.service",
    ),
    *("sys-kernel-debug.mount", "sys-kernel-tracing.mount", "dev-hugepages.mount"),
    *("systemd-networkd.service", "networking.service", "getty.target"),
)
#: Makes the root and becomes systemd; arguments: folder, target's name.
BOOT = """
set -eu
folder=$1
mount -t tmpfs -o mode=755 haloytest "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root"
root=$folder/root
layers=lowerdir=$BASE,upperdir=$folder/upper,workdir=$folder/work
mount -t overlay overlay -o "$layers" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
for place in run tmp dev sys/fs/cgroup; do
    mount -t tmpfs -o mode=755 tmpfs "$root/$place"
done
chmod 1777 "$root/tmp"
mkdir "$root/dev/pts" "$root/dev/shm"
for device in null zero full random urandom tty; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    umount "$root/sys/fs/cgroup"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
    mkdir "$root/sys/fs/cgroup/unified" "$root/sys/fs/cgroup/systemd"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified"
    mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
fi
shift
for pair in "$@"; do
    from=${pair%%=*} to=$root/${pair#*=}
    mkdir -p "$(dirname "$to")"
    if [ -d "$from" ]; then mkdir -p "$to"; else : >"$to"; fi
    mount --bind "$from" "$to"
done
for unit in $MASKED; do ln -sfn /dev/null "$root/etc/systemd/system/$unit"; done
ip link set lo up
mkdir "$root/old"
cd "$root"
pivot_root . old
umount -l /old
exec env -i container=haloytest PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
    /lib/systemd/systemd --unit=sysinit.target --log-target=null --show-status=no
"""
#: nsenter itself stays in a folder that there is not there.
_IN_ROOT = ("sh", "-c", 'cd / && exec "$@"', "sh")


@define(eq=False)
class Machine:
    """One that has been started.

    @ivar variables: the environment of what is run there.
    """

    pid: int
    variables: dict[str, str] = field(factory=dict)

    def run(
        self, *command: str, limit_s: float = 300.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there, as root."""
        return subprocess.run(
            self.command(*command),
            env={
                "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                **self.variables,
            },
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )

    def command(self, *command: str) -> list[str]:
        """Return what runs a command there, for somebody else to start."""
        return ["nsenter", f"--target={self.pid}", "--all", *_IN_ROOT, *command]

    def told(self, *command: str) -> str:
        """Return what a command prints; fail with all of it when it fails."""
        done = self.run(*command)
        assert done.returncode == 0, (
            f"{command}\n{done.stdout}\n{done.stderr}\n{self.journal()}"
        )
        return done.stdout.strip()

    def show(self, unit: str, what: str) -> str:
        """Return a property of a unit."""
        return self.told("systemctl", "show", "--value", f"--property={what}", unit)

    def journal(self, *arguments: str) -> str:
        """Return the end of its journal."""
        done = self.run("journalctl", "--no-pager", "--lines=80", *arguments)
        return done.stdout + done.stderr


@contextmanager
def machine(
    folder: Path, binds: dict[Path, str], base: Path = Path("/")
) -> Iterator[Machine]:
    """Start one; C{binds}: files and folders of this machine -> their places there.

    @param base: whose files it has.
    """
    missing = [one for one in ("unshare", "nsenter", "ip") if shutil.which(one) is None]
    if os.geteuid() != 0 or missing or not SYSTEMD.exists():
        reason = (
            "a machine of the test's own needs root, systemd, util-linux and iproute2"
        )
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder.mkdir()
    space = [
        *("unshare", "--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup"),
        *("--fork", "--kill-child", "--propagation=private"),
    ]
    with (folder.parent / "boot.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(*space, "sh", "-c", BOOT, "boot", str(folder)),
                *(f"{here}={there.lstrip('/')}" for here, there in binds.items()),
            ],
            env={**os.environ, "MASKED": " ".join(MASKED), "BASE": str(base)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield _booted(process, folder.parent / "boot.log")
    finally:
        # systemd takes no SIGTERM: with unshare its first process goes, and all others.
        process.send_signal(signal.SIGKILL)
        process.wait()


def _booted(process: subprocess.Popen[bytes], log: Path) -> Machine:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        if children:
            made = Machine(int(children.split()[0]))
            if "systemd" in Path(f"/proc/{made.pid}/comm").read_text():
                asked = made.run("systemctl", "is-active", "sysinit.target")
                if asked.stdout.strip() == "active":
                    return made
        time.sleep(0.1)
    raise AssertionError(f"systemd does not start:\n{log.read_text()}")
