"""What `headworks dev` left is used whole, or not at all."""

from pathlib import Path

import pytest

from headworks.client.dev_env import fallback

FILE = (
    "# of headworks dev\nHEADWORKS_CREDENTIAL=hw.dev.k.s=\n\nHEADWORKS_KAFKA__IDEMPOTENCE=false\nPATH=/evil\n"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "dev.env"
    path.write_text(FILE)
    return path


def test_it_sets_what_is_ours_and_nothing_else(path: Path) -> None:
    assert fallback({"HOME": "/"}, path) == {
        "HEADWORKS_CREDENTIAL": "hw.dev.k.s=",
        "HEADWORKS_KAFKA__IDEMPOTENCE": "false",
    }


@pytest.mark.parametrize("name", ["HEADWORKS_CREDENTIAL", "HEADWORKS_KAFKA__BOOTSTRAP_SERVERS"])
def test_where_the_environment_names_its_own_nothing_is_mixed_in(path: Path, name: str) -> None:
    assert fallback({name: "x"}, path) == {}


def test_without_the_file_there_is_nothing(tmp_path: Path) -> None:
    assert fallback({}, tmp_path / "dev.env") == {}
