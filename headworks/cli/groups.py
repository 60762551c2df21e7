"""How a group of commands looks and behaves, wherever it stands."""

from typing import Any

import typer

_LOOK: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "rich_markup_mode": "markdown",
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


def group(**options: Any) -> typer.Typer:
    """A Typer whose help is Markdown: an indented line is an example."""
    return typer.Typer(**_LOOK, **options)
