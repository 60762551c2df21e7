"""Tokens are counted exactly where the encoding's file is at hand; nothing is ever downloaded."""

import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import SettingsInvalid
from broker.pricing.book import ModelPrice, PriceBook
from broker.pricing.counters import TokenCounter, load_counters
from tests.unit.broker.pricing import recipes as tiny_recipes
from tests.unit.broker.pricing.recipes import FILE


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> NoReturn:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of tiktoken's own, which need large files."""
    monkeypatch.setitem(sys.modules, "tiktoken_ext.openai_public", tiny_recipes)


def folder(tmp_path: Path, **files: bytes) -> Path:
    tmp_path.mkdir(exist_ok=True)
    for name, content in files.items():
        (tmp_path / f"{name}.tiktoken").write_bytes(content)
    return tmp_path


def test_without_a_folder_nothing_is_counted() -> None:
    assert load_counters(None) == {}


@pytest.mark.usefixtures("recipes")
def test_an_encoding_whose_file_is_there_counts(tmp_path: Path) -> None:
    counters = load_counters(folder(tmp_path, tiny=FILE))

    assert counters.keys() == {"tiny"}
    assert [counters["tiny"].count(text) for text in ("", "abab", "ababab", "ab ab", "é")] == [0, 1, 2, 3, 2]


@pytest.mark.usefixtures("recipes")
def test_what_looks_like_a_control_token_is_text(tmp_path: Path) -> None:
    assert load_counters(folder(tmp_path, tiny=FILE))["tiny"].count("<|end|>") == len("<|end|>")


@pytest.mark.usefixtures("recipes")
def test_an_encoding_made_from_another_reads_its_file_and_downloads_nothing(tmp_path: Path) -> None:
    counters = load_counters(folder(tmp_path, tiny=FILE, tiny_chat=b""))

    assert counters["tiny_chat"].count("ab") == 1


@pytest.mark.usefixtures("recipes")
def test_files_of_no_encoding_are_passed_over(tmp_path: Path) -> None:
    assert load_counters(folder(tmp_path, other=b"x")) == {}


@pytest.mark.usefixtures("recipes")
def test_another_file_under_its_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"tiny\.tiktoken is not the file"):
        load_counters(folder(tmp_path, tiny=FILE + b"\n"))


@pytest.mark.usefixtures("recipes")
def test_a_file_that_is_not_there_is_not_fetched(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        load_counters(folder(tmp_path, tiny_chat=b""))


def test_tiktoken_s_own_recipes_fetch_nothing_either(tmp_path: Path) -> None:
    for name in ("cl100k_base", "o200k_base", "o200k_harmony"):
        with pytest.raises(SettingsInvalid, match="tokenizers: "):
            load_counters(folder(tmp_path / name, **{name: b"x"}))


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="not a folder"):
        load_counters(tmp_path / "none")


def test_without_tiktoken_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken", None)

    with pytest.raises(SettingsInvalid, match=r"install headworks\[tokenizers\]"):
        load_counters(tmp_path)


class Fixed:
    def count(self, text: str) -> int:
        return 1


def test_only_a_model_that_names_the_encoding_is_counted() -> None:
    fixed: TokenCounter = Fixed()
    book = PriceBook.load().with_counters({"o200k_base": fixed})
    own = ModelPrice.model_validate(book.price("gpt-4o").model_dump() | {"model": "own", "aliases": ()})

    assert book.counter(book.price("gpt-4o")) is fixed
    assert book.counter(book.price("gpt-4")) is None
    assert book.counter(book.price("deepseek-chat")) is None
    assert book.with_overrides([own]).counter(own) is fixed
    assert PriceBook.load().counter(book.price("gpt-4o")) is None


@pytest.mark.usefixtures("recipes")
@given(text=st.text(st.characters()))
def test_whatever_text_comes_is_counted_within_its_bytes(text: str, tmp_path_factory: Any) -> None:
    counter = load_counters(folder(tmp_path_factory.mktemp("t"), tiny=FILE))["tiny"]

    assert 0 <= counter.count(text) <= len(text.encode("utf-8", "surrogatepass"))
