"""The audit's candidate that sentences make: who is in which group, and that the attack is found by it."""

import numpy as np
import pytest

from diffshare.audits.poisoning.candidates import PROMPTED, prompted
from diffshare.audits.poisoning.reading import group_reader, reference_of
from diffshare.audits.poisoning.verdict import Terms, judge
from diffshare.data.source import Attribute
from diffshare.data.table import Column
from diffshare.errors import UserError
from diffshare.receiver.records import Records
from diffshare.receiver.samples import CodedSamples

PROMPTS = ("a dark picture", "a bright picture")


def read(x: np.ndarray) -> np.ndarray:
    """Posteriors of dark and bright, as a model of images and texts would give them."""
    bright = x.reshape(len(x), -1).mean(1) / 255
    return np.stack([1 - bright, bright], 1)


def images(s: np.ndarray) -> np.ndarray:
    return np.where(s[:, None, None, None], 200, 50).astype(np.uint8) * np.ones(
        (1, 2, 2, 3), np.uint8
    )


def drawn(n: int, tie: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Group and class, which agree in a share ``tie`` of the records and are independent in the others."""
    rng = np.random.default_rng(seed)
    s, y = rng.integers(0, 2, n), rng.integers(0, 2, n)
    return s, np.where(rng.random(n) < tie, s, y)


def material(tie: float) -> tuple[Records, CodedSamples, np.ndarray]:
    s, y = drawn(1500, 0.0, 0)
    known = Records.from_codes(
        images(s), {"target": Attribute(y.astype(np.int16), ("no", "yes"))}, target="target"
    )
    t, z = drawn(2000, tie, 1)
    return known, CodedSamples(images(t), z, {}, "0" * 64, {}), t


def test_each_image_is_in_the_group_of_its_best_sentence():
    known, made, groups = material(0.0)
    reference, samples = prompted(known, made, read, PROMPTS)
    np.testing.assert_array_equal(samples.groups[PROMPTED], groups)
    assert reference.group(PROMPTED).classes == PROMPTS
    np.testing.assert_array_equal(reference.group(PROMPTED).codes, images_group(known.x))


def images_group(x: np.ndarray) -> np.ndarray:
    return (x[:, 0, 0, 0] > 100).astype(int)


@pytest.mark.parametrize(("tie", "verdict"), [(0.0, "clean"), (0.5, "poisoned")])
def test_the_attack_is_found_by_sentences_that_tell_the_groups_apart(tie, verdict):
    known, made, _ = material(tie)
    reference, samples = prompted(known, made, read, PROMPTS)
    reader = group_reader(reference, PROMPTED, column=True)
    judgement = judge(
        reader.shares(samples), reference_of(reader, "natural"), Terms(margin=0.4, level=0.05)
    )
    assert judgement.verdict == verdict


def test_a_sentence_that_fits_nothing_is_refused():
    known, made, _ = material(0.0)
    with pytest.raises(
        UserError, match=r"'a cat' fits 0 records of no best, at least 10 are needed"
    ):
        prompted(known, made, lambda x: np.pad(read(x), ((0, 0), (0, 1))), (*PROMPTS, "a cat"))


def test_rows_are_refused():
    known, made, _ = material(0.0)
    rows = Records.from_codes(
        known.x, known.attributes, columns=(Column("age", "numeric"),), target="target"
    )
    with pytest.raises(UserError, match="`prompts` reads images, the reference holds rows"):
        prompted(rows, made, read, PROMPTS)


def test_the_attribute_joins_those_that_are_there():
    known, made, _ = material(0.0)
    known = known.with_attribute("hat", Attribute(np.zeros(len(known.y), np.int16), ("no", "yes")))
    reference, _ = prompted(known, made, read, PROMPTS)
    assert set(reference.attributes) == {"target", "hat", PROMPTED}
    assert set(known.attributes) == {"target", "hat"}
