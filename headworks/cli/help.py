"""How a help page is laid out: fit for 80 columns, examples as they are typed, lists of two columns."""

import inspect
import os
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

Row = tuple[str, str]
_INDENT = "  "
_NAME_WIDTH_MAX = 26
"""A longer name stands on a line of its own."""
_UNBROKEN = "\N{NO-BREAK SPACE}"


class Command(TyperCommand):
    """A command whose docstring's indented lines are examples, shown as they stand."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return _usage(self.get_params(ctx))

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        formatter.write(_prose(self.help or "", formatter.width))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        formatter.write(_lists(_parameters(self.get_params(ctx)), formatter.width))


class Group(TyperGroup):
    """A group of commands, under one heading or several."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["COMMAND", "[OPTIONS]"]

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        formatter.write(_prose(self.help or "", formatter.width))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        commands = ((_panel(each, "Commands"), (name, _first(each))) for name, each in self.commands.items())
        lists = [*commands, *_parameters(self.get_params(ctx))]
        formatter.write(_lists(lists, formatter.width))


def _usage(parameters: Iterable[Any]) -> list[str]:
    """Required options are named, for without them the command does nothing."""
    options, arguments = ["[OPTIONS]"], []
    for each in parameters:
        if each.param_type_name == "argument":
            name = _argument(each)
            arguments.append(name if each.required else f"[{name}]")
        elif each.required:
            options.append(f"{max(each.opts, key=len)} {_metavar(each)}")
    return [*options, *arguments]


def _prose(text: str, width: int) -> str:
    """Indented lines stand as they are; the others flow."""
    shown: list[str] = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        lines = paragraph.splitlines()
        flowing = " ".join(line for line in lines if not line.startswith(" "))
        shown += [""] + [_INDENT + line for line in _wrapped(flowing, width - len(_INDENT))]
        shown += [_INDENT + _styled(line, fg="cyan") for line in lines if line.startswith(" ")]
    return "\n".join(shown) + "\n"


def _lists(entries: Iterable[tuple[str, Row]], width: int) -> str:
    """Each heading once, in the order in which they first come."""
    by_heading: dict[str, list[Row]] = {}
    for heading, row in entries:
        by_heading.setdefault(heading, []).append(row)
    names = [name for rows in by_heading.values() for name, _ in rows]
    column = max((len(name) for name in names if len(name) <= _NAME_WIDTH_MAX), default=_NAME_WIDTH_MAX)
    shown = []
    for heading, rows in by_heading.items():
        shown += ["", _styled(f"{heading}:", bold=True), *_two_columns(rows, column, width)]
    return "\n".join(shown) + "\n"


def _two_columns(rows: list[Row], column: int, width: int) -> Iterator[str]:
    margin = " " * (len(_INDENT) + column + 2)
    for name, text in rows:
        lines = _wrapped(text, width - len(margin))
        shown = _INDENT + _styled(name, fg="cyan") + " " * (column + 2 - len(name))
        if len(name) > column:
            yield shown
            shown = margin
        yield shown + (lines[0] if lines else "")
        yield from (margin + line for line in lines[1:])


def _parameters(parameters: Iterable[Any]) -> list[tuple[str, Row]]:
    shown = [each for each in parameters if not getattr(each, "hidden", False)]
    arguments = [each for each in shown if each.param_type_name == "argument"]
    options = [each for each in shown if each.param_type_name == "option"]
    return [
        *(("Arguments", (_argument(each), _told(each))) for each in arguments),
        *((_panel(each, "Options"), (_option(each), _told(each))) for each in options),
    ]


def _argument(parameter: Any) -> str:
    return _metavar(parameter) + ("" if parameter.nargs == 1 else "...")


def _option(parameter: Any) -> str:
    names = ", ".join(sorted(parameter.opts, key=len))
    opposite = "".join(f" / {name}" for name in parameter.secondary_opts)
    return names + opposite if parameter.is_flag else f"{names} {_metavar(parameter)}"


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _told(parameter: Any) -> str:
    extras = [_default(parameter)]
    if parameter.envvar and parameter.show_envvar:
        extras.append(f"variable: {parameter.envvar}")
    if parameter.required and parameter.param_type_name == "option":
        extras.append("required")
    brackets = [f"[{extra}]".replace(" ", _UNBROKEN) for extra in extras if extra]
    return " ".join([parameter.help or "", *brackets])


def _default(parameter: Any) -> str:
    default = parameter.default
    if not parameter.show_default or default is None or default is False or default == ():
        return ""
    if default is True:
        return f"default: {parameter.opts[0]}" if parameter.secondary_opts else ""
    return f"default: {default:g}" if isinstance(default, float) else f"default: {default}"


def _panel(entry: Any, otherwise: str) -> str:
    return getattr(entry, "rich_help_panel", None) or otherwise


def _first(command: Any) -> str:
    """The first paragraph of its help."""
    return " ".join(inspect.cleandoc(command.help or "").partition("\n\n")[0].split())


def _styled(text: str, **style: Any) -> str:
    """Click takes colors out for a pipe, and knows nothing of https://no-color.org."""
    return text if os.environ.get("NO_COLOR") else typer.style(text, **style)


def _wrapped(text: str, width: int) -> list[str]:
    words = re.sub(r"[ \n]+", " ", text).strip()
    lines = textwrap.wrap(words, width, break_on_hyphens=False, break_long_words=False)
    return [line.replace(_UNBROKEN, " ") for line in lines]
