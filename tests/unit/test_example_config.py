"""config/headworks.toml: as it stands it changes nothing; it has every setting, with its true default."""

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from broker.settings import DetectorSettings, ProviderTarget, Section, Settings

EXAMPLE = Path(__file__).parents[2] / "config" / "headworks.toml"
NAMED: dict[str, tuple[str, type[Section]]] = {
    "providers": ("openai", ProviderTarget),
    "detectors": ("names", DetectorSettings),
}
"""Sections of which there may be many; the one of each that is shown."""
_HIDDEN = re.compile(r"^# (?=\[|[a-z_]+ = )")
_NO_DEFAULT = re.compile(r"(?P<name>[a-z_]+) = .*  # no default")
_HEADING = re.compile(r"\[(?P<path>[a-z_.]+)\]")


def uncovered() -> list[str]:
    """The lines as they are when somebody takes every # away that hides a setting."""
    return [_HIDDEN.sub("", line) for line in EXAMPLE.read_text().splitlines()]


def fields(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting by its dotted path."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if name in NAMED:
            own, model_of_each = NAMED[name]
            yield from fields(model_of_each, f"{name}.{own}.")
        elif isinstance(kind, type) and issubclass(kind, Section):
            yield from fields(kind, f"{path}{name}.")
        else:
            yield path + name, field


def shown() -> dict[str, Any]:
    """Every setting that the file shows, by its dotted path."""
    return dict(_flat(tomllib.loads("\n".join(uncovered()))))


def _flat(table: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield path + name, value


def without_default() -> set[str]:
    """The settings that the file says have none."""
    section, found = "", set()
    for line in uncovered():
        if heading := _HEADING.fullmatch(line):
            section = heading["path"] + "."
        elif example := _NO_DEFAULT.match(line):
            found.add(section + example["name"])
    return found


FIELDS = dict(fields(Settings))


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("HEADWORKS_")]:
        monkeypatch.delenv(name)


def test_as_it_stands_it_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWORKS_CONFIG", str(EXAMPLE))
    assert Settings.load() == Settings.model_construct()


def test_every_setting_is_there_and_no_other() -> None:
    assert shown().keys() == FIELDS.keys()


def test_what_has_no_default_says_so() -> None:
    optional = {path for path, field in FIELDS.items() if field.is_required() or field.default is None}
    assert without_default() == optional


@pytest.mark.parametrize("path", sorted(FIELDS.keys() - without_default()))
def test_the_default_shown_is_true(path: str) -> None:
    default = FIELDS[path].default
    true = default.get_secret_value() if isinstance(default, SecretStr) else default
    assert shown()[path] == true


def test_what_it_shows_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "headworks.toml"
    changed.write_text("\n".join(uncovered()))
    monkeypatch.setenv("HEADWORKS_CONFIG", str(changed))
    settings = Settings.load()
    assert settings.kafka.sasl_username == "headworks"
    assert settings.providers["openai"].api_key is not None
    assert settings.detectors["names"] == DetectorSettings()
