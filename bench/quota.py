"""Half a core for a client: a CPU quota by cgroup, as a container platform sets it.

cgroup v2 (cpu.max) or v1 (cpu.cfs_quota_us), whichever is mounted with a cpu controller, in a group of our own below
the one that this process is in. The kernel hands out the quota per period of 100 ms, so a client that has used up its
share stands still until the period ends: tail latencies come in steps of that size, in production as here.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path
from types import TracebackType

PERIOD_US = 100_000
_numbers = itertools.count()


class QuotaUnavailableError(Exception):
    """No quota can be set here; the text says why and what would allow it."""


class CpuQuota:
    """A group with `cores` of CPU for the processes put into it; also a context manager that removes it.

    Raises QuotaUnavailableError where the system does not permit it.
    """

    def __init__(self, cores: float) -> None:
        self.directory, is_v2 = _new_group()
        quota_us = int(cores * PERIOD_US)
        try:
            if is_v2:
                (self.directory / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
            else:
                (self.directory / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (self.directory / "cpu.cfs_quota_us").write_text(str(quota_us))
        except OSError as error:
            self.close()
            raise QuotaUnavailableError(_why(error)) from error

    def limit(self, pid: int) -> None:
        """Puts a process, with what it starts from now on, under the quota."""
        try:
            (self.directory / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            raise QuotaUnavailableError(_why(error)) from error

    def processes(self) -> list[int]:
        """The ids of those under the quota now."""
        return [int(pid) for pid in (self.directory / "cgroup.procs").read_text().split()]

    def close(self) -> None:
        """Removes the group; its processes must have ended."""
        with contextlib.suppress(OSError):
            self.directory.rmdir()

    def __enter__(self) -> CpuQuota:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _new_group() -> tuple[Path, bool]:
    parent, is_v2 = _own_group()
    directory = parent / f"holisticpool-bench-{os.getpid()}-{next(_numbers)}"
    try:
        if is_v2 and "cpu" not in (parent / "cgroup.subtree_control").read_text().split():
            (parent / "cgroup.subtree_control").write_text("+cpu")
        directory.mkdir()
    except OSError as error:
        raise QuotaUnavailableError(_why(error)) from error
    return directory, is_v2


def _own_group() -> tuple[Path, bool]:
    """The directory of the group that this process is in, in the hierarchy with the cpu controller; and if it is v2."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        memberships = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError as error:
        raise QuotaUnavailableError("no cgroups: this is not Linux, or /proc is not mounted") from error
    for _, controllers, path in memberships:
        for _, mount_point, kind, flags, *_ in mounts:
            is_v1_cpu = kind == "cgroup" and "cpu" in controllers.split(",") and "cpu" in flags.split(",")
            is_v2_cpu = kind == "cgroup2" and not controllers and _offers_cpu(Path(mount_point))
            if is_v1_cpu or is_v2_cpu:
                group = Path(mount_point) / path.lstrip("/")
                # A container may see a path of its host that is not mounted inside it.
                return (group if group.is_dir() else Path(mount_point)), is_v2_cpu
    raise QuotaUnavailableError("no cgroup hierarchy with a cpu controller is mounted")


def _offers_cpu(mount_point: Path) -> bool:
    try:
        return "cpu" in (mount_point / "cgroup.controllers").read_text().split()
    except OSError:
        return False


def _why(error: OSError) -> str:
    return (
        f"cannot set a CPU quota ({error.strerror}: {error.filename}): run as root, or in a delegated group"
        " (systemd-run --user --scope -p Delegate=cpu), or start the bench itself with `docker run --cpus 0.5`"
    )
