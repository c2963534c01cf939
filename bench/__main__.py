"""The command line: `python -m bench COMMAND`."""

from __future__ import annotations
