"""Posterior worlds: draws have the moments of the Gaussian process, and cover what was not measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwgpt_gym import SearchSpace
from hwgpt_gym.dataset.measurements import load_dataset
from hwgpt_gym.fitting import chain_block
from hwgpt_gym.fitting import posterior as module
from hwgpt_gym.fitting.chain_block import block_arrays, block_strengths, make_blocks, term_gram
from hwgpt_gym.fitting.chain_fit import fit_chain
from hwgpt_gym.fitting.posterior import Posterior, draw_deviations, draw_worlds
from hwgpt_gym.fitting.richer_process import RicherProcess
from hwgpt_gym.fitting.score_worlds import score_worlds
from hwgpt_gym.surrogates import ChainModel

TINY = SearchSpace("tiny", embed_dims=(1, 2, 3), depths=(3, 4, 5), head_counts=(1, 2, 3))


def measured(rng: np.random.Generator, rows: int, interaction: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """Draw architectures and log-perplexities: effects of layers, an interaction of two far layers, and noise."""
    encoded = TINY.sample(rng, rows)
    layers = encoded[:, 3:9].astype(float)
    values = 3.0 + layers @ rng.normal(scale=0.05, size=6) + interaction * layers[:, 0] * layers[:, 5]
    return encoded, values + rng.normal(scale=0.01, size=rows)


def test_draws_have_the_moments_of_the_posterior() -> None:
    rng = np.random.default_rng(0)
    encoded, values = measured(rng, 150)
    (block,) = make_blocks(TINY, encoded, values, None)
    strengths = block_strengths(block)
    grams = np.stack([term_gram(term, block) for term in block.terms])
    posterior = Posterior(block, grams, strengths)
    arrays = block_arrays(TINY, block, posterior.sample(4000, rng), None)
    unseen = encoded[:12]
    drawn = np.stack(
        [ChainModel(TINY, **{name: part[i] for name, part in arrays.items()}).predict(unseen) for i in range(4000)]
    )
    gram = np.tensordot(strengths, grams, 1)
    gain = np.linalg.solve(gram + np.eye(150), gram[:, :12]).T
    scale = block.spread[unseen[:, 0]]
    mean = block.centre[unseen[:, 0]] + scale * (gain @ block.targets)
    covariance = posterior.deviation**2 * (gram[:12, :12] - gain @ gram[:, :12]) * np.outer(scale, scale)
    deviation = np.sqrt(np.diag(covariance))
    # Four standard errors of 4,000 draws.
    np.testing.assert_allclose((drawn.mean(axis=0) - mean) / deviation, 0.0, atol=4.0 / np.sqrt(4000))
    unit = np.outer(deviation, deviation)
    np.testing.assert_allclose(np.cov(drawn.T) / unit, covariance / unit, atol=0.1)


def test_leave_one_out_errors_have_unit_variance_under_the_noise() -> None:
    rng = np.random.default_rng(1)
    encoded, values = measured(rng, 120)
    (block,) = make_blocks(TINY, encoded, values, None)
    strengths = block_strengths(block)
    grams = np.stack([term_gram(term, block) for term in block.terms])
    posterior = Posterior(block, grams, strengths)
    gram = np.tensordot(strengths, grams, 1)
    squared = []
    for row in range(120):
        rest = np.delete(np.arange(120), row)
        gain = np.linalg.solve(gram[np.ix_(rest, rest)] + np.eye(119), gram[rest, row])
        error = block.targets[row] - gain @ block.targets[rest]
        squared.append(error**2 / (1.0 + gram[row, row] - gain @ gram[rest, row]))
    assert posterior.deviation**2 == pytest.approx(np.mean(squared), rel=1e-8)


def test_strengths_are_redrawn_where_each_width_has_a_fit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    calls: list[int] = []

    def redrawn(block: module.Block, grams: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        calls.append(len(block.targets))
        return np.ones(len(grams))

    monkeypatch.setattr(module, "_redrawn_strengths", redrawn)
    monkeypatch.setattr(chain_block, "POOLED_BELOW", 200)
    encoded, values = measured(rng, 240)
    draw_deviations(TINY, encoded, values, 2, rng)
    assert sum(calls) == 2 * 240
    calls.clear()
    draw_deviations(TINY, encoded[:150], values[:150], 2, rng)
    assert not calls


def test_worlds_of_a_seed_are_the_same_and_their_mean_is_the_fit() -> None:
    encoded, values = measured(np.random.default_rng(3), 200)
    accuracy = np.clip(0.5 - 0.05 * values, 0.01, 1.0)
    teacher = fit_chain(TINY, encoded, values + 0.01)
    first, second = (
        draw_worlds(TINY, encoded, np.exp(values), np.random.default_rng(4), teacher, accuracy, pairs=3)
        for _ in range(2)
    )
    assert first.tensors.keys() == second.tensors.keys()
    for name, tensor in first.tensors.items():
        assert tensor.tobytes() == second.tensors[name].tobytes(), name
    nominal = {"perplexity": fit_chain(TINY, encoded, values, teacher)}
    nominal["accuracy"] = fit_chain(TINY, encoded, accuracy, nominal["perplexity"])
    unseen = TINY.sample(np.random.default_rng(5), 50)
    for metric, model in nominal.items():
        predicted = np.stack([first.model(metric, world).predict(unseen) for world in range(6)], axis=1)
        np.testing.assert_allclose(predicted.mean(axis=1), model.predict(unseen), rtol=1e-12)
        assert predicted.std(axis=1).min() > 0.0
        np.testing.assert_allclose(
            first.deviations(metric, unseen), predicted - model.predict(unseen)[:, None], atol=1e-12
        )


def test_the_richer_process_finds_what_no_chain_model_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_block, "POOLED_BELOW", 300)
    rng = np.random.default_rng(6)
    encoded, values = measured(rng, 900, interaction=0.06)
    train, unseen = slice(0, 600), slice(600, 900)
    models = RicherProcess(TINY, encoded[train], values[train]), fit_chain(TINY, encoded[train], values[train])
    richer, chain = (np.std(model.predict(encoded[unseen]) - values[unseen]) for model in models)
    assert richer < 0.8 * chain


@pytest.mark.slow
def test_intervals_cover_held_out_measurements_at_scale_l(dataset_path: Path) -> None:
    scores = score_worlds(load_dataset(dataset_path)["l"])
    assert scores["held_out"]["rows"] == 300
    assert 0.38 <= scores["held_out"]["coverage_50"] <= 0.62
    assert 0.82 <= scores["held_out"]["coverage_90"] <= 0.98
    assert scores["best_left_out"]["coverage_90"] >= 0.80
