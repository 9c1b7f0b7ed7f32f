"""Loads from the command line and from YAML: what they say, and how what is wrong is said."""

from __future__ import annotations

import math

import pytest

from ytwin.core.errors import InvalidInput
from ytwin.performance.loads import Share, decode_loads, parse_load
from ytwin.sim.distributions import Constant, Exponential, Gamma, LogNormal, Uniform
from ytwin.sim.workloads import BulkTcp, ConnectRequestResponse, OpenRequests, PacketRate, RequestResponse


@pytest.mark.parametrize(
    ("text", "load"),
    [
        ("bulk:streams=16", lambda n: BulkTcp(n, 16, window_segments=None)),
        ("bulk:streams=16, window=128", lambda n: BulkTcp(n, 16, window_segments=128)),
        ("packets:rate=45 Mpps,flows=1000", lambda n: PacketRate(n, 45e6, 1000)),
        ("packets:rate=max,flows=1_000,size=128 B", lambda n: PacketRate(n, math.inf, 1000, 128)),
        (
            "packets:rate=2 k/s,gaps=exponential,packetsPerFlow=10",
            lambda n: PacketRate(n, 2e3, poisson=True, jobs_per_flow=10),
        ),
        ("rr:clients=1", lambda n: RequestResponse(n, 1)),
        (
            "rr:clients=4,think=exponential 10 us,requestsPerConnection=5,timeout=1 s",
            lambda n: RequestResponse(n, 4, Exponential(1e7), 5, 10**12),
        ),
        ("crr:clients=64", lambda n: ConnectRequestResponse(n, 64)),
        ("crr:clients=64,requests=3", lambda n: ConnectRequestResponse(n, 64, 3)),
        (
            "open:rate=10 k/s,size=lognormal 10 kB scv 4,gaps=exponential,connections=7,popularity=0.9",
            lambda n: OpenRequests(n, Exponential(1e8), LogNormal(1e4, 4), 7, 0.9),
        ),
        (
            "open:rate=10 k/s,gaps=gamma scv 3,size=uniform 64 B to 1500 B",
            lambda n: OpenRequests(n, Gamma(1e8, 3), Uniform(64, 1500)),
        ),
        ("open:rate=10 k/s,gaps=constant", lambda n: OpenRequests(n, Constant(1e8), Constant(64))),
    ],
)
def test_text(text: str, load):
    assert parse_load(text).load == load(text)


def test_counts_may_be_grouped_and_end_somewhere():
    text = "bulk:streams=00_1_000_000_000_000"
    assert parse_load(text).load == BulkTcp(text, 10**12, window_segments=None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("packets:rate=-5 Mpps", ("--load rate", "-5 Mpps", "without a sign")),
        ("packets:rate=0 pps", ("--load rate", "not above 0")),
        ("packets:rate=45", ("--load rate", "no unit", "Mpps")),
        ("packets:rate=45 Mbps", ("'Mbps' is no unit of rate",)),
        ("packets:flows=3", ("needs rate", "or max")),
        ("packets:rate=1 pps,flow=3", ("no field 'flow'", "did you mean flows?")),
        ("packets:rate=1 pps,flows=1.5", ("--load flows", "whole number")),
        ("packets:rate=1 pps,flows=-1", ("--load flows", "whole number")),
        ("packets:rate=1 pps,gaps=gamma scv 2", ("kind open",)),
        ("packets:rate=1 pps,rate=2 pps", ("stands twice",)),
        ("packets:rate=1 pps,flows", ("'flows' is no field", "FIELD=VALUE")),
        ("packet:rate=1 pps", ("no kind of load 'packet'", "did you mean packets?")),
        ("", ("does not say its kind", "bulk, packets, rr, crr, open")),
        ("rr:clients=0", ("at least 1",)),
        ("rr:clients=1_", ("--load clients", "whole number")),
        ("rr:clients=\u0663", ("--load clients", "whole number")),
        (f"rr:clients={'9' * 5000}", ("--load clients", "at most 1_000_000_000_000")),
        ("rr:clients=1,think=10", ("--load think", "no unit")),
        ("open:rate=max", ("--load rate", "is no rate")),
        ("open:rate=1 /s,gaps=exponential 3 us", ("is no law of gaps",)),
        ("open:rate=1 /s,gaps=gamma", ("needs scv",)),
        ("open:rate=1 /s,size=gamma 1 kB scv -1", ("'-1' is no number",)),
        ("open:rate=1 /s,size=uniform 2 kB", ("two ends",)),
        ("open:rate=1 /s,size=uniform 2 kB to 1 kB", ("low below high",)),
        ("open:rate=1 /s,popularity=11", ("--load popularity",)),
    ],
)
def test_text_that_is_no_load(text: str, said: tuple[str, ...]):
    with pytest.raises(InvalidInput) as error:
        parse_load(text)
    for part in said:
        assert part in str(error.value)


def test_text_says_every_problem():
    with pytest.raises(InvalidInput) as error:
        parse_load("packets:rate=45,flows=0,colour=red")
    assert len(error.value.problems) == 3


MIX = """apiVersion: iaas.yusur.io/v1
kind: Load
metadata:
  name: shop
spec:
  kind: packets
  rate: 45 Mpps
  flows: 1000
  services:
  - service: default/web
    port: 80
    share: 3
  - service: api
---
apiVersion: iaas.yusur.io/v1
kind: Load
metadata:
  name: calls
spec: {kind: rr, clients: 8}
"""


def test_yaml():
    shop, calls = decode_loads({"loads.yaml": MIX})
    assert (shop.name, shop.load) == ("shop", PacketRate("shop", 45e6, 1000))
    assert shop.services == (Share("default/web", 80, 3.0), Share("api"))
    assert (calls.load, calls.services) == (RequestResponse("calls", 8), ())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rate: 45 Mpps", "rate: 45", ("loads.yaml:7: spec.rate", "no unit")),
        ("rate: 45 Mpps", "rate: -1 pps", ("loads.yaml:7: spec.rate", "without a sign")),
        ("flows: 1000", "flws: 1000", ("loads.yaml:8: spec.flws", "did you mean flows?")),
        ("kind: packets", "kind: bits", ("loads.yaml:6: spec.kind", "no kind of load 'bits'")),
        ("share: 3", "share: 0", ("loads.yaml:12: spec.services[0].share", "above 0")),
        ("port: 80", "prt: 80", ("loads.yaml:11: spec.services[0].prt", "did you mean port?")),
        ("- service: api", "- share: 1", ("loads.yaml:13: spec.services[1].service", "no Service is named")),
        ("name: calls", "name: shop", ("loads.yaml:18: metadata.name", "another load's name")),
        ("kind: Load\nmetadata:\n  name: calls", "kind: Pod\nmetadata:\n  name: calls", ("'Pod' is no load",)),
        ("clients: 8", "clients: [8]", ("loads.yaml:19: spec.clients", "no single value")),
        ("spec: {kind: rr, clients: 8}", "spec: 3", ("loads.yaml:19: spec", "has no spec")),
    ],
)
def test_yaml_that_is_no_load(old: str, new: str, said: tuple[str, ...]):
    assert old in MIX
    with pytest.raises(InvalidInput) as error:
        decode_loads({"loads.yaml": MIX.replace(old, new)})
    for part in said:
        assert part in str(error.value), str(error.value)
