"""Headworks as it runs in production: worker processes on real servers. For fault tests and benchmarks."""

from tests.stack.processes import Process, SimulatorProcess, WorkerProcess
from tests.stack.stack import RealStack

__all__ = ["Process", "RealStack", "SimulatorProcess", "WorkerProcess"]
