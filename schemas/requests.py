"""Whether a job's request may pass: checked against the closed lists of `schemas.bodies`.

A parameter that is not listed can neither be priced nor checked, and is refused by name.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.bodies import ChatBody, EmbeddingsBody
from schemas.reasons import Refusal

PARAM_LENGTH_MAX: Final = 64
FAULTS_MAX: Final = 100
"""Beyond so many no list of faults is made: it would cost a millisecond a thousand to name the first."""

BODIES: Final[Mapping[str, type[ChatBody] | type[EmbeddingsBody]]] = {
    "/v1/chat/completions": ChatBody,
    "/v1/embeddings": EmbeddingsBody,
}
_WORDINGS: Final[Mapping[str, str]] = {
    "missing": "is required",
    "extra_forbidden": "is not among the parameters that can be priced and checked",
    "string_type": "must be a string",
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be an array",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "literal_error": "must be {expected}",
    "union_tag_invalid": "must be one of {expected_tags}",
    "union_tag_not_found": "is required",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "too_short": "must have {min_length} entries or more",
    "too_long": "must have {max_length} entries or less",
    "string_too_short": "must have {min_length} characters or more",
    "string_too_long": "must have {max_length} characters or less",
    "string_pattern_mismatch": "must match {pattern}",
    "streamed": "must be false: answers come whole",
    "two_limits": "max_tokens and max_completion_tokens exclude each other",
}
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]")


class RequestRefused(ValueError):
    """A request that may not pass.

    `param` is the dotted path of the field at fault: 64 characters at most, of letters, digits and `_.-?`.
    `message` is meant for the job's owner and holds no value of the request.
    """

    def __init__(self, code: Refusal, message: str, param: str | None = None) -> None:
        super().__init__(": ".join(part for part in (code.value, param, message) if part))
        self.code = code
        self.message = message
        self.param = param


def validate_request(endpoint: str, request: dict[str, Any]) -> str:
    """Check the parsed body of a call to `endpoint`, and return the model that it names.

    Raises RequestRefused, with code UNSUPPORTED_ENDPOINT, UNPRICED_PARAMETER or INVALID_REQUEST.
    """
    body = BODIES.get(endpoint)
    if body is None:
        raise RequestRefused(
            Refusal.UNSUPPORTED_ENDPOINT, f"endpoint is one of {', '.join(BODIES)}", "endpoint"
        )
    try:
        return body.model_validate(request).model
    except ValidationError as error:
        raise _refusal(error, request) from None


def _refusal(error: ValidationError, request: dict[str, Any]) -> RequestRefused:
    if error.error_count() > FAULTS_MAX:
        return RequestRefused(Refusal.INVALID_REQUEST, f"has more than {FAULTS_MAX} faults")
    first = error.errors(include_url=False, include_input=False)[0]
    unlisted = first["type"] == "extra_forbidden"
    code = Refusal.UNPRICED_PARAMETER if unlisted else Refusal.INVALID_REQUEST
    return RequestRefused(code, _wording(first), _param(first, request))


def _wording(fault: ErrorDetails) -> str:
    """Our own words, made of nothing but the schema's bounds: pydantic's may quote the request."""
    form = _WORDINGS.get(fault["type"], "is not valid")
    return form.format_map(fault.get("ctx", {}))


def _param(fault: ErrorDetails, request: dict[str, Any]) -> str | None:
    """Where the fault lies in the request. Of a parameter that is not there: where it would be."""
    loc = fault["loc"]
    path = max(_paths(request, loc), key=lambda path: (path[-1:] == loc[-1:], len(path)))
    if fault["type"] == "missing":
        path += loc[-1:]
    elif fault["type"].startswith("union_tag"):
        path += (fault["ctx"]["discriminator"].strip("'"),)
    return _UNSAFE.sub("?", ".".join(map(str, path)))[:PARAM_LENGTH_MAX] or None


def _paths(node: Any, loc: tuple[int | str, ...]) -> Iterator[tuple[int | str, ...]]:
    """The ways of `loc` through the request; some of its steps name branches of unions, in fields' words."""
    if not loc:
        yield ()
        return
    if _holds(node, loc[0]):
        yield from ((loc[0], *rest) for rest in _paths(node[loc[0]], loc[1:]))
    yield from _paths(node, loc[1:])


def _holds(node: Any, step: int | str) -> bool:
    if isinstance(step, int):
        return isinstance(node, list) and step < len(node)
    return isinstance(node, dict) and step in node
