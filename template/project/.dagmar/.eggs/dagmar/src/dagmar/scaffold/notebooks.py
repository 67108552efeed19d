"""`invoke scaffold`: notebooks that already know their asset or job."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dagmar import console
from dagmar.asset_key import AssetKey
from dagmar.errors import (
    Conflict,
    DagmarError,
    Invalid,
    SettingsError,
    UsageError,
    all_of,
    did_you_mean,
)
from dagmar.files import expanded, write_all
from dagmar.notebook.cells import Source, parse_source
from dagmar.notebook.pairing import Pairings, read_pairings
from dagmar.project import templates
from dagmar.project.layout import NOTEBOOK_ANSWERS, relative
from dagmar.project.settings import Settings
from dagmar.project.worktree import read_worktree
from dagmar.scaffold.folder import files_for
from dagmar.scaffold.naming import Names
from dagmar.scaffold.own_template import as_saved
from dagmar.scaffold.rendering import OWN, SELECTION, SHAPE, TEMPLATES, Renderer
from dagmar.server.catalog import Catalog, Inputs, Item
from dagmar.server.names import Kind, Named, choose, distinct_names, names_of, similar_names

UNKNOWN = f"{templates.ANSWERS} does not say which version of the template they are from"
PAIRED = ("asset", "job", "select")
OPTIONS = {"width": ("columns", "compact", "full", "medium")}


@dataclass(frozen=True)
class ScaffoldRequest:
    """What `invoke scaffold` was asked for, checked as far as Dagster is not needed.

    A value that is empty was not given. Raises UsageError and Invalid.
    """

    assets: Sequence[str] = ()
    jobs: Sequence[str] = ()
    select: str = ""
    run: str = ""
    one: bool = False
    template: str = "default"
    name: str = ""
    title: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    force: bool = False
    dry_run: bool = False
    git_commit: bool = False

    def __post_init__(self) -> None:
        """Check the flags."""
        for problem in self._problems():
            raise UsageError(*problem)

    def _problems(self) -> Iterator[tuple[str, str]]:
        """Yield a message and a hint."""
        example = "For example: --asset raw/orders"
        named = len(self.assets) + len(self.jobs)
        if self.run and (self.select or self.jobs or named > 1 or self.force):
            yield "--run fits with one --asset, and without --force", "Use --run RUN_ID alone."
        if not self.run and bool(named) == bool(self.select):
            yield "scaffold needs one or more --asset or --job, a --select, or a --run", example
        if not all((*self.assets, *self.jobs)):
            yield "a name is empty", example
        if self.one and not self.select:
            yield "--one is for a --select", "For example: --select group:sales --one"
        if self.one and self.template != "default" and not self.own_template:
            message = f"the template '{self.template}' is for one asset or one job"
            yield message, "Leave --template out, or give the path of a folder of your own."
        for flag, value in (("--name", self.name), ("--title", self.title)):
            if value and named != 1 and not (self.one or self.run):
                yield f"{flag} is for one notebook", "Use it with one --asset or --job, or --one."
        if self.name:
            Names().check(self.name)
        own = self.own_template
        for key, value in self.options.items():
            if own is None and key not in OPTIONS:
                message = f"there is no option '{key}'{did_you_mean(key, OPTIONS)}"
                yield message, f"The options of this template: {', '.join(OPTIONS)}."
            if key in OPTIONS and value not in OPTIONS[key]:
                choices = ", ".join(OPTIONS[key])
                yield f"--set {key}={value}: there is no such {key}", f"One of {choices}."
        if self.git_commit and self.dry_run:
            yield "--dry-run creates nothing to commit", "Omit --git-commit."

    @property
    def own_template(self) -> Path | None:
        """The folder of the user's own template, or None for one of TEMPLATES."""
        if self.template in TEMPLATES:
            return None
        try:
            folder = expanded(self.template)
        except RuntimeError:  # no user of that name
            folder = Path(self.template)
        if os.path.isfile(folder / SHAPE):  # False for a name that is too long, too
            return folder
        if os.path.isdir(folder):
            message = f"the template folder {self.template} has no {SHAPE}"
            raise Invalid(message, "That file lists the cells of a notebook.")
        message = f"there is no template '{self.template}'{did_you_mean(self.template, TEMPLATES)}"
        hint = f"The templates: {', '.join(TEMPLATES)}, or the path of a folder with a {SHAPE}."
        raise UsageError(message, hint)


