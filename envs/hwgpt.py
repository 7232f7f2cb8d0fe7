"""The environment ``HWGPT-v0``: one architecture at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, SupportsIndex

import gymnasium
import numpy as np
import numpy.typing as npt

from hwgpt_gym.benchmark import Benchmark
from hwgpt_gym.envs.construction import Lanes
from hwgpt_gym.envs.episodes import Episodes, Step
from hwgpt_gym.envs.gym_interface import (
    Observation,
    check_action,
    check_render_mode,
    first_lane,
    make_action_space,
    make_observation_space,
)
from hwgpt_gym.envs.settings import ConstraintArgument, DeviceArgument, make_settings
from hwgpt_gym.envs.task import Task, get_task
from hwgpt_gym.envs.vector import HWGPTVectorEnv
from hwgpt_gym.penalties import penalty_table
from hwgpt_gym.search_space import Encoded, FloatArray

if TYPE_CHECKING:
    from hwgpt_gym.envs.view import View

__all__ = ["HWGPTEnv", "HWGPTVectorEnv"]


class HWGPTEnv(gymnasium.Env[Observation, np.int64]):
    """Build a GPT-2 one decision at a time, and be told what it costs on real hardware and how good it is.

    ## Description
    An episode constructs one architecture of a search space of [HW-GPT-Bench](https://arxiv.org/abs/2405.10299): first
    the embedding width, the number of layers and whether there are biases, then the MLP ratio and the number of
    attention heads of each layer in turn. At the end the architecture is evaluated: its perplexity, and its cost on a
    device, which should stay within a budget. Predictions come from surrogates fitted to measurements of 13 devices;
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
    A `Box(0, 1)` of `float32`. With `D = 3 + 2 * max_layers` decisions (27, 51 or 75), `k` constrained costs and `c`
    of them that depend on the device:

    | Columns         | Number | Meaning                                                                          |
    |-----------------|--------|----------------------------------------------------------------------------------|
    | choices         | `3 D`  | One-hot, three columns for each decision; zeros where undecided                  |
    | position        | `D`    | One-hot, the next decision; zeros when complete                                  |
    | budgets         | `k`    | With a context only: `r / (1 + r)`, `r` the budget by the device's median cost   |
    | device features | `21 c` | With a context only: normalised coefficients of the cost, see below              |

    Episodes have a *context* if `device` is a list or `"all"`, or a constraint is a range. The device features are no
    names but shares of the cost (:func:`hwgpt_gym.envs.task.device_features`): for each embedding width that of the
    base, of each MLP ratio and of each head count, so that a device never seen in training can be described as well.

    ## Rewards
    0 until the last decision, then `quality - penalty`. Quality is log-perplexity scaled to [0, 1] by its exact
    extremes over the search space. With `r` the ratios of costs to budgets and `w` the weight, the penalty is

    PENALTIES

    With `shaping=True` every step also earns the change of a potential: the predicted reward of the architecture with
    the middle choice wherever none is taken yet, less that of the start (Ng et al., ICML 1999). The last step takes
    back what the steps before gave, so the undiscounted return stays the same.

    ## Starting State
    No decision is taken. Where there is a context, the device is drawn evenly, and each budget evenly between the ends
    of its range, on that device. `reset(options={"device": "h100", "constraint": {"latency_ms": "p30"}})` sets either
    for one episode.

    ## Episode End
    The episode terminates with the last decision, after 3 + 2 `n_layer` steps. It is never truncated.

    ## Information
    Every step and reset: `action_mask`. Every step with shaping: `shaping`, which is part of the reward. Every reset
    and end with a context: `device` and `constraint` (costs to budgets in their units). At the end: `architecture`
    (upstream's name, read by :meth:`hwgpt_gym.Architecture.from_string`), every metric (`perplexity`, `accuracy`,
    `latency_ms`, `energy_j`, `float16_memory_mb`, `bfloat16_memory_mb`, `params`, `flops`; equal to what
    :meth:`hwgpt_gym.Benchmark.evaluate` says), `quality`, `penalty` and `feasible`.

    ## Arguments

    | Argument         | Default                 | Meaning                                              |
    |------------------|-------------------------|------------------------------------------------------|
    | `device`         | `"a6000"`               | A device, a list to draw from, or `"all"`            |
    | `scale`          | `"s"`                   | The search space: `"s"`, `"m"` or `"l"`              |
    | `constraint`     | `{"latency_ms": "p50"}` | Costs to budgets; `{}` for none                      |
    | `penalty`        | `"hinge"`               | `"hinge"`, `"absolute"`, `"power"` or `"hard"`       |
    | `penalty_weight` | the penalty's own       | A positive number                                    |
    | `shaping`        | `False`                 | Whether steps earn the change of a potential         |
    | `noise`          | `False`                 | Whether latency and energy are measured              |
    | `world`          | `None`                  | A posterior world, 0 to 63, that answers instead     |
    | `render_mode`    | `None`                  | `"human"`, `"rgb_array"` (540 x 960) or `"ansi"`     |

    A budget is a number in the metric's unit, a quantile of the search space such as `"p30"`, or a range `(low, high)`
    of either, from which each episode draws. With `noise=True` latency and energy are what a single measurement would
    show, drawn from `np_random`; otherwise those of the device in its median state. A
    `world` is another model of perplexity and accuracy that the measurements could have come from
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
    - v0: Initial version.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array", "ansi"], "render_fps": 4}  # noqa: RUF012

    _last_info: dict[str, Any] = {}  # noqa: RUF012  # Replaced, never changed.
    _window: Any = None

    def __init__(
        self,
        device: DeviceArgument = "a6000",
        scale: str = "s",
        constraint: ConstraintArgument | None = None,
        penalty: str = "hinge",
        penalty_weight: float | None = None,
        shaping: bool = False,
        noise: bool = False,
        world: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        settings = make_settings(device, scale, constraint, penalty, penalty_weight, shaping, noise, world)
        self._set_up(get_task(settings))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an architecture.

        Args:
            seed: Seeds ``np_random``, from which contexts and noise are drawn.
            options: ``device`` (a name) and ``constraint`` (costs to budgets) of the new episode instead of drawn
                ones, where the observation shows a context.

        Returns:
            The observation and the information; see the class.

        Raises:
            ValueError: If an option is unknown or not legal; nothing is changed then.
        """
        self._episodes.check_options(options)
        super().reset(seed=seed)
        context = self._episodes.reset(self._draw, options=options)
        self._decisions_left = True
        self._last_info = {}
        if self.render_mode == "human":
            self.render()
        return self._episodes.construction.observation[0].copy(), {
            "action_mask": self._episodes.construction.masks(0),
            **first_lane(context),
        }

    def step(self, action: SupportsIndex) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take the next decision.

        Args:
            action: The choice, 0 to 2; a decision with two choices takes the second one for 2 as well.

        Returns:
            Observation, reward, whether the architecture is complete, ``False``, and the information.

        Raises:
            ValueError: If the action is none of 0, 1 and 2; nothing is changed then.
            gymnasium.error.ResetNeeded: If there is no decision to take.
        """
        choice = check_action(action)
        if not self._decisions_left:
            raise gymnasium.error.ResetNeeded("there is no decision to take: call reset() to begin an architecture")
        construction = self._episodes.construction
        terminated = bool(construction.apply(choice, 0))
        info: dict[str, Any] = {"action_mask": construction.masks(0)}
        reward: Any = self._no_reward()
        if terminated or self._shaping:
            step = self._episodes.settle(np.array([terminated]), self._draw)
            info |= first_lane(step.info) | first_lane(step.end_info)
            reward = self._reward(step)
            self._decisions_left = not terminated
            self._last_info = info
        if self.render_mode == "human":
            self.render()
        return construction.observation[0].copy(), reward, terminated, False, info

    def render(self) -> Any:
        """Draw the architecture; see the class for the modes."""
        if self.render_mode is None:
            gymnasium.logger.warn(
                "render() was called without a render mode: pass render_mode='rgb_array' to gymnasium.make()"
            )
            return None
        import hwgpt_gym.envs.rendering as rendering

        view = self._view()
        if self.render_mode == "ansi":
            return rendering.draw_text(view)
        if self.render_mode == "rgb_array":
            return rendering.draw_frame(view)
        if self._window is None:
            self._window = rendering.Window()
        self._window.show(view, self.metadata["render_fps"])
        return None

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return which actions are distinct choices of the next decision, ``bool (3,)``."""
        mask: npt.NDArray[np.bool_] = self._episodes.construction.bool_masks()[0]
        return mask

    @property
    def bench(self) -> Benchmark:
        """The benchmark that evaluates architectures, of all devices of the environment."""
        return self._episodes.task.bench

    @property
    def encoded(self) -> Encoded:
        """The choices so far, ``int8 (1, D)``, -1 where undecided; a copy."""
        return self._episodes.construction.encoded.copy()

    def _set_up(self, task: Task) -> None:
        self._episodes = Episodes(task, 1)
        self.action_space = make_action_space()
        self.observation_space = make_observation_space(self._episodes.construction)
        self._shaping = task.settings.shaping
        self._decisions_left = False

    def _view(self) -> View:
        from hwgpt_gym.envs.view import view_of

        return view_of(self._episodes, 0, self._last_info)

    def _reward(self, step: Step) -> Any:
        return float(step.reward[0])

    def _no_reward(self) -> Any:
        return 0.0

    def _draw(self, lanes: Lanes, count: int) -> FloatArray:
        return self.np_random.random((len(lanes), count))


HWGPTEnv.__doc__ = str(HWGPTEnv.__doc__).replace("    PENALTIES", penalty_table("    "))
