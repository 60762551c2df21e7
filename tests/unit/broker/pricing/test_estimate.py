import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.errors import JobRefused
from broker.pricing.book import ImageBound, InputBound, ModelPrice
from broker.pricing.cost import Cost, charge, settled
from broker.pricing.estimate import upper_bound
from broker.pricing.imported_models import INPUT_BOUNDS
from broker.pricing.input_tokens import CHAT_FIELDS, EMBEDDINGS_FIELDS, EXACT_CHARS_MAX, MESSAGE_FIELDS
from schemas.bodies import (
    AssistantMessage,
    ChatBody,
    DeveloperMessage,
    EmbeddingsBody,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from schemas.envelope import Endpoint
from schemas.reasons import Refusal
from schemas.state import Hold, Usage
from schemas.terms import RATE_MAX, TOKENS_MAX, Rates, Terms, Tier

CHAT: Endpoint = "/v1/chat/completions"
EMBEDDINGS: Endpoint = "/v1/embeddings"
BARE = InputBound(kind="utf8_bytes")
REDIS_INTEGERS_END = 2**53
FLAT = Rates(input=1_000_000, cached_input=1_000_000, cache_write=1_000_000, output=1_000_000)


def price(bound: InputBound | None = BARE, endpoint: Endpoint = CHAT, **fields: Any) -> ModelPrice:
    return ModelPrice(
        **{"model": "m", "provider": "p", "endpoint": endpoint, "rates": FLAT, "input_bound": bound, **fields}
    )


def chat(content: Any = "hi", **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": content}], **fields}


def input_tokens(request: Mapping[str, Any], bound: InputBound = BARE, endpoint: Endpoint = CHAT) -> int:
    return upper_bound(endpoint, request, price(bound, endpoint), 10).input_tokens_max


def refused(
    request: Mapping[str, Any], model: ModelPrice | None = None, endpoint: Endpoint = CHAT
) -> JobRefused:
    with pytest.raises(JobRefused) as caught:
        upper_bound(endpoint, request, model or price(endpoint=endpoint), 10)
    return caught.value


# The rule: no usage inside the bounds costs more.

rate = st.integers(0, RATE_MAX // 10)
rates = st.builds(
    Rates, input=rate, cached_input=rate, cache_write=rate, output=rate, reasoning=st.none() | rate
)
service_tiers = st.dictionaries(st.sampled_from(["flex", "priority", "batch"]), st.integers(1, 1_000))


@st.composite
def prices(draw: st.DrawFn) -> ModelPrice:
    thresholds = sorted(draw(st.sets(st.integers(0, 500), max_size=3)))
    tiers = tuple(Tier(above_input_tokens=above, rates=draw(rates)) for above in thresholds)
    return price(
        draw(st.sampled_from([*INPUT_BOUNDS.values(), InputBound(kind="nfkc_utf8_bytes")])),
        rates=draw(rates),
        tiers=tiers,
        service_tiers=draw(service_tiers),
        image_bound=ImageBound(tokens=draw(st.integers(0, 5_000)), low_detail_tokens=85),
        reasoning_tokens_max=draw(st.sampled_from([0, 0, 40_000])),
    )


images = st.builds(
    lambda detail: {"type": "image_url", "image_url": {"url": "https://x/y.png", **detail}},
    st.sampled_from([{}, {"detail": "low"}, {"detail": "high"}]),
)
texts = st.builds(lambda text: {"type": "text", "text": text}, st.text(max_size=50))


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    request = chat(draw(st.text(max_size=300) | st.lists(texts | images, min_size=1, max_size=4)))
    tokens = st.integers(1, 10**6)
    limits = {"n": st.integers(1, 128), "max_tokens": tokens, "max_completion_tokens": tokens}
    return {**request, **draw(st.fixed_dictionaries({}, optional=limits))}


def may_be_served_in(request: Mapping[str, Any], sent: Mapping[str, Any], model: ModelPrice) -> list[Any]:
    """None is the plain tier, which a provider may always fall back to."""
    asked = sent.get("service_tier")
    if asked == "auto":
        return [None, *model.service_tiers]
    return [None] if asked in (None, "default") else [None, asked]


@given(prices(), requests(), st.integers(1, 10**6), st.data())
def test_no_usage_that_the_request_allows_costs_more_than_the_hold(
    model: ModelPrice, request: dict[str, Any], default: int, data: st.DataObject
) -> None:
    """Any split of the input, reasoning inside the output or beyond it, all choices, any tier of service."""
    askable = [None, "default", *(["auto", *model.service_tiers] if model.service_tiers else [])]
    request = {**request, "service_tier": data.draw(st.sampled_from(askable))}
    estimate = upper_bound(CHAT, request, model, default)
    sent = {**request, **estimate.overrides}
    tokens = data.draw(st.integers(0, estimate.input_tokens_max))
    cached = data.draw(st.integers(0, tokens))
    choices = sent.get("n", 1)
    said = data.draw(st.integers(0, sent["max_tokens"] * choices))
    beyond = data.draw(st.integers(0, model.reasoning_tokens_max * choices))
    usage = Usage(
        input_tokens=tokens,
        cached_input_tokens=cached,
        cache_write_tokens=data.draw(st.integers(0, tokens - cached)),
        output_tokens=said + beyond,
        reasoning_tokens=beyond + data.draw(st.integers(0, said)),
        service_tier=data.draw(st.sampled_from(may_be_served_in(request, sent, model))),
    )
    hold = Hold(
        id="h",
        nanodollars=estimate.nanodollars_max,
        input_tokens=estimate.input_tokens_max,
        output_tokens=estimate.output_tokens_max,
        day=1,
        minute=1,
    )

    assert type(estimate.nanodollars_max) is int
    assert charge(usage, model) <= estimate.nanodollars_max < REDIS_INTEGERS_END
    assert settled(usage, hold, Terms.unpacked(model.packed_terms)) == Cost(charge(usage, model), usage, None)


@given(prices(), requests(), st.sampled_from(["max_tokens", "max_completion_tokens"]), st.integers(1, 10**6))
def test_what_is_sent_has_the_limit_in_the_one_field_that_the_provider_obeys(
    model: ModelPrice, request: dict[str, Any], obeyed: str, default: int
) -> None:
    model = model.model_copy(update={"output_limit_field": obeyed})
    estimate = upper_bound(CHAT, request, model, default)
    sent = {field: value for field, value in {**request, **estimate.overrides}.items() if value is not None}

    each = sent[obeyed] + model.reasoning_tokens_max
    assert each * sent.get("n", 1) == estimate.output_tokens_max
    assert len(sent.keys() & {"max_tokens", "max_completion_tokens"}) == 1


@given(prices(), requests())
def test_a_full_call_at_flat_rates_costs_just_the_estimate(
    model: ModelPrice, request: dict[str, Any]
) -> None:
    rates = model.rates.model_copy(update={"cached_input": 0, "cache_write": 0, "reasoning": None})
    flat = model.model_copy(update={"tiers": (), "rates": rates})
    estimate = upper_bound(CHAT, request, flat, 100)
    usage = Usage(input_tokens=estimate.input_tokens_max, output_tokens=estimate.output_tokens_max)

    assert charge(usage, flat) == estimate.nanodollars_max


@given(prices(), requests(), st.text(max_size=50))
def test_more_text_never_lowers_the_estimate(model: ModelPrice, request: dict[str, Any], text: str) -> None:
    longer = {**request, "messages": [*request["messages"], {"role": "user", "content": text}]}

    fewer, more = upper_bound(CHAT, request, model, 10), upper_bound(CHAT, longer, model, 10)

    assert fewer.input_tokens_max <= more.input_tokens_max
    assert fewer.nanodollars_max <= more.nanodollars_max


def test_the_dearest_price_of_any_length_stays_below_what_redis_can_count() -> None:
    rates = Rates(input=RATE_MAX, cached_input=RATE_MAX, cache_write=RATE_MAX, output=RATE_MAX)
    usage = Usage(input_tokens=TOKENS_MAX, output_tokens=TOKENS_MAX)

    assert charge(usage, price(rates=rates)) < REDIS_INTEGERS_END


# Input.


@given(st.text(st.characters()), st.text(st.characters()))
def test_a_message_has_at_most_a_token_a_byte(first: str, second: str) -> None:
    request = {"messages": [{"role": "system", "content": first}, {"role": "user", "content": second}]}
    sent = len(first.encode("utf-8", "surrogatepass")) + len(second.encode("utf-8", "surrogatepass"))

    assert input_tokens(request) == sent
    assert (
        input_tokens(request, InputBound(kind="utf8_bytes", request_tokens=5, message_tokens=3)) == sent + 11
    )


@given(st.text())
def test_a_model_that_normalizes_is_bounded_by_the_normalized_bytes(text: str) -> None:
    nfc = InputBound(kind="nfc_utf8_bytes")

    assert input_tokens(chat(text), nfc) == len(unicodedata.normalize("NFC", text).encode())


def test_normalization_can_lengthen_a_text() -> None:
    note = "\N{MUSICAL SYMBOL EIGHTH NOTE}"

    assert input_tokens(chat(note)) == 4
    assert input_tokens(chat(note), InputBound(kind="nfc_utf8_bytes")) == 12


def test_a_lone_surrogate_is_counted_as_what_replaces_it() -> None:
    assert input_tokens(chat("\ud800")) == 3
    assert input_tokens(chat("\ud800"), InputBound(kind="nfc_utf8_bytes")) == 3


def test_sentencepiece_is_bounded_by_what_its_normalization_makes() -> None:
    """Three bytes that become eighteen characters."""
    nfkc, ligature = InputBound(kind="nfkc_utf8_bytes"), "\ufdfa"
    normalized = unicodedata.normalize("NFKC", ligature)

    assert (len(ligature.encode()), len(normalized)) == (3, 18)
    assert input_tokens(chat(ligature)) == 3
    assert input_tokens(chat(ligature), nfkc) == len(normalized.encode()) == 33


def sentencepiece_tokens(text: str, pieces: set[str]) -> int:
    """Of one that normalizes nothing: a blank becomes U+2581, a piece; what is in no piece falls to bytes."""
    text, known, tokens = text.replace(" ", "\u2581"), {*pieces, "\u2581"}, 0
    while text:
        length = next((size for size in (3, 2, 1) if text[:size] in known), 0)
        tokens += 1 if length else len(text[0].encode())
        text = text[length or 1 :]
    return tokens


@given(st.text() | st.text("\ufdfa \u2581ae"), st.sets(st.text("\ufdfa \u2581ae", min_size=1, max_size=3)))
def test_sentencepiece_with_fallback_to_bytes_makes_at_most_a_token_of_a_byte(
    text: str, pieces: set[str]
) -> None:
    assert sentencepiece_tokens(text, pieces) <= input_tokens(chat(text))


@given(st.text(), st.text())
def test_a_context_window_holds_all_that_it_takes_whatever_is_asked(text: str, described: str) -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": described}}]
    window = price(InputBound(kind="context_window", request_tokens=200_000))
    hold, guess = (
        upper_bound(CHAT, chat(text, tools=tools), window, 10, hard=hard) for hard in (True, False)
    )

    assert (hold.input_tokens_max, hold.bounded) == (200_000, True)
    assert guess.input_tokens_max < 200_000
    assert not guess.bounded


@given(st.text() | st.text('\ufdfa\u0301e\uff1c<"', max_size=20))
@example("\ufdfa")
@example("e\u0301" * 9)
def test_no_rendering_is_longer_after_normalization_than_its_bound(text: str) -> None:
    nfkc = InputBound(kind="nfkc_utf8_bytes")
    result = {"messages": [{"role": "tool", "content": text, "tool_call_id": ""}]}
    tools = [{"type": "function", "function": {"name": "f", "description": text}}]
    for ascii_only in (True, False):
        quoted = unicodedata.normalize("NFKC", html_safe(json.dumps(text, ensure_ascii=ascii_only)))
        assert input_tokens(result, nfkc) >= len(quoted.encode("utf-8", "surrogatepass"))
        defined = unicodedata.normalize("NFKC", html_safe(json.dumps(tools, ensure_ascii=ascii_only)))
        assert input_tokens(chat("", tools=tools), nfkc) >= len(defined.encode("utf-8", "surrogatepass"))


def test_parts_of_text_and_refusals_are_counted() -> None:
    bound = InputBound(kind="utf8_bytes", message_tokens=10)
    parts = [{"type": "text", "text": "abc"}, {"type": "refusal", "refusal": "no"}]

    assert input_tokens(chat(parts), bound) == 10 + 13 + 12


def test_names_refusals_and_call_ids_are_counted() -> None:
    plain = {"role": "assistant", "content": None}

    for field in ("name", "refusal", "tool_call_id"):
        assert input_tokens({"messages": [{**plain, field: "abcd"}]}) >= 4
        assert input_tokens({"messages": [{**plain, field: None}]}) == 0


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


def crude_token_count(rendered: str) -> int:
    """Of a tokenizer that merges no more than whitespace, and keeps its last character apart."""
    return len(re.findall(rb"\s+(?=\s)|\s|\S", rendered.encode("utf-8", "surrogatepass")))


def html_safe(rendered: str) -> str:
    for character in "<>&'":
        rendered = rendered.replace(character, f"\\u{ord(character):04x}")
    return rendered


@given(values)
@example("<" * 100)
@example([[[[[[1]]]]] * 50])
def test_json_is_bounded_however_it_is_rendered(value: Any) -> None:
    template = INPUT_BOUNDS["chat_template"]
    request = chat("", response_format={"schema": value})
    bounded = input_tokens(request, template) - template.request_tokens - template.message_tokens
    given_value = request["response_format"]
    for rendered in (
        html_safe(json.dumps(given_value)),
        json.dumps(given_value, ensure_ascii=False),
        json.dumps(given_value, separators=(",", ":")),
        json.dumps(given_value, ensure_ascii=False, indent=4),
        json.dumps(given_value, indent="\t"),
        unicodedata.normalize("NFC", json.dumps(given_value, ensure_ascii=False)),
    ):
        assert crude_token_count(rendered) <= bounded


@given(st.text())
@example("<" * 10)
def test_a_tool_result_may_be_quoted(text: str) -> None:
    request = {"messages": [{"role": "tool", "content": text, "tool_call_id": ""}]}

    for ascii_only in (True, False):
        quoted = html_safe(json.dumps(text, ensure_ascii=ascii_only))
        assert input_tokens(request) >= len(quoted.encode("utf-8", "surrogatepass"))


def test_tools_count_their_json_each_tool_and_once_the_instruction() -> None:
    bound = InputBound(kind="utf8_bytes", tools_tokens=1000, tool_tokens=100, json_tokens_per_byte=2)
    tools = [{"type": "function", "function": {"name": name}} for name in "ab"]
    size = 2 * len(json.dumps(tools))

    assert input_tokens(chat("", tools=tools), bound) == size + 1000 + 200


def test_tool_calls_in_the_conversation_count_their_json_and_each_call() -> None:
    bound = InputBound(kind="utf8_bytes", tool_tokens=100)
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}] * 2
    message = {"role": "assistant", "content": None}

    assert (
        input_tokens({"messages": [{**message, "tool_calls": calls}]}, bound) == len(json.dumps(calls)) + 200
    )


def test_a_tool_choice_counts_only_as_an_object() -> None:
    choice = {"type": "function", "function": {"name": "f"}}

    assert input_tokens(chat("", tool_choice="auto")) == 0
    assert input_tokens(chat("", tool_choice=None)) == 0
    assert input_tokens(chat("", tool_choice=choice)) == len(json.dumps(choice))


# Output.


def test_the_default_limits_an_answer_that_the_request_does_not() -> None:
    estimate = upper_bound(CHAT, chat(), price(), 500)

    assert estimate.output_tokens_max == 500
    assert estimate.overrides == {"max_tokens": 500}
    assert estimate.nanodollars_max == 502


def test_the_default_is_no_higher_than_the_provider_grants() -> None:
    model = price(output_tokens_max=300, output_limit_field="max_completion_tokens")

    assert upper_bound(CHAT, chat(max_tokens=None), model, 500).overrides == {"max_completion_tokens": 300}
    assert upper_bound(CHAT, chat(), model, 200).output_tokens_max == 200


def test_a_limit_in_the_field_that_the_provider_obeys_stands() -> None:
    estimate = upper_bound(CHAT, chat(max_tokens=7, max_completion_tokens=None), price(), 500)

    assert (estimate.output_tokens_max, estimate.overrides) == (7, {})


@pytest.mark.parametrize(
    ("given_limits", "obeyed", "left_out"),
    [
        ({"max_completion_tokens": 7}, "max_tokens", "max_completion_tokens"),
        ({"max_tokens": 7}, "max_completion_tokens", "max_tokens"),
        ({"max_tokens": 7, "max_completion_tokens": 9}, "max_tokens", "max_completion_tokens"),
        ({"max_tokens": 9, "max_completion_tokens": 7}, "max_tokens", "max_completion_tokens"),
    ],
)
def test_a_limit_moves_to_the_field_that_the_provider_obeys(
    given_limits: dict[str, int], obeyed: str, left_out: str
) -> None:
    estimate = upper_bound(CHAT, chat(**given_limits), price(output_limit_field=obeyed), 500)

    assert estimate.output_tokens_max == 7
    assert estimate.overrides == {obeyed: 7, left_out: None}


def test_every_choice_has_its_own_output() -> None:
    assert upper_bound(CHAT, chat(max_tokens=7, n=3), price(), 500).output_tokens_max == 21
    assert upper_bound(CHAT, chat(max_tokens=7, n=None), price(), 500).output_tokens_max == 7


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 0}, {"n": True}, {"n": 1.0}, {"n": "2"}, {"n": 129},
        {"max_tokens": 0}, {"max_tokens": -1}, {"max_tokens": 1.5}, {"max_tokens": True},
        {"max_tokens": TOKENS_MAX + 1}, {"max_completion_tokens": "9"}, {"max_tokens": TOKENS_MAX, "n": 2},
    ],
)  # fmt: skip
def test_a_limit_that_is_no_limit_is_refused(fields: dict[str, Any]) -> None:
    assert refused(chat(**fields)).reason is Refusal.INVALID_REQUEST


