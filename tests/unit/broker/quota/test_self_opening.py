"""A Redis that will not do holds jobs up: an operator mends it, and none of them ends for it."""

from collections.abc import Sequence
from typing import cast

import pytest

from broker.errors import GateClosed, RedisUnfit
from broker.quota.counters import NodeOf
from broker.quota.gate import ReserveRequest
from broker.quota.rebuild import RebuildSource
from broker.quota.redis_gate import RedisGate
from broker.quota.self_opening import SelfOpeningGate


class Unfit:
    """A Redis whose password was changed, say."""

    async def reserve(self, requests: Sequence[ReserveRequest]) -> None:
        raise RedisUnfit("it does not know this user")

    async def jobs_in_flight(self, nodes: Sequence[NodeOf]) -> None:
        raise GateClosed("it lost its counters")

    async def rebuild(self, source: RebuildSource) -> None:
        raise RedisUnfit("it does not know this user")


async def test_what_an_operator_must_mend_is_waited_for() -> None:
    noticed: list[str] = []
    gate = SelfOpeningGate(
        cast(RedisGate, Unfit()), cast(RebuildSource, None), lambda: noticed.append("closed")
    )
    with pytest.raises(GateClosed, match="this user") as raised:
        await gate.reserve([])
    assert raised.value.retryable
    assert noticed == []
    with pytest.raises(GateClosed, match="this user"):
        await gate.jobs_in_flight([])
    assert noticed == ["closed"]
