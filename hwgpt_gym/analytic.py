r"""Parameters and FLOPs in closed form.

Two models are counted. ``mlp="gpt2"`` is the one whose perplexity is measured: GPT-2's MLP of two matrices.
``mlp="gated"`` is the one that was profiled on the devices: an MLP of three matrices. Both have untied embedding
and output matrices, a vocabulary of 50,254, heads of size 64 at every width (attention is :math:`64 h` wide) and
two LayerNorms a layer, of which each has a weight and a bias, whatever the architecture's bias says.

With :math:`e` the embedding width, :math:`L` the depth, :math:`R` and :math:`H` the sums of the layers' MLP ratios
and heads, :math:`g` 3 for the gated and 2 for the GPT-2 MLP, and :math:`V` = 50,254:

.. math::
    params = 2 V e + 2 e + 4 L e + g\,e^2 R + 256\,e H + bias\,(2 L e + (g - 1)\,e R + 192 H)

    flops = T\,(512\,e H + 256\,T H + 2 g\,e^2 R + 2 e V), \qquad T = 1024

In ``params``: embedding and output, the last LayerNorm, the layers' LayerNorms, the MLP, attention (query, key and
value :math:`e \times 192 h`, projection :math:`64 h \times e`), and the biases. In ``flops`` a multiply-add counts
two, and matrix products and attention scores (:math:`Q K^T` and its product with the values, over the whole
:math:`T \times T` square) count once each; normalisation, activation and softmax do not count. The count of matrix
products follows Kaplan et al., *Scaling Laws for Neural Language Models* (arXiv 2001.08361), Table 1, per layer.

The measured ``profiled_flops`` of the dataset are DeepSpeed's of the gated model: they hold a whole batch, leave out
the attention scores (a fused kernel that DeepSpeed does not see) and count 5 operations per element of a LayerNorm and
one per element of an activation. So, exactly,

.. math::
    profiled\_flops / batch = flops_{gated} - 256\,T^2 H + T e\,(10 L + R + 5)
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import numpy as np

from hwgpt_gym.checks import check_choice
from hwgpt_gym.devices import LATENCY_BATCH_SIZES, SEQUENCE_LENGTH
from hwgpt_gym.search_space import (
    BIAS,
    EMBED_DIM,
    HEAD_COLUMNS,
    MLP_COLUMNS,
    NOT_SET,
    Encoded,
    IntArray,
    SearchSpace,
    check_space,
)
from hwgpt_gym.surrogates.count_model import CountModel

Mlp: TypeAlias = Literal["gpt2", "gated"]

VOCABULARY_SIZE: Final = 50254
HEAD_SIZE: Final = 64
MLP_MATRICES: Final[dict[str, int]] = {"gpt2": 2, "gated": 3}


def params(space: SearchSpace, encoded: Encoded, mlp: Mlp = "gpt2") -> IntArray:
    """Count the parameters of architectures.

    Args:
        space: The search space of the architectures.
        encoded: The architectures, ``int8 (n, D)``.
        mlp: Which model to count.

    Returns:
        The number of parameters, ``int64 (n,)``.

    Raises:
        ValueError: If ``mlp`` is unknown.
    """
    matrices = mlp_matrices(mlp)
    embed_dim, n_layer, bias, ratios, heads = _sums(space, encoded)
    weights = (2 * VOCABULARY_SIZE + 2 + 4 * n_layer + matrices * embed_dim * ratios) * embed_dim
    weights += 4 * HEAD_SIZE * embed_dim * heads
    biases = (2 * n_layer + (matrices - 1) * ratios) * embed_dim + 3 * HEAD_SIZE * heads
    return weights + bias * biases


def flops(space: SearchSpace, encoded: Encoded, mlp: Mlp = "gpt2") -> IntArray:
    """Count the floating-point operations of one forward pass of one sequence of 1,024 tokens.

    Args:
        space: The search space of the architectures.
        encoded: The architectures, ``int8 (n, D)``.
        mlp: Which model to count.

    Returns:
        The number of operations, ``int64 (n,)``.

    Raises:
        ValueError: If ``mlp`` is unknown.
    """
    matrices = mlp_matrices(mlp)
    embed_dim, _, _, ratios, heads = _sums(space, encoded)
    attention = (8 * HEAD_SIZE * embed_dim + 4 * HEAD_SIZE * SEQUENCE_LENGTH) * heads
    per_token = attention + 2 * matrices * embed_dim**2 * ratios + 2 * VOCABULARY_SIZE * embed_dim
    return SEQUENCE_LENGTH * per_token


def profiled_flops(space: SearchSpace, encoded: Encoded) -> IntArray:
    """Count what DeepSpeed counted: the gated model, a batch, no attention scores (see the module's notes).

    Returns:
        The number of operations of the latency batch, ``int64 (n,)``; equal to the dataset's ``profiled_flops``.
    """
    embed_dim, n_layer, _, ratios, heads = _sums(space, encoded)
    scores = 4 * HEAD_SIZE * SEQUENCE_LENGTH**2 * heads
    elementwise = SEQUENCE_LENGTH * embed_dim * (10 * n_layer + ratios + 5)
    return LATENCY_BATCH_SIZES[space.scale] * (flops(space, encoded, "gated") - scores + elementwise)


def mlp_matrices(mlp: str) -> int:
    """Return the number of weight matrices of an MLP.

    Raises:
        ValueError: If there is no such MLP.
    """
    check_choice("mlp", mlp, list(MLP_MATRICES))
    return MLP_MATRICES[mlp]


def _sums(space: SearchSpace, encoded: Encoded) -> tuple[IntArray, IntArray, IntArray, IntArray, IntArray]:
    """Return embedding width, depth, bias (0 or 1), sum of MLP ratios and sum of heads, each ``int64 (n,)``."""
    encoded = check_space(space).validate(encoded)
    n_layer = space.n_layer(encoded)
    ratios, heads = (
        _sum_of_values(encoded[:, columns], values)
        for columns, values in ((MLP_COLUMNS, space.mlp_ratios), (HEAD_COLUMNS, space.head_counts))
    )
    embed_dim = np.asarray(space.embed_dims, dtype=np.int64)[encoded[:, EMBED_DIM]]
    return embed_dim, n_layer, encoded[:, BIAS].astype(np.int64), ratios, heads


def _sum_of_values(choices: Encoded, values: tuple[int, ...]) -> IntArray:
    """Sum the values of the layers' choices; a layer that does not exist counts zero."""
    # Index -1 reads the last entry of the table.
    table = np.array([*values, 0], dtype=np.int16)
    assert NOT_SET == -1
    total: IntArray = table[choices].sum(axis=1, dtype=np.int64)
    return total


def count_model(space: SearchSpace, metric: Literal["params", "flops"]) -> CountModel:
    """Return the parameters or FLOPs of the GPT-2 model as a :class:`CountModel`, exact in double precision.

    Args:
        space: The search space.
        metric: ``"params"`` or ``"flops"``.

    Raises:
        ValueError: If it is neither.
    """
    check_choice("metric", metric, ("params", "flops"))
    check_space(space)
    matrices = MLP_MATRICES["gpt2"]
    embed_dim, depth, bias, ratio, heads = (
        np.asarray(values, dtype=np.float64)
        for values in (space.embed_dims, space.depths, space.biases, space.mlp_ratios, space.head_counts)
    )
    width, biased = embed_dim[:, None, None], bias[:, None]
    if metric == "params":
        base = width * (2 * VOCABULARY_SIZE + 2 + (4 + 2 * bias) * depth[:, None])
        mlp = (matrices * width**2 + (matrices - 1) * biased * width) * ratio
        head = (4 * HEAD_SIZE * width + 3 * HEAD_SIZE * biased) * heads
    else:
        base = 2 * VOCABULARY_SIZE * SEQUENCE_LENGTH * width
        mlp = 2 * matrices * SEQUENCE_LENGTH * width**2 * ratio
        head = SEQUENCE_LENGTH * (8 * HEAD_SIZE * width + 4 * HEAD_SIZE * SEQUENCE_LENGTH) * heads
    arrays = {"base": base, "mlp": mlp, "head": head}
    return CountModel(
        space, **{name: np.broadcast_to(arrays[name], shape).copy() for name, shape in CountModel.shapes().items()}
    )


def params_by_part(space: SearchSpace, encoded: Encoded, mlp: Mlp = "gpt2") -> dict[str, IntArray]:
    """Count the parameters of architectures by part of the model; the parts add up to :func:`params`.

    Args:
        space: The search space of the architectures.
        encoded: The architectures, ``int8 (n, D)``.
        mlp: Which model to count.

    Returns:
        For each part, ``int64 (n,)``.

    Raises:
        ValueError: If ``mlp`` is unknown.
    """
    matrices = mlp_matrices(mlp)
    embed_dim, n_layer, bias, ratios, heads = _sums(space, encoded)
    return {
        "embedding": VOCABULARY_SIZE * embed_dim,
        "attention": 4 * HEAD_SIZE * embed_dim * heads + bias * (3 * HEAD_SIZE * heads + n_layer * embed_dim),
        "MLP": matrices * embed_dim**2 * ratios + bias * ((matrices - 1) * embed_dim * ratios + n_layer * embed_dim),
        "LayerNorms": (2 + 4 * n_layer) * embed_dim,
        "output": VOCABULARY_SIZE * embed_dim,
    }
