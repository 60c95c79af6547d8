"""TLS for a relay of the demo, where this installation has what it takes."""

from __future__ import annotations

import ssl
from pathlib import Path


def certified(host: str, ca_file: Path) -> ssl.SSLContext | None:
    """Return a context to serve ``host`` with, and write to ``ca_file`` whom to trust for it.

    None, and nothing is written, without `trustme`, which comes with the extra ``dev``.
    """
    try:
        import trustme
    except ImportError:
        return None
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context
