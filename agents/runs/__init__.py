"""Runs: an agent searches, and leaves a folder that says what it did."""
