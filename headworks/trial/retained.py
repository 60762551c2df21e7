"""Jobs of a topic, decided by two revisions."""

from collections.abc import AsyncIterator, Sequence

from broker.ops.retained import Kept
from broker.policy.evaluation import RowInvalid
from broker.providers.routes import Routes
from headworks.trial.replay import Replayed, Side, Whose, decided, read_envelope_of


async def replay_topic(
    batches: AsyncIterator[Sequence[Kept]], routes: Routes, before: Side, after: Side
) -> AsyncIterator[Replayed]:
    """One for each record, in order, numbered from 1. `routes`: where targets lie by now."""
    number = 0
    async for batch in batches:
        for kept in batch:
            number += 1
            yield _replayed(number, kept, routes, before, after)


def _replayed(number: int, kept: Kept, routes: Routes, before: Side, after: Side) -> Replayed:
    label = str(kept.coordinate)
    if kept.project is None:
        return Replayed(number, refused=RowInvalid(number, "row", f"{label} is no registered job"))
    try:
        job = read_envelope_of(number, kept.value, label)
    except RowInvalid as refused:
        return Replayed(number, refused=refused)
    whose = Whose(*kept.project, kept.application, kept.lane, routes.regions(str(job.request["model"])))
    return decided(number, job, before, after, whose)
