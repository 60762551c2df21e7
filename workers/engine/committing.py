"""Committing how far each partition is finished."""

from collections.abc import Callable, Iterable

from workers.engine.lane import Flow, Lane
from workers.engine.source import Partition, R


async def commit(flows: Iterable[Flow[R]], on_trouble: Callable[[BaseException], None]) -> None:
    """A commit that fails is no loss: what is not committed comes again."""
    for lane, moved in _moved(flows).items():
        points = {partition: point for partition, (_, point) in moved.items()}
        try:
            await lane.source.commit(points)
        except Exception as error:
            on_trouble(error)
            continue
        for flow, point in moved.values():
            flow.committed = point


def _moved(flows: Iterable[Flow[R]]) -> dict[Lane[R], dict[Partition, tuple[Flow[R], int]]]:
    """Flows that have come further since their last commit, and how far."""
    moved: dict[Lane[R], dict[Partition, tuple[Flow[R], int]]] = {}
    for flow in flows:
        point = flow.tracker.commit_point
        if not flow.tracker.is_closed() and point is not None and point != flow.committed:
            moved.setdefault(flow.lane, {})[flow.partition] = flow, point
    return moved
