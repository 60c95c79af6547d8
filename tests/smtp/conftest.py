"""What every test of the wire may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme


@pytest.fixture
def ca_file(certificate_authority: trustme.CA, tmp_path: Path) -> str:
    """The file that the relays' certificates can be checked with."""
    file = tmp_path / "ca.pem"
    certificate_authority.cert_pem.write_to_path(str(file))
    return str(file)
