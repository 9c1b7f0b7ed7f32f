"""Reading topology files: what is accepted, and where each problem is said to be."""

from __future__ import annotations

import json

import pytest

from experiments.fuzz.mutate import SEPARATOR, corpus
from ytwin.core.errors import InvalidInput, Problem
from ytwin.resources.codec import KINDS, decode, dump, parse, to_dict
from ytwin.resources.model import Node, Pod, Subnet, Vpc, YusurService

ARTICLE = """\
apiVersion: iaas.yusur.io/v1
kind: YusurService
metadata:
  name: ysvc1
spec:
  type: ClusterIP
  scope: vpc
  vpc: vpc1
  ports:
  - port: 5001
    name: iperf
    protocol: TCP
    targetPort: 5001
  selector:
    svc: svc1-ep
"""
VPC1 = "{apiVersion: iaas.yusur.io/v1, kind: Vpc, metadata: {name: vpc1}}"


def problems(text: str) -> list[Problem]:
    with pytest.raises(InvalidInput) as refused:
        decode({"f.yaml": text})
    return list(refused.value.problems)


def places(text: str) -> list[tuple[int, str, str]]:
    return [(p.where.line, p.where.path, p.code) for p in problems(text)]


def test_the_articles_example_is_read_unchanged() -> None:
    snapshot = decode({"ysvc1.yaml": ARTICLE, "vpc.yaml": VPC1})
    service = snapshot.get(YusurService, "ysvc1", "default")
    assert service is not None
    assert (service.spec.vpc, service.spec.ports[0].target_port, dict(service.spec.selector)) == (
        "vpc1",
        5001,
        {"svc": "svc1-ep"},
    )


def test_the_corpus_has_every_kind_and_survives_a_round_trip() -> None:
    snapshot = decode({"corpus.yaml": SEPARATOR.join(corpus())})
    assert {key.kind for key in snapshot.objects} == set(KINDS)
    assert decode({"again.yaml": dump(snapshot.objects.values())}) == snapshot


def test_json_is_yaml_and_a_list_of_its_own_kind_needs_no_kinds_inside() -> None:
    items = [
        {"metadata": {"name": f"node{i}"}, "status": {"addresses": [{"type": "InternalIP", "address": f"10.9.0.{i}"}]}}
        for i in (1, 2)
    ]
    text = json.dumps(
        {"apiVersion": "v1", "kind": "NodeList", "metadata": {"resourceVersion": ""}, "items": items}, indent="\t"
    )
    assert [node.name for node in decode({"nodes.json": text}).all(Node)] == ["node1", "node2"]


def test_all_problems_of_all_files_are_reported_at_once() -> None:
    with pytest.raises(InvalidInput) as refused:
        decode(
            {
                "a.yaml": ARTICLE.replace("vpc: vpc1", "vcp: vpc1"),
                "b.yaml": "a: [",
                "c.yaml": VPC1.replace("iaas", "iaa"),
            }
        )
    assert {(p.where.file, p.code) for p in refused.value.problems} == {
        ("a.yaml", "unknown-field"),
        ("b.yaml", "yaml"),
        ("c.yaml", "api-version"),
    }


def test_an_unknown_field_names_its_line_and_the_likely_one() -> None:
    (problem,) = problems(ARTICLE.replace("targetPort", "targetPrt"))
    assert str(problem.where) == "f.yaml:13: spec.ports[0].targetPrt"
    assert problem.hint == "did you mean targetPort?"


