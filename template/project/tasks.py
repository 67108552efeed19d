"""Tasks of this project: `invoke --list` shows them. Created once; updates leave it alone."""

try:
    from dagmar.tasks import namespace
except ModuleNotFoundError as error:
    if not str(error.name).startswith("dagmar"):
        raise
    from invoke import Exit

    hint = "Type: uv run invoke … (or .venv/bin/invoke …)"
    raise Exit(f"error: this invoke is not the project's own. {hint}", code=3) from None

ns = namespace(__file__)

# Your own tasks go here:
#
#     from invoke import task
#
#     @task
#     def hello(c):
#         """Say hello."""
#         c.run("echo hello")
#
#     ns.add_task(hello)
