"""What an architecture's quality and costs are predicted to be, fitted to real measurements."""

from hwgpt_gym.surrogates.chain_model import ChainModel
from hwgpt_gym.surrogates.count_model import CountModel
from hwgpt_gym.surrogates.noise_model import NoiseModel
from hwgpt_gym.surrogates.store import Surrogates, load_surrogates

__all__ = ["ChainModel", "CountModel", "NoiseModel", "Surrogates", "load_surrogates"]
