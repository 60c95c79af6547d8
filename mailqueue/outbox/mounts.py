"""What kind of file system a path is on."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

MOUNTS: Final = Path("/proc/self/mountinfo")

NETWORK: Final = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs",
        "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs",
        "smb3", "smbfs", "vboxsf", "virtiofs",
    }
)  # fmt: skip
"""Where SQLite's locks and shared memory cannot be relied on (sqlite.org/wal.html)."""
FLEETING: Final = frozenset({"ramfs", "tmpfs"})
"""Gone with the machine's power."""


def filesystem(path: Path, *, mounts: Path = MOUNTS) -> str | None:
    """Return the type of the file system that ``path`` is on, such as ``ext4``.

    As Linux tells it (proc(5), mountinfo); None where it cannot be known.
    """
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    real = os.path.realpath(path)
    best, found = "", None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        place = _OCTAL.sub(lambda one: chr(int(one[1], 8)), fields[4])
        # The later of two mounts on one place covers the other.
        if _is_below(real, place) and len(place) >= len(best):
            best, found = place, after.split(" ")[0]
    return found


_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def _is_below(path: str, place: str) -> bool:
    return path == place or path.startswith(place.rstrip("/") + "/")
