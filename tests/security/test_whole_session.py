"""A whole session with a canary in every place that takes a secret, and a second user who looks.

`invoke dev` runs with Dagster and marimo; the tasks run against it, with every kind of login, and
fail in every way that prints much. Then everything that is left is searched for the canaries.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from dagmar.dev.ports import free_port
from dagmar.project.layout import NOTEBOOK_ANSWERS
from support.dev_process import Dev, make_dev_project, running_dev
from support.git import git
from support.git_server import private_repository
from support.http_server import Seen, closed_port, page, serve
from support.processes import die_with_tests
from support.project import Project
from websockets import Origin, Subprotocol
from websockets.sync.client import connect

IN_THE_SHELL = (
    "bearer", "basic", "header", "proxy_header", "username", "login", "plus_user", "wrong",
)  # fmt: skip
PLACES = (
    *IN_THE_SHELL, "plus_agent", "proxy", "command", "dotenv", "dotenv_dagmar", "env_file",
    "upload", "url", "upload_url", "config", "template", "template_query", "template_fragment",
)  # fmt: skip
DEFINITIONS = """\
import dagster as dg


class Login(dg.Config):
    password: str = ""


@dg.asset
def orders(config: Login) -> int:
    return len(config.password)


@dg.asset
def failing() -> None:
    import os

    raise RuntimeError(f"no connection as {os.environ['USER_OF_WAREHOUSE']}")


defs = dg.Definitions(assets=[orders, failing])
"""
NOTEBOOK = """\
import marimo

__generated_with = "0.25.2"
app = marimo.App()


@app.cell
def _():
    import dagmar

    pair = dagmar.Pair(asset="orders", target="command")
    return (pair,)


@app.cell
def _(pair):
    pair.card()
    return


@app.cell
def _(pair):
    orders = pair.load("orders")
    print("rows", orders)
    return


if __name__ == "__main__":
    app.run()
"""
FAILING = NOTEBOOK.replace('print("rows", orders)', 'raise RuntimeError("broken")')
PRINTER = """\
from pathlib import Path

above = Path(__file__).parent
arguments = Path("/proc/self/cmdline").read_text().replace("\\0", " ")
(above / "printed").open("a").write(arguments + "\\n")
print((above / "token").read_text())
"""
"""Prints the token, and notes its arguments: it is too quick to be found among the processes."""
GIT = """\
#!/bin/sh
{{ tr '\\0' ' ' < /proc/$PPID/cmdline; printf '\\0git'; printf ' %s' "$@"
  printf '\\0'; tr '\\0' '\\n' < /proc/$$/environ; }} > {notes}/new-$$
mv {notes}/new-$$ {notes}/$$
exec {git} "$@"
"""
"""A git that notes who calls it, with which arguments and variables, before it is git."""
TEMPLATE = {
    "copier.yml": "_subdirectory: project\nnotebooks: {type: yaml, default: []}\n",
    "project/{{ _copier_conf.answers_file }}.jinja": "{{ _copier_answers | to_nice_yaml }}",
}
"""As little of a template as can be updated."""
SETTINGS = """\
targets:
  bearer:
    url: {url}
    auth: {{type: bearer, token_env: SHELL_BEARER}}
    headers: {{X-Proxy: SHELL_PROXY_HEADER}}
  basic:
    url: {url}
    auth: {{type: basic, username: ann, password_env: SHELL_BASIC}}
  header:
    url: {url}
    auth: {{type: headers, headers: {{X-Key: SHELL_HEADER}}}}
  username:
    url: {url}
    auth: {{type: basic, username_env: SHELL_USERNAME, password_env: SHELL_LOGIN}}
  plus_user:
    url: {url}
    auth: {{type: dagster-plus, token_env: SHELL_PLUS_USER}}
  plus_agent:
    url: {url}
    auth: {{type: dagster-plus}}
  refused_plus:
    url: {refusing}
    auth: {{type: dagster-plus}}
  behind_proxy:
    url: https://dagster.invalid/prod
    auth: {{type: dagster-plus, token_env: SHELL_PLUS_USER}}
  command:
    url: {url}
    auth: {{type: bearer, token_command: [{python}, {printer}]}}
  dotenv:
    url: {url}
    auth: {{type: bearer, token_env: DAGMAR_SECRET_TOKEN}}
  wrong:
    url: {refusing}
    auth: {{type: bearer, token_env: SHELL_WRONG}}
  wrong_command:
    url: {refusing}
    auth: {{type: bearer, token_command: [{python}, {printer}]}}
  down:
    url: {closed}
    auth: {{type: bearer, token_env: SHELL_BEARER}}
