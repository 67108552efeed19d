"""Exports: a notebook run once, kept as a page with a manifest, linked, sent, cleaned up."""
