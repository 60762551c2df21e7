"""The checks of a document's section `answer`, each made on what was read of an answer."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import orjson

from broker.policy.answers import schema_form
from broker.policy.answers.overlap import RUN_MIN, Prompt, canary, holds_canary
from broker.policy.answers.reading import Call, Reading, plain
from broker.policy.dlp.customers import Dictionary, Utf8, utf8
from broker.policy.dlp.errors import DlpRulesInvalid
from broker.policy.dlp.replacing import restore
from broker.policy.sections import AnswerChecks, AnswerTools, Check, PromptLeak
from broker.policy.texts import texts
from broker.policy.yaml_tree import Path


class Case(NamedTuple):
    """`request`: as it went out, but for the overrides. `value_sha256`: of the application's value."""

    request: Mapping[str, Any]
    value_sha256: str
    reading: Reading
    prompt: Prompt
    overlap: int
    tokens: Mapping[str, str]
    """What will be put back, by placeholder."""


class Findings(NamedTuple):
    """`failed`: the checks that the answer does not pass, sorted; those among them that broke, too."""

    failed: tuple[Check, ...] = ()
    broken: tuple[Check, ...] = ()


class Checks:
    """Of one document."""

    def __init__(self, section: AnswerChecks) -> None:
        self._section = section
        self._forbidden = _dictionaries([section.forbidden_words] if section.forbidden_words else [])
        self._required = _dictionaries([word] for word in section.required_words)
        checks: dict[Check, Callable[[Case], bool]] = {
            "length": self._is_too_long,
            "forbidden_words": self._says_what_is_forbidden,
            "required_words": self._leaves_out_what_is_required,
            "json_schema": _breaks_schema,
            "prompt_leak": self._leaks,
            "tools": self._calls_what_it_may_not,
        }
        self._made = {check: checks[check] for check in section.checks}

    def make(self, case: Case) -> Findings:
        """Every check by itself: what goes wrong in one is that one's failure."""
        failed: list[Check] = []
        broken: list[Check] = []
        for check, fails in self._made.items():
            try:
                if fails(case):
                    failed.append(check)
            except Exception:  # noqa: BLE001  # it may quote the answer, so it is told as broken and no more
                broken.append(check)
        return Findings(tuple(sorted([*failed, *broken])), tuple(sorted(broken)))

    def _is_too_long(self, case: Case) -> bool:
        most = self._section.chars_max
        return most is not None and case.reading.chars > most

    def _says_what_is_forbidden(self, case: Case) -> bool:
        every = map(utf8, case.reading.plain)
        return any(_finds(dictionary, text) for text in every for dictionary in self._forbidden)

    def _leaves_out_what_is_required(self, case: Case) -> bool:
        """In each choice that says something: one that only calls functions has nowhere to say it."""
        return any(
            not _finds(dictionary, text)
            for choice in case.reading.choices
            if not (choice.calls and not choice.content)
            for text in [utf8(f"{plain(choice.content)}\n{choice.refusal}")]
            for dictionary in self._required
        )

    def _leaks(self, case: Case) -> bool:
        section = self._section.prompt_leak or PromptLeak()
        most = min(section.overlap_words, case.prompt.words_longest)
        if most >= RUN_MIN and case.overlap >= most:
            return True
        every = case.reading.plain
        if any(text in each for text in section.canaries for each in every):
            return True
        token = canary(case.value_sha256)
        return section.canary and any(holds_canary(each, token) for each in every)

    def _calls_what_it_may_not(self, case: Case) -> bool:
        section = self._section.tools or AnswerTools()
        declared = _declared(case.request)
        calls = [call for choice in case.reading.choices for call in choice.calls]
        return any(
            (section.declared and call.name not in declared)
            or (bool(section.allowed) and call.name not in section.allowed)
            or (section.arguments and not _suit(call, declared.get(call.name), case.tokens))
            for call in calls
        )


def system_prompts(request: Mapping[str, Any]) -> list[str]:
    return [text.text for text in texts(request) if text.role == "system"]


def demanded_schema(request: Mapping[str, Any]) -> Any:
    """The schema that the request asks its answer to fit; None where it asks for none."""
    form = request.get("response_format") or {}
    return (form.get("json_schema") or {}).get("schema") if form.get("type") == "json_schema" else None


def _breaks_schema(case: Case) -> bool:
    """A choice that declines, or only calls functions, is no structured output."""
    form = (case.request.get("response_format") or {}).get("type")
    if form not in {"json_object", "json_schema"}:
        return False
    schema = demanded_schema(case.request)
    return any(
        not _is_of_form(choice.content, schema, case.tokens)
        for choice in case.reading.choices
        if choice.content or not (choice.calls or choice.refusal)
    )


def _is_of_form(text: str, schema: Any, tokens: Mapping[str, str]) -> bool:
    """Without a schema: an object."""
    value = _parsed(text)
    if schema is None:
        return isinstance(value, dict)
    return value is not _NOT_JSON and _fits(_restored(value, tokens), schema, len(text))


def _suit(call: Call, parameters: Any, tokens: Mapping[str, str]) -> bool:
    """A function without parameters takes an object without any demand on it, or nothing."""
    value = _parsed(call.arguments or "{}")
    if not isinstance(value, dict):
        return False
    return parameters is None or _fits(_restored(value, tokens), parameters, len(call.arguments))


def _fits(value: Any, schema: Any, chars: int) -> bool:
    """Raises Unfit, TooCostly, RecursionError."""
    from broker.policy.answers.schema_check import fits  # noqa: PLC0415  # its package is for who needs it

    schema_form.check(schema)
    return fits(value, schema, chars)


def _declared(request: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of the functions that may be called, by name."""
    declared = {
        tool["function"]["name"]: tool["function"].get("parameters") for tool in request.get("tools") or ()
    }
    choice = request.get("tool_choice")
    if choice == "none":
        return {}
    if isinstance(choice, dict):
        named = choice["function"]["name"]
        return {named: declared[named]} if named in declared else {}
    return declared


_NOT_JSON: Final = object()


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _NOT_JSON


def _restored(value: Any, tokens: Mapping[str, str]) -> Any:
    """As the application will read it, with what was taken out of its request put back."""
    if not tokens:
        return value
    if isinstance(value, str):
        return restore(value, tokens)
    if isinstance(value, list):
        return [_restored(each, tokens) for each in value]
    if isinstance(value, dict):
        return {key: _restored(child, tokens) for key, child in value.items()}
    return value


def unusable(section: AnswerChecks) -> Iterator[tuple[str, Path]]:
    """Lists of words that cannot be looked for, such as a word of spaces, each with its place."""
    for name in ("forbidden_words", "required_words"):
        try:
            _dictionaries([word] for word in getattr(section, name))
        except DlpRulesInvalid:
            yield "a word is something other than spaces", ("answer", name)


def _dictionaries(words: Iterable[Iterable[str]]) -> tuple[Dictionary, ...]:
    return tuple(Dictionary("words", list(each)) for each in words)


def _finds(dictionary: Dictionary, text: Utf8) -> bool:
    return next(dictionary.find(text), None) is not None
