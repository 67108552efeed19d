"""The marimo editor: what it opens, its token, and the private page that logs a browser in."""

from __future__ import annotations

import html
import json
import secrets
import shlex
from pathlib import Path
from urllib.parse import quote, urlencode

from dagmar.dev.ports import HOST
from dagmar.errors import Invalid, UsageError
from dagmar.files import write_atomically
from dagmar.project.installing import installed_version, run_command
from dagmar.project.survey import survey
from dagmar.project.versions import minor

BEFORE_PAIR = "0.24"  # its `marimo pair` cannot list notebooks
PAGE = """\
<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<title>marimo</title>
<noscript><meta http-equiv="refresh" content="0; url={address}"></noscript>
<p><a href="{address}" rel="noreferrer">marimo</a></p>
<script>location.replace({script})</script>
"""


class Editor:
    """The marimo editor of a project: the folder of the notebooks, or one notebook.

    The token is in two private files only: not in argv, not in the environment.
    """

    def __init__(self, folder: Path, notebook: str, scratch: Path, page: Path) -> None:
        """Decide what to open, and write the file that marimo reads its token from.

        Raises UsageError for a notebook that does not exist, Invalid, OSError.
        """
        self.token_file = scratch / "token"
        self.page = page
        self.token = secrets.token_urlsafe(32)
        self.target, self._file = folder, ""
        if notebook:
            file = Path(notebook)
            if not file.is_file():
                raise UsageError(f"there is no {notebook}", "Give --notebook a notebook's file.")
            if file.suffix not in (".py", ".md"):
                raise Invalid(
                    f"{notebook} is not a marimo notebook", "Convert it:", command="marimo convert"
                )
            file, folder = file.resolve(), folder.resolve()
            if folder in file.parents:
                self._file = file.relative_to(folder).as_posix()
            else:
                self.target = file
        write_atomically(self.token_file, self.token, 0o600)

    def write_page(self, port: int) -> None:
        """Write the page that sends a browser to the editor, token included. Raises OSError."""
        query = {"access_token": self.token, **({"file": self._file} if self._file else {})}
        address = f"http://{HOST}:{port}/?{urlencode(query, quote_via=quote)}"
        script = json.dumps(address).replace("<", "\\u003c")
        text = PAGE.format(address=html.escape(address), script=script)
        write_atomically(self.page, text, 0o600)

    def pair_command(self, root: Path, url: str) -> str:
        """Return the command that lists the open notebooks for an agent; empty before marimo 0.25.

        It names the file of the token; the other commands of `marimo pair` take the same flags.
        """
        if minor(installed_version("marimo") or "") == BEFORE_PAIR:
            return ""
        flags = shlex.join(["--url", url, "--token-file", str(self.token_file)])
        return run_command(f"marimo pair notebook list {flags}", survey(root))

    def without_token(self, line: str) -> str:
        """Return what marimo printed, without the token."""
        return line.replace(self.token, "…")
