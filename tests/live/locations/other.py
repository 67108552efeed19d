"""A second code location, so that a selection can cross locations."""

import dagster as dg


@dg.asset(group_name="marketing", deps=[dg.AssetKey("orders")], tags={"tier": "silver"})
def campaigns() -> None: ...


defs = dg.Definitions(assets=[campaigns], executor=dg.in_process_executor)
