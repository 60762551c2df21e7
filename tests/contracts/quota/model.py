"""The rules of the gate in plain Python, for one organization: what the scripts are held to."""

from collections import Counter
from dataclasses import dataclass, field

from broker.quota.gate import Granted, Over, Release, ReserveRequest, Settled, Settlement, StartRequest
from broker.quota.limits import DAY_MS, MINUTE_MS, NUMBER_MAX, Limits, day_of, first_open_day, minute_of
from broker.quota.rebuild import Charged, Unsettled
from schemas.state import Hold

Window = tuple[int, int]
"""Project, and the number of a day or a minute."""


@dataclass
class Taken:
    project_id: int
    hold: Hold
    started: bool
    expires_ms: int


@dataclass
class Model:
    now_ms: int
    spent: Counter[Window] = field(default_factory=Counter)
    held: Counter[Window] = field(default_factory=Counter)
    requests: Counter[Window] = field(default_factory=Counter)
    taken: dict[str, Taken] = field(default_factory=dict)
    settled: dict[str, Charged] = field(default_factory=dict)

    def reserve(self, request: ReserveRequest) -> Granted | Over | Settled:
        self._expire()
        hold = Hold(
            id=request.hold_id,
            nanodollars=request.nanodollars,
            input_tokens=request.input_tokens,
            output_tokens=request.output_tokens,
            day=day_of(self.now_ms),
            minute=minute_of(self.now_ms),
        )
        answer = self._known(hold) or self._take(request.project_id, hold, request.limits)
        if isinstance(answer, Granted) and not answer.started:
            self.taken[hold.id].expires_ms = self.now_ms + request.ttl_ms
        return answer

    def start(self, request: StartRequest) -> Granted | Over | Settled:
        self._expire()
        windows = {"day": day_of(self.now_ms), "minute": minute_of(self.now_ms)}
        hold = request.hold.model_copy(update=windows)
        answer = self._known(hold) or self._take(request.project_id, hold, request.limits)
        if not isinstance(answer, Granted):
            return answer
        self.taken[hold.id].started = True
        return Granted(answer.hold, started=True)

    def settle(self, settlement: Settlement) -> None:
        hold = settlement.hold
        if self._is_settled(hold.id):
            return
        self._give_back(hold.id)
        if hold.day >= first_open_day(self.now_ms):
            self.spent[settlement.project_id, hold.day] += settlement.nanodollars
            self.settled[hold.id] = Charged(
                settlement.project_id, hold.id, hold.day, hold.minute, settlement.nanodollars
            )

    def release(self, release: Release) -> None:
        taken = self.taken.get(release.hold_id)
        if taken is not None and not taken.started:
            self._give_back(release.hold_id)

    def jobs(self, project_id: int) -> int:
        return sum(taken.project_id == project_id for taken in self.taken.values())

    def jobs_in_flight(self, project_id: int) -> int:
        self._expire()
        return self.jobs(project_id)

    def charged(self) -> list[Charged]:
        return [row for row in self.settled.values() if row.day >= first_open_day(self.now_ms)]

    def unsettled(self) -> list[Unsettled]:
        return [
            Unsettled(taken.project_id, taken.hold)
            for taken in self.taken.values()
            if taken.started and taken.hold.day >= first_open_day(self.now_ms)
        ]

    def lose(self) -> None:
        """Everything but the ledger goes, and is made anew from it."""
        charged, unsettled, self.requests = self.charged(), self.unsettled(), Counter()
        self.taken = {item.hold.id: Taken(item.project_id, item.hold, True, 0) for item in unsettled}
        self.settled = {row.hold_id: row for row in charged}
        self.spent, self.held = Counter(), Counter()
        for row in charged:
            self.spent[row.project_id, row.day] += row.nanodollars
            self.requests[row.project_id, row.minute] += 1
        for item in unsettled:
            self.held[item.project_id, item.hold.day] += item.hold.nanodollars
            self.requests[item.project_id, item.hold.minute] += 1

    def _known(self, hold: Hold) -> Granted | Settled | None:
        if self._is_settled(hold.id):
            settled = self.settled[hold.id]
            return Settled(hold.model_copy(update={"day": settled.day, "minute": settled.minute}))
        taken = self.taken.get(hold.id)
        return None if taken is None else Granted(taken.hold, taken.started)

    def _is_settled(self, hold_id: str) -> bool:
        settled = self.settled.get(hold_id)
        return settled is not None and settled.day >= first_open_day(self.now_ms)

    def _take(self, project_id: int, hold: Hold, limits: Limits) -> Granted | Over:
        refusals = [
            *self._over_dollars(project_id, hold, limits),
            *self._over_requests(project_id, limits),
            *self._over_jobs(project_id, limits),
        ]
        if refusals:
            return max(refusals, key=lambda over: (over.never, over.retry_at_ms, not over.held))
        self.held[project_id, hold.day] += hold.nanodollars
        self.requests[project_id, hold.minute] += 1
        self.taken[hold.id] = Taken(project_id, hold, False, self.now_ms)
        return Granted(hold, started=False)

    def _over_dollars(self, project_id: int, hold: Hold, limits: Limits) -> list[Over]:
        cap = NUMBER_MAX if limits.nanodollars_per_day is None else limits.nanodollars_per_day
        spent, held = self.spent[project_id, hold.day], self.held[project_id, hold.day]
        if spent + held + hold.nanodollars <= cap:
            return []
        turns_ms = (hold.day + 1) * DAY_MS
        never, fits_unheld = hold.nanodollars > cap, spent + hold.nanodollars <= cap
        return [Over("nanodollars_per_day", turns_ms, never=never, held=fits_unheld)]

    def _over_requests(self, project_id: int, limits: Limits) -> list[Over]:
        cap, minute = limits.requests_per_minute, minute_of(self.now_ms)
        if cap is None or self.requests[project_id, minute] < cap:
            return []
        return [Over("requests_per_minute", (minute + 1) * MINUTE_MS, never=cap == 0, held=False)]

    def _over_jobs(self, project_id: int, limits: Limits) -> list[Over]:
        cap = limits.jobs_in_flight
        if cap is None or self.jobs(project_id) < cap:
            return []
        return [Over("jobs_in_flight", self.now_ms, never=cap == 0, held=True)]

    def _give_back(self, hold_id: str) -> None:
        taken = self.taken.pop(hold_id, None)
        if taken is not None:
            self.held[taken.project_id, taken.hold.day] -= taken.hold.nanodollars

    def _expire(self) -> None:
        for hold_id, taken in list(self.taken.items()):
            if not taken.started and taken.expires_ms <= self.now_ms:
                self._give_back(hold_id)