"""


@dataclass
class Session:
    """What a session has shown: outputs by command, and what processes had in argv and environ."""

    root: Path
    dev: Dev
    canaries: dict[str, str]
    outputs: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, tuple[int, int]] = field(default_factory=dict)
    arguments: set[str] = field(default_factory=set)
    environments: dict[str, set[str]] = field(default_factory=dict)
    proxied: list[Seen] = field(default_factory=list)
    ready: dict[str, Any] = field(default_factory=dict)

    def found(self, text: str) -> set[str]:
        """The places whose canary is in a text, as it is or as HTTP sends it in a login."""
        return {
            place
            for place, canary in self.canaries.items()
            if canary in text or self.login(place) in text
        }

    def login(self, place: str) -> str:
        """The login with the canary of a place as its password, encoded."""
        user = self.canaries["username"] if place == "login" else "ann"
        return base64.b64encode(f"{user}:{self.canaries[place]}".encode()).decode()

    def calls_of_git(self) -> list[tuple[str, str, str]]:
        """The caller, the arguments and the variables of each call of git so far."""
        notes = [file.read_text() for file in (self.root.parent / "git").glob("[0-9]*")]
        return [(who, what, variables) for who, what, variables in (n.split("\0") for n in notes)]

    def watch(self, over: threading.Event) -> None:
        """Note the arguments and variables of all processes of this session, again and again."""
        own = psutil.Process()
        while not over.wait(0.1):
            for process in (*own.children(recursive=True), *self._servers()):
                with contextlib.suppress(psutil.Error, OSError):
                    command = " ".join(process.cmdline())
                    self.arguments.add(command)
                    variables = " ".join(f"{k}={v}" for k, v in process.environ().items())
                    for place in self.found(variables):
                        self.environments.setdefault(place, set()).add(command)

    def _servers(self) -> Iterator[psutil.Process]:
        for line in self.dev.processes():
            with contextlib.suppress(psutil.Error):
                yield psutil.Process(int(line.split()[0]))


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    # Not in pytest's folder, which hides everything from other users by itself.
    above = Path(tempfile.mkdtemp(prefix="dagmar-session-"))
    above.chmod(0o755)
    canaries = {place: f"c4n4ry{secrets.token_hex(12)}" for place in PLACES}
    root = _project(above, canaries)
    holder, closed = closed_port()
    notes = above / "git"
    notes.mkdir()
    (above / "bin").mkdir()
    (above / "bin/git").write_text(GIT.format(notes=notes, git=shutil.which("git")))
    (above / "bin/git").chmod(0o755)
    shell = {
        **{f"SHELL_{place.upper()}": canaries[place] for place in IN_THE_SHELL},
        "PATH": f"{above / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "DAGSTER_CLOUD_API_TOKEN": canaries["plus_agent"],
        "NO_PROXY": "127.0.0.1,localhost",
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": canaries["upload"],
        "AWS_ENDPOINT_URL": closed,
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_MAX_ATTEMPTS": "1",  # nobody answers there, later neither
    }
    port = free_port()
    flags = ("--env-file", str(above / "more.env"), "--log-level", "info")
    try:
        secret = canaries["template"], canaries["template_query"]
        template = private_repository(_template(above), "ann", *secret)
        with (
            holder,
            serve(page(401)) as refusing,
            serve(page(407)) as proxy,
            serve(template) as templates,
        ):
            address = proxy.url.replace("//", f"//ann:{canaries['proxy']}@")
            shell |= {"HTTP_PROXY": address, "HTTPS_PROXY": address}
            text = SETTINGS.format(
                url=f"http://127.0.0.1:{port}",
                python=sys.executable,
                printer=above / "printer.py",
                refusing=refusing.url,
                closed=closed,
            )
            (root / "dagmar.yaml").write_text(text)
            with running_dev(root, *flags, "--dagster-port", str(port), environ=shell) as dev:
                dev.temporary.chmod(0o755)
                ready = dev.until("ready")
                session = Session(root, dev, canaries, proxied=proxy.seen, ready=ready)
                over = threading.Event()
                watcher = threading.Thread(target=session.watch, args=(over,))
                watcher.start()
                try:
                    _update(session, shell, templates.url, closed)
                    _work(session, shell)
                finally:
                    over.set()
                    watcher.join()
                session.outputs["invoke dev"] = dev.said
                yield session
    finally:
        shutil.rmtree(above, ignore_errors=True)


def _project(above: Path, canaries: dict[str, str]) -> Path:
    root = make_dev_project(above / "shop")
    (root / "src/shop/definitions.py").write_text(DEFINITIONS)
    (root / "notebooks/orders.py").write_text(NOTEBOOK)
    (root / "notebooks/broken.py").write_text(FAILING)
    (root / ".gitignore").write_text(".env\n__pycache__/\n")
    dotenv = f"WAREHOUSE_PASSWORD={canaries['dotenv']}\nUSER_OF_WAREHOUSE=ann\n"
    (root / ".env").write_text(f"{dotenv}DAGMAR_SECRET_TOKEN={canaries['dotenv_dagmar']}\n")
    (root / ".env").chmod(0o600)
    for name, text in (
        ("token", canaries["command"]),
        ("config.yaml", f"ops: {{orders: {{config: {{password: {canaries['config']}}}}}}}\n"),
        ("more.env", f"MORE_PASSWORD={canaries['env_file']}\n"),
    ):
        (above / name).write_text(text)
        (above / name).chmod(0o600)
    (above / "printer.py").write_text(PRINTER)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "chore: begin")
    # As git creates it in a clone: open to all.
    (root / ".dagmar/dagster_home").mkdir(parents=True)
    return root


def _template(above: Path) -> Path:
    """Make a repository of a template with two versions."""
    source, bare = above / "template", above / "template.git"
    (source / "project").mkdir(parents=True)
    for name, text in TEMPLATE.items():
        (source / name).write_text(text)
    git(source, "init", "-q", "-b", "main")
    for tag in ("v1.0.0", "v2.0.0"):
        (source / "project/README.md").write_text(f"# Shop {tag}\n")
        git(source, "add", "-A")
        git(source, "commit", "-q", "-m", tag)
        git(source, "tag", tag)
    git(above, "clone", "-q", "--mirror", str(source), str(bare))
    return bare


def _update(session: Session, shell: dict[str, str], url: str, closed: str) -> None:
    """Update with an address that has secrets, typed and in the answers, also in vain."""
    root, canaries = session.root, session.canaries
    answers = root / ".copier-answers.yml"
    answers.write_text(f"_commit: v1.0.0\n_src_path: {url}/dagmar.git\nnotebooks: []\n")
    (root / "README.md").write_text("# Shop v1.0.0\n")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "chore: a template")

    def private(url: str) -> str:
        login = url.replace("//", f"//ann:{canaries['template']}@")
        return f"{login}/dagmar.git?private_token={canaries['template_query']}"

    def invoke(status: int, *words: str) -> str:
        done = Project(root).invoke(*words, environ=shell, timeout=600)
        name = f"{len(session.outputs)} invoke {words[0]}"
        session.outputs[name] = done.stdout + done.stderr
        session.statuses[name] = (done.returncode, status)
        return session.outputs[name]

    lost = f"{private(closed)}#{canaries['template_fragment']}"
    invoke(3, "update", "--check", "--from", lost)
    said = invoke(0, "update", "--json", "--from", private(url))
    assert (root / "README.md").read_text() == "# Shop v2.0.0\n", said
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "chore: update")
    kept = answers.read_text()
    assert f"_src_path: {url}/dagmar.git\n" in kept
    for place, status in ((private(url), 0), (lost, 3)):  # as Copier alone writes it
        answers.write_text(kept.replace(f"{url}/dagmar.git", json.dumps(place)))
        invoke(status, "update", "--check", "--json")
        checks = ("--only", "answers", "--only", "template")
        said = invoke(0, "doctor", "--json", *checks)
        assert "_src_path has a login" in said, said
    answers.write_text(kept)


def _work(session: Session, shell: dict[str, str]) -> None:
    """Use everything that a secret takes part in, and let it fail."""
    root, canaries = session.root, session.canaries
    project = Project(root)
    notebook, broken = "notebooks/orders.py", "notebooks/broken.py"
    uploads = str(root.parent / "uploads")
    config = str(root.parent / "config.yaml")
    bad_url = f"http://ann:{canaries['url']}@127.0.0.1:1"
    bad_bucket = f"s3://ann:{canaries['upload_url']}@bucket/reports"
    calls: list[tuple[int, tuple[str, ...]]] = [
        (0, ("discover", "--json", "--target", "bearer")),
        (0, ("run", "--asset", "orders", "--config", config, "--target", "command")),
        (4, ("run", "--asset", "failing", "--target", "header")),
        (0, ("scaffold", "--asset", "failing", "--target", "basic")),
        (0, ("export", "--notebook", notebook, "--attach", "orders", "--target", "header",
             "--format", "html", "--format", "ipynb", "--format", "md", "--upload", uploads)),
        (4, ("export", "--notebook", broken, "--target", "dotenv")),
        (5, ("export", "--notebook", notebook, "--upload", "s3://bucket/reports")),
        (0, ("stats", "--json", "--target", "dotenv")),
        (6, ("discover", "--target", "wrong")),
        (6, ("discover", "--target", "wrong_command")),
        (5, ("discover", "--target", "down")),
        (0, ("discover", "--json", "--target", "username")),
        (0, ("run", "--asset", "orders", "--target", "plus_user")),
        (0, ("stats", "--json", "--target", "plus_agent")),
        (6, ("discover", "--target", "refused_plus")),
        (5, ("discover", "--target", "behind_proxy")),
        (2, ("discover", "--url", bad_url)),
        (2, ("export", "--notebook", notebook, "--upload", bad_bucket)),
    ]  # fmt: skip
    for status, words in calls:
        done = project.invoke(*words, environ=shell, timeout=600)
        name = f"{len(session.outputs)} invoke {' '.join(words[:3])}"
        session.outputs[name] = done.stdout + done.stderr
        session.statuses[name] = (done.returncode, status)
    for words, known in (("doctor", "same-instance"), ("check", "Checked "), ("update", "error")):
        environ = {**shell, "DAGMAR_TARGET": "bearer"}
        done = project.invoke(words, environ=environ, timeout=600)
        session.outputs[f"invoke {words}"] = talk = done.stdout + done.stderr
        assert known in talk, talk
    done = subprocess.run(
        [sys.executable, notebook],
        cwd=root,
        env={**os.environ, **shell},
        capture_output=True,
        text=True,
        preexec_fn=die_with_tests,
    )
    session.outputs["python notebook.py"] = done.stdout + done.stderr
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "chore: what was made")


# The canaries


def test_the_session_did_what_it_should(session: Session) -> None:
    """Otherwise the searches below would find nothing because nothing was there."""
    wrong = {
        name: session.outputs[name]
        for name, (status, wanted) in session.statuses.items()
        if status != wanted
    }
    assert wrong == {}
    assert "rows" in session.outputs["python notebook.py"]


def test_nothing_that_was_printed_has_a_secret(session: Session) -> None:
    assert len(session.outputs) == 29
    found = {name: session.found(text) for name, text in session.outputs.items()}
    assert {name: places for name, places in found.items() if places} == {}


def test_no_argument_of_a_process_has_a_secret(session: Session) -> None:
    """All users of a machine can read arguments; what a user types is not dagmar's to hide."""
    assert any("marimo" in command for command in session.arguments)
    printed = (session.root.parent / "printed").read_text().splitlines()
    assert len(printed) > 3
    found = {command: session.found(command) for command in (*session.arguments, *printed)}
    typed = {"url", "upload_url", "template", "template_query", "template_fragment"}
    assert {command: places for command, places in found.items() if places - typed} == {}


