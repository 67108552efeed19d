"""Notebooks generated from the template for assets and jobs."""
