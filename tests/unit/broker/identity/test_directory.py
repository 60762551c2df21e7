from typing import cast

import pytest

from broker.errors import DirectoryBehind
from broker.identity.directory import Directory
from broker.store.database import Database


def test_a_project_that_was_not_read_yet_is_waited_for_and_no_fault_of_the_job() -> None:
    directory = Directory(cast(Database, None), b"", 1_000)
    with pytest.raises(DirectoryBehind, match="project 7") as caught:
        directory.project(7)
    assert (caught.value.code, caught.value.retryable) == ("directory_behind", True)
