"""The article's cells, the protocol and the claims: as the article prints them, and computed, not written down."""

from __future__ import annotations

import pytest
import yaml

from ytwin.article.claims import ClaimVerdict, article_claims, evaluate, judge_claims
from ytwin.article.tables import Role, article_tables, read_tables, shipped_text

TABLES = article_tables()
VALUES = {name: cell.value for name, cell in TABLES.cells.items()}
CLAIMS, FACTS = judge_claims(VALUES, VALUES, TABLES.noise)


def test_the_cells_are_those_of_section_3_2():
    offload_then_software = [
        *(163, 166, 152, 130, 151, 138),
        *(45, 45, 25.5, 12.1, 24.5, 12.2),
        *(32, 32, 33, 48, 33, 44),
        *(15999, 15139, 11040),
        *(122613, 171405, 1.94, 1.69),
    ]
    assert list(VALUES.values()) == offload_then_software


def test_at_most_the_cells_of_the_protocol_are_calibrated():
    of_role = {role: [n for n, c in TABLES.cells.items() if c.role is role] for role in Role}
    assert set(of_role[Role.CALIBRATED]) == {
        "bandwidth.baseline.offload",
        "packets.baseline.offload",
        "packets.pod.offload",
        "packets.pod.software",
        "latency.baseline.offload",
        "latency.pod.offload",
        "latency.pod.software",
    }
    assert {name.partition(".")[0] for name in of_role[Role.FITTED]} == {"instructions", "cpi"}
    assert len(of_role[Role.FITTED]) == 4
    assert len(of_role[Role.PREDICTED]) == 14
    numbers = [c.number for c in (*TABLES.calibrate, *TABLES.fit)]
    assert len(set(numbers)) == 11, "no number serves two cells"


def test_siblings_are_cells_that_the_protocol_predicts():
    for calibration in TABLES.calibrate:
        for sibling in calibration.siblings:
            assert TABLES.cells[sibling].role is Role.PREDICTED


@pytest.mark.parametrize(
    "change",
    [
        {"calibrate": [{"cell": "latency.pod.wrong", "number": "host.latency"}]},
        {"repeats": {"bandwidth.x.software": "bandwidth.baseline.offload"}},
        {"stated": {"bandwidth.node.none": "3 %"}},
        {
            "calibrate": [
                {"cell": "latency.pod.offload", "number": "host.latency"},
                {"cell": "latency.node.offload", "number": "host.latency"},
            ]
        },
    ],
)
def test_a_protocol_that_does_not_fit_its_tables_is_refused(change):
    said = yaml.safe_load(shipped_text("tables.yaml"))
    with pytest.raises(ValueError, match=r"no such cells|twice"):
        read_tables(yaml.safe_dump({**said, **change}))


def test_verdicts_on_the_claims():
    assert [(c.said.row, c.said.section, c.verdict.value) for c in CLAIMS] == [
        ("node", "3.2.1", "generous"),
        ("Pod", "3.2.1", "does not follow"),
        ("node", "3.2.2", "holds"),
        ("Pod", "3.2.2", "holds"),
        ("node", "3.2.2", "generous"),
        ("Pod", "3.2.2", "generous"),
        ("node", "3.2.3", "holds"),
        ("Pod", "3.2.3", "holds"),
        ("Pod", "3.2.4", "generous"),
        ("Pod", "3.2.5", "holds"),
        ("Pod", "3.2.5", "holds"),
        ("Pod", "3.2.5", "does not follow"),
    ]


def test_the_numbers_behind_the_verdicts():
    assert [round(c.article, 4) for c in CLAIMS] == [
        *(0.1692, 0.0942, 2.1074, 2.0082, 0.5667, 0.5444),
        *(0.3125, 0.25, 0.3713, 0.2847, 0.1479, 0.1788),
    ]
    facts = {f.said.text: f.article for f in FACTS}
    assert facts["cycles per request, offloaded"] == pytest.approx(237_869, abs=0.5)
    assert facts["cycles per request, software"] == pytest.approx(289_674, abs=0.5)
    assert facts["CPI of the instructions that offload removes"] == pytest.approx(1.06, abs=0.005)
    assert facts["CPI at which the CPU would fall by 25 %"] == pytest.approx(1.772, abs=0.0005)
    assert facts["requests/s against 1 / (2 latency), baseline"] == pytest.approx(0.0239, abs=5e-5)
    assert facts["requests/s against 1 / (2 latency), software"] == pytest.approx(-0.0285, abs=5e-5)


def test_verdicts_follow_the_numbers():
    """Other tables, other verdicts: nothing is written down."""
    doubled = {**VALUES, "bandwidth.pod.offload": 2 * VALUES["bandwidth.pod.offload"]}
    assert judge_claims(doubled, VALUES, 0.02)[0][1].verdict is ClaimVerdict.HOLDS
    halved = {**VALUES, "packets.pod.offload": VALUES["packets.pod.offload"] / 2}
    assert judge_claims(halved, VALUES, 0.02)[0][3].verdict is ClaimVerdict.NOT


@pytest.mark.parametrize("formula", ["latency.pod.sideways", "__import__('os')", "2 ** 9", "latency", "-1"])
def test_a_formula_knows_cells_and_four_operations_only(formula):
    with pytest.raises(ValueError, match="no number and no cell"):
        evaluate(formula, VALUES)


def test_every_formula_names_cells_that_exist():
    for said in (*article_claims().claims, *article_claims().facts):
        evaluate(said.formula, VALUES)
