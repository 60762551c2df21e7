"""Python's collector of cycles, in a process that works on thousands of jobs at a time.

A job's objects live for as long as its call. By default all that were made lately are gone through with every
700 more, so each job's were several times over, though what reference counts leave behind is little: a tenth
of what a worker does.
"""

import gc

YOUNG_MAX = 20_000
"""Containers that are made and not freed before the young ones are gone through: those of a hundred jobs."""


def spare_the_living() -> None:
    """To be called when all is set up: what there is by now is never gone through again."""
    gc.freeze()
    gc.set_threshold(YOUNG_MAX)
