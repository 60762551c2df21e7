"""Which faults, when and on whom: the same seed and time give the same plan. Pure."""

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from tests.crucible.mischief import WAY
from tests.stack.detour import Part

Kind = Literal[
    "kill",
    "kill_at",
    "kill_all",
    "pause",
    "renew",
    "roll",
    "join",
    "rewind",
    "echo",
    "widen",
    "flush",
    "full",
    "redis",
    "postgres",
    "kafka",
    "readonly",
    "still",
    "cut",
    "slow",
    "errors",
    "hangs",
    "limits",
    "silence",
]
"""kill, pause, renew    a worker: kill -9, SIGSTOP past its lease, SIGTERM; and then on again
kill_at               a worker dies at a named point of its work
kill_all              kill -9 of every worker at once
roll                  the workers of a group one after the other: SIGTERM, a new start, and readiness
join                  one worker more in a group, which is killed soon: two rebalances
rewind                the workers of a group are killed, and what it has committed is put back
echo                  records of a topic are published again
widen                 a topic gets a partition more
flush                 Redis forgets everything
full                  Redis has no memory left, and refuses what writes
readonly              PostgreSQL reads and writes nothing
redis, postgres,      the server is killed and started again
kafka
still                 a server stands still: its connections are open, and nothing answers
cut                   the connections to a part are reset again and again
slow                  what goes to and from a part is late
errors, hangs,        the provider's answers, for a while
limits, silence
"""

Point = Literal["called_off", "held", "fetched", "intended", "answered", "acknowledged", "committed"]
"""called_off     a cancellation is on record, its offset not committed
held           between hold and publish
fetched        a record is in DISPATCH's hands
intended       the intent to call is on record, under the worker's lease
answered       the provider has answered, and nobody knows
acknowledged   the outcome is acknowledged, its offset not committed
committed      SETTLE's transaction is, and no reply is sent
"""

DECK: Sequence[Kind] = (
    *("kill", "kill", "kill_at", "kill_at", "kill_at", "pause", "renew", "flush"),
    *("redis", "postgres", "still", "cut", "cut", "errors", "hangs", "limits", "silence"),
    *("kill_all", "roll", "join", "rewind", "echo", "full", "readonly", "slow"),
)
"""Every kind comes round; workers die most often."""
ON_REQUEST: Sequence[Kind] = ("widen",)
"""What goes to a new partition waits up to half a minute for its readers to look for it."""
_PARTS: dict[Kind, Sequence[Part]] = {
    "still": ("kafka", "postgres", "redis"),
    "cut": ("kafka", "postgres", "redis", "provider"),
    "slow": ("kafka", "postgres", "redis", "provider"),
}
LEASE_S = 5.0
"""Of a worker."""
RENEW_S = 1.0
_STILL_S: dict[Kind, tuple[float, float]] = {
    "pause": (LEASE_S + 1.5, LEASE_S + 3.0),
    "still": (1.0, LEASE_S + 2.0),
    "cut": (0.5, 3.0),
    "slow": (2.0, 5.0),
    "join": (1.0, 5.0),
    "full": (1.0, LEASE_S + 2.0),
    "readonly": (1.0, LEASE_S + 2.0),
    "errors": (1.0, 4.0),
    "hangs": (1.0, 4.0),
    "limits": (1.0, 4.0),
    "silence": (1.0, 6.0),
    "redis": (0.0, 3.0),
    "postgres": (0.0, 3.0),
    "kafka": (0.0, 3.0),
}
"""How long it lasts; what is not here is over at once. A pause is longer than the lease."""
_PASSES_MAX = 10
_GAP_S = (1.5, 4.0)
_FIRST_S = 3.0
_KAFKA_FROM_S = 45.0
"""Shorter runs leave Kafka alone: its restart takes a third of them."""
_KAFKA_TAKES_S = 15.0


@dataclass(frozen=True, slots=True)
class Fault:
    at_s: float
    """After the start of the load, or as soon as the one before it is over."""
    kind: Kind
    worker: int
    """Index into the workers, for those that strike one."""
    still_s: float
    point: Point
    passes: int
    """At which time of passing the point it dies."""
    part: Part
    """For those that strike one."""
    topic: str
    """For those that strike one."""


def plan(
    seed: int, seconds: float, workers: int, kinds: Collection[Kind] = frozenset(DECK)
) -> tuple[Fault, ...]:
    """`kinds`: of DECK and ON_REQUEST; the others are left out, but for Kafka's restart."""
    dice = random.Random(seed)
    with_kafka = seconds >= _KAFKA_FROM_S
    end_s = seconds - _KAFKA_TAKES_S if with_kafka else seconds
    faults: list[Fault] = []
    at_s = _FIRST_S
    for kind in _dealt(dice, kinds):
        fault = _fault(dice, at_s, kind, workers)
        if at_s + fault.still_s > end_s:
            break
        faults.append(fault)
        at_s = round(at_s + fault.still_s + dice.uniform(*_GAP_S), 1)
    if with_kafka:
        faults.append(_fault(dice, max(at_s, end_s), "kafka", workers))
    return tuple(faults)


def _dealt(dice: random.Random, kinds: Collection[Kind]) -> Iterator[Kind]:
    """Raises ValueError where none of the deck is wanted."""
    all_kinds = (*DECK, *ON_REQUEST)
    deck = [kind for kind in all_kinds if kind in kinds]
    if not deck:
        raise ValueError(f"of the kinds {', '.join(sorted(set(all_kinds)))} one at least")
    while True:
        yield from dice.sample(deck, len(deck))


def _fault(dice: random.Random, at_s: float, kind: Kind, workers: int) -> Fault:
    still_s = round(dice.uniform(*_STILL_S.get(kind, (0.0, 0.0))), 1)
    point = dice.choice(get_args(Point))
    part = dice.choice(_PARTS.get(kind, get_args(Part)))
    worker, passes, topic = dice.randrange(workers), dice.randint(1, _PASSES_MAX), dice.choice(WAY)
    return Fault(at_s, kind, worker, still_s, point, passes, part, topic)
