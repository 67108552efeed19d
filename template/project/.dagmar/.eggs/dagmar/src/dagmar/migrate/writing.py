"""The converted cells as the text of a marimo notebook."""

from __future__ import annotations

import json
from collections.abc import Sequence

from dagmar.files import encodable
from dagmar.migrate.draft import Draft
from dagmar.scaffold.own_template import save_until_stable

MO = "import marimo as mo"


def notebook_text(drafts: Sequence[Draft], asset: str, job: str) -> str:
    """Return the notebook as marimo saves it, paired with an asset or a job if there is one.

    Raises SetupError for a marimo that dagmar is not tested with.
    """
    from dagmar.notebook.internals import notebook_of

    setup = [MO]
    if asset or job:
        paired = f"asset={_literal(asset)}" if asset else f"job={_literal(job)}"
        setup = ["import dagmar", MO, "", f"pair = dagmar.Pair({paired})"]
    cells = [(encodable(draft.code), draft.name, draft.hidden) for draft in drafts]
    return save_until_stable(notebook_of("\n".join(setup), cells))


def _literal(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted if text.isprintable() and '"' not in text else repr(text)
