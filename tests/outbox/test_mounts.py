from __future__ import annotations

from pathlib import Path

import pytest

from mailqueue.outbox.mounts import NETWORK, filesystem

MOUNTINFO = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /tmp rw shared:5 - tmpfs tmpfs rw
40 22 0:40 / /mnt/mail rw shared:9 master:2 - nfs4 server:/mail rw
41 40 8:2 / /mnt/mail/local rw - xfs /dev/sdb rw
42 22 0:41 / /mnt/with\\040space rw - cifs //server/share rw
43 41 0:42 / /mnt/mail/local rw - btrfs /dev/sdc rw
a line that is none
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/mailqueue", "ext4"),
        ("/tmp", "tmpfs"),
        ("/tmpfoo", "ext4"),
        ("/mnt/mail/queue", "nfs4"),
        ("/mnt/mail/local/queue", "btrfs"),
        ("/mnt/with space/queue", "cifs"),
    ],
)
def test_the_innermost_mount_counts(tmp_path: Path, path: str, kind: str) -> None:
    """The longest place that the path is below, the later of two, with its escapes undone."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTINFO)
    assert filesystem(Path(path), mounts=mounts) == kind


def test_this_machine(tmp_path: Path) -> None:
    """On Linux the type is known, and where it cannot be known nothing is claimed."""
    assert filesystem(tmp_path)
    assert filesystem(tmp_path, mounts=tmp_path / "none") is None
    assert {"nfs", "nfs4", "cifs", "9p"} <= NETWORK
