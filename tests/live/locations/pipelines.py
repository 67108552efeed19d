"""A code location with one of everything that dagmar must tell apart."""

import os
import time
from typing import Any

import dagster as dg

DAILY = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-11")
COLORS = dg.StaticPartitionsDefinition(["blue", "green", "red"])
CUSTOMERS = dg.DynamicPartitionsDefinition(name="customers")
MANY = dg.StaticPartitionsDefinition([f"{number:05}" for number in range(10_000)])
GRID = dg.MultiPartitionsDefinition({"day": DAILY, "color": COLORS})
BOARD = dg.MultiPartitionsDefinition(
    {
        "row": dg.StaticPartitionsDefinition(["1", "2"]),
        "column": dg.StaticPartitionsDefinition(["a", "b"]),
    }
)
# Dagster 1.10 takes no full stop in a key.
DASHED = dg.AssetKey(["raw", "dash-ed" if dg.__version__.startswith("1.10.") else "dash-ed.key"])

# Dagster 1.10 has no secret fields.
SECRET: dict[str, Any] = {} if dg.__version__.startswith("1.10.") else {"is_secret": True}


def refuse_while_flagged() -> None:
    """Fail as long as a test keeps a file."""
    flag = os.environ.get("SECOND_FAILS_WHILE", "")
    if flag and os.path.exists(flag):
        raise ValueError("second is not ready")


class Limits(dg.Config):
    """How much to load."""

    rows: int = 3
    label: str = "small"


@dg.asset(
    key=["raw", "orders"],
    group_name="raw",
    kinds={"python", "csv"},
    tags={"tier": "gold"},
    owners=["team:data", "ann@example.com"],
    description="Orders as they arrive.\nOne row each.",
    metadata={
        "dagster/column_schema": dg.TableSchema(
            columns=[
                dg.TableColumn("id", "int", 'counts <b>"up"</b>\nfrom 1'),
                dg.TableColumn("<script>alert(1)</script>", "text"),
            ]
        )
    },
)
def raw_orders() -> dg.MaterializeResult:
    print("orders were counted")
    return dg.MaterializeResult(metadata={"rows": 3})


@dg.asset(key=DASHED, group_name="raw", metadata={"dagster/uri": "s3://lake/dashed"})
def dashed() -> None: ...


@dg.asset(group_name="sales", kinds={"python"}, deps=[raw_orders], tags={"tier": "silver"})
def orders(context: dg.AssetExecutionContext) -> None:
    context.log.info("cleaning orders")


@dg.asset(group_name="sales", deps=[orders], partitions_def=DAILY)
def daily_sales(context: dg.AssetExecutionContext) -> None:
    if context.partition_key == "2026-01-09":
        raise ValueError("no sales on the ninth")


@dg.asset(group_name="sales", partitions_def=COLORS)
def colored() -> None: ...


@dg.asset(group_name="sales", partitions_def=COLORS)
def shaded() -> None:
    """Launched by one test only, so that it knows what is missing."""


@dg.asset(group_name="sales", partitions_def=CUSTOMERS)
def by_customer() -> None: ...


@dg.asset(group_name="sales", partitions_def=GRID)
def grid() -> None: ...


@dg.asset(group_name="sales", partitions_def=BOARD)
def checkered() -> None:
    """Launched by one test only, so that it knows what is missing and what failed."""
    refuse_while_flagged()


@dg.asset(group_name="sales", partitions_def=DAILY, backfill_policy=dg.BackfillPolicy.single_run())
def ranged(context: dg.AssetExecutionContext) -> None:
    context.log.info(f"keys: {list(context.partition_keys)}")


@dg.asset(group_name="values", partitions_def=DAILY)
def stored(context: dg.AssetExecutionContext) -> str:
    if "fails" in context.run.tags:
        raise ValueError("as its tag says")
    return context.partition_key


@dg.asset(
    group_name="values",
    partitions_def=DAILY,
    ins={"day": dg.AssetIn("stored"), "color": dg.AssetIn("colored")},
    deps=[orders, DASHED, dg.AssetKey(["lake", "events"])],
)
def weighed(day: str, color: dict[str, str]) -> str:
    return day


@dg.op
def draw(day: str) -> str:
    return day


@dg.graph_asset(group_name="values", partitions_def=DAILY, ins={"day": dg.AssetIn("stored")})
def drawn(day: str) -> str:
    result: str = draw(day)
    return result


@dg.asset(group_name="config")
def limited(context: dg.AssetExecutionContext, config: Limits) -> None:
    context.log.info(f"rows={config.rows} label={config.label}")
    refuse_while_flagged()


