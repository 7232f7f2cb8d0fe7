"""The command line ``hwgpt-gym``; with the explorer the only part that sees all others."""
