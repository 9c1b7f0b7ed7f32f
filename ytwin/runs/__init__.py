"""Studies carried out: files, processes, a cluster, the clock, which the twin's pure rooms do not have.

`run(job, store, workers, progress)` computes what is missing until nothing is; `Store` keeps every result from the moment it
arrives, so that a killed run goes on where it was; `workers` are processes of this machine or an existing Dask cluster.
"""

from ytwin.runs.run import Interrupted, Outcome, run
from ytwin.runs.store import Store
from ytwin.runs.workers import DaskWorkers, LocalWorkers, Workers

__all__ = ["DaskWorkers", "Interrupted", "LocalWorkers", "Outcome", "Store", "Workers", "run"]