@dataclass
class Notebook:
    """One requested notebook: its answers, its files and what was done with them."""

    answers: Item
    file: Path
    answers_file: Path | None
    template: str
    status: str = "created"
    error: DagmarError | None = None
    extra: list[Path] = field(default_factory=list)

    @property
    def pair(self) -> str:
        """What the notebook is paired with, in words."""
        kind = next(kind for kind in PAIRED if kind in self.answers)
        return f"{'selection' if kind == 'select' else kind} {self.answers[kind]}"

    @property
    def files(self) -> list[Path]:
        """The notebook, and its answers file if it has one."""
        return [self.file, self.answers_file] if self.answers_file else [self.file]

    def as_document(self, root: Path) -> Item:
        """Return the JSON document."""
        return {
            "path": relative(self.file, root),
            "asset": self.answers.get("asset"),
            "job": self.answers.get("job"),
            "select": self.answers.get("select"),
            "template": self.template or None,
            "answers_file": self.answers_file and relative(self.answers_file, root),
            "status": self.status,
            **({"error": self.error.message} if self.error else {}),
        }


@dataclass(frozen=True)
class Scaffolded:
    """The notebooks of one `invoke scaffold`, written unless it was a dry run or they failed."""

    root: Path
    notebooks: list[Notebook]
    dry_run: bool = False

    def as_document(self) -> Item:
        """Return the JSON document."""
        return {"notebooks": [notebook.as_document(self.root) for notebook in self.notebooks]}

    def show(self) -> None:
        """Print the files as a tree, with what each notebook is paired with."""
        rows: dict[str, list[str]] = {}
        for notebook in self.notebooks:
            if notebook.error:
                continue
            kept = notebook.status == "kept"
            notes = [notebook.pair, notebook.template]
            if kept:
                notes.append(
                    "exists and is kept: --name creates a second one, --force overwrites it"
                )
            if notebook.status == "overwritten":
                notes.append("overwritten")
            about = f"  ({', '.join(filter(None, notes))})"
            for file in notebook.files[: 1 if kept else 2]:
                folder, _, name = relative(file, self.root).rpartition("/")
                rows.setdefault(folder, []).append(name + about)
                about = ""
        for folder, names in rows.items():
            console.out(f"{folder}/")
            for name in names[:-1]:
                console.out(f"├── {name}")
            console.out(f"└── {names[-1]}")
        if self.dry_run:
            console.say("Nothing was written: --dry-run.")

    def raise_for_status(self) -> None:
        """Print what stopped some of several notebooks, and raise."""
        errors = {book.pair: book.error for book in self.notebooks if book.error}
        if not errors:
            return
        for pair, error in errors.items():
            console.complain(type(error)(f"{pair}: {error.message}", error.hint, error.command))
        raise all_of(list(errors.values()), len(self.notebooks))


