"""What can be wrong with a detector that is plugged in.

ConfigurationError
└── DetectorUnusable
HeadworksError
└── DetectorFault
    ├── DetectorTimedOut
    ├── DetectorFailed
    ├── DetectorGarbage
    └── DetectorDied
"""

from broker.errors import ConfigurationError, HeadworksError


class DetectorUnusable(ConfigurationError):
    """The settings name a detector that is not installed, or cannot be loaded."""

    code = "detector_unusable"


class DetectorFault(HeadworksError):
    """A look at a job that came to nothing. The text holds nothing of the job."""

    code = "detector_fault"


class DetectorTimedOut(DetectorFault):
    code = "detector_timed_out"


class DetectorFailed(DetectorFault):
    code = "detector_failed"


class DetectorGarbage(DetectorFault):
    """What it found is not of the form that it must have, or points outside of the texts."""

    code = "detector_garbage"


class DetectorDied(DetectorFault):
    code = "detector_died"
