"""The OIDs of PostgreSQL's built-in types by name ("INT4", "INT4_ARRAY"), read from the header that the codecs use."""

from __future__ import annotations

import re
from pathlib import Path

_HEADER = Path(__file__).resolve().parents[2] / "csrc" / "codec" / "oids.h"

OIDS: dict[str, int] = {
    name: int(oid) for name, oid in re.findall(r"HP_OID_(\w+) = (\d+)", _HEADER.read_text()) if name != "MAX_BUILTIN"
}
