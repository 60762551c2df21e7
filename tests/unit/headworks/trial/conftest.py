import pytest

from headworks.trial.detectors import Detectors


@pytest.fixture(scope="session")
def detectors() -> Detectors:
    return Detectors.load()
