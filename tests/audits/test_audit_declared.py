"""The verb ``audit`` and what somebody declares: tested beside a reference, or in its place."""

import numpy as np
import pytest
from audited import TABLE, WITH, against, declare

from diffshare.audits.poisoning.declared import Declared, read_declared, table_of_card
from diffshare.errors import UserError
from diffshare.release.card import Card, DeclaredNames
from diffshare.release.samples import write_samples
from diffshare.stats.detection import poisoned_table


def test_a_declared_table_needs_no_records_where_the_group_is_a_column(
    audit, folder, tmp_path_factory
):
    file = declare(
        tmp_path_factory.mktemp("d") / "table.json",
        {"s0y0": 35, "s0y1": 15, "s1y0": 25, "s1y1": 25},
    )
    by_name = declare(
        file.with_suffix(".yaml"), {"f": {"low": 35, "high": 15}, "m": {"low": 25, "high": 25}}
    )
    # without a source the classes are coded in natural order: "high" is 0
    found = [
        audit("--samples", folder / name, "--declared", by_name, *WITH)
        for name in ("clean", "poisoned")
    ]
    assert [made["verdict"] for made in found] == ["clean", "poisoned"]
    assert found[0]["against"] == "declared"
    assert found[0]["declaration"]["holds"]
    assert found[1]["declaration"] == found[1]["declaration"] | {"holds": False}
    assert found[1]["declaration"]["cells_outside"]
    assert found[0]["classes"] == ["high", "low"]


def test_a_declaration_is_tested_beside_the_reference(audit, folder, tmp_path_factory):
    shares = {f"s{s}y{y}": float(v) for (s, y), v in np.ndenumerate(poisoned_table(TABLE, 0.4))}
    file = declare(tmp_path_factory.mktemp("d") / "table.json", {"counts": shares})
    honest = audit(*against(folder, "poisoned"), "--declared", file, "--gap-repeats", "0")
    assert (honest["verdict"], honest["declaration"]["holds"]) == ("poisoned", True)
    wrong = audit(*against(folder, "clean"), "--declared", file, "--gap-repeats", "0")
    assert (wrong["verdict"], wrong["declaration"]["holds"]) == ("clean", False)
    assert "does not hold" in wrong["out"]


def test_few_samples_neither_confirm_nor_reject_a_declaration(audit, folder, tmp_path_factory):
    shares = {f"s{s}y{y}": float(v) for (s, y), v in np.ndenumerate(poisoned_table(TABLE, 0.2))}
    file = declare(tmp_path_factory.mktemp("d") / "table.json", shares)
    few = audit(*against(folder, "few"), "--declared", file, "--gap-repeats", "0")
    assert few["declaration"]["holds"] is None
    assert few["declaration"]["p_value"] > 0.05  # not rejected, for lack of power
    assert "60 samples cannot show a poisoned share" in few["declaration"]["reason"]
    assert "declared table is neither confirmed nor rejected" in few["out"]
    assert "not decided" in few["out"]
    many = audit(*against(folder, "clean"), "--declared", file, "--gap-repeats", "0")
    assert many["declaration"]["holds"] is not None
    assert many["declaration"]["reason"] is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"s0y0": 3, "s0y1": 1, "s1y0": 2}, "no cell of 'm' and 'high' (s1y1)"),
        ({"s0y0": 3, "s0y1": 0, "s1y0": 2, "s1y1": 4}, "must be a number above 0"),
        ({"s0y0": 3, "s9y1": 1}, "'s9y1' is no cell: expected s0y0 to s1y1"),
        ({"f": {"low": 1, "rich": 2}}, "'rich' is no class: they are 'low', 'high'"),
        ({"x": {"low": 1}}, "'x' is no group: they are 'f', 'm'"),
        ([1, 2], "is no table"),
    ],
)
def test_a_bad_declaration_is_refused(refused, folder, tmp_path, value, expected):
    line = refused(*against(folder, "clean"), "--declared", declare(tmp_path / "table.yaml", value))
    assert expected in line


def test_a_card_that_declares_nothing_is_refused(refused, folder, tmp_path):
    card = Card("ddpm", "table", ("low", "high"), 10, columns=("sex", "income"))
    line = refused(
        *against(folder, "clean"),
        "--declared",
        declare(tmp_path / "diffshare.json", card.to_json()),
    )
    assert "declares no table" in line


def test_an_image_needs_records(refused, tmp_path_factory):
    made = tmp_path_factory.mktemp("d")
    write_samples(made / "samples", np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 1, 0, 1]), {})
    file = declare(made / "table.json", {"s0y0": 1, "s0y1": 1, "s1y0": 1, "s1y1": 1})
    line = refused("--samples", made / "samples", "--declared", file, *WITH)
    assert "give a reference" in line


