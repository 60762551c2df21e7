"""What the simulated provider knows while it runs: its behaviour, its limit, its counts and its log."""

import hmac
import time

from headworks.simulate.answering import Facts, answer
from headworks.simulate.behaviour import Behaviour
from headworks.simulate.calls import CallCounts, CallLog
from headworks.simulate.delivery import Delivery
from headworks.simulate.faults import RequestLimit
from headworks.simulate.wire import Request


class Desk:
    """Answers calls one by one and puts each on record; does no network I/O. No `api_key`: anybody may."""

    def __init__(self, behaviour: Behaviour, api_key: str | None) -> None:
        self.counts = CallCounts()
        self.log: CallLog | None = None
        self._authorization = None if api_key is None else f"Bearer {api_key}".encode()
        self._number = 0
        self.set_behaviour(behaviour)

    @property
    def behaviour(self) -> Behaviour:
        return self._behaviour

    def set_behaviour(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        per_second = behaviour.requests_per_second_max
        self._limit = None if per_second is None else RequestLimit(per_second)

    def authorized(self, request: Request) -> bool:
        if self._authorization is None:
            return True
        given = request.headers.get("authorization", "").encode("latin-1")
        return hmac.compare_digest(given, self._authorization)

    def take_call(self, request: Request) -> Delivery:
        """Decides, counts and logs before anything waits, so that a call whose caller dies is on record."""
        self._number += 1
        authorized = self.authorized(request)
        allowance = self._limit.take(time.monotonic()) if self._limit is not None and authorized else None
        at_once = self.counts.in_flight + 1
        facts = Facts(self._behaviour, time.time(), self._number, authorized, allowance, at_once)
        answered = answer(request, facts)
        self.counts.began(answered.call)
        if self.log is not None:
            self.log.write(answered.call)
        return answered.delivery
