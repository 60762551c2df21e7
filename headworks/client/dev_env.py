"""What `headworks dev` leaves for other commands in its folder: `.headworks/dev.env`, KEY=VALUE a line."""

from collections.abc import Mapping
from pathlib import Path

PATH = Path(".headworks/dev.env")
_DECISIVE = ("HEADWORKS_CREDENTIAL", "HEADWORKS_KAFKA__BOOTSTRAP_SERVERS")


def fallback(environment: Mapping[str, str], path: Path = PATH) -> dict[str, str]:
    """All that the file sets, or nothing where the environment names a credential or a Kafka of its own.

    One is never mixed with the other.
    """
    if any(name in environment for name in _DECISIVE) or not path.is_file():
        return {}
    pairs = (line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
    named = {name.strip(): value.strip() for name, value in pairs}
    return {name: value for name, value in named.items() if name.startswith("HEADWORKS_")}
