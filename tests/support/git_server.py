"""A repository behind a login, as git's simplest protocol reads it: a server of its files."""

from __future__ import annotations

import base64
from pathlib import Path

from support.git import git
from support.http_server import Answer, Handler


def private_repository(bare: Path, user: str, password: str, token: str) -> Answer:
    """Answer a git whose address has the login, and `?private_token=` with the token.

    git writes the name of a file behind the address, so also behind its query.
    """
    git(bare, "update-server-info")
    login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def answer(handler: Handler) -> None:
        query, _, name = handler.path.partition("?")[2].partition("/")
        file = bare / name.partition("&")[0]
        if query != f"private_token={token}":
            handler.reply(403, b"")
        elif handler.headers.get("Authorization") != login:
            handler.reply(401, b"", WWW_Authenticate='Basic realm="templates"')
        elif file.is_file():
            handler.reply(200, file.read_bytes())
        else:
            handler.reply(404, b"")

    return answer
