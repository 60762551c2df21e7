import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack

import pytest
from pydantic import SecretStr

from broker.providers.provider import Call, Result
from broker.providers.registry import Providers
from broker.providers.routes import Target
from broker.settings import ProviderTarget
from tests.unit.broker.providers.wire import KEY, Ask, Connect, Handler, Serve, Server


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def serve(stack: AsyncExitStack) -> Serve:
    async def serve(handle: Handler) -> Server:
        server = Server(handle)
        listener = await asyncio.start_server(server.connected, "127.0.0.1", 0)
        await stack.enter_async_context(listener)
        server.base_url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        return server

    return serve


@pytest.fixture
def connect(stack: AsyncExitStack) -> Connect:
    async def connect(base_url: str, **settings: float) -> Ask:
        target = ProviderTarget.model_validate({"base_url": base_url, "api_key": SecretStr(KEY), **settings})
        providers = await Providers.open({"t": target})
        stack.push_async_callback(providers.close)

        def ask(call: Call) -> Awaitable[Result]:
            return providers.call(Target("t", "m"), call)

        return ask

    return connect
