"""A dataset of measurements, and how it is built from HW-GPT-Bench's raw files."""
