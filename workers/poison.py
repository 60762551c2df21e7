"""What becomes of a record that a stage cannot handle: kept with its bytes, and its job ended."""

from collections.abc import Awaitable, Callable

from broker.errors import HeadworksError, NotBelieved
from broker.records import Incoming, Inner
from schemas.outcomes import Dead, StageName
from schemas.reasons import Failure, Unauthentic
from schemas.topics import Coordinate
from workers.engine.source import Unreadable
from workers.outlets import coordinate
from workers.tools import Tools


class Poison:
    """`async poison(record, error)` for one stage; raises Unavailable where it must be tried again."""

    def __init__(
        self,
        stage: StageName,
        tools: Tools,
        identify: Callable[[Incoming], Inner | None] | None = None,
        pass_over: Callable[[Coordinate], Awaitable[None]] | None = None,
    ) -> None:
        """`identify`: the job of a record that bears no seal yet, or None where it is nobody's.

        `pass_over`: told of each record once it is kept, by a stage that has its position on record.
        """
        self._stage: StageName = stage
        self._producer = tools.producer
        self._sealer = tools.sealer
        self._metrics = tools.metrics
        self._outlets = tools.outlets
        self._identify = identify or self._sealed
        self._pass_over = pass_over

    async def __call__(self, record: Incoming | Unreadable, error: BaseException | None) -> None:
        await self._keep(record, error)
        if self._pass_over is not None:
            await self._pass_over(Coordinate(record.topic, record.partition, record.offset))

    async def _keep(self, record: Incoming | Unreadable, error: BaseException | None) -> None:
        reason = (Unauthentic.UNDECODABLE if error is None else Failure.INTERNAL_ERROR).value
        self._metrics.dead_letter(self._stage, reason)
        if isinstance(record, Unreadable):
            place = Coordinate(record.topic, record.partition, record.offset)
            letter = self._outlets.unreadable(place, self._stage, record.error, record.raw)
            await self._producer.send(letter)
            return
        inner = self._identify(record)
        if inner is None or self._stage == "settle":
            detail = error.code if isinstance(error, HeadworksError) else type(error).__name__
            await self._producer.send(self._outlets.dead_record(record, self._stage, reason, detail))
        else:
            await self._end(record, inner)

    def _sealed(self, record: Incoming) -> Inner | None:
        try:
            return self._sealer.open(record)
        except NotBelieved:
            return None

    async def _end(self, record: Incoming, inner: Inner) -> None:
        reason = Failure.INTERNAL_ERROR
        letter = self._outlets.dead_job(inner, self._stage, reason.value, coordinate(record))
        place = str(await self._producer.send(letter))
        outcome = Dead(reason=reason, dead_letter=place)
        await self._producer.send(self._outlets.failed(inner.state, outcome, "dead", reason.value, place))
