"""These tests open many instances."""

from support.quick_dagster import read_revisions as read_revisions
