"""Jupyter notebooks as paired marimo notebooks, cell by cell."""
