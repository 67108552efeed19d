"""Servers of this project, started and stopped: nothing of them is left behind."""
