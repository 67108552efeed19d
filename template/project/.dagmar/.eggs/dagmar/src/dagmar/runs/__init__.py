"""Launched runs: prepared once, followed to their end, with their outcome."""
