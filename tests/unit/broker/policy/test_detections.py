"""What detectors find in a job's texts, gathered: each text by itself, in an order that never varies."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from broker.policy.detections import Detections, detect
from broker.policy.dlp.spans import Span
from broker.policy.spotting import spot
from broker.policy.texts import ROLES, Text


class Hit(NamedTuple):
    id: str
    contribution: int


class Found(NamedTuple):
    score: int
    rules: tuple[Hit, ...]


class Shouting:
    """A point a capital letter."""

    def scan(self, text: str) -> Found:
        hits = tuple(Hit(f"capital.{letter}", 1) for letter in text if letter.isupper())
        return Found(len(hits), hits)


class Digits:
    reads_apart = False

    def every(self, text: str) -> tuple[Span, ...]:
        return tuple(Span(at, at + 1, "DIGIT") for at, letter in enumerate(text) if letter.isdigit())


def found(*pairs: tuple[str, str]) -> Detections:
    given_ = [Text(role, ("messages", at, "content"), text) for at, (role, text) in enumerate(pairs)]  # type: ignore[arg-type]  # roles by name
    return detect(given_, spot(given_, Digits()), Shouting(), "v1")


def test_the_highest_score_of_each_role_and_the_hits_of_the_highest_of_all() -> None:
    detections = found(("user", "Aa"), ("system", "quiet"), ("user", "CAB1"), ("tool", "AD23"))
    assert detections == Detections(
        scores=(("system", 0), ("tool", 2), ("user", 3)),
        hits=(("capital.A", 1), ("capital.B", 1), ("capital.C", 1)),
        rules=("capital.A", "capital.B", "capital.C", "capital.D"),
        types=(("DIGIT", 3),),
        detectors="v1",
    )
    assert detections.score == 3


def test_one_text_does_not_add_to_another_unless_they_follow_one_another_in_a_role() -> None:
    assert found(("user", "AB"), ("assistant", "a"), ("user", "CD")).score == 2
    assert found(("user", "AB"), ("user", "CD")).score == 4
    assert found().score == 0


@given(st.lists(st.tuples(st.sampled_from(ROLES), st.text("aAbB12", max_size=4)), max_size=6))
def test_the_order_of_texts_tells_only_among_equal_scores(pairs: list[tuple[str, str]]) -> None:
    turned = found(*reversed(pairs))
    assert turned._replace(hits=()) == found(*pairs)._replace(hits=())
    assert sum(contribution for _, contribution in turned.hits) == turned.score
