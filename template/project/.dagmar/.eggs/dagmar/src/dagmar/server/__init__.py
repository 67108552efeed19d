"""Talks to a Dagster server over HTTP. Nothing in here imports dagster."""
