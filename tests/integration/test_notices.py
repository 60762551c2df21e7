"""An organization is told that half of a budget is used: on the topic `events`, and by a signed webhook."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest_asyncio
from aiohttp import web
from aiokafka import AIOKafkaConsumer, TopicPartition

from broker.ops import projects
from broker.ops.projects import Address
from broker.store.database import Database
from headworks.client import Answered
from schemas import topics
from schemas.notice import Notice
from tests.stack import DEADLINE_S, RealStack
from tests.stack.fixtures import QUICK
from tests.stack.jobs import chat

SETTINGS = QUICK | {
    "HEADWORKS_WEBHOOKS__PRIVATE_ADDRESSES": "true",
    "HEADWORKS_WEBHOOKS__LOOK_EVERY_S": "0.2",
}


@dataclass
class Receiver:
    url: str = ""
    taken: asyncio.Queue[tuple[dict[str, str], bytes]] = field(default_factory=asyncio.Queue)

    async def take(self, request: web.Request) -> web.Response:
        self.taken.put_nowait((dict(request.headers), await request.read()))
        return web.Response(status=204)


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    app = web.Application()
    app.router.add_post("/hook", found.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield found
    await runner.cleanup()


async def _webhook(stack: RealStack, organization: str, url: str) -> bytes:
    """The secret, as it is shown once."""
    command = stack.command(
        "webhooks", "add", organization, url, HEADWORKS_WEBHOOKS__PRIVATE_ADDRESSES="true"
    )
    assert await asyncio.to_thread(command.wait) == 0, command.tail()
    (line,) = [line for line in command.tail().splitlines() if line.startswith("whsec_")]
    return base64.b64decode(line.removeprefix("whsec_"))


async def _allow(stack: RealStack, name: str, nanodollars: int) -> None:
    database = await Database.open(stack.settings.database)
    try:
        changes = {"nanodollars_per_day": nanodollars}
        await projects.set_settings(database, Address(name, name), changes)
    finally:
        await database.close()


async def _event(stack: RealStack, notice_id: str) -> bytes:
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.settings.kafka.bootstrap_servers)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topics.EVENTS, 0)])
        await consumer.seek_to_beginning()
        async with asyncio.timeout(DEADLINE_S):
            async for record in consumer:
                if dict(record.headers)["webhook-id"] == notice_id.encode():
                    return bytes(record.value)
    finally:
        await consumer.stop()
    raise AssertionError("the topic ended")


async def test_half_of_a_budget_is_told_once(stack: RealStack, receiver: Receiver, name: str) -> None:
    provider = stack.simulator()
    credential = await stack.application(name)
    secret = await _webhook(stack, name, receiver.url)
    worker = stack.worker("all", extra=SETTINGS)
    async with stack.client(credential) as client:
        result = await client.run(chat())
    assert isinstance(result, Answered)
    await _allow(stack, name, result.cost_nanodollars * 10 // 6)
    async with asyncio.timeout(DEADLINE_S):
        headers, body = await receiver.taken.get()
    data = Notice.model_validate(json.loads(body)).data
    assert (data.organization, data.subject, data.limit) == (name, f"{name}/{name}", "nanodollars_per_day")
    assert (data.percent, data.used) == (50, result.cost_nanodollars)
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{mac}"
    assert await _event(stack, headers["webhook-id"]) == body
    assert worker.terminate() == 0, worker.tail()
    provider.terminate()
    assert receiver.taken.empty()