def test_reasoning_beyond_the_limit_is_held_for_every_choice() -> None:
    thinker = price(reasoning_tokens_max=1_000)
    estimate = upper_bound(CHAT, chat(max_tokens=7, n=3), thinker, 500)

    assert (estimate.output_tokens_max, estimate.overrides) == (3 * 1_007, {})


def test_reasoning_is_held_at_its_own_rate_where_that_is_higher() -> None:
    rates = FLAT.model_copy(update={"reasoning": 5_000_000})

    assert upper_bound(CHAT, chat(max_tokens=10), price(rates=rates), 500).nanodollars_max == 2 + 50


# Tiers of service.

TIERED = price(service_tiers={"flex": 50, "priority": 250, "batch": 40})


@pytest.mark.parametrize(
    ("asked", "nanodollars"),
    [(None, 102), ("default", 102), ("flex", 102), ("priority", 255), ("auto", 255)],
)
def test_the_hold_is_for_the_dearest_tier_that_may_serve(asked: str | None, nanodollars: int) -> None:
    estimate = upper_bound(CHAT, chat(service_tier=asked, max_tokens=100), TIERED, 500)

    assert estimate.nanodollars_max == nanodollars
    assert estimate.overrides == ({"service_tier": "default"} if asked is None else {})


def test_a_tier_without_a_price_is_refused_by_name() -> None:
    for asked, model in (("flex", price()), ("auto", price()), ("scale", TIERED), (5, TIERED)):
        refusal = refused(chat(service_tier=asked), model)
        assert (refusal.reason, refusal.param) == (Refusal.UNPRICED_PARAMETER, "service_tier")


