"""What an architecture's quality and costs are predicted to be, fitted to real measurements."""

from hwgpt_gym.surrogates.cost import CountModel
from hwgpt_gym.surrogates.noise import NoiseModel
from hwgpt_gym.surrogates.perplexity import ChainModel
from hwgpt_gym.surrogates.store import Surrogates, load_surrogates

__all__ = ["ChainModel", "CountModel", "NoiseModel", "Surrogates", "load_surrogates"]