def test_only_git_gets_the_secrets_in_the_address_of_the_template(session: Session) -> None:
    address = {"template", "template_query", "template_fragment"}
    given = [command for command in session.arguments if session.found(command) & address]
    for command in given:
        program = "git" in Path(command.split()[0]).name or "/bin/git " in command
        assert program or "-m invoke update" in command, command
    calls = [(what.split()[1], session.found(what)) for _, what, _ in session.calls_of_git()]
    with_secrets = {subcommand for subcommand, places in calls if places}
    assert with_secrets == {"clone", "fetch"}, "git gets the address as it is"
    assert set().union(*(places for _, places in calls)) == address


def test_a_variable_reaches_the_processes_that_it_is_for(session: Session) -> None:
    """The shell's are inherited, `.env` and `--env-file` are for the servers and what they start.

    A printed token is in no environment.
    """
    assert set(session.environments) >= {"bearer", "dotenv", "env_file"}
    assert session.environments.keys() & {"command", "config", "url", "upload_url"} == set()
    for place in ("dotenv", "dotenv_dagmar", "env_file"):
        for command in session.environments[place]:
            assert "dagmar.dev.guard" not in command, command
            assert "-m invoke" not in command, command
    calls = session.calls_of_git()
    for who, what, variables in calls:
        found = session.found(variables)
        assert not found & {"dotenv", "dotenv_dagmar", "env_file", "command"}, (who, what)
    inherited = {what.split()[1] for _, what, text in calls if "bearer" in session.found(text)}
    assert inherited >= {"clone", "fetch", "tag"}, "git was called, with the shell's variables"


