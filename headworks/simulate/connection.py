"""One caller's connection: reads requests one after another and plays their deliveries."""

import asyncio
from typing import Protocol, cast

from headworks.simulate.answers import error_body
from headworks.simulate.delivery import Delivery, Ending, whole
from headworks.simulate.wire import HEAD_BYTES_MAX, Request, RequestReader, WireError

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Handler(Protocol):
    """What a connection asks of the server behind it."""

    def opened(self, connection: "Connection") -> None: ...

    def deliver(self, request: Request) -> Delivery: ...

    def done(self, request: Request, *, abandoned: bool) -> None:
        """The delivery has been played to its end, or the caller went away before (`abandoned`)."""

    def closed(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """Requests that arrive while one is being answered wait in the reader, up to one request's worth."""

    __slots__ = (
        "_body_bytes_max",
        "_delivery",
        "_handler",
        "_loop",
        "_paused",
        "_place",
        "_reader",
        "_request",
        "_timer",
        "_transport",
        "_waits_for_room",
    )

    def __init__(self, handler: Handler, loop: asyncio.AbstractEventLoop, body_bytes_max: int) -> None:
        self._handler = handler
        self._loop = loop
        self._body_bytes_max = body_bytes_max
        self._reader = RequestReader(body_bytes_max)
        self._transport: asyncio.Transport | None = None
        self._request: Request | None = None
        self._delivery: Delivery | None = None
        self._place = 0
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._waits_for_room = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._handler.opened(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if self._request is not None:
            self._handler.done(self._request, abandoned=True)
        self._request = self._delivery = None
        self._handler.closed(self)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        if self._delivery is None:
            self._serve_next()
        elif self._reader.buffered_bytes > HEAD_BYTES_MAX + self._body_bytes_max:
            self.abort()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._waits_for_room:
            self._waits_for_room = False
            self._advance()

    def _serve_next(self) -> None:
        if self._delivery is not None or self._transport is None:
            return
        try:
            self._request = self._reader.next()
        except WireError as error:
            self._play(whole(error.status, error_body(error.status, str(error)), close=True))
            return
        if self._request is not None:
            self._play(self._handler.deliver(self._request))
        elif self._reader.continue_wanted:
            self._reader.continue_wanted = False
            self._transport.write(CONTINUE)

    def _play(self, delivery: Delivery) -> None:
        self._delivery, self._place = delivery, 0
        first_ms = delivery.steps[0].after_ms if delivery.steps else 0
        if first_ms > 0:
            self._timer = self._loop.call_later(first_ms / 1000, self._advance)
        else:
            self._advance()

    def _advance(self) -> None:
        """Writes each step that is due, until one has to wait for its time or for room in the socket."""
        self._timer = None
        if self._delivery is None or self._transport is None:
            return
        steps = self._delivery.steps
        while self._place < len(steps):
            if self._paused:
                self._waits_for_room = True
                return
            self._transport.write(steps[self._place].data)
            self._place += 1
            if self._place < len(steps) and steps[self._place].after_ms > 0:
                self._timer = self._loop.call_later(steps[self._place].after_ms / 1000, self._advance)
                return
        self._end(self._delivery.ending, self._transport)

    def _end(self, ending: Ending, transport: asyncio.Transport) -> None:
        if ending is Ending.HANG:
            return
        request, self._request, self._delivery = self._request, None, None
        if request is not None:
            self._handler.done(request, abandoned=False)
        if ending is Ending.CLOSE or request is None or not request.keep_alive:
            transport.close()
        elif self._reader.buffered_bytes:
            self._loop.call_soon(self._serve_next)
