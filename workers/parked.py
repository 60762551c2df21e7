"""A job on its way to `parked`: its record there, and its row in the index. Pure."""

from broker.quota.lines import line_of
from broker.records import Inner, Outgoing
from broker.store.parking import ParkedRow
from schemas import topics
from schemas.topics import Coordinate
from workers.outlets import Outlets


def park(outlets: Outlets, inner: Inner) -> Outgoing:
    """Keyed by project, so that all that one has parked is in one partition."""
    key = inner.state.project_id.to_bytes(8, "big")
    return outlets.onward(topics.PARKED, inner, inner.state)._replace(key=key)


def parked_row(inner: Inner, place: Coordinate) -> ParkedRow:
    state = inner.state
    return ParkedRow(
        application_id=state.application_id,
        job_id=state.job_id,
        run=state.run,
        attempt=state.attempt,
        project_id=state.project_id,
        lane=state.lane.value,
        due_ms=state.due_ms or 0,
        partition=place.partition,
        offset=place.offset,
        reason=state.parked_for or "",
        appended_ms=state.appended_ms,
        record_bytes=len(inner.value),
        line=line_of(state),
    )
