"""Which class is asked for at each place, and what the ledger counts."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffshare.errors import UserError
from diffshare.release.card import Card
from diffshare.release.generator import Generator, Labels, Ledger, plan_labels, read_labels


def card(
    labels: tuple[str, ...] = ("no", "yes"), frequencies: tuple[float, ...] | None = None
) -> Card:
    return Card("ddpm", "image", labels, 25, image_size=8, label_frequencies=frequencies)


def test_balanced_gives_equal_counts_and_the_rest_to_the_first_classes() -> None:
    planned = plan_labels("balanced", 11, card(("a", "b", "c")))
    assert planned.dtype == np.int64
    assert np.bincount(planned).tolist() == [4, 4, 3]
    assert np.array_equal(planned[:5], plan_labels("balanced", 5, card(("a", "b", "c"))))


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=12).filter(any), st.integers(1, 300))
def test_every_prefix_of_natural_has_each_share_rounded_down_or_up(
    weights: list[int], count: int
) -> None:
    shares = tuple(w / sum(weights) for w in weights)
    names = tuple(map(str, range(len(weights))))
    planned = plan_labels("natural", count, card(names, shares))
    given_out = [0] * len(weights)
    for i, label in enumerate(planned, start=1):
        given_out[label] += 1
        assert all(
            abs(n - Fraction(w, sum(weights)) * i) < 1
            for n, w in zip(given_out, weights, strict=True)
        )
    assert np.array_equal(planned, plan_labels("natural", count + 7, card(names, shares))[:count])


def test_one_class_by_its_name_or_where_none_is_called_so_by_its_number() -> None:
    assert plan_labels("yes", 3, card()).tolist() == [1, 1, 1]
    assert plan_labels("1", 3, card()).tolist() == [1, 1, 1]
    # its name, though its number is 1
    assert plan_labels("0", 2, card(("1", "0"))).tolist() == [
        1,
        1,
    ]
    assert plan_labels("1", 2, card(("-1", "1"))).tolist() == [1, 1]
    assert plan_labels("-1", 2, card(("-1", "1"))).tolist() == [0, 0]
    assert plan_labels("none", 2, card()).tolist() == [-1, -1]
    assert plan_labels("none", 2, card(())).tolist() == [-1, -1]


def test_a_number_that_is_no_name_is_told_to_be_a_position() -> None:
    assert read_labels("yes", card()) == Labels(None, 1, "yes")
    found = read_labels("1", card())
    assert (found.code, found.text) == (1, "yes")
    assert found.note == "labels '1' is no name: read as a position, it is 'yes'"


WORDS = ("none", "natural", "balanced")


@pytest.mark.parametrize("word", WORDS)
def test_a_class_that_has_the_name_of_a_word_is_never_taken_for_it(word: str) -> None:
    names = ("a", word)
    with pytest.raises(
        UserError,
        match=f"'{word}' can mean a word and .* class .*: write mode:{word} or class:{word}",
    ):
        read_labels(word, card(names, (0.5, 0.5)))
    of_class, of_word = (
        read_labels(f"{kind}:{word}", card(names, (0.5, 0.5))) for kind in ("class", "mode")
    )
    assert (of_class.code, of_class.mode, of_class.text) == (1, None, f"class:{word}")
    assert (of_word.mode, of_word.text) == (word, word)
    # what samples.json has can be given again
    assert read_labels(of_class.text, card(names)) == of_class
    assert read_labels(word, card()).mode == word  # no class is called so: the word alone is enough


@given(
    st.lists(
        st.text("nabo:class-10", min_size=1, max_size=10) | st.sampled_from(WORDS),
        min_size=1,
        unique=True,
    )
)
def test_every_class_can_be_asked_for_by_its_name(names: list[str]) -> None:
    for code, name in enumerate(names):
        assert (
            plan_labels(f"class:{name}", 1, card(tuple(names))).tolist() == [code]
            or f"class:{name}" in names
        )


@pytest.mark.parametrize(
    ("labels", "count", "labels_of_card", "message"),
    [
        ("balanced", 0, ("a", "b"), "ask for at least 1 sample"),
        ("balanced", 4, (), "has no classes: use `labels` none"),
        ("0", 4, (), "has no classes: use `labels` none"),
        ("natural", 4, ("a", "b"), "declares no label frequencies: use `labels` balanced"),
        (
            "2",
            4,
            ("a", "b"),
            "unknown labels '2': choose one of 'a', 'b', or a number from 0 to 1; or balanced, natural, none",
        ),
        ("-1", 4, ("a", "b"), "unknown labels '-1'"),
        ("9" * 5000, 4, ("a", "b"), "unknown labels"),
        ("\u0661", 4, ("a", "b"), "unknown labels"),
        ("Yes", 4, ("a", "b"), "unknown labels 'Yes'"),
    ],
)
def test_what_cannot_be_asked_for(
    labels: str, count: int, labels_of_card: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        plan_labels(labels, count, card(labels_of_card))


def test_the_ledger_adds_up() -> None:
    ledger = Ledger()
    ledger.record(np.array([0, 1, 1]), network_calls=75, seconds=0.5)
    ledger.record(np.array([-1]), network_calls=25, seconds=0.25)
    assert (ledger.queries, ledger.network_calls, ledger.seconds) == (4, 100, 0.75)
    assert ledger.by_label == {0: 1, 1: 2, -1: 1}


def test_the_protocol_asks_for_card_ledger_and_sample() -> None:
    class Grey:
        card = card()
        ledger = Ledger()

        def sample(self, labels, indices, *, seed, steps=None, guidance=1.0):
            return np.full((len(labels), 8, 8, 3), 128, np.uint8)

    assert isinstance(Grey(), Generator)
    assert not isinstance(Ledger(), Generator)
