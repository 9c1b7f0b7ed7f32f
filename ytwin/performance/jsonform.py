"""Predictions as JSON. Fields are added, never renamed."""

from __future__ import annotations

from typing import Any

from ytwin.performance.types import PathCost, Prediction


def prediction_to_json(prediction: Prediction) -> dict[str, Any]:
    """Values by metric (units stand in its name), limit; latency and work of both directions, and of all that a request asks."""
    return {
        "engine": prediction.engine,
        "seed": prediction.seed,
        "values": {v.metric.value: {"value": v.value, "low": v.low, "high": v.high} for v in prediction.values},
        "round_trips": prediction.round_trips,
        "limit": prediction.limit,
        "utilisation": dict(prediction.utilisation),
        "forward": _cost_to_json(prediction.forward),
        "reply": None if prediction.reply is None else _cost_to_json(prediction.reply),
        "total": None if prediction.total is None else _cost_to_json(prediction.total),
        "rests_on": list(prediction.rests_on),
        "notes": list(prediction.notes),
    }


def _cost_to_json(cost: PathCost) -> dict[str, Any]:
    return {
        "latency_us": cost.latency_ps / 1e6,
        "latency": [
            {"stage": p.stage, "chassis": p.chassis, "us": p.time_ps / 1e6, "rests_on": list(p.rests_on)}
            for p in cost.latency
        ],
        "work": [
            {
                "resource": d.name,
                "chassis": d.chassis,
                "ns": d.service_ps / 1e3,
                "servers": d.servers,
                "why": d.why,
                "rests_on": list(d.rests_on),
            }
            for d in cost.demands
        ],
    }
