r"""The torch model of an architecture.

A decoder-only language model as HW-GPT-Bench configures it: untied embedding and output matrices, rotary positions,
LayerNorm, parallel residual branches, and heads of size 64 at every width. Number of heads and MLP ratio are those
of each layer, so attention is :math:`64 h` wide, whatever the embedding width :math:`e`.

With ``mlp="gpt2"``, whose perplexity the benchmark measured, a layer computes :math:`W_2\,gelu(W_1 x)`; with
``mlp="gated"``, which was profiled on the devices, :math:`W_3 (silu(W_1 x) \cdot W_2 x)` (Shazeer, *GLU Variants
Improve Transformer*, arXiv 2002.05202, equation 6). The parameters of a layer of ratio :math:`r`:

====================  ========================  =======================================
part                  weights                   biases
====================  ========================  =======================================
two LayerNorms        :math:`2 e`               :math:`2 e`, whatever the architecture says
query, key and value  :math:`192\,h e`          :math:`192\,h`, if the architecture has biases
attention's output    :math:`64\,h e`           :math:`e`, if the architecture has biases
MLP, inner            :math:`(g - 1)\,r e^2`    :math:`(g - 1)\,r e`, if the architecture has biases
MLP, outer            :math:`r e^2`             :math:`e`, if the architecture has biases
====================  ========================  =======================================

with :math:`g` 3 matrices in the gated MLP and 2 in GPT-2's. Besides there are the embedding and the output matrix,
neither with a bias, and the last LayerNorm, with one. The sum over the layers is :func:`hwgpt_gym.analytic.params`.

Rotary positions (Su et al., *RoFormer*, arXiv 2104.09864, equation 34, in GPT-NeoX's layout) turn the first half of
each head's dimensions, as upstream's configuration says (``rotary_percentage: 0.5``); the residual branches are
parallel as in GPT-J: :math:`x + attention(norm_1(x)) + mlp(norm_2(x))`. There is no dropout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from hwgpt_gym.analytic import HEAD_SIZE, VOCABULARY_SIZE, Mlp, mlp_matrices
from hwgpt_gym.checks import check_type
from hwgpt_gym.devices import SEQUENCE_LENGTH
from hwgpt_gym.search_space import Architecture, read_architecture

ROTARY_SIZE: Final = HEAD_SIZE // 2
"""How many of a head's dimensions are turned by the position."""

ROTARY_BASE: Final = 10_000.0
NORM_EPSILON: Final = 1e-5
INITIAL_STD: Final = 0.02
"""Standard deviation of the initial weights, as in GPT-2."""