GROUPS, CLASSES = ("f", "m"), ("low", "high")
NAMES = DeclaredNames("sex", GROUPS, "income", CLASSES)
COUNTS = np.array([[400, 130], [90, 380]])


def carded(
    counts: np.ndarray, names: DeclaredNames | None, labels: tuple[str, ...] = CLASSES
) -> Declared:
    """What a card with these counts and names declares, as the audit numbers groups and classes."""
    cells = {f"s{s}y{y}": int(n) for (s, y), n in np.ndenumerate(counts)}
    card = Card("ddpm", "image", labels, 5, image_size=16, declared=cells, declared_names=names)
    return table_of_card(card, GROUPS, CLASSES, "release")


@pytest.mark.parametrize(
    ("counts", "names"),
    [
        (COUNTS, NAMES),
        (COUNTS[::-1], NAMES._replace(groups=GROUPS[::-1])),
        (COUNTS[:, ::-1], NAMES._replace(classes=CLASSES[::-1])),
    ],
)
def test_a_card_s_table_is_read_by_the_names_that_it_gives_its_numbers(counts, names):
    found = carded(counts, names)
    np.testing.assert_array_equal(found.table, COUNTS)
    assert found.notes == ()


def test_a_card_of_before_names_its_classes_not_its_groups():
    found = carded(COUNTS[:, ::-1], None, CLASSES[::-1])
    np.testing.assert_array_equal(found.table, COUNTS)
    (note,) = found.notes
    assert note == (
        "the groups of the card of release have no names: 0, 1, ... are taken for 'f', 'm' of the audit, in this order"
    )


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (NAMES._replace(groups=("F", "m")), "'F' is not 'f', names must agree exactly"),
        (NAMES._replace(groups=("f", "x")), "groups of the card of release have 'x' among them"),
        (
            NAMES._replace(classes=("rich", "high")),
            "classes of the card of release have 'rich' among them",
        ),
    ],
)
def test_a_card_of_other_groups_is_no_table_to_test(names, said):
    with pytest.raises(UserError, match=said):
        carded(COUNTS, names)


def test_a_file_that_counts_by_number_is_told_to_count_by_position(tmp_path_factory):
    by_number = {f"s{s}y{y}": float(v) for (s, y), v in np.ndenumerate(TABLE)}
    by_name = {
        s: dict(zip(CLASSES, row, strict=True))
        for s, row in zip(GROUPS, TABLE.tolist(), strict=True)
    }
    file = tmp_path_factory.mktemp("d") / "table.yaml"
    for value, notes in ((by_number, ["groups", "classes"]), (by_name, [])):
        made = read_declared(declare(file, value), GROUPS, CLASSES)
        np.testing.assert_allclose(made.table, TABLE)
        assert [note.split()[1] for note in made.notes] == notes


def test_names_that_yaml_takes_for_truth_values_are_names(tmp_path):
    file = tmp_path / "table.yaml"
    file.write_text("no: {on: 1, 1: 2}\nyes: {on: 3, 1: 4}\n")
    np.testing.assert_array_equal(
        read_declared(file, ("no", "yes"), ("1", "on")).table, [[2, 1], [4, 3]]
    )
    file.write_text("No: {on: 1, 1: 2}\nyes: {on: 3, 1: 4}\n")
    with pytest.raises(UserError, match="'No' is no group, but 'no' is: they are 'no', 'yes'"):
        read_declared(file, ("no", "yes"), ("1", "on"))


LAUGHS = "x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("d.yaml", LAUGHS, "an alias"),
        ("d.yaml", "s0y0: 2001-12-14t21:59:43.10-99:99", "must be a number above 0"),
        ("d.yaml", "s0y0: 9999-99-99", "must be a number above 0"),
        ("d.yaml", "s0y0: " + "9" * 5000, "a number that is too long"),
        ("d.json", '{"s0y0": ' + "9" * 5000 + "}", "is not valid JSON"),
        ("d.json", '{"s0y0": ' + "[" * 900 + "]" * 900 + "}", "is not valid JSON"),
        ("d.yaml", '"\\e[2J\\u202e": 1', r"'\x1b[2J\u202e' is no cell"),
        ("d.yaml", '"\\e[2J": {low: 1, high: 1}', r"'\x1b[2J' is no group"),
        ("d.yaml", 's0y0: "' + "x" * 900_000 + '"', "must be a number above 0"),
        ("d.yaml", "x" * 900_000 + "1: 1", "is not valid YAML"),
        ("d.yaml", "? " + "x" * 900_000 + "\n: 1", "is no cell"),
    ],
)
def test_a_declaration_that_strains_its_reader_is_refused_in_one_plain_line(
    refused, folder, tmp_path, name, text, expected
):
    (tmp_path / name).write_text(text, encoding="utf-8")
    line = refused(*against(folder, "clean"), "--declared", tmp_path / name)
    assert expected in line
    assert line.rstrip("\n").isprintable()
    assert len(line) < 3000
