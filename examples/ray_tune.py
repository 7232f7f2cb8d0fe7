"""Ray Tune over the settings of an agent: regularized evolution's population and sample.

    pip install 'hwgpt-gym[ray]'
    python examples/ray_tune.py --device a6000 --trials 8

Takes about 24 seconds of processor time.
"""

import argparse
import tempfile

import numpy as np
import ray
from ray import tune

from hwgpt_gym import Benchmark
from hwgpt_gym.agents import SearchProblem, make_agent
from hwgpt_gym.objective import Objective
from hwgpt_gym.optimum import solve

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--device", default="a6000")
parser.add_argument("--limit", default="p50", help="latency: a quantile of the search space, such as p30")
parser.add_argument("--trials", type=int, default=8)
parser.add_argument("--budget", type=int, default=2000, help="evaluations of a search")
parser.add_argument("--seeds", type=int, default=3, help="searches of a trial")
parser.add_argument("--processors", type=int, default=2)
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()

constraint = {"latency_ms": arguments.limit}
optimum = solve(Benchmark("s", arguments.device), Objective(constraint)).reward


def trial(settings: dict[str, int]) -> dict[str, float]:
    """Return the regret of an agent with these settings, over several seeds."""
    benchmark, objective = Benchmark("s", arguments.device), Objective(constraint)
    agent = make_agent("regularized_evolution", **settings)
    searches = [
        agent.run(SearchProblem(benchmark, objective, arguments.budget, seed)) for seed in range(arguments.seeds)
    ]
    regrets = [optimum - search.best_reward for search in searches]
    return {"regret": float(np.mean(regrets)), "worst": max(regrets)}


ray.init(num_cpus=arguments.processors, include_dashboard=False, log_to_driver=False)
tuner = tune.Tuner(
    trial,
    param_space={"population_size": tune.choice([20, 50, 100, 200]), "sample_size": tune.choice([5, 10, 20])},
    tune_config=tune.TuneConfig(
        metric="regret",
        mode="min",
        num_samples=arguments.trials,
        search_alg=tune.search.BasicVariantGenerator(random_state=arguments.seed),
    ),
    run_config=tune.RunConfig(verbose=0, storage_path=tempfile.mkdtemp()),
)
results = tuner.fit()
for result in sorted(results, key=lambda result: result.metrics["regret"]):
    print(f"{result.config}: mean regret {result.metrics['regret']:.4f}")
best = results.get_best_result()
print(f"{len(results)} trials: the best setting is {best.config}, with mean regret {best.metrics['regret']:.4f}")
ray.shutdown()