@dg.asset(group_name="config", partitions_def=COLORS)
def dosed(context: dg.AssetExecutionContext, config: Limits) -> None:
    context.log.info(f"{context.partition_key}: label={config.label}")


@dg.asset(group_name="config", config_schema=dg.Permissive({"zip": dg.Field(str)}))
def open_to_any(context: dg.AssetExecutionContext) -> None:
    context.log.info(f"config={dict(sorted(context.op_execution_context.op_config.items()))}")


@dg.asset(group_name="config")
def inspected() -> None: ...


@dg.asset_check(asset=inspected)
def inspected_closely(
    context: dg.AssetCheckExecutionContext, config: Limits
) -> dg.AssetCheckResult:
    context.log.info(f"inspected with label={config.label}")
    return dg.AssetCheckResult(passed=True)


@dg.asset(group_name="faults")
def failing() -> None:
    numbers: dict[str, int] = {}
    raise KeyError(f"no such column: {sorted(numbers)}")


@dg.asset(group_name="faults")
def killed() -> None:
    os._exit(9)


def wait_until_told() -> None:
    """Go on when a test makes a file, and in the end without it."""
    flag = os.environ.get("SLOW_UNTIL", "")
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not (flag and os.path.exists(flag)):
        time.sleep(0.1)


@dg.asset(group_name="faults")
def slow() -> None:
    wait_until_told()


@dg.asset(group_name="faults", partitions_def=COLORS)
def slow_colored() -> None:
    wait_until_told()


@dg.asset(group_name="faults", partitions_def=GRID)
def slow_grid() -> None:
    wait_until_told()


class Broken(dg.ConfigurableResource):
    """A resource that cannot be set up."""

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        raise ConnectionError("warehouse is not there")


@dg.asset(group_name="faults")
def needs_resource(warehouse: Broken) -> None: ...


class Since(dg.Config):
    """From when on."""

    day: str = "2026-01-05"


@dg.op(
    config_schema={
        "password": dg.Field(str, default_value="open sesame", **SECRET),
        "host": dg.Field(
            {
                "name": dg.Field(str, default_value="db"),
                "token": dg.Field(str, default_value="sesame", **SECRET),
            }
        ),
        "only": dg.Field({"token": dg.Field(str, default_value="sesame", **SECRET)}),
    }
)
def connect(context: dg.OpExecutionContext) -> str:
    """Tell whether the secrets are those of the schema."""
    config = context.op_config
    secrets = [config["password"], config["host"]["token"], config["only"]["token"]]
    return str(secrets == ["open sesame", "sesame", "sesame"])


@dg.op
def fetch(context: dg.OpExecutionContext, config: Since, known: str) -> None:
    """Tell what is given."""
    context.log.info(f"secrets known: {known}, since {config.day}")


@dg.graph_asset(group_name="config")
def fetched() -> Any:
    return fetch(connect())


@dg.asset(group_name="sales", partitions_def=MANY)
def numbered() -> None: ...


@dg.multi_asset(specs=[dg.AssetSpec("left"), dg.AssetSpec("right")], group_name="sales")
def twins() -> tuple[None, None]:
    """Make both, or nothing."""
    return None, None


external = dg.AssetSpec(key=["lake", "events"], group_name="lake", kinds={"s3"})


@dg.asset_check(asset=orders)
def orders_are_there() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.asset(group_name="sales", description="The first one.")
def shared(context: dg.AssetExecutionContext) -> None:
    """The other code location has an asset of this key, too."""
    context.log.info("shared by pipelines")


@dg.asset(group_name="sales", partitions_def=COLORS)
def shared_colors() -> None: ...


@dg.observable_source_asset(description="Observed by pipelines.")
def feed() -> dg.DataVersion:
    return dg.DataVersion("1")


@dg.asset(group_name="checks")
def watched() -> None: ...


@dg.asset_check(asset=watched)
def has_rows() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=False, description="There are too few rows.", metadata={"rows": 3, "share": 0.5}
    )


@dg.asset_check(asset=watched)
def is_there() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.multi_asset(
    specs=[dg.AssetSpec("measured", group_name="checks")],
    check_specs=[dg.AssetCheckSpec("is_recent", asset="measured")],
)
def measure() -> Any:
    """Check by itself what it materializes."""
    yield dg.MaterializeResult("measured")
    yield dg.AssetCheckResult(
        asset_key="measured",
        check_name="is_recent",
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
    )


@dg.asset(group_name="checks")
def gated() -> None: ...


@dg.asset_check(asset=gated, blocking=True)
def gate() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, description="The gate is closed.")


