"""PPO by Stable-Baselines3: agents, trained policies, contextual policies, and the study behind the settings."""