def test_paths_inside_lists_start_at_the_document() -> None:
    text = f"kind: List\nitems:\n- {VPC1}\n- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: p\n    lables: {{}}\n"
    assert places(text) == [(8, "items[1].metadata.lables", "unknown-field")]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("port: 5001\n", "port: '80'\n"), (10, "spec.ports[0].port", "type")),
        (("port: 5001\n", "port: true\n"), (10, "spec.ports[0].port", "type")),
        (("port: 5001\n", "port: 70000\n"), (10, "spec.ports[0].port", "value")),
        (("port: 5001\n", f"port: {'9' * 5000}\n"), (10, "spec.ports[0].port", "type")),
        (("protocol: TCP", "protocol: tcp"), (12, "spec.ports[0].protocol", "value")),
        (("svc: svc1-ep", "svc: yes"), (15, "spec.selector.svc", "type")),
        (("  selector:\n    svc: svc1-ep", "  selector: svc1"), (14, "spec.selector", "type")),
        (("targetPort: 5001", "targetPort: .nan"), (13, "spec.ports[0].targetPort", "type")),
        (("  scope: vpc\n", "  scope: vpc\n  scope: vpc\n"), (8, "spec.scope", "duplicate-key")),
        (("    svc: svc1-ep", "    5: svc1-ep"), (15, "spec.selector", "yaml")),
        (("svc: svc1-ep", "svc: !!binary aGk="), (15, "spec.selector.svc", "yaml")),
        (("kind: YusurService", "kind: YusrService"), (2, "kind", "kind")),
        (("kind: YusurService", "kind: ConfigMap"), (2, "kind", "kind")),
        (("iaas.yusur.io/v1", "v1"), (1, "apiVersion", "api-version")),
        (("  name: ysvc1\n", "  labels: {}\n"), (3, "metadata.name", "missing-field")),
        (("scope: vpc", "balancing: {onUnsupported: nearst}"), (7, "spec.balancing.onUnsupported", "value")),
        (("  - port: 5001\n", "  - 5\n  - port: 5001\n"), (10, "spec.ports[0]", "type")),
    ],
)
def test_a_wrong_value_is_placed(change: tuple[str, str], expected: tuple[int, str, str]) -> None:
    text = ARTICLE.replace(*change)
    assert text != ARTICLE
    assert expected in places(f"{text}---\n{VPC1}\n")


@pytest.mark.parametrize(
    "text",
    [
        "a:\n\t- b",
        "a: \x01",
        "a: \ud800",
        "a: 'x",
        "a: *nothing",
        "a: &a [*a]",
        "[" * 100_000,
        "{a: " * 100_000,
        "- " * 100_000,
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"k{i}: &b{i} [{','.join([f'*b{i - 1}' if i else '*a'] * 9)}]\n" for i in range(9)),
        "<<: 5",
        "!!python/object/apply:os.system [ls]",
        "- 1",
        "just text",
        "kind: List\nitems: 5",
        "kind: List\nitems: [5, null, [], {}]",
        "kind: [Pod]",
        "--- !!int x",
        "kind: Pod\nmetadata: 5\napiVersion: v1\nspec: []",
    ],
)
def test_whatever_stands_in_a_file_is_a_problem_with_a_remedy(text: str) -> None:
    for problem in problems(text):
        assert problem.where.file
        assert problem.message
        assert problem.hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a:\n\t- b", "indent with spaces"),
        ("a: 1\nb c\nd: 2", "colon"),
        ("a: 1\n  b: 2", "colon"),
        ("a:\n  b: 1\n c: 2", "same column"),
        ("a: [1, 2", "close the bracket"),
        ('{"a": 1', "close the bracket"),
        ("a: 'x", "close the quotes"),
        ("a: @b", "in quotes"),
        ("kind: Pod\napiVersion: v1\nspec: {}", "add metadata: (a mapping) to the Pod"),
        ("kind: Subnet\napiVersion: kubeovn.io/v1\nmetadata: {name: a}\nspec: {}", "add cidrBlock: (text) to spec"),
        (ARTICLE.replace("  ports:", "  portz:"), "add ports: (a list) to spec"),
        (ARTICLE.replace("  - port: 5001\n    name", "  - name"), "add port: (a number) to spec.ports[0]"),
        (ARTICLE.replace("svc: svc1-ep", "- svc1-ep"), "lines of key: value"),
        (ARTICLE.replace("iaas.yusur.io", "serving.knative.dev"), "leave the object out if it belongs to another API"),
    ],
)
def test_the_remedy_fits_the_mistake(text: str, hint: str) -> None:
    assert any(hint in problem.hint for problem in problems(text)), problems(text)


def test_a_broken_file_causes_no_second_hand_problems() -> None:
    with pytest.raises(InvalidInput) as refused:
        decode({"service.yaml": ARTICLE, "vpc.yaml": "kind: Vpc\nmetadata: {name: vpc1}}"})
    assert {p.code for p in refused.value.problems} == {"yaml"}


