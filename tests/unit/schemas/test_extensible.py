"""Who is strict: the broker about what it reads and owns, nobody about replies."""

import pytest
from pydantic import BaseModel, ValidationError

from schemas.dead_letter import DeadLetter
from schemas.envelope import Envelope
from schemas.generate import MODELS, schema_of
from schemas.reply import Reply, ReplyError
from schemas.state import Charge, Estimate, Hold, State, Usage


@pytest.mark.parametrize("model", [Envelope, State, Hold, Usage, Charge, Estimate, DeadLetter])
def test_the_broker_refuses_fields_that_it_does_not_know(model: type[BaseModel]) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate({"a_field_of_tomorrow": 1})
    assert ("extra_forbidden", ("a_field_of_tomorrow",)) in [
        (fault["type"], fault["loc"]) for fault in caught.value.errors()
    ]


def test_a_reader_of_replies_passes_over_them() -> None:
    error = {"code": "c", "message": "m", "hint": "h"}
    given = {"job_id": "00000000-0000-0000-0000-000000000005", "status": "paused", "error": error, "new": []}
    reply = Reply.model_validate(given)
    assert (reply.status, reply.error) == ("paused", ReplyError(code="c", message="m"))
    assert "new" not in reply.model_dump()


def test_the_documents_say_so() -> None:
    strict = {name for name, model in MODELS.items() if schema_of(model).get("additionalProperties") is False}
    assert strict >= {"envelope", "state", "dead-letter"}
    assert "reply" not in strict
