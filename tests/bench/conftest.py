"""Makes `bench` importable however pytest was started; last on the path, so that an installed holisticpool wins."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