def scaffold(settings: Settings, catalog: Catalog, request: ScaffoldRequest) -> Scaffolded:
    """Create the requested notebooks, and return each with its status.

    An existing notebook is kept if it is paired with the same asset or job. What stops one of them
    (a file in the way, inputs that can never be loaded, output of the user's own template that is
    not a notebook) is its error, and the others are created; the error of the only one is raised.
    Raises UsageError and Invalid (an unknown asset or job, a template that does not render).
    """
    root = settings.root.resolve()
    folder = settings.notebooks.resolve()
    if root not in folder.parents:
        message = f"the notebooks' folder {settings.notebooks} is not inside the project"
        raise SettingsError(message, "Correct `notebooks` in dagmar.yaml.")
    facts = read_facts(catalog, request)
    source = _source(root)
    modules = [place for place in (root, root / "src") if place != folder]
    names = Names(modules)
    notebooks = [_notebook(root, folder, names, request, fact) for fact in facts]
    _set_status(settings, notebooks, request.force)
    new = [each for each in notebooks if each.status != "kept" and not each.error]
    if not source:
        for notebook in new:
            notebook.answers_file = None
    if new:
        _render(root, source, request, new, catalog.url)
    new = [notebook for notebook in new if not notebook.error]
    if len(notebooks) == 1 and notebooks[0].error:
        raise notebooks[0].error
    if request.git_commit and new:
        _commit(root, new)
    return Scaffolded(root, notebooks, request.dry_run)


def read_facts(catalog: Catalog, request: ScaffoldRequest) -> list[Item]:
    """Return the answers that come from Dagster, one mapping for each asset and job."""
    chosen = [
        find("asset", name, catalog.assets, catalog) for name in map(AssetKey, request.assets)
    ]
    names = [*map(AssetKey, request.assets)]
    if request.select:
        from dagmar.orchestration.selection import select

        chosen = select(request.select, catalog.assets)
        names = [*map(AssetKey, distinct_names(chosen, catalog.assets))]
        if not chosen:
            message = "--select matches no asset"
            raise Invalid(message, "Try it with:", command="invoke discover --select …")
    if request.one:
        return [{"select": request.select}]
    for job in request.jobs:
        find("job", job, catalog.jobs, catalog)
    known = catalog.inputs(chosen) if chosen else {}
    shared = _shared(catalog)
    return [
        {
            "asset": str(name),
            "upstream": known.get(names_of(asset)[-1])
            or Inputs(values=tuple(asset["dependencies"])),
            "materializable": bool(asset["materializable"]),
            "near": shared.get(asset["location"], {}),
        }
        for name, asset in dict(zip(names, chosen, strict=True)).items()
    ] + [{"job": job} for job in dict.fromkeys(request.jobs)]


def _shared(catalog: Catalog) -> dict[str, dict[str, str]]:
    """Return by code location how to name its own assets whose keys others have, too."""
    shared: dict[str, dict[str, str]] = {}
    names = distinct_names(catalog.assets, catalog.assets)
    for asset, name in zip(catalog.assets, names, strict=True):
        if name != asset["key"]:
            shared.setdefault(asset["location"], {})[asset["key"]] = name
    return shared


def find(kind: Kind, name: str, items: Sequence[Named], catalog: Catalog) -> Named:
    """Return what is called `name`. Raises Invalid for an unknown or ambiguous name."""
    if (item := choose(kind, name, items)) is not None:
        return item
    message = f"there is no {kind} '{name}'{did_you_mean(name, similar_names(name, items))}"
    if not catalog.broken:
        raise Invalid(message, "List them with:", command=f"invoke discover --kind {kind}s")
    reasons = [f"  {location}: {failure.text}" for location, failure in catalog.broken.items()]
    message = "\n".join((f"{message}. Not every code location is loaded:", *reasons))
    hint = (
        "Fix it: `invoke dev` reloads what is saved; elsewhere, reload it in the Dagster UI. "
        "For the traceback, type:"
    )
    raise Invalid(message, hint, command="invoke discover --kind locations --json")