class RotaryPositions(nn.Module):
    """Rotary position embedding of the first :data:`ROTARY_SIZE` dimensions of each head."""

    def forward(self, queries: Tensor, keys: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
        """Turn queries and keys, each ``(batch, heads, length, head_size)``, by their positions from ``start`` on."""
        length, device = queries.shape[-2], queries.device
        exponents = torch.arange(0, ROTARY_SIZE, 2, device=device, dtype=torch.float32) / ROTARY_SIZE
        positions = torch.arange(start, start + length, device=device, dtype=torch.float32)
        angles = torch.outer(positions, ROTARY_BASE**-exponents)
        cos, sin = angles.cos(), angles.sin()
        return self._turn(queries, cos, sin), self._turn(keys, cos, sin)

    @staticmethod
    def _turn(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        first, second, rest = torch.split(heads, [ROTARY_SIZE // 2, ROTARY_SIZE // 2, HEAD_SIZE - ROTARY_SIZE], dim=-1)
        turned = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
        return torch.cat([turned.to(heads.dtype), rest], dim=-1)


class KeyValueCache:
    """Keys and values of the tokens so far, in every layer, so that further tokens need not compute them again.

    Args:
        architecture: The model's architecture.
        batch: Sequences in the batch.
        capacity: How many tokens it can hold.
        dtype: Of keys and values; torch's default if not given.
        device: Where it lies; torch's default if not given.

    Attributes:
        keys, values: Of each layer, ``(batch, heads, capacity, head_size)``.
        length: How many tokens it holds; may be set back to forget the last ones.

    Raises:
        ValueError: If ``batch`` or ``capacity`` is less than 1, or ``capacity`` more than 1,024.
    """

    def __init__(
        self,
        architecture: Architecture,
        batch: int = 1,
        capacity: int = SEQUENCE_LENGTH,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        if batch < 1 or not 1 <= capacity <= SEQUENCE_LENGTH:
            raise ValueError(
                f"batch must be at least 1 and capacity from 1 to {SEQUENCE_LENGTH}, got {batch} and {capacity}"
            )
        shapes = [(batch, n_head, capacity, HEAD_SIZE) for n_head in architecture.n_head]
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for shape in shapes]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for shape in shapes]
        self.length = 0
        self.capacity = capacity

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write a layer's keys and values of the tokens that follow, and return those of all tokens."""
        end = self.length + keys.shape[-2]
        self.keys[layer][:, :, self.length : end] = keys
        self.values[layer][:, :, self.length : end] = values
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]


class CausalSelfAttention(nn.Module):
    """Multi-head attention of each position to itself and those before it, ``64 n_head`` wide."""

    def __init__(self, embed_dim: int, n_head: int, bias: bool) -> None:
        super().__init__()
        self.n_head = n_head
        self.positions = RotaryPositions()
        self.query_key_value = nn.Linear(embed_dim, 3 * HEAD_SIZE * n_head, bias=bias)
        self.output = nn.Linear(HEAD_SIZE * n_head, embed_dim, bias=bias)

    def forward(self, x: Tensor, cache: KeyValueCache | None = None, layer: int = 0) -> Tensor:
        """Attend; ``(batch, length, embed_dim)`` to the same shape."""
        batch, length, _ = x.shape
        heads = self.query_key_value(x).view(batch, length, 3, self.n_head, HEAD_SIZE)
        queries, keys, values = heads.permute(2, 0, 3, 1, 4)
        start = 0 if cache is None else cache.length
        queries, keys = self.positions(queries, keys, start)
        if cache is not None:
            keys, values = cache.extend(layer, keys, values)
        mask = None
        if start and length > 1:
            mask = torch.ones(length, start + length, dtype=torch.bool, device=x.device).tril(start)
        attended = functional.scaled_dot_product_attention(queries, keys, values, mask, is_causal=start == 0)
        output: Tensor = self.output(attended.transpose(1, 2).reshape(batch, length, HEAD_SIZE * self.n_head))
        return output


class Gpt2Mlp(nn.Module):
    """GPT-2's MLP of two matrices."""

    def __init__(self, embed_dim: int, ratio: int, bias: bool) -> None:
        super().__init__()
        self.inner = nn.Linear(embed_dim, ratio * embed_dim, bias=bias)
        self.outer = nn.Linear(ratio * embed_dim, embed_dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the MLP; ``(..., embed_dim)`` to the same shape."""
        output: Tensor = self.outer(functional.gelu(self.inner(x)))
        return output


class GatedMlp(nn.Module):
    """A gated MLP of three matrices."""

    def __init__(self, embed_dim: int, ratio: int, bias: bool) -> None:
        super().__init__()
        self.gate = nn.Linear(embed_dim, ratio * embed_dim, bias=bias)
        self.inner = nn.Linear(embed_dim, ratio * embed_dim, bias=bias)
        self.outer = nn.Linear(ratio * embed_dim, embed_dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the MLP; ``(..., embed_dim)`` to the same shape."""
        output: Tensor = self.outer(functional.silu(self.gate(x)) * self.inner(x))
        return output


class Block(nn.Module):
    """A layer: attention and MLP beside each other, both added to their input."""

    def __init__(self, embed_dim: int, n_head: int, ratio: int, bias: bool, mlp: Mlp) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(embed_dim, eps=NORM_EPSILON)
        self.attention = CausalSelfAttention(embed_dim, n_head, bias)
        self.mlp_norm = nn.LayerNorm(embed_dim, eps=NORM_EPSILON)
        self.mlp = (Gpt2Mlp if mlp == "gpt2" else GatedMlp)(embed_dim, ratio, bias)

    def forward(self, x: Tensor, cache: KeyValueCache | None = None, layer: int = 0) -> Tensor:
        """Compute the layer; ``(batch, length, embed_dim)`` to the same shape."""
        attended = self.attention(self.attention_norm(x), cache, layer)
        output: Tensor = x + attended + self.mlp(self.mlp_norm(x))
        return output


class Transformer(nn.Module):
    """A causal language model; see the module's notes.

    Attributes:
        architecture: The architecture.
        mlp: ``"gpt2"`` or ``"gated"``.
    """

    def __init__(self, architecture: Architecture, mlp: Mlp = "gpt2") -> None:
        super().__init__()
        check_type("architecture", architecture, Architecture, "an Architecture (build takes its name, too)")
        mlp_matrices(mlp)  # refuses an unknown one
        self.architecture, self.mlp = architecture, mlp
        embed_dim, bias = architecture.embed_dim, architecture.bias
        self.embedding = nn.Embedding(VOCABULARY_SIZE, embed_dim)
        layers = zip(architecture.n_head, architecture.mlp_ratio, strict=True)
        self.blocks = nn.ModuleList(Block(embed_dim, n_head, ratio, bias, mlp) for n_head, ratio in layers)
        self.norm = nn.LayerNorm(embed_dim, eps=NORM_EPSILON)
        self.head = nn.Linear(embed_dim, VOCABULARY_SIZE, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew from torch's generator, as GPT-2 does: residual outputs shrink with the depth."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Embedding | nn.Linear):
                residual = name.endswith((".outer", ".output"))
                std = INITIAL_STD / math.sqrt(2 * self.architecture.n_layer) if residual else INITIAL_STD
                nn.init.normal_(module.weight, std=std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(
        self, tokens: Tensor, targets: Tensor | None = None, cache: KeyValueCache | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Predict the next token at every position.

        Args:
            tokens: Token indices, ``int64 (batch, length)``, at most 1,024 long.
            targets: The tokens that follow, ``int64 (batch, length)``; -100 is left out of the loss.
            cache: What was computed of the tokens before these; it takes up these too. For inference only.

        Returns:
            The logits, ``(batch, length, 50254)``, and the mean cross-entropy in nats, ``None`` without targets.

        Raises:
            ValueError: If a shape is wrong, or the tokens do not fit into the cache.
        """
        if tokens.ndim != 2 or not 1 <= tokens.shape[1] <= SEQUENCE_LENGTH:
            raise ValueError(f"tokens must have shape (batch, 1 to {SEQUENCE_LENGTH}), got {tuple(tokens.shape)}")
        if targets is not None and targets.shape != tokens.shape:
            raise ValueError(
                f"targets must have the shape of tokens, {tuple(tokens.shape)}, got {tuple(targets.shape)}"
            )
        if cache is not None and cache.length + tokens.shape[1] > cache.capacity:
            raise ValueError(
                f"the cache holds {cache.length} of {cache.capacity} tokens, {tokens.shape[1]} more do not fit"
            )
        x = self.embedding(tokens)
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer)
        if cache is not None:
            cache.length += tokens.shape[1]
        logits: Tensor = self.head(self.norm(x))
        if targets is None:
            return logits, None
        return logits, functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def num_parameters(self) -> int:
        """Count the parameters."""
        return sum(parameter.numel() for parameter in self.parameters())


def build(
    architecture: Architecture | str | Mapping[str, Any],
    mlp: Mlp = "gpt2",
    device: torch.device | str | None = None,
) -> Transformer:
    """Build the torch model of an architecture, with random weights.

    >>> from hwgpt_gym import get_search_space
    >>> import numpy as np
    >>> architecture = get_search_space("s").decode(get_search_space("s").sample(np.random.default_rng(0), 1))[0]
    >>> model = build(architecture, device="meta")  # no memory, no weights
    >>> model(torch.zeros((1, 8), dtype=torch.int64, device="meta"))[0].shape
    torch.Size([1, 8, 50254])

    Args:
        architecture: An :class:`Architecture`, upstream's name of one, or upstream's ``sample_*`` dictionary.
        mlp: ``"gpt2"``, the model whose perplexity was measured, or ``"gated"``, the one that was profiled.
        device: Where to build it; ``"meta"`` costs neither memory nor time.

    Returns:
        The model; its weights are drawn from torch's global generator (``torch.manual_seed``).

    Raises:
        ValueError: If the architecture or ``mlp`` is not legal.
    """
    architecture = read_architecture(architecture)
    with torch.device(device if device is not None else torch.get_default_device()):
        return Transformer(architecture, mlp)
