"""Whose a record is and what it takes to serve it, read off the record before it is opened.

Nothing here is verified: it decides the record's place in a queue, and the stage that opens it the rest.
"""

import re

from broker.records import Incoming
from schemas import headers
from workers.engine.tenants import Sharing, Tenant

_UNIT = 1024
_APPLICATION = re.compile(rb'"application_id":(\d{1,19})[,}]')
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
    return Tenant(b"" if application is None else application[1], max(1, -(-work // _UNIT)))


def by_application() -> Sharing[Incoming]:
    """Equal shares. A turn is 8,192 tokens, and no job counts as more than 131,072."""
    return Sharing(claimed_tenant, quantum=8, cost_max=128)


def _state(record: Incoming) -> bytes:
    for name, content in record.headers:
        if name == headers.STATE:
            return content or b""
    return b""
