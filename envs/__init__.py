"""The Gymnasium environments: building a GPT-2 one decision at a time.

Modules are imported one by one (``hwgpt_gym.envs.hwgpt``, ``hwgpt_gym.envs.sb3``, …), so that what is not used is not
loaded. ``import hwgpt_gym`` registers the environments.
"""
