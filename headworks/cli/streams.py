"""Standard input, output and error, where a caller has closed them, or has no room for what is said."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_UNWRITABLE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EPIPE})
_OUTPUT: Final = 1


@contextmanager
def guarded() -> Iterator[None]:
    """Around a whole command: that its output cannot be written is one line on standard error, and exit
    status 1. A reader that has left is told nothing.
    """
    open_closed()
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is not None or error.errno not in _UNWRITABLE:
            raise
        _give_up_output()
        if error.errno != errno.EPIPE:
            with suppress(OSError):
                sys.stderr.write(
                    f"error [output_unwritable]: the output cannot be written: {error.strerror}\n"
                )
        raise SystemExit(1) from None


def open_closed() -> None:
    """Let those that are closed lead nowhere. Else a file that is opened later gets the number of one of
    them, and the next that is said goes into it.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            _lead_nowhere(number)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _give_up_output() -> None:
    """What is left in the buffer would be tried again at the end."""
    _lead_nowhere(_OUTPUT)
    with suppress(OSError):
        sys.stdout.flush()


def _lead_nowhere(number: int) -> None:
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
