"""Pretend machines: namespaces with a network address, a process table and an sshd each.

Each sees this machine's files and a private, writable layer over them; its /tmp, /dev/shm and
home are its own. They share one folder, /mnt/shared. Their network lies in a namespace of its
own, so that nothing of it reaches this machine or leaves it.
"""

import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

SHARED: Final = "/mnt/shared"
HOME: Final = "/root"
_INIT: Final = Path(__file__).with_name("host_init.sh")
_PROGRAMS: Final = ("ip", "nsenter", "setpriv", "unshare", "rsync", "ssh", "ssh-keygen", "sshd")
_SEARCHED: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PATIENCE_S: Final = 30.0


def why_not() -> str:
    """Why there can be no pretend machines here, in words; empty where there can."""
    if os.getuid() != 0:
        return "only root can make namespaces"
    missing = [name for name in _PROGRAMS if shutil.which(name, path=_SEARCHED) is None]
    if missing:
        return f"there is no {', '.join(missing)} (packages iproute2, openssh-server, rsync)"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "sh", "-c", _TRIAL],
        capture_output=True,
        text=True,
        check=False,
    )
    last = (tried.stderr.strip().splitlines() or ["no reason given"])[-1]
    return f"namespaces or overlays are not allowed here: {last}" if tried.returncode else ""


