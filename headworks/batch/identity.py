"""What a run and its lines are called. The same run and line always have the same names."""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple
from uuid import UUID

from broker.errors import SettingsInvalid
from headworks.client.identifiers import derived_job_id

_DOMAIN = "batch"
_ENTRY = re.compile(rb'\{"id":"batch_req_(?P<tag>[0-9a-f]{8})(?P<line>[0-9a-f]{32})"')


def default_run_id(content_sha256: str, *options: object) -> str:
    """The same file is the same run, whatever it is called and wherever its answers go: it is paid once.

    The options that change what is asked are part of it, since a job id stands for one value.
    """
    return hashlib.sha256(repr((content_sha256, *options)).encode()).hexdigest()


class Entry(NamedTuple):
    """The id of one line of output: which run it belongs to, and which line of it."""

    tag: str
    line: UUID

    def __str__(self) -> str:
        return f"batch_req_{self.tag}{self.line.hex}"

    @classmethod
    def of(cls, written: bytes) -> "Entry | None":
        """Of a line as `headworks.batch.output` writes it."""
        match = _ENTRY.match(written)
        if match is None:
            return None
        return cls(match["tag"].decode(), UUID(match["line"].decode()))


def begins_entry(torn: bytes, tag: str) -> bool:
    """Whether it can be the first part of a line of output of the run with this tag."""
    start = f'{{"id":"batch_req_{tag}'.encode()
    return torn[: len(start)] == start[: len(torn)]


@dataclass(frozen=True)
class Run:
    application: str
    run_id: str

    def __post_init__(self) -> None:
        """Raises SettingsInvalid where the name is not UTF-8, as a command line may be."""
        try:
            self.run_id.encode()
        except UnicodeEncodeError:
            raise SettingsInvalid("the name of a run must be UTF-8") from None

    @cached_property
    def tag(self) -> str:
        """Eight hexadecimal digits."""
        return hashlib.sha256(f"{self.application}/{self.run_id}".encode()).hexdigest()[:8]

    @property
    def instance(self) -> str:
        """The client that runs it: a run that goes on also has what was answered to its former life."""
        return f"run-{self.tag}"

    def line_id(self, number: int, custom_id: str | None) -> UUID:
        """The job id of a line that makes a job."""
        return derived_job_id(self.application, _DOMAIN, self.run_id, str(number), custom_id or "")

    def entry(self, line_id: UUID) -> Entry:
        return Entry(self.tag, line_id)
