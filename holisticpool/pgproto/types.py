"""``from asyncpg.pgproto.types import Point``: the classes of holisticpool.types under this name."""

from __future__ import annotations

from holisticpool.types import BitString as BitString
from holisticpool.types import Box as Box
from holisticpool.types import Circle as Circle
from holisticpool.types import Line as Line
from holisticpool.types import LineSegment as LineSegment
from holisticpool.types import Path as Path
from holisticpool.types import Point as Point
from holisticpool.types import Polygon as Polygon

__all__ = ("BitString", "Box", "Circle", "Line", "LineSegment", "Path", "Point", "Polygon")
