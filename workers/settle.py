"""SETTLE: put the end on record, move the money, send the reply; in this order, and nobody else does.

    outcomes.<lane>
      one transaction a batch: terminals, charges, audit entries, dead-letter index, position
      then the holds are settled at the gate
      then the replies go out

A batch that comes again, in whole or in part, finds what is on record and finishes what was left.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from broker.errors import NotBelieved
from broker.kafka.reading import CoordinateReader
from broker.quota.gate import Gate, Release
from broker.quota.gate import Settlement as HoldSettlement
from broker.records import Incoming, Inner, Outgoing, partition_of
from broker.replies import expired_result
from broker.store.dispositions import Disposition, Settled
from broker.store.positions import Place
from broker.store.settlement_rows import Settlement, Terminal
from schemas import headers
from schemas.reasons import Unauthentic
from schemas.state import State
from schemas.topics import Coordinate, ReplyTo
from workers.outlets import coordinate
from workers.settlements import PartitionBatch, SettlementBook
from workers.tools import Tools


class _Letter(NamedTuple):
    """A reply to one address. `terminal` where the value must be read again from `outcomes`."""

    reply_to: str
    state: State
    status: str
    value: bytes
    terminal: Terminal | None


class _Address(NamedTuple):
    reply_to: ReplyTo
    partitions: int
    """Of its topic."""

    def partition(self, job_id: UUID) -> int:
        named = self.reply_to.partition
        return partition_of(job_id.bytes, self.partitions) if named is None else named


_Ended = Sequence[tuple[Incoming, Inner]]


class Settle:
    def __init__(
        self,
        tools: Tools,
        book: SettlementBook,
        gate: Gate,
        reader: CoordinateReader,
    ) -> None:
        self._book = book
        self._gate = gate
        self._reader = reader
        self._producer = tools.producer
        self._sealer = tools.sealer
        self._clock = tools.clock
        self._metrics = tools.metrics
        self._outlets = tools.outlets

    async def handle(self, records: Sequence[Incoming]) -> None:
        """Records of any partitions of a lane, each partition's in order."""
        records = sorted(records, key=lambda record: (record.topic, record.partition))
        ended, forged = self._open(records)
        settled = await self._book.settle(*self._batches(records, ended))
        ended, settled = _standing(ended, settled)
        await self._settle_holds([inner.state for _, inner in ended])
        replies = await self._replies(_letters(ended, settled))
        await self._producer.send_all(forged + replies)
        self._count(ended, settled)

    async def pass_over(self, at: Coordinate) -> None:
        """Move the position past a record that could not be settled and is kept as a dead letter.

        Who takes an attempt over waits for the position to reach the end of the partition.
        """
        await self._book.settle(PartitionBatch(Place(at.topic, at.partition), (), at.offset + 1))

    def _open(self, records: Sequence[Incoming]) -> tuple[_Ended, list[Outgoing]]:
        ended: list[tuple[Incoming, Inner]] = []
        forged: list[Outgoing] = []
        for record in records:
            try:
                inner = self._sealer.open(record)
                if inner.state.outcome is None:
                    raise NotBelieved(Unauthentic.FORGED)
                ended.append((record, inner))
            except NotBelieved as error:
                self._metrics.dead_letter("settle", error.reason)
                forged.append(self._outlets.dead_record(record, "settle", error.reason.value))
        return ended, forged

    def _batches(self, records: Sequence[Incoming], ended: _Ended) -> list[PartitionBatch]:
        """By partition, in the order of the records."""
        now_ms = self._clock()
        settlements: dict[Place, list[Settlement]] = {}
        ends = {Place(record.topic, record.partition): record.offset + 1 for record in records}
        for record, inner in ended:
            item = Settlement(inner.state, coordinate(record), inner.sha256.hex(), now_ms)
            settlements.setdefault(item.place, []).append(item)
        return [PartitionBatch(place, settlements.get(place, ()), end) for place, end in ends.items()]

    async def _settle_holds(self, states: Sequence[State]) -> None:
        """Those of calls cost what they cost, the others are given back. Idempotent by hold, so a batch that
        comes again may do it again.
        """
        done = [HoldSettlement.of(state, charge) for state in states for charge in state.charges]
        if done:
            await self._gate.settle(done)
        charged = {settlement.hold.id for settlement in done}
        unused = [
            Release(state.hold.id, state.organization_id)
            for state in states
            if state.hold is not None and state.hold.id not in charged
        ]
        if unused:
            await self._gate.release(unused)

    async def _replies(self, letters: Sequence[_Letter]) -> list[Outgoing]:
        wanted = {at.terminal.coordinate for at in letters if at.terminal is not None}
        found = await self._reader.read(wanted) if wanted else {}
        values = {str(at): record.value or b"" for at, record in found.items()}
        addresses = {each: await self._address(each) for each in {letter.reply_to for letter in letters}}
        replies = []
        for letter in letters:
            address = addresses[letter.reply_to]
            if address is None:
                self._metrics.undeliverable()
            else:
                replies.append(_reply(letter, address, values))
        return replies

    async def _address(self, text: str) -> _Address | None:
        reply_to = ReplyTo.parse(text)
        wanted = (reply_to.partition or 0) + 1
        partitions = await self._producer.partitions(reply_to.topic, wanted)
        if partitions is None or partitions < wanted:
            return None
        return _Address(reply_to, partitions)

    def _count(self, ended: _Ended, settled: Sequence[Settled]) -> None:
        now_ms = self._clock()
        for (_, inner), result in zip(ended, settled, strict=True):
            if result.disposition is Disposition.NEW:
                state = inner.state
                kind = "" if state.outcome is None else state.outcome.kind
                self._metrics.ended(state.lane, kind, now_ms - state.appended_ms)


