"""Notebooks made from the template for assets and jobs."""
