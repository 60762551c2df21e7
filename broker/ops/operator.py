"""Who is at the keyboard, for the record of what operators change."""

import getpass
import os
from typing import Final

VARIABLE: Final = "HEADWORKS_OPERATOR"
CHARS_MAX: Final = 128


def operator() -> str:
    """What the environment variable says, else the login name; `unknown` where the system has none. What of
    it is no UTF-8 is spelt out.
    """
    try:
        name = os.environ.get(VARIABLE) or getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
    return name.encode(errors="backslashreplace").decode()[:CHARS_MAX]