def _standing(ended: _Ended, settled: Sequence[Settled]) -> tuple[_Ended, list[Settled]]:
    """Without what is no end, whose hold is that of an attempt under way."""
    kept = [
        (each, result)
        for each, result in zip(ended, settled, strict=True)
        if result.disposition is not Disposition.OVERTAKEN
    ]
    return [each for each, _ in kept], [result for _, result in kept]


def _letters(ended: _Ended, settled: Sequence[Settled]) -> list[_Letter]:
    letters: list[_Letter] = []
    for (_, inner), result in zip(ended, settled, strict=True):
        if result.disposition is Disposition.WAITING:
            continue
        state, terminal = inner.state, result.terminal
        status = "refused" if terminal is None else terminal.kind
        again = None if _is_reply(inner, result) else terminal
        addresses = [*([state.reply_to] if state.reply_to else []), *result.waiting]
        letters += [_Letter(address, state, status, inner.value, again) for address in addresses]
    return letters


def _is_reply(inner: Inner, result: Settled) -> bool:
    """Whether the record's own value is what the owner is told. Of one that comes again it mostly is, and
    need not be read from `outcomes` once more.
    """
    terminal = result.terminal
    if result.disposition is not Disposition.KNOWN or terminal is None:
        return True
    return terminal.value_sha256 == inner.sha256.hex()


def _reply(letter: _Letter, address: _Address, values: dict[str, bytes]) -> Outgoing:
    state, terminal = letter.state, letter.terminal
    value = letter.value
    if terminal is not None:
        value = values.get(terminal.outcome) or expired_result(
            str(state.job_id), state.run, terminal.kind, terminal.nanodollars, terminal.attempts
        )
    carried = [
        (headers.CONTENT_TYPE, b"application/json"),
        (headers.CORRELATION_ID, str(state.job_id).encode()),
        (headers.REPLY_TO, letter.reply_to.encode()),
        (headers.STATUS, letter.status.encode()),
        (headers.RUN, str(state.run).encode()),
    ]
    if state.traceparent is not None:
        carried.append((headers.TRACEPARENT, state.traceparent.encode()))
    partition = address.partition(state.job_id)
    return Outgoing(address.reply_to.topic, state.job_id.bytes, value, carried, partition=partition)
