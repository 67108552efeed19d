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


@dg.asset(group_name="letters", description="The other one.")
def shared(context: dg.AssetExecutionContext) -> None:
    context.log.info("shared by other")


@dg.asset(group_name="letters", partitions_def=COLORS)
def shared_colors() -> None: ...


@dg.observable_source_asset(name="stored")
def stored_elsewhere() -> dg.DataVersion:
    """Observed here, and materialized by the first code location."""
    return dg.DataVersion("1")


@dg.observable_source_asset(description="Observed by other.")
def feed() -> dg.DataVersion:
    """Both code locations observe it, and none materializes it."""
    return dg.DataVersion("1")


@dg.op
def sweep() -> None: ...


@dg.job
def tidy() -> None:
    """The first code location has a job of this name too."""
    sweep()


defs = dg.Definitions(
    assets=[campaigns, tinted, mailing, shared, shared_colors, stored_elsewhere, feed],
    jobs=[tidy],
    executor=dg.in_process_executor,
)
