"""The rules of the gate in plain Python, for one organization: what the scripts are held to."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from broker.quota.budget import Budget
from broker.quota.calendar import MINUTE_MS, Calendar
from broker.quota.gate import Granted, Over, Release, ReserveRequest, Settled, Settlement, StartRequest
from broker.quota.limits import LEVELS, NUMBER_MAX, Level, Limits, Reason
from broker.quota.rebuild import Unsettled
from schemas.state import Hold, month_of
from tests.contracts.quota.harness import Charged

Place = tuple[str, str]
"""A node, and a field of it: `d:<day>`, `m:<month>` or `i:<minute>`."""


@dataclass
class Span:
    """Of a day or a month."""

    spent: int = 0
    held: int = 0
    tokens: int = 0
    tokens_held: int = 0


@dataclass
class Minute:
    requests: int = 0
    tokens: int = 0


@dataclass
class Taken:
    project_id: int
    key_id: str
    hold: Hold
    started: bool
    expires_ms: int


@dataclass
class Model:
    now_ms: int
    calendar: Calendar
    spans: defaultdict[Place, Span] = field(default_factory=lambda: defaultdict(Span))
    minutes: defaultdict[Place, Minute] = field(default_factory=lambda: defaultdict(Minute))
    taken: dict[str, Taken] = field(default_factory=dict)
    settled: dict[str, Charged] = field(default_factory=dict)
    charges: list[Charged] = field(default_factory=list)
    """All that the ledger would have on record."""

    @property
    def day(self) -> int:
        return self.calendar.day(self.now_ms)

    @property
    def minute(self) -> int:
        return self.now_ms // MINUTE_MS

    @property
    def first_month(self) -> int:
        return month_of(self.day - 1)

    def reserve(self, request: ReserveRequest) -> Granted | Over | Settled:
        self._expire()
        hold = Hold(
            id=request.hold_id,
            nanodollars=request.nanodollars,
            input_tokens=request.input_tokens,
            output_tokens=request.output_tokens,
            day=self.day,
            minute=self.minute,
        )
        budget = _narrowed(request.budget, request.jobs_in_flight_max)
        answer = self._known(hold) or self._take(budget, hold)
        if isinstance(answer, Granted) and not answer.started:
            self.taken[hold.id].expires_ms = self.now_ms + request.ttl_ms
        return answer

    def start(self, request: StartRequest) -> Granted | Over | Settled:
        self._expire()
        windows = {"day": self.day, "month": month_of(self.day), "minute": self.minute}
        hold = request.hold.model_copy(update=windows)
        answer = self._known(hold) or self._take(request.budget, hold)
        if not isinstance(answer, Granted):
            return answer
        self.taken[hold.id].started = True
        return Granted(answer.hold, started=True)

    def settle(self, settlement: Settlement) -> None:
        hold = settlement.hold
        if self._is_settled(hold.id):
            return
        taken = self.taken.get(hold.id)
        if taken is not None:
            self._give_back(hold.id)
            if taken.hold.minute == self.minute:
                for node in nodes(taken.project_id, taken.key_id):
                    counted = self.minutes[node, f"i:{self.minute}"]
                    counted.tokens += settlement.tokens - taken.hold.tokens
        if taken is None and hold.day < self.day - 1:
            return
        charged = Charged(
            settlement.project_id,
            hold.id,
            hold.day,
            hold.minute,
            settlement.nanodollars,
            settlement.tokens,
            settlement.key_id,
        )
        self.charges.append(charged)
        self.settled[hold.id] = charged
        self._spend(charged)

    def release(self, release: Release) -> None:
        taken = self.taken.get(release.hold_id)
        if taken is not None and not taken.started:
            self._give_back(release.hold_id)

    def jobs(self, node: str) -> int:
        return sum(node in nodes(taken.project_id, taken.key_id) for taken in self.taken.values())

    def jobs_in_flight(self, project_id: int) -> int:
        self._expire()
        return self.jobs(f"p{project_id}")

    def unsettled(self) -> list[Unsettled]:
        return [
            Unsettled(taken.project_id, taken.key_id, taken.hold)
            for taken in self.taken.values()
            if taken.started and taken.hold.month >= self.first_month
        ]

    def lose(self) -> None:
        """Everything but the ledger goes, and is made anew from it."""
        unsettled = self.unsettled()
        self.spans, self.minutes = defaultdict(Span), defaultdict(Minute)
        self.taken, self.settled = {}, {}
        for row in self.charges:
            self._spend(row)
            self.settled[row.hold_id] = row
            for node in nodes(row.project_id, row.key_id):
                counted = self.minutes[node, f"i:{row.minute}"]
                counted.requests += 1
                counted.tokens += row.tokens
        for item in unsettled:
            taken = Taken(item.project_id, item.key_id or "", item.hold, True, 0)
            self._hold(taken)

    def tree(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """What is counted in open windows, as `Bench.tree` shows it."""
        found: defaultdict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
        for (node, name), span in self.spans.items():
            found[node][name] = span.spent, span.held, span.tokens, span.tokens_held
        for (node, name), minute in self.minutes.items():
            found[node][name] = minute.requests, minute.tokens
        for node in {each for taken in self.taken.values() for each in nodes(taken.project_id, taken.key_id)}:
            found[node]["jobs"] = (self.jobs(node),)
        return self.of_open_windows(found)

    def of_open_windows(
        self, tree: dict[str, dict[str, tuple[int, ...]]]
    ) -> dict[str, dict[str, tuple[int, ...]]]:
        kept = {
            node: {name: numbers for name, numbers in fields.items() if any(numbers) and self._is_open(name)}
            for node, fields in tree.items()
        }
        return {node: fields for node, fields in kept.items() if fields}

    def _is_open(self, name: str) -> bool:
        kind, _, number = name.partition(":")
        firsts = {"d": self.day - 1, "m": self.first_month, "i": self.minute}
        return kind == "jobs" or int(number) >= firsts[kind]

    def _known(self, hold: Hold) -> Granted | Settled | None:
        if self._is_settled(hold.id):
            settled = self.settled[hold.id]
            windows = {"day": settled.day, "month": settled.month, "minute": settled.minute}
            return Settled(hold.model_copy(update=windows))
        taken = self.taken.get(hold.id)
        return None if taken is None else Granted(taken.hold, taken.started)

    def _is_settled(self, hold_id: str) -> bool:
        settled = self.settled.get(hold_id)
        return settled is not None and settled.day >= self.day - 1

    def _take(self, budget: Budget, hold: Hold) -> Granted | Over:
        refusals = [
            over
            for level, node, limits in _levels(budget)
            for over in self._refusals(level, node, limits, hold)
        ]
        if refusals:
            return max(refusals, key=lambda over: (over.never, over.retry_at_ms, not over.held))
        taken = Taken(budget.project_id, budget.key_id, hold, False, self.now_ms)
        self._hold(taken)
        return Granted(hold, started=False)

    def _refusals(self, level: Level, node: str, limits: Limits, hold: Hold) -> Iterator[Over]:
        day, month = self.spans[node, f"d:{hold.day}"], self.spans[node, f"m:{hold.month}"]
        minute = self.minutes[node, f"i:{hold.minute}"]
        next_minute = (hold.minute + 1) * MINUTE_MS
        tomorrow = self.calendar.start_ms(hold.day + 1)
        next_month = self.calendar.start_ms(_first_day_after(hold))
        cases: list[tuple[Reason, int, int, int, int]] = [
            ("nanodollars_per_day", hold.nanodollars, day.spent, day.held, tomorrow),
            ("requests_per_minute", 1, minute.requests, 0, next_minute),
            ("jobs_in_flight", 1, 0, self.jobs(node), self.now_ms),
            ("tokens_per_minute", hold.tokens, minute.tokens, 0, next_minute),
            ("tokens_per_day", hold.tokens, day.tokens, day.tokens_held, tomorrow),
            ("tokens_per_month", hold.tokens, month.tokens, month.tokens_held, next_month),
            ("nanodollars_per_month", hold.nanodollars, month.spent, month.held, next_month),
        ]
        for reason, amount, spent, held, turns_ms in cases:
            cap = getattr(limits, reason)
            cap = NUMBER_MAX if cap is None else cap
            if spent + held + amount > cap:
                yield Over(reason, level, turns_ms, never=amount > cap, held=spent + amount <= cap)

    def _hold(self, taken: Taken) -> None:
        hold = taken.hold
        self.taken[hold.id] = taken
        for node in nodes(taken.project_id, taken.key_id):
            for window in (f"d:{hold.day}", f"m:{hold.month}"):
                self.spans[node, window].held += hold.nanodollars
                self.spans[node, window].tokens_held += hold.tokens
            self.minutes[node, f"i:{hold.minute}"].requests += 1
            self.minutes[node, f"i:{hold.minute}"].tokens += hold.tokens

    def _give_back(self, hold_id: str) -> None:
        taken = self.taken.pop(hold_id)
        hold = taken.hold
        for node in nodes(taken.project_id, taken.key_id):
            for window in (f"d:{hold.day}", f"m:{hold.month}"):
                self.spans[node, window].held -= hold.nanodollars
                self.spans[node, window].tokens_held -= hold.tokens

    def _spend(self, row: Charged) -> None:
        for node in nodes(row.project_id, row.key_id):
            for window in (f"d:{row.day}", f"m:{row.month}"):
                self.spans[node, window].spent += row.nanodollars
                self.spans[node, window].tokens += row.tokens

    def _expire(self) -> None:
        for hold_id, taken in list(self.taken.items()):
            if not taken.started and taken.expires_ms <= self.now_ms:
                self._give_back(hold_id)


def nodes(project_id: int, key_id: str) -> tuple[str, str, str]:
    return "o", f"p{project_id}", f"k{key_id}"


def _levels(budget: Budget) -> Iterator[tuple[Level, str, Limits]]:
    limits = (budget.organization, budget.project, budget.key)
    yield from zip(LEVELS, nodes(budget.project_id, budget.key_id), limits, strict=True)


def _narrowed(budget: Budget, jobs_in_flight_max: int | None) -> Budget:
    if jobs_in_flight_max is None:
        return budget
    own = budget.project.jobs_in_flight
    cap = jobs_in_flight_max if own is None else min(own, jobs_in_flight_max)
    project = budget.project.model_copy(update={"jobs_in_flight": cap})
    return Budget(
        budget.organization_id, budget.project_id, budget.key_id, budget.organization, project, budget.key
    )


def _first_day_after(hold: Hold) -> int:
    """Of the month that follows the hold's."""
    day = hold.day
    while month_of(day) == hold.month:
        day += 1
    return day
