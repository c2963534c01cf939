"""What a new connection is opened with, found anew for each of them.

A pool whose parameters stay the same gives the engine its targets once. Where a
password is a callable, or the parameters were changed, the engine asks a
TargetSource before each connection instead.
"""

from __future__ import annotations

import inspect
from typing import Any

from holisticpool.conninfo import ConnectConfig, Password
from holisticpool.exceptions import ClientConfigurationError
from holisticpool.threads import run_in_thread

__all__ = ("TargetSource",)


class TargetSource:
    """The targets of a ConnectConfig, with a fresh password where that is a callable."""

    def __init__(self, config: ConnectConfig) -> None:
        self.config = config
        self._resolved: tuple[ConnectConfig, list[dict[str, str]]] | None = None

    @property
    def is_constant(self) -> bool:
        """Whether every connection is opened with the same parameters."""
        return self.config.password is None

    async def resolve(self) -> list[dict[str, str]]:
        """The targets as far as they stay the same: DSN, files, environment. Runs in a thread, once."""
        config = self.config
        if self._resolved is None or self._resolved[0] is not config:
            targets = await run_in_thread(config.targets)
            self._resolved = (config, targets)
            return targets
        return self._resolved[1]

    async def __call__(self) -> list[dict[str, str]]:
        """The targets for one connection. Raises what the password's callable raises."""
        password = self.config.password
        targets = await self.resolve()
        if password is None:
            return targets
        return [_with_password(target, text) for text in (await _ask(password),) for target in targets]


async def _ask(password: Password) -> str | None:
    text: Any = password()
    if inspect.isawaitable(text):
        text = await text
    if text is not None and not isinstance(text, str):
        raise ClientConfigurationError(
            f"password: the callable is expected to return a string, it returned {type(text).__name__}"
        )
    if text is not None and "\0" in text:
        raise ClientConfigurationError("password must not hold a zero byte")
    return text


def _with_password(target: dict[str, str], password: str | None) -> dict[str, str]:
    rest = {name: value for name, value in target.items() if name != "password"}
    return rest if password is None else {**rest, "password": password}
