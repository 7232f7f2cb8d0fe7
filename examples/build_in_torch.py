"""From a name to a model: find the best architecture for a device, build it in torch, run it and train it a little.

    python examples/build_in_torch.py --device a6000 --limit p30 --steps 3

Takes about 4 seconds of processor time and 1.4 GB of memory.
"""

import argparse

import torch

from hwgpt_gym import Benchmark
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve
from hwgpt_gym.transformer import build

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--device", default="a6000", help="the device to choose the architecture for")
parser.add_argument("--limit", default="p30", help="latency: a quantile of the search space, such as p30")
parser.add_argument("--tokens", type=int, default=64, help="tokens in a sequence")
parser.add_argument("--steps", type=int, default=3, help="optimiser steps")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
torch.manual_seed(arguments.seed)

benchmark = Benchmark("s", arguments.device)
optimum = solve(benchmark, Objective({"latency_ms": arguments.limit}))
architecture = optimum.architecture
print(f"the best one within the limit: {architecture}")
print(f"  width {architecture.embed_dim}, {architecture.n_layer} layers, bias: {architecture.bias}")
print(f"  MLP ratios {architecture.mlp_ratio}, heads {architecture.n_head}")

# The model is the one whose perplexity HW-GPT-Bench measured; its weights here are random.
model = build(architecture)
print(f"parameters: {model.num_parameters():,} in torch, {optimum.metrics['params']:,.0f} predicted in closed form")

# Run it: logits for every position, and the cross-entropy if targets are given.
sequence = torch.randint(0, 50254, (1, arguments.tokens + 1))
tokens, targets = sequence[:, :-1], sequence[:, 1:]
with torch.no_grad():
    logits, loss = model(tokens, targets)
print(f"logits {tuple(logits.shape)}, loss of random weights {loss.item():.3f}")

# Train it: it is a plain torch module. (On one sequence, to see that gradients flow.)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
for step in range(1, arguments.steps + 1):
    _, loss = model(tokens, targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"step {step}: loss {loss.item():.3f}")
