"""A second code location, so that a selection can cross locations."""

import os

import dagster as dg

# The server has imported this already when a test makes the file; the process of a run has not.
if os.path.exists(os.environ.get("IMPORT_FAILS_WHILE", "")):
    raise ImportError("the driver of the warehouse is not there")

COLORS = dg.StaticPartitionsDefinition(["blue", "green", "red"])


class Reach(dg.Config):
    """Whom to reach."""

    people: int = 10


@dg.asset(group_name="marketing", deps=[dg.AssetKey("orders")], tags={"tier": "silver"})
def campaigns() -> None: ...


@dg.asset(group_name="marketing", partitions_def=COLORS)
def tinted() -> None: ...


@dg.asset(group_name="letters")
def mailing(context: dg.AssetExecutionContext, config: Reach) -> None:
    context.log.info(f"people={config.people}")


@dg.op
def sweep() -> None: ...


@dg.job
def tidy() -> None:
    """The first code location has a job of this name too."""
    sweep()


defs = dg.Definitions(
    assets=[campaigns, tinted, mailing], jobs=[tidy], executor=dg.in_process_executor
)