def test_the_plain_tier_may_be_named_where_there_is_no_other() -> None:
    assert upper_bound(CHAT, chat(service_tier="default", max_tokens=1), price(), 500).overrides == {}


# Images.

SEEING = price(image_bound=ImageBound(tokens=2_805, low_detail_tokens=85))


def image(url: Any = "https://x/y.png", **fields: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **fields}}


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        (image(), 2_805),
        (image(detail=None), 2_805),
        (image(detail="auto"), 2_805),
        (image("data:image/png;base64," + "A" * 10_000, detail="high"), 2_805),
        (image(detail="low"), 85),
    ],
)
def test_an_image_counts_as_the_largest_can_whatever_its_size(part: dict[str, Any], tokens: int) -> None:
    text = {"type": "text", "text": "what?"}
    estimate = upper_bound(CHAT, chat([text, part, part]), SEEING, 10)

    assert estimate.input_tokens_max == 5 + 2 * tokens


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({**image(), "cache_control": {}}, "messages.content.cache_control"),
        (image(mask="x"), "messages.content.image_url.mask"),
    ],
)
def test_a_field_of_an_image_that_cannot_be_priced_is_refused(part: dict[str, Any], param: str) -> None:
    refusal = refused(chat([part]), SEEING)

    assert (refusal.reason, refusal.param) == (Refusal.UNPRICED_PARAMETER, param)


