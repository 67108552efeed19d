"""Touches notebook files and marimo."""
