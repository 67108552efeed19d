"""The project: its settings, its files, and the template that it was generated from."""
