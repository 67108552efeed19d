"""What must be true of the cleaned flights."""

import dagster as dg
import polars as pl

CLEAN_FLIGHTS = dg.AssetKey(["clean", "flights"])


@dg.asset_check(asset=CLEAN_FLIGHTS, blocking=True)
def one_row_per_flight(flights: pl.DataFrame) -> dg.AssetCheckResult:
    """No flight is listed twice. When it fails, the assets downstream are not materialized."""
    duplicates = flights.select("carrier", "flight", "origin", "scheduled").is_duplicated().sum()
    return dg.AssetCheckResult(passed=duplicates == 0, metadata={"duplicates": duplicates})


@dg.asset_check(asset=CLEAN_FLIGHTS)
def few_cancellations(flights: pl.DataFrame) -> dg.AssetCheckResult:
    """Less than one flight in twenty is cancelled on any day."""
    worst = flights.group_by("date").agg(pl.col("cancelled").mean())["cancelled"].max()
    return dg.AssetCheckResult(
        passed=worst < 0.05,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"worst_day": worst},
    )
