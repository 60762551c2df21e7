"""Records between the stages: a value, its sealed state, and where they go."""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol
from zlib import crc32

from pydantic import ValidationError

from broker.errors import NotBelieved
from broker.identity import seal
from schemas import headers
from schemas.reasons import Unauthentic
from schemas.state import State

_TOKENS_DOMAIN = b"headworks.tokens-key.1"

Headers = Sequence[tuple[str, bytes]]
ReceivedHeaders = Sequence[tuple[str, bytes | None]]
"""Kafka lets a header have no value."""


class Incoming(Protocol):
    """What the stages read of a fetched record (aiokafka's `ConsumerRecord` fits)."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def timestamp_type(self) -> int | None: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> ReceivedHeaders: ...


class Outgoing(NamedTuple):
    topic: str
    key: bytes | None
    value: bytes
    headers: Headers
    by_key: bool = False
    """Its partition follows from the key (`partition_of`); else any partition will do."""
    partition: int | None = None


class Inner(NamedTuple):
    """A verified inner record."""

    state: State
    value: bytes
    sha256: bytes
    """Of `value`, 32 bytes."""
    tokens: bytes | None = None
    """The values behind the tokens that policy put into `value`, encrypted; the state has their digest."""


class Handed(NamedTuple):
    """A job that one pool gives another of its process, in place of a sealed record. `record`: as which the
    job came in, whose coordinate it keeps.
    """

    record: Incoming
    inner: Inner
    is_current: Callable[[], bool] = lambda: True
    """Whether the job is still this process's to begin: not, once its partition is another's."""

    @property
    def topic(self) -> str:
        return self.record.topic

    @property
    def partition(self) -> int:
        return self.record.partition

    @property
    def offset(self) -> int:
        return self.record.offset

    @property
    def timestamp(self) -> int:
        return self.record.timestamp

    @property
    def timestamp_type(self) -> int | None:
        return self.record.timestamp_type

    @property
    def key(self) -> bytes | None:
        return self.record.key

    @property
    def value(self) -> bytes:
        return self.inner.value

    @property
    def headers(self) -> ReceivedHeaders:
        return self.record.headers


def partition_of(key: bytes, partitions: int) -> int:
    """The one partition of a topic that a job's records have where order or look-up matters: CRC-32."""
    return crc32(key) % partitions


class Sealer:
    """Seals and opens inner records under the broker's key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.token_key = hmac.digest(key, _TOKENS_DOMAIN, "sha256")
        """Under which the values behind tokens are encrypted: 32 bytes that follow from the seal's key."""

    def seal(
        self,
        topic: str,
        state: State,
        value: bytes,
        value_sha256: bytes | None = None,
        *,
        by_key: bool = False,
        tokens: bytes | None = None,
        extra: Headers = (),
    ) -> Outgoing:
        encoded = state.model_dump_json(exclude_none=True).encode()
        digest = value_sha256 or hashlib.sha256(value).digest()
        mac = seal.seal(self._key, topic, encoded, digest)
        carried = [
            (headers.CORRELATION_ID, str(state.job_id).encode()),
            (headers.STATE, encoded),
            (headers.SEAL, mac),
            *extra,
        ]
        if tokens is not None:
            carried.append((headers.TOKENS, tokens))
        return Outgoing(topic, state.job_id.bytes, value, carried, by_key)

    def open(self, record: Incoming) -> Inner:
        """Raises NotBelieved(FORGED) where the seal is missing, broken, or made for another topic, or where
        the tokens are not those that the state names. What was handed over bears none and needs none.
        """
        if isinstance(record, Handed):
            return record.inner
        state, mac = self._sealed_parts(record.headers)
        value = record.value or b""
        digest = hashlib.sha256(value).digest()
        if not seal.verify(self._key, record.topic, state, digest, mac):
            raise NotBelieved(Unauthentic.FORGED)
        try:
            found = State.model_validate_json(state)
        except ValidationError:
            raise NotBelieved(Unauthentic.FORGED) from None
        if found.tokens_sha256 is None:
            return Inner(found, value, digest)
        return Inner(found, value, digest, _tokens(record.headers, found.tokens_sha256))

    @staticmethod
    def _sealed_parts(carried: ReceivedHeaders) -> tuple[bytes, bytes]:
        state = mac = None
        for name, content in carried:
            if name == headers.STATE and state is None:
                state = content
            elif name == headers.SEAL and mac is None:
                mac = content
            elif name in (headers.STATE, headers.SEAL):
                raise NotBelieved(Unauthentic.FORGED)
        if state is None or mac is None:
            raise NotBelieved(Unauthentic.FORGED)
        return state, mac


def _tokens(carried: ReceivedHeaders, sha256: str) -> bytes:
    found = [content for name, content in carried if name == headers.TOKENS]
    if len(found) != 1 or not found[0] or hashlib.sha256(found[0]).hexdigest() != sha256:
        raise NotBelieved(Unauthentic.FORGED)
    return found[0]
