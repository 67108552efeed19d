"""Flights that left New York City in the first two weeks of 2013, and how late they were."""

import dagster as dg
import polars as pl
from pydantic import Field

from .resources import PROJECT_ROOT

SOURCE = PROJECT_ROOT / "data" / "flights.csv"
ON_TIME_MINUTES = 15  # the U.S. Department of Transportation's own limit

days = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-01-15")  # exclusive


def table(df: pl.DataFrame, **metadata) -> dg.MaterializeResult[pl.DataFrame]:
    """The data frame as the asset's value, with its size and first rows for the Dagster UI."""
    preview = dg.MetadataValue.md(markdown(df.head(5)))
    return dg.MaterializeResult(
        value=df, metadata={"dagster/row_count": df.height, "preview": preview, **metadata}
    )


def markdown(df: pl.DataFrame) -> str:
    with pl.Config(
        tbl_formatting="ASCII_MARKDOWN",
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        tbl_rows=-1,
        tbl_cols=-1,
        tbl_width_chars=1000,
    ):
        return str(df)


@dg.asset(
    key=["raw", "flights"],
    group_name="flights",
    kinds={"csv", "polars"},
    owners=["team:flights"],
    tags={"source": "bts"},
    metadata={
        "dagster/column_schema": dg.TableSchema.from_name_type_dict(
            {
                "year": "Int64",
                "month": "Int64",
                "day": "Int64",
                "dep_time": "Int64",
                "sched_dep_time": "Int64",
                "arr_delay": "Int64",
                "carrier": "String",
                "flight": "Int64",
                "origin": "String",
            }
        )
    },
)
def raw_flights() -> dg.MaterializeResult[pl.DataFrame]:
    """`data/flights.csv` as it is: times are numbers such as 517 for 5:17, `NA` is missing."""
    return table(pl.read_csv(SOURCE, null_values="NA"))


@dg.asset(
    key=["clean", "flights"],
    ins={"raw_flights": dg.AssetIn(["raw", "flights"])},
    group_name="flights",
    kinds={"polars", "parquet"},
    owners=["team:flights"],
    metadata={
        "dagster/column_schema": dg.TableSchema(
            columns=[
                dg.TableColumn("date", "Date", "day of the scheduled departure"),
                dg.TableColumn("carrier", "String", "two-character airline code"),
                dg.TableColumn("flight", "Int64", "flight number"),
                dg.TableColumn("origin", "String", "EWR, JFK or LGA"),
                dg.TableColumn("scheduled", "Datetime", "planned departure, New York time"),
                dg.TableColumn("departed", "Datetime", "actual departure, empty if cancelled"),
                dg.TableColumn("departure_delay", "Int64", "minutes, negative is early"),
                dg.TableColumn("arrival_delay", "Int64", "minutes, empty if it never arrived"),
                dg.TableColumn("cancelled", "Boolean", "the flight never departed"),
            ]
        )
    },
)
def clean_flights(raw_flights: pl.DataFrame) -> dg.MaterializeResult[pl.DataFrame]:
    """One row per planned flight, with real timestamps and a flag for cancelled ones."""
    flights = raw_flights.select(
        pl.date("year", "month", "day").alias("date"),
        "carrier",
        "flight",
        "origin",
        scheduled=at_time("sched_dep_time"),
        departed=at_time("dep_time"),
        arrival_delay="arr_delay",
    ).with_columns(
        # The source has no date of departure. Nothing leaves more than an hour early, so an
        # earlier time on the clock means the next day.
        departed=pl.when(pl.col("departed") < pl.col("scheduled") - pl.duration(hours=1))
        .then(pl.col("departed") + pl.duration(days=1))
        .otherwise("departed"),
        cancelled=pl.col("departed").is_null(),
    )
    delay = (pl.col("departed") - pl.col("scheduled")).dt.total_minutes()
    flights = flights.with_columns(departure_delay=delay).select(
        "date", "carrier", "flight", "origin", "scheduled", "departed",
        "departure_delay", "arrival_delay", "cancelled",
    )  # fmt: skip
    return table(flights, cancelled=flights["cancelled"].sum())


def at_time(column: str) -> pl.Expr:
    """A number such as 517 (5:17) as a timestamp on the row's day."""
    return pl.datetime("year", "month", "day") + pl.duration(
        hours=pl.col(column) // 100, minutes=pl.col(column) % 100
    )


