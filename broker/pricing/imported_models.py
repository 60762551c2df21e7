"""Which models the book that comes with Headworks holds, and what the source of prices does not say of them.

A bound in bytes is given only where the tokenizer is public and makes at most a token of a byte: byte-level
BPE of OpenAI's models that tiktoken maps to an encoding, and of open weights of the families Llama 3 and
later, Qwen, DeepSeek, gpt-oss, Kimi and Mistral with Tekken; and SentencePiece with fallback to bytes and
without normalization, which is Gemma 3's and, as Google's own SDK counts (`LocalTokenizer` of google-genai),
that of Gemini 2.5. The overheads are what the published chat templates add, with room to spare.

Of chat models whose tokenizer is not public the bound is the context window that their provider documents:
it refuses longer inputs with an error, for which nothing is charged. Claude Sonnet 4 and 4.5 take more than
200,000 tokens only with a header of a beta, which is never sent. Embeddings have none: what a provider
charges for an input that it cuts off is not known.

Images: OpenAI's guide to images and vision. A tile model fits an image into a square of 2,048 pixels, which
16 tiles of 512 cover, and adds a base; a patch model takes 1,536 patches at most, times a factor.
Tiers of service: OpenAI's pages on flex and priority processing and on the Batch API. Only models whose
input length does not change their price have them here, as priority excludes long inputs.
"""

from dataclasses import dataclass, field, replace
from typing import Final, Literal

from broker.pricing.book import ImageBound, InputBound
from schemas.terms import Counting, ServiceTier

BoundName = Literal[
    "openai_chat",
    "openai_embeddings",
    "chat_template",
    "chat_template_nfc",
    "window_200_000",
    "window_262_144",
    "window_1_000_000",
    "window_1_048_576",
    "window_1_050_000",
]

_TEMPLATE: Final = InputBound(
    kind="utf8_bytes",
    request_tokens=512,
    message_tokens=32,
    tools_tokens=2048,
    tool_tokens=64,
    json_tokens_per_byte=3,
)


def _window(tokens: int) -> InputBound:
    return InputBound(kind="context_window", request_tokens=tokens)


INPUT_BOUNDS: Final[dict[str, InputBound]] = {
    # OpenAI states 3 tokens a message, 1 a name and 3 for the start of the answer, and renders tools as type
    # declarations, which are shorter than their JSON.
    "openai_chat": InputBound(
        kind="utf8_bytes",
        request_tokens=64,
        message_tokens=8,
        tools_tokens=256,
        tool_tokens=32,
        json_tokens_per_byte=2,
    ),
    "openai_embeddings": InputBound(kind="utf8_bytes", message_tokens=8),
    "chat_template": _TEMPLATE,
    # Qwen's tokenizers bring the text into NFC first.
    "chat_template_nfc": _TEMPLATE.model_copy(update={"kind": "nfc_utf8_bytes"}),
    "window_200_000": _window(200_000),
    "window_262_144": _window(262_144),
    "window_1_000_000": _window(1_000_000),
    "window_1_048_576": _window(1_048_576),
    "window_1_050_000": _window(1_050_000),
}


INSIDE: Final = Counting()


@dataclass(frozen=True, slots=True)
class Imported:
    """A model of the source: its names in the book, and its limits as the provider documents them."""

    model: str
    aliases: tuple[str, ...] = ()
    bound: BoundName | None = None
    output_tokens_max: int | None = None
    embeddings: bool = False
    encoding: str | None = None
    images: ImageBound | None = None
    service_tiers: dict[ServiceTier, int] = field(default_factory=dict)
    counting: Counting = INSIDE


_HALVES: Final[dict[ServiceTier, int]] = {"batch": 50, "flex": 50}


def _tiles(base: int, tile: int) -> ImageBound:
    return ImageBound(tokens=base + 16 * tile, low_detail_tokens=base)


