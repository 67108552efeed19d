"""Keeps a project in order."""
