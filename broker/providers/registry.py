"""The providers of this process, one a target."""

from collections.abc import Mapping
from typing import Self

from broker.providers.openai import OpenAIProvider
from broker.providers.provider import Call, Result
from broker.providers.routes import Routes, Target
from broker.settings import ProviderTarget


class Providers:
    def __init__(self, routes: Routes, by_name: Mapping[str, OpenAIProvider]) -> None:
        self.routes = routes
        self._by_name = by_name

    @classmethod
    async def open(cls, targets: Mapping[str, ProviderTarget]) -> Self:
        """One session a target; no connection is made before the first call.

        Raises SettingsInvalid.
        """
        by_name: dict[str, OpenAIProvider] = {}
        try:
            for name, target in targets.items():
                by_name[name] = OpenAIProvider(name, target)
        except BaseException:
            await _close(by_name)
            raise
        return cls(Routes(targets), by_name)

    async def close(self) -> None:
        await _close(self._by_name)

    async def call(self, target: Target, call: Call) -> Result:
        """Never raises for what a server does. Cancelled, it closes the connection."""
        return await self._by_name[target.name].call(call)


async def _close(by_name: Mapping[str, OpenAIProvider]) -> None:
    for provider in by_name.values():
        await provider.close()
