"""What every test of the wire may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from tests.smtp import parts


@pytest.fixture(params=["stepwise", "pipelined"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to carry a transaction: step by step, and in groups of commands."""
    monkeypatch.setattr(parts, "PIPELINING", request.param == "pipelined")
    return str(request.param)


@pytest.fixture
def ca_file(certificate_authority: trustme.CA, tmp_path: Path) -> str:
    """The file that the relays' certificates can be checked with."""
    file = tmp_path / "ca.pem"
    certificate_authority.cert_pem.write_to_path(str(file))
    return str(file)
