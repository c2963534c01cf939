"""Settings of the property tests here: no time limit for an example, as machines are as busy as they are."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
