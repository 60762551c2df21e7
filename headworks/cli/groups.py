"""How a group of commands looks and behaves, wherever it stands."""

from collections.abc import Callable
from typing import Any, TypeVar

import typer

from headworks.cli.help import Command, Group

_Function = TypeVar("_Function", bound=Callable[..., Any])
_WIDTH_MAX = 100
_LOOK: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"], "max_content_width": _WIDTH_MAX},
}


class _Commands(typer.Typer):
    def command(self, name: str | None = None, **options: Any) -> Callable[[_Function], _Function]:
        options.setdefault("cls", Command)
        options.setdefault("context_settings", _LOOK["context_settings"])
        return super().command(name, **options)


def group(*, cls: type[Group] = Group, **options: Any) -> typer.Typer:
    """A Typer whose help pages are laid out by `headworks.cli.help`."""
    return _Commands(cls=cls, **_LOOK, **options)
