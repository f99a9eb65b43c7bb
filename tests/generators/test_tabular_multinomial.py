"""Multinomial diffusion against brute force."""

import itertools

import numpy as np
import pytest
import torch

from diffshare.generators.multinomial import (
    TINY,
    Categories,
    divergence,
    log_forward,
    log_posterior,
)

SIZES = [2, 5, 3]


def transition(k: int, alpha: float) -> np.ndarray:
    """Q with Q[i, j] = q(x_t = j | x_s = i)."""
    return alpha * np.eye(k) + (1 - alpha) / k


def clean(codes: list[int]) -> torch.Tensor:
    return Categories(SIZES).one_hot(torch.tensor([codes])).double()


def bar(value: float) -> torch.Tensor:
    return torch.tensor([[value]], dtype=torch.float64)


def test_forward_marginals_are_the_product_of_single_steps() -> None:
    categories, alphas = Categories(SIZES), [0.9, 0.7, 0.95, 0.2]
    for codes in itertools.product(*map(range, SIZES)):
        made = log_forward(
            categories, clean(list(codes)).clamp_min(TINY).log(), bar(float(np.prod(alphas)))
        ).exp()
        for column, k, code in zip(made[0].split(SIZES), SIZES, codes, strict=True):
            expected = np.linalg.multi_dot(
                [np.eye(k)[code][None], *(transition(k, a) for a in alphas)]
            )[0]
            np.testing.assert_allclose(column, expected, atol=1e-12)


@pytest.mark.parametrize(("bar_s", "bar_t"), [(0.9, 0.6), (0.99, 0.001), (1.0, 0.7), (0.3, 0.29)])
def test_posteriors_are_those_of_bayes_rule(bar_s: float, bar_t: float) -> None:
    categories = Categories(SIZES)
    for start, seen in itertools.product(
        itertools.product(*map(range, SIZES)), [(0, 0, 0), (1, 4, 2), (0, 2, 1)]
    ):
        log_x = clean(list(start)).clamp_min(TINY).log()
        made = log_posterior(categories, log_x, clean(list(seen)), bar(bar_s), bar(bar_t)).exp()
        for column, k, a, b in zip(made[0].split(SIZES), SIZES, start, seen, strict=True):
            # P(x_s = i, x_t = b | x_0 = a) for every i, then divided by its sum
            joint = np.array(
                [transition(k, bar_s)[a, i] * transition(k, bar_t / bar_s)[i, b] for i in range(k)]
            )
            np.testing.assert_allclose(column, joint / joint.sum(), atol=1e-12)


def test_the_best_network_makes_the_model_exact_for_every_stride() -> None:
    """With w(x_0) ~ p(x_0 | x_t) / q(x_t | x_0) the model's step is the true p(x_s | x_t): w is the prior here."""
    prior = np.array([0.5, 0.3, 0.0, 0.2, 0.0])
    categories, bar_t = Categories([5]), 0.2
    for bar_s in (0.25, 0.6, 1.0):
        for seen in range(5):
            noisy = categories.one_hot(torch.tensor([[seen]])).double()
            log_w = torch.from_numpy(prior)[None].clamp_min(TINY).log()
            made = log_posterior(categories, log_w, noisy, bar(bar_s), bar(bar_t))[0].exp()
            joint = (prior @ transition(5, bar_s)) * transition(5, bar_t / bar_s)[:, seen]
            np.testing.assert_allclose(made, joint / joint.sum(), atol=1e-12)


def test_divergence_is_that_of_the_definition_and_a_log_likelihood_at_the_clean_row() -> None:
    rng = np.random.default_rng(0)
    q, p = (np.concatenate([rng.dirichlet(np.ones(k)) for k in SIZES]) for _ in range(2))
    made = divergence(torch.from_numpy(q).log()[None], torch.from_numpy(p).log()[None])
    assert made.item() == pytest.approx(float(np.sum(q * np.log(q / p))))
    codes = [1, 3, 0]
    likelihood = divergence(clean(codes).clamp_min(TINY).log(), torch.from_numpy(p).log()[None])
    assert likelihood.item() == pytest.approx(-np.log([p[1], p[2 + 3], p[7]]).sum())


def test_draws_have_the_frequencies_and_never_a_category_of_probability_0() -> None:
    p = torch.tensor([0.0, 1.0, 0.2, 0.0, 0.5, 0.3, 0.0, 0.25, 0.75, 0.0])
    categories = Categories([2, 5, 3])
    n = 20_000
    uniform = (torch.arange(n, dtype=torch.float64)[:, None] + 0.5).expand(n, 3) / n
    codes = categories.draw(p.log().expand(n, -1), uniform)
    counts = np.concatenate(
        [np.bincount(codes[:, j], minlength=k) for j, k in enumerate([2, 5, 3])]
    )
    np.testing.assert_allclose(counts / n, p, atol=2 / n)
    assert (counts[p == 0] == 0).all()
    edges = torch.tensor([[1e-300] * 3, [1 - 2.0**-53] * 3], dtype=torch.float64)
    assert categories.draw(p.log().expand(2, -1), edges).tolist() == [[1, 0, 0], [1, 3, 1]]


def test_codes_and_ones_are_inverse() -> None:
    codes = torch.tensor(list(itertools.product(*map(range, SIZES))))
    ones = Categories(SIZES).one_hot(codes)
    assert ones.sum(1).eq(3).all()
    back = torch.stack([column.argmax(1) for column in ones.split(SIZES, 1)], 1)
    assert torch.equal(back, codes)
