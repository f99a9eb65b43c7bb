"""What samples say of themselves may neither stop an audit nor turn its verdict: guidance and classes; early looks."""

import json

import numpy as np
import pytest
from audited import TABLE, WITH, against, write_rows
from test_audit_faces import FACES, KERNEL, faces, faces_reference

from diffshare.audits.poisoning.verdict import Terms, judge
from diffshare.errors import UserError
from diffshare.release.samples import write_samples
from diffshare.stats.association import Reference
from diffshare.stats.detection import poisoned_table
from diffshare.stats.shares import counted_shares

SAMPLED = Reference(np.rint(1500 * TABLE))


def drawn(alpha: float):
    return counted_shares(np.rint(2000 * poisoned_table(TABLE, alpha)).astype(int))


@pytest.mark.parametrize("guidance", [0.0, 0.01, 0.5, 3.0, 20.0])
def test_no_claim_stops_an_audit_or_clears_poisoned_samples_without_a_word(guidance):
    made = judge(drawn(0.5), SAMPLED, Terms(guidance=guidance, claimed=True))
    assert made.verdict != "clean"
    assert made.verdict == "poisoned" or made.plain
    clean = judge(drawn(0), SAMPLED, Terms(guidance=guidance, claimed=True))
    assert (clean.verdict, clean.plain) == ("inconclusive", False)


def test_what_a_claim_hides_is_noted(audit, folder, tmp_path_factory):
    made = tmp_path_factory.mktemp("claims")
    write_rows(made / "samples.csv", 1200, 2, poisoned_table(TABLE, 0.4))
    arguments = ("--samples", made, *against(folder, "clean")[2:], "--gap-repeats", "0")
    for said, verdict, words in (
        (3, "inconclusive", "poisoned, unless the samples were really drawn at guidance 3"),
        (0, "inconclusive", "poisoned, unless the samples were really drawn at guidance 0"),
        (50, "poisoned", "is no number from 0 to 20: it is taken for 1"),
        (999, "poisoned", "is no number from 0 to 20: it is taken for 1"),
    ):
        (made / "samples.json").write_text(json.dumps({"guidance": said}))
        found = audit(*arguments)
        assert found["verdict"] == verdict
        assert any(words in note for note in found["notes"])


def test_a_margin_that_sees_nothing_is_refused_by_the_name_of_its_source(refused, folder):
    base = against(folder, "clean")
    assert "--guidance is 21.0: it lies between 0 and 20" in refused(*base, "--guidance", "21")
    line = refused(*base, "--guidance", "0")
    assert "the default margin 0.4 (at guidance 0" in line
    assert "set a lower --margin, draw at guidance 1, or raise --alpha" in line
    line = refused(*base, "--margin-from", folder / "poisoned", "--alpha", "0.05")
    assert "the margin from --margin-from" in line
    assert "name surrogates that are clean" in line
    assert "lower" not in line
    with pytest.raises(UserError, match="`margin` 5 .*: lower it, or raise"):
        judge(drawn(0), SAMPLED, Terms(margin=5, fixed=True))


def test_a_look_without_a_sample_of_some_class_decides_nothing(audit, folder, tmp_path_factory):
    made = tmp_path_factory.mktemp("early")
    found = audit(*against(folder, "poisoned"), "--gap-repeats", "0", "--sequential", "1")
    assert (found["verdict"], found["looks"]) == ("poisoned", 12)
    write_rows(made / "samples.csv", 1200, 2, np.array([[0.49, 0.01], [0.01, 0.49]]))
    assert audit(
        "--samples",
        made,
        *against(folder, "")[2:4],
        *WITH,
        "--gap-repeats",
        "0",
        "--sequential",
        "2",
    )


def test_classes_of_samples_are_joined_by_their_names_and_otherwise_told_or_refused(
    audit, refused, tmp_path_factory
):
    made = tmp_path_factory.mktemp("classes")
    x, y = faces(np.full((2, 2), 0.25), 300, 7)
    arguments = (
        "--reference",
        faces_reference(made),
        "--sensitive",
        "Male",
        *KERNEL,
        "--gap-repeats",
        "0",
    )
    assert FACES["image_size"] == x.shape[1]
    write_samples(made / "s", x, y, {"classes": ["not Smiling", "Smiling"]})
    plain = audit("--samples", made / "s", *arguments, "--target", "Smiling")
    assert plain["classes"] == ["not Smiling", "Smiling"]
    assert not any("order" in note for note in plain["notes"])
    found = audit("--samples", made / "s", *arguments, "--target", "Hat")
    assert any(
        "are 'not Smiling', 'Smiling', those of 'Hat' of the reference" in note
        for note in found["notes"]
    )
    (made / "s" / "samples.json").unlink()
    unnamed = audit("--samples", made / "s", *arguments, "--target", "Smiling")
    assert any(
        "have no names: 0, 1, ... are taken for 'not Smiling', 'Smiling'" in note
        for note in unnamed["notes"]
    )
    assert unnamed["cells"] == plain["cells"]
    write_samples(made / "turned", x, 1 - y, {"classes": ["Smiling", "not Smiling"]})
    turned = audit("--samples", made / "turned", *arguments, "--target", "Smiling")
    assert turned["cells"] == plain["cells"]  # the same samples under other numbers
    for classes, said in (
        (
            ["not smiling", "Smiling"],
            "'not smiling' is not 'not Smiling', names must agree exactly",
        ),
        (["sad", "glad", "angry"], "no name fits; is it the right attribute?"),
        (["Smiling", "angry"], "has the class 'not Smiling', the samples in"),
    ):
        (made / "s" / "samples.json").write_text(json.dumps({"classes": classes}))
        assert said in refused("--samples", made / "s", *arguments, "--target", "Smiling")
    (made / "s" / "samples.json").write_text(json.dumps({"classes": [3, "x" * 101]}))
    assert "may not be shown" in refused("--samples", made / "s", *arguments, "--target", "Smiling")
