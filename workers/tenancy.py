"""Whose a record is, what it takes to serve it and by which target, read off it before it is opened.

Nothing here is verified: it decides the record's place in a queue, and the stage that opens it the rest.
"""

import re
from collections.abc import Callable, Collection
from uuid import UUID

import orjson

from broker.providers.routes import Routes
from broker.records import Handed, Incoming, Inner
from broker.store.keys import JobKey
from schemas import headers
from schemas.state import State
from workers.call import allowed_regions
from workers.engine.places import Places
from workers.engine.tenants import Claim, Sharing, Tenant
from workers.tombstones import Tombstones, key_of

_UNIT = 1024
_APPLICATION = re.compile(rb'"application_id":(\d{1,19})[,}]')
_JOB = re.compile(rb'"job_id":"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"')
_DEADLINE = re.compile(rb'"deadline_ms":(\d{1,19})[,}]')
_REGIONS = re.compile(rb'"regions":(\[[^\]]*\])')
_MODEL = re.compile(rb'"model":("(?:[^"\\]|\\.)*+")')
_ESTIMATE = re.compile(
    rb'"estimate":\{"nanodollars":\d{1,19},"input_tokens":(\d{1,19}),"output_tokens":(\d{1,19})[,}]'
)


def claimed_tenant(record: Incoming) -> Tenant:
    """The application that the state header names; all records that name none are one tenant.

    The cost is one for each started 1,024 tokens of the estimate, in and out: what tenants share is slots and
    a provider's time, of which money says nothing where a model is free. Without an estimate it is one for
    each started KiB of the value, as a token is at least a byte.
    """
    state = _state(record)
    application = _APPLICATION.search(state)
    estimate = _ESTIMATE.search(state)
    work = len(record.value or b"") if estimate is None else int(estimate[1]) + int(estimate[2])
    return _tenant(b"" if application is None else application[1], work)


def _tenant_of(inner: Inner) -> Tenant:
    """What `claimed_tenant` reads off the job's sealed record."""
    state, estimate = inner.state, inner.state.estimate
    work = len(inner.value) if estimate is None else estimate.input_tokens + estimate.output_tokens
    return _tenant(str(state.application_id).encode(), work)


def _tenant(application: bytes, work: int) -> Tenant:
    """`work`: tokens or bytes, of which each started unit counts."""
    return Tenant(application, max(1, -(-work // _UNIT)))


class Claims:
    """What records of DISPATCH claim. `clock` gives milliseconds since the Unix epoch."""

    def __init__(self, routes: Routes, tombstones: Tombstones, clock: Callable[[], int]) -> None:
        self._routes = routes
        self._tombstones = tombstones
        self._clock = clock

    def of(self, record: Incoming) -> Claim:
        if isinstance(record, Handed):
            return Claim(_tenant_of(record.inner), self._target_of(record.inner.state))
        return Claim(claimed_tenant(record), self._target(_state(record)))

    def _target_of(self, state: State) -> str | None:
        """See `_target`."""
        if self._clock() >= state.deadline_ms or self._tombstones.cover(key_of(state)):
            return None
        return self._name(state.model or "", allowed_regions(state))

    def _target(self, state: bytes) -> str | None:
        """The target that the job is to be called at. None where it is not to be called, but ended: too late,
        called off, or nobody serves its model where it may go.
        """
        deadline = _DEADLINE.search(state)
        if deadline is None or self._clock() >= int(deadline[1]) or self._is_called_off(state):
            return None
        return self._name(_model(state), _regions(state))

    def _name(self, model: str, regions: Collection[str] | None) -> str | None:
        target = self._routes.target(model, regions)
        return None if target is None else target.name

    def _is_called_off(self, state: bytes) -> bool:
        if not len(self._tombstones):
            return False
        application, job = _APPLICATION.search(state), _JOB.search(state)
        if application is None or job is None:
            return False
        return self._tombstones.cover(JobKey(int(application[1]), UUID(job[1].decode())))


def by_application(claims: Claims, places: Places) -> Sharing[Incoming]:
    """Equal shares. A turn is 8,192 tokens, and no job counts as more than 131,072."""
    return Sharing(claims.of, quantum=8, cost_max=128, places=places)


def _model(state: bytes) -> str:
    """As DISPATCH looks it up."""
    model = _MODEL.search(state)
    try:
        return "" if model is None else str(orjson.loads(model[1]))
    except orjson.JSONDecodeError:
        return ""


def _regions(state: bytes) -> list[str] | None:
    """As policy decided. None: any."""
    regions = _REGIONS.search(state)
    try:
        return None if regions is None else list(orjson.loads(regions[1]))
    except orjson.JSONDecodeError:
        return []


def _state(record: Incoming) -> bytes:
    for name, content in record.headers:
        if name == headers.STATE:
            return content or b""
    return b""