_TRIAL: Final = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/up /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work /mnt/root
"""


class Hosts:
    """A number of pretend machines on one network.

    Args:
        folder: An empty folder for what holds them up.
        addresses: Name of each machine to its IPv4 address, all of one /24 network.
        kept: Folders that every machine must see, such as the environment's.
    """

    def __init__(
        self, folder: Path, addresses: Mapping[str, str], kept: Sequence[Path]
    ) -> None:
        self.addresses = dict(addresses)
        self.shared = folder / "shared"
        """What they see as /mnt/shared."""
        self._folder = folder
        self._kept = [str(path) for path in kept if _is_hidden(path)]
        self._tag = uuid.uuid4().hex[:6]
        self._inits: dict[str, subprocess.Popen[bytes]] = {}
        self._disks: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        """Start all of them; when this returns, each answers over SSH."""
        self.shared.mkdir(parents=True)
        for name in ("key", "hostkey"):
            _call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._folder / name))
        lines = [f"{address} {name}\n" for name, address in self.addresses.items()]
        (self._folder / "hosts").write_text("".join(lines))
        (self._folder / "profile").write_text(f"export PATH={_binaries()}:$PATH\n")
        self._insert_disks()
        _call("ip", "netns", "add", self._net("lan"))
        _call("ip", "-n", self._net("lan"), "link", "add", "lan", "type", "bridge")
        _call("ip", "-n", self._net("lan"), "link", "set", "lan", "up")
        for name in self.addresses:
            self.plug_in(name)

    def plug_in(self, name: str) -> None:
        """Start one of them: the first time new from the factory, later with its old disk."""
        assert self._disks is not None
        net, lan, address = self._net(name), self._net("lan"), self.addresses[name]
        _call("ip", "netns", "add", net)
        _call(
            *("ip", "link", "add", name, "netns", lan, "type", "veth"),
            # The same card after a power cut: the others know a machine by it for minutes.
            *("peer", "name", "eth0", "netns", net, "address", _card(address)),
        )
        _call("ip", "-n", lan, "link", "set", name, "master", "lan", "up")
        _call("ip", "-n", net, "addr", "add", f"{address}/24", "dev", "eth0")
        for link in ("eth0", "lo"):
            _call("ip", "-n", net, "link", "set", link, "up")
        (self._folder / name).mkdir(exist_ok=True)
        (self._folder / name / "ready").unlink(missing_ok=True)
        with (self._folder / f"{name}.log").open("wb") as log:
            self._inits[name] = subprocess.Popen(
                [
                    # However the tests end, the machine ends with them.
                    *("setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/run/netns/{net}"),
                    f"--mount=/proc/{self._disks.pid}/ns/mnt",
                    *(
                        "unshare",
                        "--mount",
                        "--pid",
                        "--uts",
                        "--ipc",
                        "--fork",
                        "--kill-child",
                    ),
                    *(str(_INIT), name, address, str(self._folder), *self._kept),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={"PATH": _SEARCHED},
            )
        self._wait_for_sshd(name)

    def cut_power(self, name: str) -> None:
        """Let every process of a machine die at once, and its network with them."""
        process = self._inits.pop(name)
        # The network first: no connection is closed in good manners.
        _call("ip", "-n", self._net("lan"), "link", "del", name)
        _call("ip", "netns", "del", self._net(name))
        process.kill()
        process.wait(_PATIENCE_S)

    def down(self) -> None:
        """End all of them; nothing is left but what lies in their shared folder."""
        for name in list(self._inits):
            self.cut_power(name)
        # Where `up` has failed, there may be others than that of the network.
        for left in Path("/run/netns").glob(f"{self._net('')}*"):
            _call("ip", "netns", "del", left.name)
        if self._disks is not None:
            self._disks.kill()
            self._disks.wait(_PATIENCE_S)

    def _insert_disks(self) -> None:
        """Memory in which every machine's disk lies, for as long as a process holds it."""
        (self._folder / "disks").mkdir()
        script = (
            'mount --make-rprivate / && mount -t tmpfs tmpfs "$0" && echo && exec sleep inf'
        )
        self._disks = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount"),
                *("sh", "-c", script, str(self._folder / "disks")),
            ],
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={"PATH": _SEARCHED},
        )
        assert self._disks.stdout is not None
        assert self._disks.stdout.readline() == b"\n"

    def command(self, name: str, script: str) -> list[str]:
        """What runs a script of the shell on a machine, at home, without SSH."""
        return [
            *("nsenter", "--target", str(self._first_process(name))),
            *("--net", "--mount", "--pid", "--uts", "--ipc", "--root"),
            *(
                "env",
                "--chdir=/",
                "--ignore-environment",
                f"HOME={HOME}",
                "USER=root",
                "TERM=xterm",
            ),
            *("LANG=C.UTF-8", f"PATH={_binaries()}:{_SEARCHED}"),
            *("/bin/bash", "-c", f"cd ~\n{script}"),
        ]

    def run(
        self, name: str, script: str, *, check: bool = True, timeout_s: float = 280
    ) -> "subprocess.CompletedProcess[str]":
        """Run a script to its end; both of its streams are in `stdout`."""
        done = subprocess.run(
            self.command(name, script),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout_s,
        )
        if check:
            assert done.returncode == 0, f"{name}: {script}\n{done.stdout[-6000:]}"
        return done

    def start(self, name: str, script: str) -> "subprocess.Popen[str]":
        """Start a script; nobody reads what it says."""
        return subprocess.Popen(
            self.command(name, script),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def _net(self, name: str) -> str:
        return f"pretend-{self._tag}-{name}"

    def _first_process(self, name: str) -> int:
        outer = self._inits[name].pid
        return int(Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0])

    def _wait_for_sshd(self, name: str) -> None:
        probe = f"exec 3<>/dev/tcp/{self.addresses[name]}/22"
        deadline = time.monotonic() + _PATIENCE_S
        while (
            not (self._folder / name / "ready").exists()
            or self.run(name, probe, check=False).returncode
        ):
            if self._inits[name].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._folder / f"{name}.log").read_text())
            time.sleep(0.05)


def kill_ssh(hosts: Hosts, name: str) -> None:
    """Let every SSH connection that a machine has opened break, as when its cable is pulled."""
    hosts.run(name, "for p in $(pgrep -x ssh | tac); do kill -9 $p; done")


def _card(address: str) -> str:
    return "02:00:" + ":".join(f"{int(part):02x}" for part in address.split("."))


def _binaries() -> str:
    return str(Path(sys.executable).parent)


def _is_hidden(path: Path) -> bool:
    """Whether a machine's own /tmp, or the border of a disk, hides a path from it."""
    return path.is_relative_to("/tmp") or path.stat().st_dev != Path("/").stat().st_dev


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
