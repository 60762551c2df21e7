"""Figures as a table for people and as JSON for scripts."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def show(title: str, rows: Sequence[tuple[str, str, str]]) -> None:
    """Rows of name, figure and what it is measured against."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("measured", justify="right")
    table.add_column("against", justify="right")
    for row in rows:
        table.add_row(*row)
    Console(width=100).print(table)


def save(figures: Mapping[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2) + "\n")
