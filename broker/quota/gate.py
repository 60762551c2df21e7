"""The gate: no provider is called without money and quota held for the call.

The life of a hold:

    reserve ──▶ held ── start ──▶ started ── settle ──▶ settled
                 │ └─ release, or its time runs out ──▶ (nothing; its id may reserve again)
                 └─ settle ──▶ settled

- A held one expires by itself. A started one never does: it counts against its budget until it is settled.
- At every instant what is spent plus what is held is within the cap.
- Every verb is idempotent by the hold's id, and takes a batch: all requests of one organization go in one
  script, all organizations in one round trip. Each request stands for itself: one that is over its limit
  does not keep the others from theirs.
- A request takes from every level of its budget (organization, project, key) or from none. Each node counts,
  whether it has limits or not, so that one that is set later finds what was spent before.
- Requests and tokens a minute are used up by reserving; what a settlement finds to be less is given back if
  that minute is still open.
- Time is the gate's own clock (that of Redis), so that workers need not agree on it; where days and months
  begin is told by `broker.quota.calendar`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

from broker.quota.budget import Budget
from broker.quota.counters import Counters, NodeOf
from broker.quota.limits import Level, Reason
from schemas.state import Charge, Hold, State


@dataclass(frozen=True, slots=True)
class ReserveRequest:
    """`ttl_ms`: how long the hold waits for its start. Reserving again under the same id begins it anew.

    `jobs_in_flight_max` bounds the project's jobs in flight beside its own limit.
    """

    hold_id: str
    budget: Budget
    nanodollars: int
    input_tokens: int
    output_tokens: int
    ttl_ms: int
    jobs_in_flight_max: int | None = None

    @property
    def organization_id(self) -> int:
        return self.budget.organization_id


@dataclass(frozen=True, slots=True)
class StartRequest:
    hold: Hold
    budget: Budget

    @property
    def organization_id(self) -> int:
        return self.budget.organization_id


class Settlement(NamedTuple):
    """`nanodollars` and `tokens` are what the attempt really used, counted in the windows of `hold`."""

    hold: Hold
    organization_id: int
    project_id: int
    key_id: str
    nanodollars: int
    tokens: int

    @classmethod
    def of(cls, state: State, charge: Charge) -> Self:
        return cls(
            charge.hold,
            state.organization_id,
            state.project_id,
            state.key_id,
            charge.nanodollars,
            charge.tokens,
        )


class Change(NamedTuple):
    """By how much the charges of a key on one day became more, or less."""

    project_id: int
    key_id: str
    day: int
    nanodollars: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Corrections:
    """Of one organization's charges of one month, as written together; `id` names them."""

    id: int
    organization_id: int
    month: int
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class Release:
    hold_id: str
    organization_id: int


@dataclass(frozen=True, slots=True)
class Granted:
    """`hold` is the one on record: taken just now, or before under the same id, in the windows of then."""

    hold: Hold
    started: bool


@dataclass(frozen=True, slots=True)
class Over:
    """Nothing was taken."""

    reason: Reason
    level: Level
    """Whose limit it is."""
    retry_at_ms: int
    """When the window turns; for jobs in flight, which no window ends: now."""
    never: bool
    """The request alone is more than the limit: no window will fit it."""
    held: bool
    """Only what is held stands in the way, and settling may free it before the window turns."""

    @property
    def code(self) -> str:
        """The limit's name, and whose it is if not the project's: what a job that waits is parked for."""
        return self.reason if self.level == "project" else f"{self.level}_{self.reason}"


@dataclass(frozen=True, slots=True)
class Settled:
    """The id's hold was settled before. Nothing was taken and the provider must not be called under it."""

    hold: Hold


class Gate(Protocol):
    """Every verb raises RedisUnavailable, and GateClosed until `rebuild` has been called.

    A verb that raised may have done its work for some of the batch: call it again with the same batch.
    """

    async def reserve(self, requests: Sequence[ReserveRequest]) -> list[Granted | Over | Settled]:
        """Hold money and quota: one answer a request, in order."""
        ...

    async def start(self, requests: Sequence[StartRequest]) -> list[Granted | Over | Settled]:
        """Just before the calls: mark the holds as started.

        One that has expired meanwhile, or that the gate lost, is taken anew under its id in the present
        windows if it fits: go on with the hold in the answer.
        """
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Give back what was held and count what was spent, once a hold id.

        A hold that the gate does not know (expired, or lost) is counted all the same, unless it belongs to a
        day before yesterday: of those a hold that is not there was settled. Windows that are closed are
        counted in no more: days before yesterday, months that ended before it.
        """
        ...

    async def release(self, releases: Sequence[Release]) -> None:
        """Give back holds that never started; others are left alone. The id may reserve again."""
        ...

    async def jobs_in_flight(self, nodes: Sequence[NodeOf]) -> list[int]:
        """How many holds each has, held and started: one answer a node, in order."""
        ...

    async def counters(self, nodes: Sequence[NodeOf]) -> list[Counters]:
        """What each counts now: one answer a node, in order."""
        ...
