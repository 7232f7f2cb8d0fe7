"""The environment ``HWGPT-v0``: one architecture at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Never

from hwgpt_gym.envs.episodes import Episodes
from hwgpt_gym.envs.gym_interface import refuse_unknown
from hwgpt_gym.envs.one_lane import OneLaneEnv
from hwgpt_gym.envs.optima import HasOptimum
from hwgpt_gym.envs.rewards import ScalarReward
from hwgpt_gym.envs.settings import DEFAULT_CONSTRAINT, ConstraintArgument, DeviceArgument, make_settings
from hwgpt_gym.envs.task import get_task
from hwgpt_gym.envs.vector import HWGPTVectorEnv
from hwgpt_gym.objective import DEFAULT_PENALTY
from hwgpt_gym.penalties import penalty_table
from hwgpt_gym.search_space import FloatArray

__all__ = ["HWGPTEnv", "HWGPTVectorEnv"]


class HWGPTEnv(HasOptimum, OneLaneEnv):
    """Build a GPT-2 one decision at a time, and be told what it costs on real hardware and how good it is.

    ## Description
    An episode constructs one architecture of a search space of [HW-GPT-Bench](https://arxiv.org/abs/2405.10299): first
    the embedding width, the number of layers and whether there are biases, then the MLP ratio and the number of
    attention heads of each layer in turn. At the end the architecture is evaluated: its perplexity, and its cost on a
    device, which should stay within a limit. Predictions come from surrogates fitted to measurements of 13 devices;
    the best architecture is known exactly (:func:`hwgpt_gym.optimum.solve`).

    ## Action Space
    `Discrete(3)`: the index of a choice. The table shows the choices of scale `s` / `m` / `l`.

    | Decision       | Action 0           | Action 1            | Action 2            |
    |----------------|--------------------|---------------------|---------------------|
    | `embed_dim`    | 192 / 256 / 320    | 384 / 512 / 640     | 768 / 1024 / 1280   |
    | `n_layer`      | 10 / 22 / 34       | 11 / 23 / 35        | 12 / 24 / 36        |
    | `bias`         | no                 | yes                 | yes, as action 1    |
    | `mlp_ratio_i`  | 2                  | 3                   | 4                   |
    | `n_head_i`     | 4 / 8 / 8          | 8 / 12 / 16         | 12 / 16 / 20        |

    No action is invalid. `info["action_mask"]` (`int8`) and `action_masks()` (`bool`) tell which ones are distinct: all
    but the last one of `bias`.

    ## Observation Space
    A `Box(0, 1)` of `float32`. With `D = 3 + 2 * max_layers` decisions (27, 51 or 75):

    | Columns   | Number | Meaning                                                                                |
    |-----------|--------|----------------------------------------------------------------------------------------|
    | choices   | `3 D`  | One-hot, three columns for each decision; zeros where undecided                        |
    | position  | `D`    | One-hot, the next decision; zeros when complete                                        |
    | costs     | 2 x 55 | With a context only: the tables of one or two limited costs, by their limits           |
    | shares    | 2 x 7  | With a context only: what the choices so far take of these limits, and leave           |

    Episodes have a *context* if `device` is a list, `"all"` or `"random"`, or a constraint is a range. It is described
    by no names but by the costs themselves, so that a device never seen in training can be described too. There are
    two slots, in the order of the constraint, and zeros where only one cost is limited; a third is an error. Everything
    is a share of the limit, and a share `x` stands as `(1 + x / (1 + |x|)) / 2`
    (:func:`hwgpt_gym.envs.limit_shares.expand` undoes it). With the costs of the count model (`docs/surrogates.md`),
    a slot of `costs` has

    | Columns | Number | Meaning                                                                                  |
    |---------|--------|------------------------------------------------------------------------------------------|
    | present | 1      | 1 if there is such a cost                                                                |
    | base    | 18     | By width, depth and bias                                                                 |
    | MLP     | 18     | By width, bias and ratio: what the MLPs cost if all layers of the middle depth have it   |
    | heads   | 18     | By width, bias and head count: the same of the attention                                 |

    and a slot of `shares`, in every state exactly,

    | Columns         | Number | Meaning                                                                          |
    |-----------------|--------|----------------------------------------------------------------------------------|
    | used            | 1      | What is decided costs: nothing until the bias is, then the base and the layers   |
    | slack           | 1      | What the cheapest completion leaves of the limit: below 0 nothing can keep it    |
    | span            | 1      | What the dearest completion costs more than the cheapest                         |
    | slack in layers | 1      | The slack times the middle depth, to be compared with the steps                  |
    | steps           | 3      | What each choice adds to the cheapest completion; of a layer, times the middle   |
    |                 |        | depth                                                                            |

    A choice of a layer leaves a completion that keeps the limit if its step is at most the slack in layers. With a
    confidence the shares are those of the middle numbers of layers, and nearly exact. `HWGPT-Edit-v0` shows the shares
    of complete architectures, whose span and steps are 0.

    ## Rewards
    0 until the last decision, then `quality - penalty`. Quality is log-perplexity scaled to [0, 1] by its exact
    extremes over the search space. With `r` the ratios of costs to limits, `w` the weight and `c` the jump, the
    penalty is

    PENALTIES

    The jump of `exact` is the least one under which the best reward is that of the best architecture that keeps every
    limit, plus 0.005: it is known exactly, for each device and limit, and found at the first reward. Under `hinge`,
    `absolute` and `power` the best reward may be that of an architecture that exceeds a limit a little.

    With `shaping=True` every step also earns the change of a potential: the predicted reward of the architecture with
    the middle choice wherever none is taken yet, less that of the start (Ng et al., ICML 1999). The last step takes
    back what the steps before gave, so the undiscounted return stays the same.

    ## Starting State
    No decision is taken. Where there is a context, the device is drawn evenly, and each limit evenly between the ends
    of its range, on that device. `reset(options={"device": "h100", "constraint": {"latency_ms": "p30"}})` sets either
    for one episode.

    ## Episode End
    The episode terminates with the last decision, after 3 + 2 `n_layer` steps. It is never truncated.

    ## Information
    Every step and reset: `action_mask`. Every step with shaping: `shaping`, which is part of the reward. Every reset
    and end with a context: `device` and `constraint` (costs to limits in their units). At the end: `architecture`
    (upstream's name, read by :meth:`hwgpt_gym.Architecture.from_string`), every metric (`perplexity`, `accuracy`,
    `latency_ms`, `energy_j`, `float16_memory_mb`, `bfloat16_memory_mb`, `params`, `flops`; equal to what
    :meth:`hwgpt_gym.Benchmark.evaluate` says), `quality`, `penalty` and `feasible`; and `regret`, the reward of the
    optimum less that of the architecture, without noise and shaping: 0 is the best architecture there is. `optimum()`
    returns that one (:class:`hwgpt_gym.optimum.Optimum`), solved once and then remembered. In every state
    `action_values()` returns the reward of the best architecture still within reach after each action, exactly; what
    the actions of an episode lose by it adds up to the regret.

    With `info_strings=False` every reset and step has all of these, as numbers: `architecture` is the encoding so far
    (`int8 (D,)`, -1 where undecided), `device` its position among the environment's, `feasible` 0 or 1, `shaping` 0 at
    a reset, and what is known at the end only is NaN before. Libraries that keep information in arrays need that;
    :class:`hwgpt_gym.envs.wrappers.NumericInfo` does the same to an environment that is made already.

    ## Arguments

    | Argument         | Default                 | Meaning                                              |
    |------------------|-------------------------|------------------------------------------------------|
    | `device`         | `"a6000"`               | A device, a list to draw from, `"all"` or `"random"` |
    | `scale`          | `"s"`, or the profile's | The search space: `"s"`, `"m"` or `"l"`              |
    | `constraint`     | `{"latency_ms": "p50"}` | Costs to limits; `{}` or `None` for none             |
    | `penalty`        | `"exact"`               | What exceeding a limit costs, see above              |
    | `penalty_weight` | the penalty's own       | A number from 1e-6 to 1e4                            |
    | `shaping`        | `False`                 | Whether steps earn the change of a potential         |
    | `noise`          | `False`                 | Whether latency and energy are measured              |
    | `regret`         | `None`                  | Whether to report `regret`; `None`: without a context|
    | `world`          | `None`                  | A posterior world, 0 to 63, that answers instead     |
    | `render_mode`    | `None`                  | `"human"`, `"rgb_array"` (540 x 960) or `"ansi"`     |
    | `confidence`     | `None`                  | With which each limit is to hold, such as `0.95`     |
    | `info_strings`   | `True`                  | `False`: information of numbers only, always alike   |
    | `pool`           | `None`: 256             | How many devices `"random"` makes                    |
    | `exclude`        | `None`: none            | Shipped devices that these are not made from         |
    | `pool_seed`      | `None`: 0               | The seed that they are made from                     |

    A device of your own is named by the path of its profile, which ends in `.safetensors`, or by the name under which
    it is registered (:func:`hwgpt_gym.register_device`). With a confidence the cost in every ratio is the predicted one
    times a margin (:mod:`hwgpt_gym.surrogates.cautious_cost`), so that a limit which holds here holds on the real
    device; limits that are quantiles stay those of predictions, and `info` reports predictions.

    With `device="random"` every episode draws from a pool of devices that do not exist, `"random-0"` to `"random-255"`:
    mixes of three shipped ones, the same three for latency and energy, with log-normal noise
    (:mod:`hwgpt_gym.synthetic_devices`). Nothing was measured on them, so `noise` and `confidence` are refused. What is
    exact of a device (quantiles, the jump of `exact`) is found when it is first drawn.

    A limit is a number in the metric's unit, a quantile of the search space such as `"p30"`, or a range `(low, high)`
    of either, from which each episode draws. Under `exact` and `hard` it must be one that an architecture keeps, on
    every device; otherwise the error says the least value that can be met.

    With `noise=True` latency and energy are what a single measurement would show, drawn from `np_random`; otherwise
    those of the device in its median state. Jump, optimum and regret refer to predictions either way, and the expected
    noisy reward has another optimum: at its limit, an architecture's measured cost exceeds it about half of the time.

    With `regret=True` where there is a context, one limit under `exact` or `hard` is a look-up; otherwise every context
    is solved.

    A `world` is another model of perplexity and accuracy that the measurements could have come from
    (`docs/surrogates.md`); quality is scaled by its own extremes.

    >>> import gymnasium as gym
    >>> import hwgpt_gym
    >>> env = gym.make("HWGPT-v0", device="h100", scale="s", constraint={"latency_ms": "p30", "params": 60e6})
    >>> observation, info = env.reset(seed=0)
    >>> terminated = False
    >>> while not terminated:
    ...     observation, reward, terminated, truncated, info = env.step(1)
    >>> info["architecture"]
    'gpt-s-11-384-3-3-3-3-3-3-3-3-3-3-3-8-8-8-8-8-8-8-8-8-8-8-True'
    >>> reward == info["quality"] - info["penalty"]
    True

    ## Vectorized environment
    `gym.make_vec("HWGPT-v0", num_envs=4096)` makes :class:`HWGPTVectorEnv`: all lanes in one batch, every autoreset
    mode (`autoreset_mode=`), `options={"reset_mask": ...}`, equal to a `SyncVectorEnv` step by step and over a hundred
    times as fast (`make bench`). For Stable-Baselines3 there is :func:`hwgpt_gym.envs.sb3.make_vec_env`.

    ## References
    - Sukthanker et al., *HW-GPT-Bench: Hardware-Aware Architecture Benchmark for Language Models*, NeurIPS 2024.
    - Ng, Harada, Russell, *Policy invariance under reward transformations*, ICML 1999.
    - Bender et al., *Can weight sharing outperform random architecture search? An investigation with TuNAS*, CVPR 2020.
    - Tan et al., *MnasNet: Platform-Aware Neural Architecture Search for Mobile*, CVPR 2019.

    ## Version History
    - v0: 0.2.0: the default penalty is `exact`, and `regret` is reported; `penalty="hinge"` gives the rewards of 0.1.0.
      A context is shown by cost tables and exact shares of the limits, of at most two costs. 0.1.0: initial version.
    """

    def __init__(
        self,
        device: DeviceArgument = "a6000",
        scale: str | None = None,
        constraint: ConstraintArgument | None = DEFAULT_CONSTRAINT,
        penalty: str = DEFAULT_PENALTY,
        penalty_weight: float | None = None,
        shaping: bool = False,
        noise: bool = False,
        regret: bool | None = None,
        world: int | None = None,
        render_mode: str | None = None,
        confidence: float | None = None,
        info_strings: bool = True,
        pool: int | None = None,
        exclude: Sequence[str] | None = None,
        pool_seed: int | None = None,
        **unknown: Never,
    ) -> None:
        refuse_unknown(unknown, type(self))
        settings = make_settings(
            device,
            scale,
            constraint,
            penalty=penalty,
            penalty_weight=penalty_weight,
            shaping=shaping,
            noise=noise,
            regret=regret,
            world=world,
            confidence=confidence,
            pool=pool,
            exclude=exclude,
            pool_seed=pool_seed,
        )
        task = get_task(settings)
        task.warn_of_limits()
        super().__init__(Episodes(task, 1, ScalarReward(), info_strings), render_mode)

    def action_values(self) -> FloatArray:
        """Return the exact value of every action: the greatest reward that the episode can still end with after it.

        Rewards are without noise and shaping, in the episode's context.

        Returns:
            ``float64 (3,)``, ``-inf`` for an action that is no choice of its own: action 2 at ``bias``, and all of them
            once the architecture is complete.
        """
        episodes = self._episodes
        values: FloatArray = episodes.task.problems.action_values(episodes.construction.encoded, episodes.contexts)[0]
        return values


HWGPTEnv.__doc__ = str(HWGPTEnv.__doc__).replace("    PENALTIES", penalty_table("    "))
