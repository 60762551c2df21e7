"""What holds of any bytes at all. Each target raises where it does not."""

from collections.abc import Callable, Mapping
from functools import cache
from itertools import pairwise
from typing import Final

from broker.errors import PolicyInvalid
from broker.policy.dlp.errors import TooMuchFound
from broker.policy.dlp.finder import Finder
from broker.policy.dlp.spans import Kind
from broker.policy.injection import Detector
from broker.policy.passages import passages
from broker.policy.revision import PolicyRevision
from broker.policy.spotting import spot
from broker.policy.texts import Text
from broker.policy.views import PLAIN, views
from broker.policy.views.derive import DEPTH_MAX, EXCERPT_CHARS_MAX, VIEWS_MAX

CHARS_MAX: Final = 50_000
_TIMES_MAX: Final = 64


def read_views(data: bytes) -> None:
    found = views(_text(data))
    assert 1 <= len(found) <= VIEWS_MAX
    assert found[0].kind == PLAIN
    assert all(view.kind.count("+") < DEPTH_MAX for view in found)
    assert all(len(view.text) <= 8 * EXCERPT_CHARS_MAX for view in found[1:])


def detect(data: bytes) -> None:
    """Both detectors, on a text by itself and on its lines as parts of one message."""
    text = _text(data)
    parts = [Text("user", ("messages", 0, "content", at), line) for at, line in enumerate(text.split("\n"))]
    for _, passage in (("user", text), *passages(parts)):
        found = _detector().scan(passage)
        assert found.score == sum(hit.contribution for hit in found.rules)
    try:
        spans = spot([Text("user", ("messages", 0, "content"), text)], _finder())
        spans |= spot(parts, _finder())
    except TooMuchFound:
        return
    for source, found_in in spans.items():
        assert all(0 <= span.start < span.end <= len(source.text) for span in found_in)
        for kind in {span.type for span in found_in}:
            of_kind = [span for span in found_in if span.type == kind]
            assert all(one.end <= other.start for one, other in pairwise(of_kind))


def read_document(data: bytes) -> None:
    try:
        revision = PolicyRevision.load(data)
    except PolicyInvalid:
        return
    assert PolicyRevision.load(revision.text).id == revision.id


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    "views": read_views,
    "detectors": detect,
    "document": read_document,
}


def _text(data: bytes) -> str:
    """The first byte says how often the rest is repeated: what takes too long does so on what is long."""
    times = 1 + (data[0] if data else 0) % _TIMES_MAX
    return (data[1:].decode(errors="replace") * times)[:CHARS_MAX]


@cache
def _detector() -> Detector:
    return Detector.load()


@cache
def _finder() -> Finder:
    kinds = [kind for kind in Kind if kind is not Kind.PERSON]
    return Finder(kinds, dictionaries={"STAFF": ["Joe Doe", "Müller"]}, patterns={"TICKET": r"\bT-[0-9]+\b"})
