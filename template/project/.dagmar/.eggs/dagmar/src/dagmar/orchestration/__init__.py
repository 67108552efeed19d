"""What needs the dagster library itself. It is imported inside functions: it costs a second."""