class DelaysConfig(dg.Config):
    on_time_minutes: int = Field(
        ON_TIME_MINUTES, description="A flight is on time if it arrives fewer minutes late."
    )
    airports: list[str] = Field([], description="Only flights from these, such as JFK.")


@dg.asset(
    partitions_def=days,
    ins={"flights": dg.AssetIn(["clean", "flights"])},
    group_name="delays",
    kinds={"polars", "parquet"},
    owners=["team:flights"],
    metadata={
        "dagster/column_schema": dg.TableSchema.from_name_type_dict(
            {
                "date": "Date",
                "carrier": "String",
                "flights": "UInt32",
                "cancelled": "UInt32",
                "on_time": "UInt32",
                "median_arrival_delay": "Float64",
            }
        )
    },
)
def daily_delays(
    context: dg.AssetExecutionContext, config: DelaysConfig, flights: pl.DataFrame
) -> dg.MaterializeResult[pl.DataFrame]:
    """One day in numbers, for each carrier. A flight that never arrived is not on time."""
    day = flights.filter(pl.col("date") == pl.lit(context.partition_key).str.to_date())
    if config.airports:
        day = day.filter(pl.col("origin").is_in(config.airports))
    return table(
        day.group_by("date", "carrier")
        .agg(
            flights=pl.len(),
            cancelled=pl.col("cancelled").sum(),
            on_time=(pl.col("arrival_delay") < config.on_time_minutes).sum(),
            median_arrival_delay=pl.col("arrival_delay").median(),
        )
        .sort("carrier")
    )


@dg.asset(
    ins={"daily_delays": dg.AssetIn(metadata={"allow_missing_partitions": True})},
    group_name="delays",
    kinds={"polars", "parquet"},
    owners=["team:flights"],
    metadata={
        "dagster/column_schema": dg.TableSchema.from_name_type_dict(
            {"carrier": "String", "flights": "UInt32", "on_time_rate": "Float64"}
        )
    },
)
def on_time_rate(daily_delays: dict[str, pl.DataFrame]) -> dg.MaterializeResult[pl.DataFrame]:
    """The share of flights that arrived on time, over the days that are materialized."""
    if not daily_delays:
        raise dg.Failure("Materialize at least one day of daily_delays first.")
    every_day = pl.concat(daily_delays.values())
    rate = pl.col("on_time").sum() / pl.col("flights").sum()
    rates = (
        every_day.group_by("carrier")
        .agg(pl.col("flights").sum(), on_time_rate=rate)
        .sort("on_time_rate", descending=True)
    )
    return table(
        rates,
        days=len(daily_delays),
        on_time_rate=every_day.select(rate).item(),
    )


class ReportConfig(dg.Config):
    threshold_minutes: int = ON_TIME_MINUTES
    """A flight is late when it arrives this many minutes after schedule, or more."""


@dg.asset(
    ins={"flights": dg.AssetIn(["clean", "flights"])},
    group_name="delays",
    kinds={"polars", "parquet"},
    owners=["team:flights"],
    metadata={
        "dagster/column_schema": dg.TableSchema.from_name_type_dict(
            {
                "origin": "String",
                "part_of_day": "String",
                "flights": "UInt32",
                "on_time_rate": "Float64",
            }
        )
    },
)
def on_time_report(
    flights: pl.DataFrame, config: ReportConfig
) -> dg.MaterializeResult[pl.DataFrame]:
    """On-time rate by airport and part of the day, as a table to read in the Dagster UI."""
    on_time = (pl.col("arrival_delay") < config.threshold_minutes).fill_null(False)
    hour = pl.col("scheduled").dt.hour()
    part = pl.when(hour < 12).then(pl.lit("morning")).when(hour < 18).then(pl.lit("afternoon"))
    report = (
        flights.group_by("origin", part.otherwise(pl.lit("evening")).alias("part_of_day"))
        .agg(flights=pl.len(), on_time_rate=on_time.mean().round(3))
        .sort("origin", "on_time_rate", descending=[False, True])
    )
    return table(
        report,
        threshold_minutes=config.threshold_minutes,
        report=dg.MetadataValue.md(markdown(report)),
    )