@pytest.mark.parametrize("part", [image("file:///etc/passwd"), image("data:text/html,x"), image(5),
    {"type": "image_url", "image_url": "https://x/y.png"}, {"type": "image_url"}])  # fmt: skip
def test_an_image_that_is_none_is_refused(part: dict[str, Any]) -> None:
    assert refused(chat([part]), SEEING).reason is Refusal.INVALID_REQUEST


def test_a_model_without_a_bound_for_images_says_so() -> None:
    refusal = refused(chat([image()]))

    assert (refusal.reason, refusal.param) == (Refusal.UNPRICED_CONTENT, "messages.content.image_url")
    assert "no bound" in refusal.message


# Exact counts.


class Words:
    """Counts words."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def count(self, text: str) -> int:
        self.texts.append(text)
        return len(text.split())


def counted(request: Mapping[str, Any], counter: Any, endpoint: Endpoint = CHAT) -> int:
    bound = InputBound(kind="utf8_bytes", request_tokens=5, message_tokens=3)
    return upper_bound(endpoint, request, price(bound, endpoint), 10, counter=counter).input_tokens_max


def test_texts_are_counted_and_what_stands_around_them_comes_on_top() -> None:
    request = {"messages": [{"role": "user", "content": "two words", "name": "ann"}]}

    assert counted(request, Words()) == 5 + 3 + 2 + (1 + 1)
    assert counted({"model": "m", "input": ["two words", "one"]}, Words(), EMBEDDINGS) == 5 + 6 + 3


@given(st.text(), st.integers(0, 10**9))
def test_a_count_only_ever_lowers_the_bound(text: str, tokens: int) -> None:
    class Fixed:
        def count(self, text: str) -> int:
            return tokens

    assert counted(chat(text), Fixed()) == 8 + min(tokens, len(text.encode("utf-8", "surrogatepass")))


def test_what_may_be_rendered_anew_keeps_its_bound() -> None:
    words, calls = Words(), [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    request = {
        "messages": [
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "content": "a result", "tool_call_id": ""},
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}],
    }

    assert counted(request, words) == counted(request, None)
    assert words.texts == []


def test_long_texts_are_bounded_for_to_count_them_takes_long() -> None:
    words, long = Words(), "a " * (EXACT_CHARS_MAX // 4)
    messages = [{"role": "user", "content": long} for _ in range(3)]

    assert counted({"messages": messages}, words) == 5 + 9 + 2 * len(long.split()) + len(long)
    assert len(words.texts) == 2


# Embeddings.


@pytest.mark.parametrize(
    ("given_input", "tokens"),
    [("abc", 3 + 10), (["ab", "é"], 4 + 20), ([5, 6, 7], 3 + 10), ([[5, 6], [7]], 3 + 20)],
)
def test_embeddings_count_texts_by_bytes_and_token_ids_by_number(given_input: Any, tokens: int) -> None:
    bound = InputBound(kind="utf8_bytes", message_tokens=10)
    estimate = upper_bound(EMBEDDINGS, {"model": "m", "input": given_input}, price(bound, EMBEDDINGS), 500)

    assert (estimate.input_tokens_max, estimate.output_tokens_max) == (tokens, 0)
    assert estimate.nanodollars_max == tokens
    assert estimate.overrides == {}


@pytest.mark.parametrize(
    "given_input", [None, [], {}, 5, [5, "a"], [5, True], [[5, "a"]], [[]], ["a", [5]], [None]]
)
def test_embeddings_of_anything_else_are_refused(given_input: Any) -> None:
    refusal = refused({"model": "m", "input": given_input}, endpoint=EMBEDDINGS)

    assert (refusal.reason, refusal.param) == (Refusal.INVALID_REQUEST, "input")


# What cannot be counted.


def test_every_field_that_a_request_may_have_is_accounted_for_and_no_other() -> None:
    assert frozenset(ChatBody.model_fields) == CHAT_FIELDS
    assert frozenset(EmbeddingsBody.model_fields) == EMBEDDINGS_FIELDS
    messages = (DeveloperMessage, SystemMessage, UserMessage, AssistantMessage, ToolMessage)
    assert frozenset[str]().union(*(message.model_fields for message in messages)) == MESSAGE_FIELDS


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file", "video_url"])
def test_content_that_is_not_text_is_refused_by_its_type(kind: str) -> None:
    refusal = refused(chat([{"type": "text", "text": "look"}, {"type": kind, kind: {}}]))

    assert refusal.reason is Refusal.UNPRICED_CONTENT
    assert kind in refusal.message


@pytest.mark.parametrize(
    ("request_body", "param"),
    [
        (chat(prediction={}), "prediction"),
        (chat(web_search_options={}), "web_search_options"),
        (chat(audio={}), "audio"),
        (chat(best_of=9), "best_of"),
        (chat(service_tier="priority"), "service_tier"),
        (chat(modalities=["text", "audio"]), "modalities"),
        (chat(functions=[]), "functions"),
        ({"messages": [{"role": "user", "content": "x", "cache_control": {}}]}, "messages.cache_control"),
        (chat([{"type": "text", "text": "x", "cache_control": {}}]), "messages.content.cache_control"),
    ],
)
def test_a_parameter_that_cannot_be_priced_is_refused_by_name(
    request_body: dict[str, Any], param: str
) -> None:
    refusal = refused(request_body)

    assert (refusal.reason, refusal.param) == (Refusal.UNPRICED_PARAMETER, param)


def test_an_embedding_parameter_that_cannot_be_priced_is_refused_by_name() -> None:
    refusal = refused({"model": "m", "input": "x", "n": 5}, endpoint=EMBEDDINGS)

    assert (refusal.reason, refusal.param) == (Refusal.UNPRICED_PARAMETER, "n")


@pytest.mark.parametrize(
    "request_body",
    [chat(tools=[{"type": "web_search"}]), chat(tools=["x"]), chat([{}])],
)
def test_other_unpriced_content_is_refused(request_body: dict[str, Any]) -> None:
    assert refused(request_body).reason is Refusal.UNPRICED_CONTENT


@pytest.mark.parametrize(
    "request_body",
    [
        {},
        {"messages": []},
        {"messages": "hi"},
        {"messages": ["hi"]},
        {"messages": [{"content": "x"}]},
        {"messages": [{"role": "x" * 99, "content": "x"}]},
        {"messages": [{"role": ["user"], "content": "x"}]},
        {"messages": [{"role": "user", "name": 5}]},
        chat(5),
        chat(["x"]),
        chat([{"type": "text"}]),
        chat([{"type": "text", "text": 5}]),
        chat(tools={}),
        {"messages": [{"role": "assistant", "tool_calls": {}}]},
    ],
)
def test_a_malformed_request_is_refused(request_body: dict[str, Any]) -> None:
    assert refused(request_body).reason is Refusal.INVALID_REQUEST


def test_a_refusal_tells_nothing_of_the_prompt() -> None:
    secret = "my secret, and more"

    for request in (chat(**{secret: 1}), chat([{"type": secret}]), chat(tools=[{"type": secret}])):
        assert secret not in str(refused(request))


def test_a_model_without_a_bound_is_refused_under_a_hard_budget_and_guessed_under_a_soft_one() -> None:
    unbounded = price(None)

    assert refused(chat(), unbounded).reason is Refusal.UNBOUNDED_MODEL
    guess = upper_bound(CHAT, chat(), unbounded, 10, hard=False)
    assert not guess.bounded
    assert guess.input_tokens_max > 2
    assert upper_bound(CHAT, chat(), price(), 10, hard=False).bounded


def test_a_model_is_priced_for_its_own_endpoint_alone() -> None:
    assert refused(chat(), price(endpoint=EMBEDDINGS)).reason is Refusal.UNSUPPORTED_ENDPOINT
