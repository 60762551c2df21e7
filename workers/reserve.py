"""RESERVE: is there money and quota for it? Taken on all levels or on none, before anything is sent.

admitted.<lane>, and what ADMIT of the same process hands over
  held               → DISPATCH: handed over where it can begin at once, else by reserved.<lane>
  can never fit      → outcomes
  over, for now      → parked, until the window turns, or others of its project have ended
  called off, late   → outcomes
"""

from collections.abc import Mapping, Sequence

from broker.errors import NotBelieved
from broker.identity.directory import Directory
from broker.quota.budget import Budget
from broker.quota.gate import Gate, Granted, Over, Settled
from broker.quota.limits import Level
from broker.quota.lines import LINE_CODES, is_crowded, line_at
from broker.records import Incoming, Inner, Outgoing
from broker.settings import Settings
from broker.store.parking import Parking
from schemas import topics
from schemas.reasons import Refusal
from schemas.state import Hold, State
from schemas.topics import Coordinate
from workers.crowds import Crowds
from workers.handover import Begin
from workers.parked import park, parked_row
from workers.requests import Requests
from workers.tombstones import key_of
from workers.tools import Tools


class Reserve:
    def __init__(
        self,
        settings: Settings,
        tools: Tools,
        directory: Directory,
        gate: Gate,
        parking: Parking,
        crowds: Crowds,
    ) -> None:
        self._crowds = crowds
        self._recheck_ms = settings.reserve.park_recheck_ms
        self._requests = Requests(settings.reserve, directory)
        self._directory = directory
        self._gate = gate
        self._parking = parking
        self._producer = tools.producer
        self._sealer = tools.sealer
        self._clock = tools.clock
        self._metrics = tools.metrics
        self._outlets = tools.outlets
        self._tombstones = tools.tombstones

    async def handle(self, records: Sequence[Incoming]) -> None:
        jobs: list[Inner] = []
        forged: list[Outgoing] = []
        for record in records:
            try:
                jobs.append(self._sealer.open(record))
            except NotBelieved as error:
                self._metrics.dead_letter("reserve", error.reason)
                forged.append(self._outlets.dead_record(record, "reserve", error.reason.value))
        await self.hold(jobs, forged)

    async def hold(
        self, jobs: Sequence[Inner], beside: Sequence[Outgoing], begin: Begin = lambda _: False
    ) -> None:
        """Take the jobs' holds, and publish what follows and is not begun, with what is `beside`. May be
        repeated.
        """
        onward: list[Outgoing] = [*beside]
        parked: list[Inner] = []
        waiting = self._in_line(self._in_time(jobs, onward), parked)
        requests = [self._requests.of(inner.state) for inner in waiting]
        verdicts = await self._gate.reserve(requests)
        for inner, verdict in zip(waiting, verdicts, strict=True):
            self._sort(inner, verdict, onward, parked, begin)
        sent = await self._producer.send_all(onward + [park(self._outlets, inner) for inner in parked])
        budgets = {request.budget.key_id: request.budget for request in requests}
        await self._index(parked, sent[len(onward) :], budgets)

    def _in_time(self, jobs: Sequence[Inner], onward: list[Outgoing]) -> list[Inner]:
        """The jobs to reserve for; what is called off or expired goes straight to `onward`."""
        now_ms = self._clock()
        waiting: list[Inner] = []
        for inner in jobs:
            if self._tombstones.covers(inner.state):
                self._metrics.job("reserve", "cancelled")
                onward.append(self._outlets.cancelled(inner.state, "reserve"))
            elif inner.state.is_unapproved:
                onward.append(self._unapproved(inner.state))
            elif now_ms >= inner.state.deadline_ms:
                self._metrics.job("reserve", "expired")
                onward.append(self._outlets.expired(inner.state, "reserve"))
            else:
                waiting.append(inner)
        return waiting

    def _unapproved(self, state: State) -> Outgoing:
        """A worker that knows nothing of reviews has woken it."""
        self._metrics.job("reserve", Refusal.REVIEW_DENIED.value)
        self._metrics.alarm("unapproved_job")
        return self._outlets.refused(state, "reserve", Refusal.REVIEW_DENIED, "nobody has approved it")

    def _in_line(self, jobs: Sequence[Inner], parked: list[Inner]) -> list[Inner]:
        """The jobs whose turn it is; those behind others that wait for the same room, wait with them."""
        mine: list[Inner] = []
        for inner in jobs:
            level = self._crowds.before(inner.state)
            if level is None:
                mine.append(inner)
            else:
                parked.append(self._crowded(inner, level))
        return mine

    def _crowded(self, inner: Inner, level: Level) -> Inner:
        """It is woken when there is room, or when it is too late."""
        self._metrics.job("reserve", "parked")
        self._crowds.joined(line_at(inner.state, level))
        update = {"due_ms": inner.state.deadline_ms, "parked_for": LINE_CODES[level]}
        return inner._replace(state=inner.state.model_copy(update=update))

    def _sort(
        self,
        inner: Inner,
        verdict: Granted | Over | Settled,
        onward: list[Outgoing],
        parked: list[Inner],
        begin: Begin,
    ) -> None:
        """A hold that is settled belongs to an attempt that is over: DISPATCH finishes it from the ledger."""
        state = inner.state
        self._metrics.hold(type(verdict).__name__.lower())
        if isinstance(verdict, Granted | Settled):
            self._metrics.job("reserve", "passed")
            held = _held(inner, verdict.hold)
            if isinstance(verdict, Settled) or not begin(held):
                onward.append(self._outlets.onward(topics.reserved(state.lane), held, held.state))
        elif is_crowded(verdict):
            parked.append(self._crowded(inner, verdict.level))
        elif verdict.never or (verdict.retry_at_ms >= state.deadline_ms and not verdict.held):
            self._metrics.job("reserve", "over_quota")
            onward.append(self._outlets.refused(state, "reserve", Refusal.OVER_QUOTA, _limit(verdict)))
        else:
            self._metrics.job("reserve", "parked")
            due_ms = min(self._due_ms(verdict), state.deadline_ms)
            update = {"due_ms": due_ms, "parked_for": verdict.code}
            parked.append(inner._replace(state=state.model_copy(update=update)))

    def _due_ms(self, over: Over) -> int:
        """What settling may free is looked for soon; so is what no window ends."""
        now_ms = self._clock()
        if not over.held:
            return over.retry_at_ms
        soon_ms = now_ms + self._recheck_ms
        return min(over.retry_at_ms, soon_ms) if over.retry_at_ms > now_ms else soon_ms

    async def _index(
        self, parked: Sequence[Inner], places: Sequence[Coordinate], budgets: Mapping[str, Budget]
    ) -> None:
        """Whoever calls a job off, or changes a budget, wakes what is parked then. One that is parked at that
        very moment, or was judged by the budget of before, is looked for.
        """
        if not parked:
            return
        await self._parking.park(
            [parked_row(inner, place) for inner, place in zip(parked, places, strict=True)]
        )
        await self._tombstones.refresh()
        await self._directory.refresh()
        again = [
            key_of(inner.state)
            for inner in parked
            if self._tombstones.covers(inner.state) or self._is_outdated(inner.state.key_id, budgets)
        ]
        await self._parking.hasten(again)

    def _is_outdated(self, key_id: str, budgets: Mapping[str, Budget]) -> bool:
        return key_id in budgets and budgets[key_id] != self._directory.budget(key_id)


def _held(inner: Inner, hold: Hold) -> Inner:
    return inner._replace(state=inner.state.model_copy(update={"hold": hold, "parked_for": None}))


def _limit(over: Over) -> str:
    return f"limit: {over.reason} of the {over.level}"
