"""Jobs, and when they run. Schedules are off until they are switched on in the Dagster UI."""

import dagster as dg

refresh_flights = dg.define_asset_job(
    name="refresh_flights",
    selection=["raw/flights", "clean/flights"],
    description="Read the source again and clean it.",
)

delays_by_day = dg.define_asset_job(
    name="delays_by_day",
    selection=["daily_delays"],
    description="The numbers of one day or of several.",
)

on_time = dg.define_asset_job(
    name="on_time",
    selection=["on_time_rate", "on_time_report"],
    description="Rates and report. `threshold_minutes` of on_time_report says what is late.",
)

every_morning = dg.ScheduleDefinition(
    name="every_morning",
    job=refresh_flights,
    cron_schedule="0 6 * * *",
    execution_timezone="America/New_York",
)
