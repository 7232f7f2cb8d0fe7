"""The torch model: counted, causal, trainable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hwgpt_gym import SEARCH_SPACES, Architecture, analytic, get_search_space
from hwgpt_gym.analytic import HEAD_SIZE, Mlp
from hwgpt_gym.dataset.measurements import load_dataset
from hwgpt_gym.transformer import ROTARY_SIZE, KeyValueCache, RotaryPositions, Transformer, build

SMALL = Architecture("s", 192, 10, (2, 3, 4, 2, 3, 4, 2, 3, 4, 2), (4, 8, 12, 4, 8, 12, 4, 8, 12, 4), True)
MLPS: tuple[Mlp, ...] = ("gpt2", "gated")


@pytest.fixture(scope="module", params=MLPS)
def model(request: pytest.FixtureRequest) -> Transformer:
    torch.manual_seed(0)
    return build(SMALL, mlp=request.param)


@pytest.mark.parametrize("mlp", MLPS)
@pytest.mark.parametrize("scale", SEARCH_SPACES)
def test_parameters_equal_the_closed_form(scale: str, mlp: Mlp) -> None:
    space = get_search_space(scale)
    encoded = space.sample(np.random.default_rng(1), 12)
    counted = [build(a, mlp=mlp, device="meta").num_parameters() for a in space.decode(encoded)]
    assert counted == analytic.params(space, encoded, mlp=mlp).tolist()


def test_profiled_params(dataset_path: Path) -> None:
    measurements = load_dataset(dataset_path)["l"]
    for row in range(0, 9000, 1500):
        model = build(measurements.names[row], mlp="gated", device="meta")
        assert model.num_parameters() == measurements.profiled_params[row]


@pytest.mark.parametrize("bias", [False, True])
def test_which_layers_have_biases(bias: bool) -> None:
    architecture = Architecture(SMALL.scale, SMALL.embed_dim, SMALL.n_layer, SMALL.mlp_ratio, SMALL.n_head, bias)
    biases = {
        name.split(".")[-3 if "mlp." in name or "attention." in name else -2] + "." + name.split(".")[-2]
        for name, _ in build(architecture, device="meta").named_parameters()
        if name.endswith(".bias")
    }
    norms = {"attention_norm.attention_norm", "mlp_norm.mlp_norm", "norm.norm"}
    linear = {"attention.query_key_value", "attention.output", "mlp.inner", "mlp.outer"}
    assert biases == norms | (linear if bias else set())


def test_shapes_and_loss(model: Transformer) -> None:
    tokens = torch.randint(50254, (2, 9))
    logits, loss = model(tokens)
    assert logits.shape == (2, 9, 50254)
    assert loss is None
    _, loss = model(tokens, tokens)
    expected = torch.nn.functional.cross_entropy(logits.view(-1, 50254), tokens.view(-1))
    torch.testing.assert_close(loss, expected)
    # Untrained, it knows nothing: the loss is about the logarithm of the vocabulary.
    assert loss is not None
    assert abs(float(loss.detach()) - np.log(50254)) < 0.5


@pytest.mark.parametrize("position", [0, 5, 11])
def test_causal(model: Transformer, position: int) -> None:
    tokens = torch.randint(50254, (1, 12), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[0, position] = (changed[0, position] + 1) % 50254
    with torch.no_grad():
        before, after = model(tokens)[0][0], model(changed)[0][0]
    torch.testing.assert_close(before[:position], after[:position], rtol=0, atol=1e-5)
    differs = (before - after).abs().amax(dim=1)
    assert (differs[position:] > 1e-4).all()


def test_backward_reaches_every_parameter(model: Transformer) -> None:
    tokens = torch.randint(50254, (1, 6))
    model.zero_grad()
    loss = model(tokens, tokens)[1]
    assert loss is not None
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0 or name.endswith("query_key_value.bias"), name


def test_learns(model: Transformer) -> None:
    torch.manual_seed(0)
    trained = build(SMALL, mlp=model.mlp)
    tokens = torch.randint(50254, (2, 8))
    optimizer = torch.optim.AdamW(trained.parameters(), lr=3e-3)
    losses = []
    for _ in range(4):
        loss = trained(tokens[:, :-1], tokens[:, 1:])[1]
        assert loss is not None
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


def test_untied(model: Transformer) -> None:
    assert model.embedding.weight.shape == model.head.weight.shape == (50254, 192)
    assert model.embedding.weight.data_ptr() != model.head.weight.data_ptr()


def test_seed(model: Transformer) -> None:
    torch.manual_seed(0)
    again = build(SMALL, mlp=model.mlp)
    for ours, theirs in zip(model.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_rotary_scores_depend_on_distance_only() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, HEAD_SIZE)
    queries, keys = RotaryPositions()(query.expand(1, 1, 20, -1), key.expand(1, 1, 20, -1))
    scores = (queries @ keys.transpose(-1, -2))[0, 0]
    for distance in range(1, 5):
        diagonal = torch.diagonal(scores, -distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-4)
    assert torch.diagonal(scores, -1)[0] != torch.diagonal(scores, -2)[0]
    torch.testing.assert_close(queries.norm(dim=-1), query.norm().expand(1, 1, 20))
    torch.testing.assert_close(queries[..., ROTARY_SIZE:], query.expand(1, 1, 20, -1)[..., ROTARY_SIZE:])


def test_positions_matter(model: Transformer) -> None:
    tokens = torch.tensor([[1, 2, 3, 4], [2, 1, 3, 4]])
    with torch.no_grad():
        logits = model(tokens)[0][:, -1]
    assert (logits[0] - logits[1]).abs().max() > 1e-5


def test_accepts_names_and_configurations() -> None:
    for form in (SMALL, SMALL.to_string(), SMALL.to_config()):
        assert build(form, device="meta").architecture == SMALL


def test_bad_arguments(model: Transformer) -> None:
    with pytest.raises(ValueError, match=r"mlp must be one of \['gpt2', 'gated'\], got 'swiglu'"):
        build(SMALL, mlp="swiglu")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"tokens must have shape \(batch, 1 to 1024\), got \(3,\)"):
        model(torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"got \(1, 1025\)"):
        model(torch.zeros((1, 1025), dtype=torch.int64))
    tokens = torch.zeros((1, 4), dtype=torch.int64)
    with pytest.raises(ValueError, match="targets must have the shape of tokens"):
        model(tokens, tokens[:, 1:])


@pytest.mark.parametrize("parts", [(1,) * 6, (4, 1, 1), (3, 3), (6,)])
@torch.no_grad()
def test_a_cache_changes_nothing(model: Transformer, parts: tuple[int, ...]) -> None:
    tokens = torch.randint(50254, (2, 6), generator=torch.Generator().manual_seed(3))
    cache = KeyValueCache(SMALL, batch=2, capacity=8)
    logits = torch.cat([model(part, cache=cache)[0] for part in tokens.split(parts, dim=1)], dim=1)
    assert cache.length == 6
    torch.testing.assert_close(logits, model(tokens)[0], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_cache_can_forget_and_can_be_full(model: Transformer) -> None:
    tokens = torch.randint(50254, (1, 5), generator=torch.Generator().manual_seed(4))
    cache = KeyValueCache(SMALL, capacity=5)
    model(tokens, cache=cache)
    with pytest.raises(ValueError, match="holds 5 of 5 tokens, 1 more"):
        model(tokens[:, :1], cache=cache)
    cache.length = 4
    torch.testing.assert_close(model(tokens[:, 4:], cache=cache)[0], model(tokens)[0][:, 4:], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="capacity from 1 to 1024, got 1 and 2000"):
        KeyValueCache(SMALL, capacity=2000)
