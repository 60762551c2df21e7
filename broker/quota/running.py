"""Running the scripts of the gate: by which clock and calendar, on which data of Redis."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from redis.exceptions import NoScriptError

from broker.errors import RedisUnavailable
from broker.quota.calendar import Calendar
from broker.quota.calls import Calls, Command
from broker.quota.scripts import Script
from broker.quota.translation import translated

_BEYOND_CALENDAR = -1
"""Stands for the stamp of an answer: the calendar did not hold the script's time, which follows."""

_Arguments = tuple[str, int, str, bytes]
"""Of a script: its key, then all but the identity."""


class Runner:
    """`identity` stands for the run id of a Redis that has none, and is empty where it has one; `clock` gives
    milliseconds since the epoch in place of the clock of Redis.
    """

    def __init__(
        self,
        calls: Calls,
        prefix: str,
        time_zone_of: Callable[[int], str],
        identity: str,
        clock: Callable[[], int] | None,
    ) -> None:
        self.closed: set[int] = set()
        """Organizations whose counters are gone."""
        self._calls = calls
        self._prefix = prefix
        self._time_zone_of = time_zone_of
        self._calendars: dict[str, Calendar] = {}
        self._ahead_ms = 0
        """The clock of Redis before that of this process, once that was seen to matter."""
        self._identity = identity
        self._clock = clock
        self._seen: dict[int, int] = {}
        """The latest stamp of an organization."""

    async def run(self, script: Script, calls: Sequence[tuple[int, list[Any]]]) -> list[list[int] | None]:
        """Run the script once a call, (organization, batch without its calendar), all in one round trip. Its
        answers without the stamp; None where the gate is closed for the organization.

        Raises RedisUnavailable.
        """
        replies = await self._send(script, calls)
        return [
            reply[1:] if self._note(organization_id, reply[0]) else None
            for (organization_id, _), reply in zip(calls, replies, strict=True)
        ]

    def calendar(self, organization_id: int) -> Calendar:
        name = self._time_zone_of(organization_id)
        if name not in self._calendars:
            self._calendars[name] = Calendar(name)
        return self._calendars[name]

    def _note(self, organization_id: int, stamp: int) -> bool:
        """Remember the stamp, or that the gate is closed for the organization; True when it is open."""
        if stamp:
            self._seen[organization_id] = max(stamp, self._seen.get(organization_id, 0))
        else:
            self.closed.add(organization_id)
        return bool(stamp)

    async def _send(self, script: Script, calls: Sequence[tuple[int, list[Any]]]) -> list[list[int]]:
        """Calendars go around the time of this process; around that of Redis where it lies days apart."""
        replies = await self._evaluate(script, calls)
        missed = [index for index, reply in enumerate(replies) if reply[0] == _BEYOND_CALENDAR]
        if missed:
            self._ahead_ms += replies[missed[0]][1] - self._now_ms()
            again = await self._evaluate(script, [calls[index] for index in missed])
            for index, reply in zip(missed, again, strict=True):
                replies[index] = reply
        if any(reply[0] == _BEYOND_CALENDAR for reply in replies):
            raise RedisUnavailable("the clock of Redis leaps")
        return replies

    async def _evaluate(self, script: Script, calls: Sequence[tuple[int, list[Any]]]) -> list[list[int]]:
        now_ms = self._now_ms()
        arguments = [self._arguments(organization_id, now_ms, batch) for organization_id, batch in calls]
        with translated():
            replies = await self._called("EVALSHA", script.sha, arguments)
            unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if unknown:
                loaded = await self._called("EVAL", script.source, [arguments[index] for index in unknown])
                for index, reply in zip(unknown, loaded, strict=True):
                    replies[index] = reply
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return replies

    def _now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self._ahead_ms if self._clock is None else self._clock()

    def _arguments(self, organization_id: int, now_ms: int, batch: list[Any]) -> _Arguments:
        key = f"{self._prefix}:{{o{organization_id}}}:gate"
        calendar = self.calendar(organization_id).around(now_ms)
        given = "" if self._clock is None else str(now_ms)
        seen = self._seen.get(organization_id, 0)
        return key, seen, given, orjson.dumps([calendar, *batch])

    async def _called(self, command: str, script: str, arguments: Sequence[_Arguments]) -> list[Any]:
        def commands(run_id: str) -> list[Command]:
            identity = self._identity or run_id
            return [(command, script, 1, each[0], identity, *each[1:]) for each in arguments]

        return await self._calls.run(commands) if arguments else []