def _notebook(
    root: Path, folder: Path, names: Names, request: ScaffoldRequest, fact: Item
) -> Notebook:
    from importlib.metadata import version

    own = request.own_template
    name = names.check(request.name) if request.name else ""
    subject = next(fact[kind] for kind in PAIRED if kind in fact)
    if "select" in fact:  # a selection has signs around its words
        subject = re.sub(r"\W+", "_", subject).strip("_") or subject
    name = name or names.of_notebook(subject)
    upstream: Inputs = fact.pop("upstream", Inputs())
    near = fact.pop("near", {})
    keys = sorted(upstream.values)
    alike = {key: {"partition": True} for key in upstream.alike}
    inputs = [
        {"name": variable, "asset": near.get(key, str(key)), **alike.get(key, {})}
        for variable, key in zip(names.of_variables(keys), keys, strict=True)
    ]
    optional = {
        "partitioned": upstream.partitioned,
        "inputs": inputs,
        "title": request.title,
        "set": dict(request.options),
    }
    answers = {
        "name": name,
        **fact,
        "template": OWN if own else SELECTION if request.one else request.template,
        "folder": folder.relative_to(root).as_posix(),
        "marimo": version("marimo"),
        **{answer: value for answer, value in optional.items() if value},
    }
    answers_file = None if own else root / NOTEBOOK_ANSWERS / f"{name}.yml"
    template = request.template if own else answers["template"]
    return Notebook(answers, folder / f"{name}.py", answers_file, template)


@contextlib.contextmanager
def _failing(notebook: Notebook) -> Iterator[None]:
    """Keep an error in this context as that of the notebook."""
    try:
        yield
    except DagmarError as error:
        notebook.error, notebook.status = error, "failed"


def _set_status(settings: Settings, notebooks: Sequence[Notebook], force: bool) -> None:
    """Decide which notebooks are created, kept or overwritten, and which have no place."""
    pairings = read_pairings(settings.root, settings.notebooks)
    seen: dict[Path, Notebook] = {}
    for notebook in notebooks:
        with _failing(notebook):
            if other := seen.get(notebook.file):
                message = f"{other.pair} and {notebook.pair} would both be {notebook.file.name}"
                raise Conflict(message, "Create them one at a time, with --name.")
            seen[notebook.file] = notebook
            if notebook.file.exists() or notebook.file.is_symlink():
                _meet(settings, notebook, pairings, force)


def _meet(settings: Settings, notebook: Notebook, pairings: Pairings, force: bool) -> None:
    """Keep or overwrite what is in the place of a notebook. Raises Conflict."""
    root = settings.root.resolve()
    path = relative(notebook.file, settings.root)
    real = notebook.file.resolve()
    if real.is_dir() or not real.is_relative_to(root):
        what = "a folder" if real.is_dir() else "a link to outside of the project"
        raise Conflict(f"{path} is {what}", "Move it away, or choose a name with --name.")
    asset, job, select = (notebook.answers.get(kind, "") for kind in PAIRED)
    same = [pairings.assets.get(asset, ()), pairings.jobs.get(job, ())]
    same.append(pairings.selections.get(select, ()))
    if force:
        notebook.status = "overwritten"
    elif any(path in paths for paths in same):
        notebook.status = "kept"
        file, existing = templates.made_from(root, notebook.answers["name"])
        # Which folder of the user a notebook was created from is not recorded.
        if existing or notebook.answers_file:
            notebook.template = existing
        notebook.answers_file = file
    else:
        hint = "Choose another name with --name, or overwrite it with --force."
        raise Conflict(f"{path} exists, and is not paired with {notebook.pair}", hint)


def _source(root: Path) -> dict[str, str]:
    """Return how the project's answers name the template and its version, as far as they do."""
    if not (root / templates.ANSWERS).is_file():
        return {}
    answers = templates.read_answers(root / templates.ANSWERS)
    return {name: str(answers[name]) for name in ("_commit", "_src_path") if answers.get(name)}


