import pytest

from broker.pricing.book import InputBound, PriceBook

DOLLARS = 10**9


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook.load()


@pytest.mark.parametrize(
    ("model", "input_rate", "cached_rate", "output_rate"),
    [
        ("gpt-4o-mini", 150_000_000, 75_000_000, 600_000_000),
        ("gpt-4o", 2_500_000_000, 1_250_000_000, 10 * DOLLARS),
        ("gpt-4o-2024-08-06", 2_500_000_000, 1_250_000_000, 10 * DOLLARS),
        ("gpt-4o-2024-05-13", 5 * DOLLARS, 5 * DOLLARS, 15 * DOLLARS),
        ("gpt-4.1-mini", 400_000_000, 100_000_000, 1_600_000_000),
        ("text-embedding-3-small", 20_000_000, 20_000_000, 0),
        ("mistral-small-latest", 150_000_000, 15_000_000, 600_000_000),
        ("claude-haiku-4-5", 1 * DOLLARS, 100_000_000, 5 * DOLLARS),
        ("gemini-2.5-flash", 300_000_000, 30_000_000, 2_500_000_000),
    ],
)
def test_known_prices(
    book: PriceBook, model: str, input_rate: int, cached_rate: int, output_rate: int
) -> None:
    rates = book.price(model).rates

    assert (rates.input, rates.cached_input, rates.output) == (input_rate, cached_rate, output_rate)


def test_a_long_prompt_costs_more_where_the_provider_says_so(book: PriceBook) -> None:
    price = book.price("gemini-2.5-pro")

    assert price.rates_at(200_000).input == 1_250_000_000
    assert price.rates_at(200_001).input == 2_500_000_000
    assert price.rates_at(200_001).output == 15 * DOLLARS


@pytest.mark.parametrize(
    "model",
    ["gpt-4o-mini", "gpt-5", "o3", "mistral-small-latest", "text-embedding-3-small", "gemini-2.5-pro"],
)
def test_models_with_a_public_tokenizer_are_bounded_by_bytes(book: PriceBook, model: str) -> None:
    bound = book.price(model).input_bound

    assert bound is not None
    assert bound.kind == "utf8_bytes"


def test_qwen_is_bounded_after_normalization(book: PriceBook) -> None:
    bound = book.price("qwen/qwen3-32b").input_bound

    assert bound is not None
    assert bound.kind == "nfc_utf8_bytes"


@pytest.mark.parametrize(
    ("model", "window_tokens"),
    [("claude-haiku-4-5", 200_000), ("claude-opus-4-6", 1_000_000), ("gemini-3-flash-preview", 1_048_576)],
)
def test_a_chat_model_whose_tokenizer_is_not_public_is_bounded_by_its_window(
    book: PriceBook, model: str, window_tokens: int
) -> None:
    bound = InputBound(kind="context_window", request_tokens=window_tokens)

    assert book.price(model).input_bound == bound


def test_no_window_is_smaller_than_the_source_has_it(book: PriceBook) -> None:
    for price in book.models:
        if price.input_bound is not None and price.input_bound.kind == "context_window":
            assert price.input_bound.request_tokens >= (price.context_window_tokens or 0)


def test_what_has_no_bound(book: PriceBook) -> None:
    assert {price.model for price in book.models if price.input_bound is None} == {
        *("gemini-embedding-001", "mistral-embed", "codestral-embed", "mistral-medium-latest")
    }


def test_each_provider_gets_the_limit_in_the_field_it_obeys(book: PriceBook) -> None:
    for price in book.by_name.values():
        is_openai = price.provider == "openai"
        assert price.output_limit_field == ("max_completion_tokens" if is_openai else "max_tokens")


def test_reading_from_the_cache_is_never_dearer_than_reading_anew(book: PriceBook) -> None:
    for price in book.by_name.values():
        for rates in (price.rates, *(tier.rates for tier in price.tiers)):
            assert rates.cached_input <= rates.input <= rates.cache_write
