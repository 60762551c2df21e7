"""What happened in one run, as data: all that the checker knows. Times are Unix seconds."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True, order=True)
class AttemptId:
    job_id: UUID
    run: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Published:
    """A job whose publish was acknowledged."""

    application: str
    job_id: UUID
    at_s: float
    """When it was handed to the client."""
    probe: bool = False
    """The provider answers it at once, whatever it does to others."""
    at_most_once: bool = False
    called_off: bool = False
    """Its application called it off afterwards, or tried to."""


@dataclass(frozen=True, slots=True)
class Step:
    """A record of the job on a topic that the broker wrote or read it from."""

    job_id: UUID
    topic: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Call:
    """As the provider logged it, before it answered. `status`: None where no status line went out."""

    id: AttemptId
    at_s: float
    status: int | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """The intent to call."""

    id: AttemptId
    owner_pid: int | None
    """None where the worker has left in good order."""
    at_s: float
    lease_until_s: float | None = None
    """When the lease of that worker ran out, or would have; by the database's clock."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an attempt ended that gave its job no outcome."""

    id: AttemptId
    kind: str
    reason: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Terminal:
    job_id: UUID
    run: int
    kind: str
    value_sha256: str
    nanodollars: int


@dataclass(frozen=True, slots=True)
class Charge:
    id: AttemptId
    project: str
    day: int
    hold_id: str
    verdict: str
    nanodollars: int


@dataclass(frozen=True, slots=True)
class Reply:
    """A record of a reply topic."""

    job_id: UUID
    run: int
    value_sha256: str
    nanodollars: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Sample:
    """What the gate counted for a project and day at one moment; in nano-dollars."""

    project: str
    day: int
    spent: int
    held: int


@dataclass(frozen=True, slots=True)
class Harm:
    """A fault that was carried out, from its first signal until all was whole again."""

    kind: str
    began_s: float
    ended_s: float
    pids: tuple[int, ...] = ()
    """Of the workers that it struck."""


@dataclass(frozen=True, slots=True)
class History:
    budgets: dict[str, int]
    """Nano-dollars a day, by project."""
    published: tuple[Published, ...] = ()
    steps: tuple[Step, ...] = ()
    calls: tuple[Call, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    terminals: tuple[Terminal, ...] = ()
    charges: tuple[Charge, ...] = ()
    replies: tuple[Reply, ...] = ()
    samples: tuple[Sample, ...] = ()
    """While it ran."""
    at_rest: tuple[Sample, ...] = ()
    """When all was quiet."""
    holds: tuple[str, ...] = ()
    """Ids of the holds that the gate still had then."""
    harms: tuple[Harm, ...] = ()
    errors: tuple[str, ...] = ()
    """What went wrong with the run itself."""