def test_a_refused_object_is_still_known_to_those_that_refer_to_it() -> None:
    text = f"{ARTICLE}---\n{VPC1[:-1]}, spec: {{nope: 1}}}}\n"
    assert [code for _, _, code in places(text)] == ["unknown-field"]


def test_the_same_object_twice_is_a_problem_unless_it_says_the_same() -> None:
    assert len(decode({"a": VPC1, "b": VPC1}).objects) == 1
    other = VPC1[:-1] + ", spec: {namespaces: [a]}}"
    with pytest.raises(InvalidInput, match="duplicate-object"):
        decode({"a": VPC1, "b": other})


def test_null_is_absent_and_a_namespaced_object_lands_in_default() -> None:
    text = ARTICLE.replace("scope: vpc", "scope: null\n  sessionAffinityConfig:")
    service = parse({"f": text}).resources
    assert [str(key) for key in service] == ["YusurService/default/ysvc1"]


def test_kubernetes_fields_that_the_twin_does_not_read_are_accepted_and_invented_ones_refused() -> None:
    text = """
apiVersion: v1
kind: Pod
metadata: {name: p, uid: x, somethingNew: 1, managedFields: [{"f:spec": {}}]}
spec: {nodeName: n, tolerations: [{key: a}], volumes: [], containers: [{name: c, image: i, env: [], whatever: 1}], dnsPolcy: x}
status: {phase: Running, whatever: {a: 1}}
"""
    (problem,) = parse({"f": text}).problems
    assert (problem.where.path, problem.hint) == ("spec.dnsPolcy", "did you mean dnsPolicy?")


def test_kube_ovns_own_objects_are_accepted_and_their_effects_stay_visible() -> None:
    text = """
apiVersion: kubeovn.io/v1
kind: Subnet
metadata: {name: ovn-default}
spec:
  cidrBlock: 10.16.0.0/16
  default: true
  enableLb: true
  gatewayType: distributed
  natOutgoing: true
  private: false
  provider: ovn
  u2oInterconnection: true
  vpc: ovn-cluster
status: {v4usingIPs: 5}
---
apiVersion: kubeovn.io/v1
kind: Vpc
metadata: {name: v}
spec: {vpcPeerings: [{remoteVpc: w, localConnectIP: 10.0.0.1/24}], enableExternal: false, bfdPort: {enabled: false},
  staticRoutes: [{cidr: 0.0.0.0/0, nextHopIP: 10.0.0.9, bfdId: x}]}
"""
    snapshot = decode({"f": text})
    subnet, vpc = snapshot.get(Subnet, "ovn-default"), snapshot.get(Vpc, "v")
    assert subnet is not None
    assert vpc is not None
    assert subnet.unmodelled == ("spec.u2oInterconnection", "spec.natOutgoing")
    assert vpc.unmodelled == ("spec.vpcPeerings", "spec.staticRoutes[0].bfdId")
    assert to_dict(subnet)["spec"]["gatewayType"] == "distributed"
    assert decode({"again": dump(snapshot.objects.values())}) == snapshot


def test_texts_that_look_like_something_else_are_quoted() -> None:
    awkward = [
        "yes",
        "null",
        "1e3",
        "010",
        "1_000",
        "<<",
        "~",
        "",
        "a: b",
        "# x",
        "2024-01-01",
        "10:20:30",
        ".inf",
        "é",
        "a\nb",
        "- x",
        "*a",
    ]
    pod = Pod.model_validate(
        {"metadata": {"name": "p", "namespace": "n", "annotations": {f"k{i}": v for i, v in enumerate(awkward)}}}
    )
    (again,) = parse({"f": dump([pod])}).resources.values()
    assert again == pod


def test_merge_keys_work_and_explicit_fields_win() -> None:
    text = f"kind: List\nitems:\n- &a {VPC1}\n- {{<<: *a, metadata: {{name: vpc2}}}}\n"
    assert [vpc.name for vpc in decode({"f": text}).all(Vpc)] == ["vpc1", "vpc2"]
