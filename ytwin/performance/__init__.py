"""What a traced path costs and gives on given hardware under a load: throughput, latency, CPU, and which resource is the limit.

Input: datapath programs, offload verdicts, hardware profiles (one per chassis), a load. `cost` turns them into work per
resource and latency per stage; `predict` asks formulas or an engine of `sim`; `fit` finds profile numbers from
measurements. Pure; chance only through a seed.
"""

from ytwin.performance.bare import bare_programs, proxied
from ytwin.performance.cost import blend, path_cost
from ytwin.performance.fit import Cell, Fit, fit
from ytwin.performance.offload_cost import OffloadCost, offload_cost
from ytwin.performance.predict import predict
from ytwin.performance.types import Metric, PathCost, Prediction, Value

__all__ = [
    "Cell",
    "Fit",
    "Metric",
    "OffloadCost",
    "PathCost",
    "Prediction",
    "Value",
    "bare_programs",
    "blend",
    "fit",
    "offload_cost",
    "path_cost",
    "predict",
    "proxied",
]
