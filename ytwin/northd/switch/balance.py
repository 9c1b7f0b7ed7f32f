"""Flows of load balancers on switches."""

from __future__ import annotations

from ytwin.logical.southbound import LogicalFlow
from ytwin.northd.balancers import Balancer, Vip, empty_event, wants_event
from ytwin.northd.collect import Flows, Group
from ytwin.northd.stages import Stage
from ytwin.northd.switch.registers import (
    AFFINITY_PORT,
    CONNTRACK_COMMIT,
    CONNTRACK_NAT,
    KNOWN_LB_SESSION,
    ORIGINAL_PORT,
    affinity_address,
    original_address,
)


def balancers_flows(where: Group, event: bool, balancers: tuple[Balancer, ...]) -> tuple[LogicalFlow, ...]:
    """The flows of load balancers on the switches `where`; `event`: events are on for all load balancers."""
    flows = Flows()
    for lb in balancers:
        _flows(flows, lb, where, event)
    return flows.done()


def _flows(flows: Flows, lb: Balancer, where: Group, event: bool) -> None:
    for vip in lb.vips:
        if wants_event(lb, vip, event):
            flows.add(where, Stage.LS_IN_PRE_LB, 130, *empty_event(lb, vip), lb.source)
        ip = f"ip{vip.family}"
        port_match = f" && {lb.protocol}.dst == {vip.port}" if vip.port else ""
        keep_port = f"{ORIGINAL_PORT} = {vip.port}; " if vip.port else ""
        match = f"{CONNTRACK_NAT} == 1 && {ip}.dst == {vip.ip}{port_match}"
        actions = f"{original_address(vip.family)} = {vip.ip}; {keep_port}ct_lb_mark;"
        flows.add(where, Stage.LS_IN_PRE_STATEFUL, 120, match, actions, lb.source)
        match = f"ct.new && {ip}.dst == {vip.ip}{port_match}"
        flows.add(where, Stage.LS_IN_LB, 120 if vip.port else 110, match, _balance(lb, vip), lb.source)
        if lb.affinity_timeout:
            _affinity(flows, lb, vip, where)


def _balance(lb: Balancer, vip: Vip) -> str:
    if vip.has_backends:
        fields = f'; hash_fields="{lb.selection_fields}"' if lb.selection_fields else ""
        return f"{CONNTRACK_COMMIT} = 0; ct_lb_mark(backends={vip.backends_text}{fields});"
    if lb.reject:
        table = Stage.LS_OUT_QOS_MARK.table
        return f"reg0 = 0; reject {{ outport <-> inport; next(pipeline=egress,table={table});}};"
    return "drop;"


def _affinity(flows: Flows, lb: Balancer, vip: Vip, where: Group) -> None:
    """A client keeps its backend: look it up, use it, and learn it after the first choice."""
    ip, original = f"ip{vip.family}", f"{original_address(vip.family)} == {vip.ip}"
    original_port = f" && {ORIGINAL_PORT} == {vip.port}" if vip.port else ""
    check = f"{KNOWN_LB_SESSION} = chk_lb_aff(); next;"
    flows.add(where, Stage.LS_IN_LB_AFF_CHECK, 100, f"ct.new && {ip} && {original}{original_port}", check, lb.source)
    keep_port = f"{ORIGINAL_PORT} = {vip.port}; " if vip.port else ""
    proto = f", proto = {lb.protocol}" if vip.port else ""
    for backend in vip.backends():
        text = backend.ip
        known = f"{KNOWN_LB_SESSION} == 1 && ct.new && {ip} && {affinity_address(vip.family)} == {backend.ip}"
        learn = f"{KNOWN_LB_SESSION} == 0 && ct.new && {ip} && {original}{original_port} && {ip}.dst == {backend.ip}"
        if backend.port:
            text = f"[{backend.ip}]:{backend.port}" if vip.family == 6 else f"{backend.ip}:{backend.port}"
            known += f" && {AFFINITY_PORT} == {backend.port}"
            learn += f" && {lb.protocol}.dst == {backend.port}"
        use = (
            f"{CONNTRACK_COMMIT} = 0; {original_address(vip.family)} = {vip.ip}; {keep_port}"
            f"ct_lb_mark(backends={text});"
        )
        commit = (
            f'commit_lb_aff(vip = "{vip.text}", backend = "{text}"{proto}, timeout = {lb.affinity_timeout}); /* drop */'
        )
        flows.add(where, Stage.LS_IN_LB_AFF_LEARN, 100, learn, commit, lb.source)
        flows.add(where, Stage.LS_IN_LB, 150, known, use, lb.source)
