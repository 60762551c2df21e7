"""Figures as people read them."""

_TIMES = (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1_000))
_SIZES = (("MiB", 1024 * 1024), ("KiB", 1024))


def duration(ms: int) -> str:
    """In the largest unit that fits without a rest: `14 days`, `1 hour`, `1500 ms`. `forever` below zero."""
    if ms < 0:
        return "forever"
    for name, unit in _TIMES:
        count, rest = divmod(ms, unit)
        if count and not rest:
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{ms} ms"


def span(ms: int) -> str:
    """In the two largest units, without the rest: `3 days 4 hours`, `12 seconds`."""
    parts = []
    for name, unit in _TIMES:
        count, ms = divmod(ms, unit)
        if count:
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
    return " ".join(parts[:2]) or "0 seconds"


def size(count: int) -> str:
    """In the largest unit that fits without a rest: `12 MiB`, `1 KiB`, `1000 bytes`."""
    for name, unit in _SIZES:
        whole, rest = divmod(count, unit)
        if whole and not rest:
            return f"{whole} {name}"
    return f"{count} bytes"
