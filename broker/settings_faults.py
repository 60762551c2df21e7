"""What is wrong in the settings, told by key and never by value, for a value may be a secret."""

import re
from collections.abc import Container, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ValidationError

EMBEDDED_REDIS = "memory://"
"""The `redis.url` that stands for the embedded server: one process, nothing kept."""

_SERVER = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::(?P<port>[0-9]{1,5}))?")
_REDIS_SCHEMES = ("redis", "rediss", "unix")
_REDIS_PARAMETERS = frozenset(
    {"client_name", "db", "password", "protocol", "username"}
    | {"ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
)


def explain(error: ValidationError, model: type[BaseModel], path: Path) -> str:
    """One line where one thing is wrong, else one a thing."""
    faults = [
        _fault(tuple(map(str, item["loc"])), item["type"], item["msg"], model)
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    if len(faults) == 1:
        return f"{faults[0]} (from {path} or a HEADWORKS_* variable)"
    return "\n  ".join([f"settings from {path} and HEADWORKS_* variables are not valid:", *faults])


def _fault(place: tuple[str, ...], kind: str, message: str, model: type[BaseModel]) -> str:
    key = ".".join(place)
    if kind == "extra_forbidden":
        return f"{key}: there is no such setting{meant(place[-1], _fields(model, place[:-1]))}"
    told = message.removeprefix("Value error, ")
    return f"{key}: {told}" if key else told


def meant(name: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` where one of the known names is close, else nothing."""
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _fields(model: type[BaseModel], place: Sequence[str]) -> Iterable[str]:
    """Of the model at that place; a provider's lie beneath a name of any kind."""
    found: Any = model
    for name in place:
        field = getattr(found, "model_fields", {}).get(name)
        found = (None, *get_args(found))[-1] if field is None else field.annotation
    return getattr(found, "model_fields", {}).keys()


def unknown_section(variables: Iterable[str], sections: Iterable[str]) -> str | None:
    """A misspelt section of a variable would otherwise be passed over in silence."""
    known = set(sections)
    for name in variables:
        section, separator, _ = name.removeprefix("HEADWORKS_").partition("__")
        if name.startswith("HEADWORKS_") and separator and section.lower() not in known:
            return f"{name}: there is no section {section.lower()}{meant(section.lower(), known)}"
    return None


def whole_section(variables: Container[str], sections: Iterable[str]) -> str:
    """Of a variable that stands for a whole section, and cannot be read."""
    found = [f"HEADWORKS_{name.upper()}" for name in sections if f"HEADWORKS_{name.upper()}" in variables]
    named = ", ".join(found) or "a HEADWORKS_* variable"
    return f"{named} stands for a whole section, and is not JSON; a key is HEADWORKS_<SECTION>__<KEY>"


def check_servers(text: str) -> None:
    """Raises ValueError unless it is `host:port`, or several with commas between."""
    for server in text.split(","):
        match = _SERVER.fullmatch(server.strip())
        if match is None or int(match["port"] or 1) not in range(1, 65_536):
            raise ValueError("must be host:port, or several with commas between: kafka-1:9092,kafka-2:9092")


def check_redis_url(url: str) -> None:
    """Raises ValueError that never shows the URL."""
    if url == EMBEDDED_REDIS:
        return
    try:
        parts = urlsplit(url)
        number = parts.path.removeprefix("/")
        is_whole = parts.port is None or bool(parts.hostname)
    except ValueError:
        raise ValueError("is not a URL: its host or port cannot be read") from None
    if parts.scheme not in _REDIS_SCHEMES:
        raise ValueError("must begin with redis://, rediss:// or unix://, as in redis://127.0.0.1:6379/0")
    if not is_whole:
        raise ValueError("names a port and no host")
    if parts.scheme != "unix" and number and not number.isdecimal():
        raise ValueError("must end with the number of a database, as in redis://127.0.0.1:6379/0")
    query = parse_qs(parts.query, keep_blank_values=True)
    if not query.keys() <= _REDIS_PARAMETERS:
        raise ValueError(f"has an unknown parameter; there are {', '.join(sorted(_REDIS_PARAMETERS))}")
    if not all(value.isdecimal() for name in ("db", "protocol") for value in query.get(name, ())):
        raise ValueError("has a parameter db or protocol that is not a number")
