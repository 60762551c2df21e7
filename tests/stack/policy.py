"""Policies for the applications of a pipeline."""

from typing import Any

import orjson

from broker.ops import policies
from broker.ops.projects import Address
from broker.policy.revision import PolicyRevision
from broker.store.database import Database
from broker.store.policies import Policies
from tests.stack.fixtures import Pipeline
from tests.stack.waiting import until


async def activate(pipeline: Pipeline, database: Database, name: str, **document: Any) -> str:
    """For the application's project; returns its revision when the worker decides by it."""
    revision = PolicyRevision.load(orjson.dumps({"version": 1, **document}))
    await policies.activate(database, revision, Address(name, name))
    number = (await Policies(database).beyond(0))[-1].number

    async def adopted() -> bool:
        events = [event for event in pipeline.worker.events() if event["event"] == "policy.adopted"]
        return any(event["number"] >= number for event in events)

    await until(adopted, f"the worker to adopt activation {number}")
    return revision.id
