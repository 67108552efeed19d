"""A code location that cannot be imported."""

raise RuntimeError("the warehouse password is not set")
