"""The user's own exception, out of what Dagster wraps around it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_DAGSTER_FRAME = re.compile(
    r'File ".*(-packages|\.whl)[/\\](dagster|dagster_shared|dagster_graphql)[/\\]|File "<frozen '
)


def users_exception(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return `{"class", "message", "traceback"}` of a GraphQL `PythonError`.

    Dagster wraps what user code raises; the first link of its chain is what was raised,
    the further ones are what that was raised from. Dagster's own frames above the user's
    are left out.
    """
    chain = [link["error"] for link in error.get("errorChain") or []] or [error]
    raised = chain[0]
    traces = [_traceback(link) for link in reversed(chain)]
    kind = raised.get("className") or "Error"
    return {
        "class": kind,
        "message": re.sub(rf"^([\w.]+\.)?{re.escape(kind)}: ", "", raised["message"].strip()),
        "traceback": "\nwhich led to:\n\n".join(traces),
    }


def _traceback(error: Mapping[str, Any]) -> str:
    frames = list(error["stack"])
    theirs = [i for i, frame in enumerate(frames) if not _DAGSTER_FRAME.search(frame)]
    shown = frames[theirs[0] :] if theirs else frames
    return "".join([*shown, error["message"].strip(), "\n"])