def _patches(factor_percent: int) -> ImageBound:
    tokens = -(-1_536 * factor_percent // 100)
    return ImageBound(tokens=tokens, low_detail_tokens=tokens)


def _openai(
    model: str,
    *snapshots: str,
    output: int | None = None,
    encoding: str = "o200k_base",
    images: ImageBound | None = None,
    tiers: dict[ServiceTier, int] | None = None,
) -> Imported:
    aliases = tuple(f"{model}-{snapshot}" for snapshot in snapshots)
    return Imported(
        model,
        aliases,
        "openai_chat",
        output,
        encoding=encoding,
        images=images,
        service_tiers=tiers or {},
    )


def _embeddings(model: str, *, bound: BoundName | None = None, encoding: str | None = None) -> Imported:
    return Imported(model, bound=bound, embeddings=True, encoding=encoding)


def _open(model: str, *aliases: str, nfc: bool = False) -> Imported:
    return Imported(model, aliases, "chat_template_nfc" if nfc else "chat_template")


def _closed(model: str, *aliases: str, bound: BoundName | None, output: int | None = None) -> Imported:
    return Imported(model, aliases, bound, output_tokens_max=output)


def _claude(model: str, *aliases: str, output: int | None = None) -> Imported:
    return _closed(model, *aliases, bound="window_200_000", output=output)


def _long_claude(model: str) -> Imported:
    return _closed(model, bound="window_1_000_000")


def _gemini(model: str, *, bound: BoundName = "window_1_048_576", output: int | None = None) -> Imported:
    """Its OpenAI-style answers tell thinking in the total alone, beside the completion."""
    return replace(_closed(model, bound=bound, output=output), counting=Counting(reasoning="beside"))


IMPORTED_MODELS: Final[dict[str, tuple[Imported, ...]]] = {
    "openai": (
        _openai("gpt-3.5-turbo", "0125", output=4096, encoding="cl100k_base"),
        _openai("gpt-4", "0613", output=8192, encoding="cl100k_base"),
        _openai("gpt-4-turbo", "2024-04-09", output=4096, encoding="cl100k_base", images=_tiles(85, 170)),
        _openai("gpt-4o", "2024-08-06", "2024-11-20", output=16_384, images=_tiles(85, 170)),
        _openai("gpt-4o-2024-05-13", output=4096, images=_tiles(85, 170)),
        _openai("gpt-4o-mini", "2024-07-18", output=16_384, images=_tiles(2833, 5667)),
        _openai(
            "gpt-4.1",
            "2025-04-14",
            output=32_768,
            images=_tiles(85, 170),
            tiers={"batch": 50, "priority": 175},
        ),
        _openai("gpt-4.1-mini", "2025-04-14", output=32_768, images=_patches(162)),
        _openai("gpt-4.1-nano", "2025-04-14", output=32_768, images=_patches(246)),
        _openai("o1", "2024-12-17", output=100_000, images=_tiles(75, 150)),
        _openai("o3", "2025-04-16", output=100_000, images=_tiles(75, 150), tiers=_HALVES),
        _openai("o3-mini", "2025-01-31", output=100_000),
        _openai("o4-mini", "2025-04-16", output=100_000, images=_patches(172), tiers=_HALVES),
        _openai(
            "gpt-5", "2025-08-07", output=128_000, images=_tiles(70, 140), tiers={**_HALVES, "priority": 200}
        ),
        _openai(
            "gpt-5-mini",
            "2025-08-07",
            output=128_000,
            images=_patches(162),
            tiers={**_HALVES, "priority": 180},
        ),
        _openai("gpt-5-nano", "2025-08-07", output=128_000, images=_patches(246), tiers=_HALVES),
        _openai("gpt-5.1", "2025-11-13", output=128_000, tiers={**_HALVES, "priority": 200}),
        _openai("gpt-5.2", "2025-12-11", output=128_000, tiers={**_HALVES, "priority": 200}),
        _openai("gpt-5.4", "2026-03-05"),
        _openai("gpt-5.4-mini", "2026-03-17"),
        _openai("gpt-5.4-nano", "2026-03-17"),
        _openai("gpt-5.5", "2026-04-23"),
        _openai("gpt-5.6-luna"),
        _openai("gpt-5.6-terra"),
        _openai("gpt-5.6-sol"),
        _closed("gpt-6-luna", bound="window_1_050_000"),
        _closed("gpt-6-sol", bound="window_1_050_000"),
        _closed("gpt-6-astra", bound="window_1_050_000"),
        _closed("gpt-6.1-terra", bound="window_1_050_000"),
        _closed("gpt-6.1-sol", bound="window_1_050_000"),
        _embeddings("text-embedding-3-small", bound="openai_embeddings", encoding="cl100k_base"),
        _embeddings("text-embedding-3-large", bound="openai_embeddings", encoding="cl100k_base"),
        _embeddings("text-embedding-ada-002", bound="openai_embeddings", encoding="cl100k_base"),
    ),
    "anthropic": (
        _claude("claude-3-5-haiku-latest", "claude-3-5-haiku-20241022", output=8192),
        _claude("claude-3-7-sonnet-latest", "claude-3-7-sonnet-20250219"),
        _claude("claude-sonnet-4-0", "claude-sonnet-4-20250514", output=64_000),
        _claude("claude-opus-4-1", "claude-opus-4-1-20250805", output=32_000),
        _claude("claude-haiku-4-5", "claude-haiku-4-5-20251001", output=64_000),
        _claude("claude-sonnet-4-5", "claude-sonnet-4-5-20250929", output=64_000),
        _claude("claude-opus-4-5", "claude-opus-4-5-20251101", output=64_000),
        _long_claude("claude-sonnet-4-6"),
        _long_claude("claude-opus-4-6"),
        _long_claude("claude-opus-4-8"),
        _long_claude("claude-sonnet-5"),
        _long_claude("claude-opus-5"),
        _long_claude("claude-haiku-5-5"),
        _long_claude("claude-sonnet-5-5"),
        _long_claude("claude-opus-5-5"),
    ),
    "google": (
        _gemini("gemini-2.5-flash-lite", bound="chat_template", output=65_536),
        _gemini("gemini-2.5-flash", bound="chat_template", output=65_536),
        _gemini("gemini-2.5-pro", bound="chat_template", output=65_536),
        _gemini("gemini-3-flash-preview"),
        _gemini("gemini-3.1-flash-lite"),
        _gemini("gemini-3.1-pro-preview"),
        _gemini("gemini-3.5-flash"),
        _gemini("gemini-3.8-flash"),
        _gemini("gemini-4-argon"),
        _embeddings("gemini-embedding-001"),
    ),
    "mistral": (
        _open("open-mistral-nemo", "mistral-nemo"),
        _open("ministral-3b-2512"),
        _open("ministral-8b-2512"),
        _open("ministral-14b-2512"),
        _open("mistral-small-latest"),
        _open("mistral-small-2506"),
        _open("mistral-small-2603"),
        _closed("mistral-medium-latest", bound=None),
        _closed("mistral-medium-3-5", bound="window_262_144"),
        _open("mistral-large-2512"),
        _closed("mistral-large-4", bound="window_1_048_576"),
        _closed("codestral-2508", bound="window_262_144"),
        _open("devstral-2512"),
        _embeddings("mistral-embed"),
        _embeddings("codestral-embed"),
    ),
    "deepseek": (
        _open("deepseek-chat"),
        _open("deepseek-reasoner"),
        _open("deepseek-v4-flash"),
        _open("deepseek-v4-pro"),
    ),
    "groq": (
        _open("llama-3.1-8b-instant"),
        _open("llama-3.3-70b-versatile"),
        _open("meta-llama/llama-4-scout-17b-16e-instruct"),
        _open("meta-llama/llama-4-maverick-17b-128e-instruct"),
        _open("moonshotai/kimi-k2-instruct", "moonshotai/kimi-k2-instruct-0905"),
        _open("openai/gpt-oss-20b"),
        _open("openai/gpt-oss-120b"),
        _open("qwen/qwen3-32b", nfc=True),
    ),
    "together": (
        _open("meta-llama/Llama-3.3-70B-Instruct-Turbo"),
        _open("meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8"),
        _open("Qwen/Qwen3.5-9B", nfc=True),
    ),
}
"""By provider, as the source names it."""
