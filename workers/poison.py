"""What becomes of a record that a stage cannot handle: kept with its bytes, and its job ended."""

from collections.abc import Awaitable, Callable

from broker.errors import HeadworksError, NotBelieved
from broker.records import Incoming, Inner
from schemas.outcomes import Dead, StageName, Unknown
from schemas.reasons import Failure, Notice, Unauthentic
from schemas.topics import Coordinate
from workers.engine.source import Unreadable
from workers.outlets import coordinate
from workers.tools import Tools
from workers.verdict import GiveUp, Step, Unresolved


class Poison:
    """`async poison(record, error)` for one stage; raises Unavailable where it must be tried again."""

    def __init__(
        self,
        stage: StageName,
        tools: Tools,
        identify: Callable[[Incoming], Inner | None] | None = None,
        pass_over: Callable[[Coordinate], Awaitable[None]] | None = None,
        break_off: Callable[[Inner], Awaitable[Step]] | None = None,
    ) -> None:
        """`identify`: the job of a record that bears no seal yet, or None where it is nobody's.

        `pass_over`: told of each record once it is kept, by a stage that has its position on record.
        `break_off`: how a job ends, with its charges, at a stage that may have begun an attempt of it.
        """
        self._stage: StageName = stage
        self._producer = tools.producer
        self._sealer = tools.sealer
        self._metrics = tools.metrics
        self._outlets = tools.outlets
        self._identify = identify or self._sealed
        self._pass_over = pass_over
        self._break_off = break_off or _uncharged

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
        step = await self._break_off(inner)
        reason = Failure.INTERNAL_ERROR
        if isinstance(step, Unresolved):
            unknown, code = Unknown(reason=reason), Notice.OUTCOME_UNKNOWN.value
            await self._producer.send(self._outlets.failed(step.state, unknown, "unknown", code, None))
            return
        ended = inner._replace(state=step.state)
        letter = self._outlets.dead_job(ended, self._stage, reason.value, coordinate(record))
        place = str(await self._producer.send(letter))
        outcome = Dead(reason=reason, dead_letter=place)
        await self._producer.send(self._outlets.failed(step.state, outcome, "dead", reason.value, place))


async def _uncharged(inner: Inner) -> Step:
    return GiveUp(inner.state, Failure.INTERNAL_ERROR)
