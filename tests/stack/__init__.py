"""Headworks as it runs in production: worker processes on real servers. For fault tests and benchmarks."""

from tests.stack.account import Account
from tests.stack.fleet import Fleet
from tests.stack.ledger import Ledger
from tests.stack.load import Load
from tests.stack.processes import CommandProcess, Process, SimulatorProcess, WorkerProcess
from tests.stack.stack import RealStack
from tests.stack.waiting import DEADLINE_S, until

__all__ = [
    "DEADLINE_S",
    "Account",
    "CommandProcess",
    "Fleet",
    "Ledger",
    "Load",
    "Process",
    "RealStack",
    "SimulatorProcess",
    "WorkerProcess",
    "until",
]