@dg.asset(
    group_name="checks", deps=[gated], check_specs=[dg.AssetCheckSpec("last", asset="behind")]
)
def behind() -> Any:
    yield dg.MaterializeResult("behind")
    yield dg.AssetCheckResult(asset_key="behind", check_name="last", passed=True)


@dg.asset(
    group_name="checks",
    partitions_def=COLORS,
    check_specs=[dg.AssetCheckSpec("is_blue", asset="checked_colors")],
)
def checked_colors(context: dg.AssetExecutionContext) -> Any:
    yield dg.MaterializeResult("checked_colors")
    passed = context.partition_key == "blue"
    yield dg.AssetCheckResult(asset_key="checked_colors", check_name="is_blue", passed=passed)


class Greeting(dg.Config):
    """Whom to greet."""

    name: str
    times: int = 1


@dg.op
def greet(context: dg.OpExecutionContext, config: Greeting) -> None:
    if config.times < 0:
        raise ValueError("nobody is greeted less than never")
    for _ in range(config.times):
        context.log.info(f"hello {config.name}")


@dg.job(description="Greets somebody.", tags={"team": "people"})
def greeting() -> None:
    greet()


@dg.job(config={"ops": {"greet": {"config": {"name": "default"}}}})
def greeting_by_default() -> None:
    """Greets with the config it carries."""
    greet()


@dg.static_partitioned_config(partition_keys=["monday", "tuesday", "wednesday"])
def greeting_config(day: str) -> dict[str, Any]:
    """Name the day in the greeting."""
    return {"ops": {"greet": {"config": {"name": day}}}}


@dg.job(config=greeting_config)
def weekly_greeting() -> None:
    """Greets on some days; each partition has its own config."""
    greet()


@dg.static_partitioned_config(partition_keys=["2026-01-01", "2026-01-02", "2026-01-03"])
def morning_config(day: str) -> dict[str, Any]:
    """Name the day, which Dagster writes into YAML as a date without quotes."""
    return {"ops": {"greet": {"config": {"name": day}}}}


@dg.job(config=morning_config)
def morning_greeting() -> None:
    """Launched by one test only, so that it knows what is missing and what failed."""
    greet()


@dg.op
def wait() -> None:
    wait_until_told()


@dg.job(partitions_def=COLORS)
def slow_job() -> None:
    wait()


@dg.op
def first() -> int:
    return 1


@dg.op
def second(context: dg.OpExecutionContext, number: int) -> int:
    refuse_while_flagged()
    return number + 1


@dg.job(description="Two steps.")
def counting() -> None:
    second(first())


@dg.job(executor_def=dg.multi_or_in_process_executor)
def counting_apart() -> None:
    """Two steps, each in its own process unless its run config says otherwise."""
    second(first())


@dg.job
def tidy() -> None:
    """The other code location has a job of this name too."""
    first()


sales_job = dg.define_asset_job("sales_job", selection=dg.AssetSelection.assets(raw_orders, orders))
daily_job = dg.define_asset_job("daily_job", selection=[daily_sales], partitions_def=DAILY)
grid_job = dg.define_asset_job("grid_job", selection=[grid], partitions_def=GRID)
nightly = dg.ScheduleDefinition(
    name="nightly", job=sales_job, cron_schedule="0 2 * * *", execution_timezone="Europe/Berlin"
)


@dg.sensor(job=counting, minimum_interval_seconds=60, description="Waits for files.")
def files() -> dg.SkipReason:
    return dg.SkipReason("none")


defs = dg.Definitions(
    assets=[
        raw_orders,
        dashed,
        orders,
        daily_sales,
        colored,
        shaded,
        by_customer,
        grid,
        checkered,
        ranged,
        stored,
        weighed,
        drawn,
        numbered,
        twins,
        limited,
        open_to_any,
        dosed,
        inspected,
        fetched,
        failing,
        killed,
        slow,
        slow_colored,
        slow_grid,
        needs_resource,
        shared,
        shared_colors,
        feed,
        watched,
        measure,
        gated,
        behind,
        checked_colors,
        external,
    ],
    asset_checks=[orders_are_there, inspected_closely, has_rows, is_there, gate],
    jobs=[
        sales_job,
        daily_job,
        grid_job,
        greeting,
        greeting_by_default,
        weekly_greeting,
        morning_greeting,
        slow_job,
        counting,
        counting_apart,
        tidy,
    ],
    schedules=[nightly],
    sensors=[files],
    resources={"warehouse": Broken()},
    executor=dg.in_process_executor,
)