def test_a_proxy_gets_its_password_and_no_token(session: Session) -> None:
    assert {(seen.method, seen.path) for seen in session.proxied} == {
        ("CONNECT", "dagster.invalid:443")
    }
    for seen in session.proxied:
        assert seen.headers["Proxy-Authorization"] == f"Basic {session.login('proxy')}"
        assert session.found(f"{seen.path} {seen.headers} {seen.body!r}") == {"proxy"}


def test_no_file_of_the_project_has_a_secret(session: Session) -> None:
    """Except `.env` itself, and the instance: Dagster records the config of a run."""
    found = _in_files(session, session.root) | _in_files(session, session.dev.temporary)
    found |= _in_files(session, session.root.parent / "uploads")
    assert found.pop(".env") == {"dotenv", "dotenv_dagmar"}
    recorded = {file: places for file, places in found.items() if "dagster_home/" in file}
    assert set().union(*recorded.values()) <= {"config"}
    assert recorded, "Dagster records the config, so the search finds what there is"
    assert {file: places for file, places in found.items() if file not in recorded} == {}


def _in_files(session: Session, folder: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            text = file.read_bytes().decode("latin-1")
            if places := session.found(text):
                found[file.relative_to(folder).as_posix()] = places
    return found


def test_no_object_of_git_has_a_secret(session: Session) -> None:
    objects = subprocess.run(
        ["git", "cat-file", "--batch-all-objects", "--batch"],
        cwd=session.root,
        capture_output=True,
        check=True,
    ).stdout.decode("latin-1")
    assert "def orders" in objects
    assert session.found(objects) == set()


def test_git_was_given_nothing_of_the_state(session: Session) -> None:
    """Although this project has no .gitignore for it."""
    assert not (session.root / ".dagmar/.gitignore").exists()
    tracked = git(session.root, "ls-files", "--", ".dagmar").split()
    assert tracked == [".dagmar/dagster_home/dagster.yaml", f"{NOTEBOOK_ANSWERS}/failing.yml"]


def test_no_page_of_a_server_has_a_secret(session: Session) -> None:
    base = session.ready["reports_url"]
    pages = [
        f"{base}/{file.relative_to(session.root / '.dagmar/exports').as_posix()}"
        for file in (session.root / ".dagmar/exports").rglob("*")
        if file.suffix in (".html", ".json", ".ipynb", ".md")
    ]
    assert len(pages) >= 5
    for address in pages:
        answer = requests.get(address, timeout=60)
        assert (answer.status_code, bool(answer.text)) == (200, True), address
        assert session.found(answer.text) == set(), address


# A second user of this machine


def _as_another_user(*command: str) -> str:
    """Return what a command prints for a user who owns nothing here."""
    options: dict[str, Any] = {}
    words = [*command]
    if os.geteuid() == 0:
        options = {"user": 65534, "group": 65534, "extra_groups": []}
    elif shutil.which("sudo") and not subprocess.run(["sudo", "-n", "true"]).returncode:
        words = ["sudo", "-n", "-u", "nobody", *words]
    else:
        pytest.skip("only root, or sudo without a password, can become another user")
    done = subprocess.run(words, capture_output=True, text=True, cwd="/", **options)
    return done.stdout


def test_another_user_reads_nothing_of_the_state(session: Session) -> None:
    places = [str(place) for place in (session.root, session.dev.temporary)]
    readable = _as_another_user("find", *places, "-readable", "-not", "-type", "d").splitlines()
    names = {Path(line) for line in readable}
    assert session.root / "dagmar.yaml" in names, "the other user does look into the project"
    state = {
        path
        for path in names
        if path.is_relative_to(session.root / ".dagmar") or path.name == ".env"
        or (path.is_relative_to(session.dev.temporary) and "dagmar-" in str(path))
    }  # fmt: skip
    state.discard(session.root / NOTEBOOK_ANSWERS / "failing.yml")  # which git has, as the notebook
    assert {str(path.relative_to(session.root.parent)) for path in state} == set()
    every = {path.name for path in (session.root / ".dagmar").iterdir()}
    assert every >= {"dagster_home", "exports", "logs", "cache", "tmp"}


def test_another_user_finds_no_socket_and_no_token(session: Session) -> None:
    sockets = [path for path in session.dev.temporary.rglob("*") if path.is_socket()]
    assert sockets
    found = _as_another_user("find", str(session.dev.temporary), "-type", "s", "-writable")
    assert found == ""
    tokens = [*session.dev.temporary.glob("dagmar-*/token")]
    assert len(tokens) == 1
    assert _as_another_user("cat", str(tokens[0])) == ""


def test_every_port_is_on_loopback(session: Session) -> None:
    addresses = {
        connection.laddr.ip
        for process in session._servers()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}


# A page in the browser of this user

EVIL = {"Host": "evil.example", "Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}


@pytest.mark.parametrize(
    "send",
    [
        lambda url: requests.get(url, timeout=60, allow_redirects=False),
        lambda url: requests.get(url, headers=EVIL, timeout=60, allow_redirects=False),
        lambda url: requests.post(f"{url}/api/kernel/run", json={}, headers=EVIL, timeout=60),
    ],
    ids=["no token", "another origin", "run a cell"],
)
def test_the_editor_shows_and_runs_nothing_without_its_token(
    send: Callable[[str], requests.Response], session: Session
) -> None:
    answer = send(session.ready["marimo_url"])
    login = answer.status_code in (302, 303, 307) and "/auth/login" in answer.headers["Location"]
    assert login or answer.status_code in (401, 403, 404), answer.status_code


def test_the_editor_streams_nothing_without_its_token(session: Session) -> None:
    answer = requests.get(f"{session.ready['marimo_url']}/sse", timeout=60)
    assert "UNAUTHORIZED" in answer.text.upper()
    assert "cell" not in answer.text


def test_reports_are_for_this_machines_names_only(session: Session) -> None:
    url = session.ready["reports_url"]
    assert requests.get(url, headers={"Host": "evil.example"}, timeout=60).status_code == 403
    assert (
        "Access-Control-Allow-Origin"
        not in requests.get(url, headers=EVIL | {"Host": url[7:]}, timeout=60).headers
    )


def test_dagsters_own_server_has_no_login_and_this_is_documented(session: Session) -> None:
    """Dagster does what a page of any origin says; once it does not, change the threat model."""
    url = f"{session.ready['dagster_url']}/graphql"
    asked = {"query": "mutation { setNuxSeen }"}
    for send in (requests.get, requests.post):  # a form, or a picture, needs no preflight
        answer = send(url, params=asked, headers=EVIL, timeout=60)
        assert answer.json() == {"data": {"setNuxSeen": True}}
        assert "Access-Control-Allow-Origin" not in answer.headers
    address = url.replace("http", "ws", 1)
    origin, protocol = Origin(EVIL["Origin"]), Subprotocol("graphql-ws")
    with connect(address, origin=origin, subprotocols=[protocol]) as socket:
        socket.send('{"type": "connection_init"}')
        assert "connection_ack" in socket.recv(timeout=60)
    page = (Path(__file__).parents[2] / "docs/explanation/security.md").read_text("utf-8")
    assert "Dagster's webserver has no login" in page
