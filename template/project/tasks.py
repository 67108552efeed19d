"""Tasks of this project: `invoke --list` shows them.

Created once; updates leave it alone. Add your own tasks at the end:

    from invoke.tasks import task

    @task
    def hello(c):
        c.run("echo hello")
"""

try:
    from dagmar.tasks import namespace
except ModuleNotFoundError as error:
    if not str(error.name).startswith("dagmar"):
        raise
    from invoke.exceptions import Exit

    hint = "Type: uv run invoke … (or .venv/bin/invoke …)"
    reason = f"error: this invoke is not the project's own. {hint}"
    raise Exit(reason, code=3) from None

ns = namespace(__file__)
