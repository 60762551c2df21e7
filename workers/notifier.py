"""Tells organizations how far their budgets are used, and what else there is to tell: looks, enters notices,
and delivers those that are due.

Every process with SETTLE does so; the store lets each notice be entered once and delivered by one of them.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, NamedTuple, Protocol, Self

import orjson
import structlog

import schemas.notice
from broker.errors import HeadworksError, Unavailable
from broker.quota.thresholds import Crossing, Used, crossings
from broker.records import Outgoing
from broker.store.notices import EVENTS, Delivery, Notice, Notices
from broker.telemetry.events import Event
from broker.telemetry.metrics import Metrics
from broker.webhooks import Delivered, Message, Webhooks
from schemas import headers, topics
from schemas.notice import BudgetThreshold

RETRY_AFTER_MS: Final = tuple(
    seconds * 1000 for seconds in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
"""Between the tries of a delivery, as Standard Webhooks suggests: about three days in all."""

KEPT_MS: Final = 400 * 86_400_000
"""How long a notice is remembered, so that it is not given again: longer than any window is open."""

_HOPELESS: Final = frozenset({"removed", "url_invalid"})
"""What no later try can mend: a webhook's address is never changed, only removed and added anew."""

_CLAIMED_MAX = 20
_FORGET_EVERY = 1_000
_LEAVE_S = 5.0
_log = structlog.stdlib.get_logger(__name__)


class Standing(NamedTuple):
    """What is used of one node's limits over days and months. `subject`: as operators name the node."""

    organization_id: int
    organization: str
    subject: str
    used: Mapping[str, Used]


class Sender(Protocol):
    async def send_all(self, records: Sequence[Outgoing]) -> Any: ...


class Notifier:
    """`async with Notifier(...)`: a round every `every_s`."""

    def __init__(
        self,
        standings: Callable[[], Awaitable[Sequence[Standing]]],
        notices: Notices,
        producer: Sender,
        webhooks: Webhooks,
        secret_of: Callable[[Any], bytes],
        clock: Callable[[], int],
        metrics: Metrics,
        every_s: float,
    ) -> None:
        """`standings` reads what is used now; `secret_of` unwraps a webhook's secret; `clock` in ms."""
        self._standings = standings
        self._notices = notices
        self._producer = producer
        self._webhooks = webhooks
        self._secret_of = secret_of
        self._clock = clock
        self._metrics = metrics
        self._every_s = every_s
        self._others: list[Callable[[], Awaitable[None]]] = []
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def also(self, look: Callable[[], Awaitable[None]]) -> None:
        """Before it is entered: `look` enters notices of other things, in each round."""
        self._others.append(look)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._always(), name="notifier")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lets a round end, within a deadline: a delivery under way may still arrive."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_LEAVE_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _always(self) -> None:
        rounds = 0
        while not self._stopping.is_set():
            for act in (self.look, *self._others, self.deliver):
                await self._survived(act)
            if rounds % _FORGET_EVERY == 0:
                await self._survived(self._forget)
            rounds += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._every_s)

    async def _survived(self, act: Callable[[], Awaitable[None]]) -> None:
        """The next round finds what this one leaves, whatever became of it."""
        try:
            await act()
        except Exception as error:  # noqa: BLE001 - counted and logged
            self._metrics.trouble("notify", error)

    async def look(self) -> None:
        """Enter a notice for every threshold that is reached. Raises Unavailable."""
        at_ms = self._clock()
        found = [notice for standing in await self._standings() for notice in _notices(standing, at_ms)]
        await self._notices.enter(found)

    async def deliver(self) -> None:
        """Try the deliveries that are due; none stops another. Raises Unavailable."""
        while not self._stopping.is_set() and (claimed := await self._notices.claim(_CLAIMED_MAX)):
            for failed in await asyncio.gather(*map(self._deliver, claimed), return_exceptions=True):
                if failed is not None:
                    self._metrics.trouble("notify", failed)

    async def _deliver(self, delivery: Delivery) -> None:
        """Raises Unavailable where its end cannot be noted: it is due again when its claim is over."""
        code = await self._tried(delivery)
        self._metrics.notice("events" if delivery.destination == EVENTS else "webhook", code or "delivered")
        if code is not None and delivery.destination != EVENTS:
            _log.warning(Event.NOTICE_UNDELIVERED, webhook=delivery.destination, code=code)
        if code is None or code in _HOPELESS or delivery.tries > len(RETRY_AFTER_MS):
            await self._notices.ended(delivery, code)
        else:
            await self._notices.later(delivery, code, RETRY_AFTER_MS[delivery.tries - 1])

    async def _tried(self, delivery: Delivery) -> str | None:
        """How it failed, if so; also in a way that nobody foresaw, or it would be tried without end."""
        try:
            return await (self._publish if delivery.destination == EVENTS else self._post)(delivery)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - counted and logged
            self._metrics.trouble("notify", error)
            return HeadworksError.code

    async def _publish(self, delivery: Delivery) -> str | None:
        notice = delivery.notice
        about = [(headers.CONTENT_TYPE, b"application/json"), (headers.WEBHOOK_ID, notice.id.encode())]
        key = str(notice.organization_id).encode()
        try:
            record = Outgoing(topics.EVENTS, key, _encoded(notice), about, by_key=True)
            await self._producer.send_all([record])
        except HeadworksError as error:
            return error.code
        return None

    async def _post(self, delivery: Delivery) -> str | None:
        hook = await self._notices.hook(delivery.destination)
        if hook is None:
            return "removed"
        try:
            secret = self._secret_of(hook)
        except HeadworksError as error:
            return error.code
        message = Message(delivery.notice.id, self._clock() // 1000, _encoded(delivery.notice))
        result = await self._webhooks.deliver(hook.url, secret, message)
        return None if isinstance(result, Delivered) else result.code

    async def _forget(self) -> None:
        await self._notices.forget(self._clock() - KEPT_MS)


def _notices(standing: Standing, at_ms: int) -> list[Notice]:
    """Pure."""
    timestamp = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")
    found = []
    for crossing in crossings(standing.used):
        told = BudgetThreshold.model_validate(
            {
                "organization": standing.organization,
                "subject": standing.subject,
                "limit": crossing.limit,
                "window": crossing.window,
                "percent": crossing.percent,
                "used": crossing.amount,
                "cap": crossing.cap,
            }
        )
        body = schemas.notice.Notice(timestamp=timestamp, data=told).model_dump(mode="json")
        found.append(Notice(_id(standing, crossing), standing.organization_id, body))
    return found


def _id(standing: Standing, crossing: Crossing) -> str:
    """Of a limit that was changed its owner is told anew."""
    about = (
        standing.organization_id,
        standing.subject,
        crossing.limit,
        crossing.window,
        crossing.percent,
        crossing.cap,
    )
    return f"msg_{hashlib.sha256('|'.join(map(str, about)).encode()).hexdigest()[:40]}"


def _encoded(notice: Notice) -> bytes:
    return orjson.dumps(notice.body, option=orjson.OPT_SORT_KEYS)