def _render(
    root: Path,
    source: Mapping[str, str],
    request: ScaffoldRequest,
    new: Sequence[Notebook],
    url: str,
) -> None:
    """Render the notebooks, check the result, then write every file."""
    from dagmar.orchestration.definitions import check_values

    own = request.own_template
    renderer = Renderer(own)
    texts: dict[Path, str] = {}
    reasons: dict[str, None] = {}
    for notebook in new:
        inputs = {AssetKey(item["asset"]) for item in notebook.answers.get("inputs", ())}
        with _failing(notebook):
            text = renderer.notebook(notebook.answers)
            loaded = {load.key for load in _parse(text, notebook).loads()}
            # A notebook that could never load its inputs is refused.
            reasons[check_values(root, inputs & loaded, url)] = None
            texts[notebook.file] = text
            if file := notebook.answers_file:
                texts[file] = renderer.answers_file(notebook.answers, source)
    for reason in filter(None, reasons):
        console.warn(f"the inputs may not load: {reason}")
    if own:
        saved, errors = as_saved(texts, own, root)
        texts.update(saved)
        for notebook in new:
            with _failing(notebook):
                if error := errors.get(notebook.file):
                    raise error
    elif "_commit" not in source:
        console.warn("`invoke update` cannot update these notebooks: " + UNKNOWN)
    _check_overwritten(root, new, texts)
    if not request.dry_run:
        _write(root, [notebook for notebook in new if not notebook.error], texts)


def _check_overwritten(root: Path, new: Sequence[Notebook], texts: Mapping[Path, str]) -> None:
    """Refuse to overwrite a notebook that git has no copy of."""
    changed = [
        notebook
        for notebook in new
        if notebook.status == "overwritten"
        and notebook.file.read_bytes() != texts[notebook.file].encode()
    ]
    if not changed:
        return
    with templates.git_errors():
        saved = read_worktree(root).saved
    for notebook in changed:
        with _failing(notebook):
            refuse_to_overwrite(root, notebook.file, saved)


def refuse_to_overwrite(root: Path, file: Path, saved: Collection[str]) -> None:
    """Raise Conflict if git has no copy of a file that --force would overwrite."""
    name = relative(file, root)
    if name not in saved:
        message = f"--force would overwrite {name}, and git has no copy of it"
        command = f"git add --force {shlex.quote(name)} && git commit"
        raise Conflict(message, "Move it away, or commit it:", command)


def _write(root: Path, new: Sequence[Notebook], texts: Mapping[Path, str]) -> None:
    """Write every file, but a notebook that somebody else has just created."""
    for notebook in new:
        if notebook.status == "created" and notebook.file.exists():
            with _failing(notebook):
                path = relative(notebook.file, root)
                message = f"{path} was created by somebody else in the meantime"
                raise Conflict(message, "Look at it, then run the same command again.")
    new = [notebook for notebook in new if not notebook.error]
    ready = {file: texts[file] for notebook in new for file in notebook.files}
    extra = files_for([notebook.file for notebook in new]) if new else {}
    write_all(ready | extra)
    for file in extra:
        new[0].extra.append(file)
        console.say(f"{relative(file, root)} was added.")
    for notebook in new:
        if notebook.answers_file is None:
            # Answers of the replaced notebook; an update would merge its template into this one.
            stale = root / NOTEBOOK_ANSWERS / f"{notebook.answers['name']}.yml"
            stale.unlink(missing_ok=True)


def _parse(text: str, notebook: Notebook) -> Source:
    """Parse what was rendered for a notebook. Raises Invalid if it is not valid Python."""
    name = f"the output of the template {notebook.template} for {notebook.pair}"
    try:
        return parse_source(text, name)
    except Invalid as error:
        raise Invalid(error.message, f"Check {SHAPE} in that folder.") from None


def _commit(root: Path, new: Sequence[Notebook]) -> None:
    """Commit the new files and nothing else. Raises Conflict with git's message."""
    files = [str(file) for notebook in new for file in (*notebook.files, *notebook.extra)]
    subject = new[0].pair if len(new) == 1 else f"{len(new)} notebooks"
    for arguments in (
        ("add", "--", *files),
        ("commit", "--quiet", "-m", f"feat: scaffold {subject}", "--", *files),
    ):
        done = templates.git(root, *arguments)
        if done.returncode:
            message = f"the notebooks are created, but git refused: {templates.last_line(done)}"
            raise Conflict(message, "Commit them by hand.")
