"""`invoke scaffold`: notebooks that already know their asset or job, in one Copier run."""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dagmar import console
from dagmar.asset_key import AssetKey
from dagmar.errors import (
    Conflict,
    Invalid,
    SettingsError,
    SetupError,
    UsageError,
    did_you_mean,
)
from dagmar.files import write_all
from dagmar.notebook.pairing import has_job, read_pairings
from dagmar.project import templates
from dagmar.project.layout import NOTEBOOK_ANSWERS, SCAFFOLD_PREFIX, SCRATCH, relative
from dagmar.project.locations import require_loadable
from dagmar.project.settings import Settings
from dagmar.scaffold import own_template
from dagmar.scaffold.naming import Names
from dagmar.scaffold.own_template import OWN, SHAPE
from dagmar.server.catalog import Catalog, Inputs, Item

TEMPLATES = ("default", "minimal", "ml", "report")
OPTIONS = {"width": ("columns", "compact", "full", "medium")}


@dataclass(frozen=True)
class ScaffoldRequest:
    """What `invoke scaffold` is asked for; empty means not given."""

    assets: Sequence[str] = ()
    jobs: Sequence[str] = ()
    select: str = ""
    template: str = "default"
    name: str = ""
    title: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    force: bool = False
    dry_run: bool = False
    git_commit: bool = False

    def __post_init__(self) -> None:
        """Refuse, before Dagster is asked, what is wrong anyway. Raises UsageError and Invalid."""
        named = len(self.assets) + len(self.jobs)
        if not (named or self.select) or (named and self.select):
            raise UsageError(
                "scaffold needs one or more --asset or --job, or a --select",
                "For example: --asset raw/orders",
            )
        if not all((*self.assets, *self.jobs)):
            raise UsageError("a name is empty", "For example: --asset raw/orders")
        for flag, value in (("--name", self.name), ("--title", self.title)):
            if value and named != 1:
                raise UsageError(
                    f"{flag} is for one notebook", "Give one --asset or one --job with it."
                )
        if self.name:
            Names().check(self.name)
        _check_options(self.options, _own_template(self.template))
        if self.git_commit and self.dry_run:
            raise UsageError("--dry-run makes nothing to commit", "Leave --git-commit out.")


@dataclass
class Notebook:
    """One notebook to make: its answers, where it goes, and what becomes of it."""

    answers: Item
    file: Path
    answers_file: Path | None
    template: str
    status: str = "created"
    asked_another: bool = False

    def as_document(self, root: Path) -> Item:
        """Return what `--json` prints of it."""
        return {
            "path": relative(self.file, root),
            "asset": self.answers.get("asset"),
            "job": self.answers.get("job"),
            "template": self.template or None,
            "answers_file": self.answers_file and relative(self.answers_file, root),
            "status": self.status,
        }


@dataclass(frozen=True)
class Scaffolded:
    """The notebooks of one `invoke scaffold`, written unless it was a dry run."""

    root: Path
    notebooks: list[Notebook]
    dry_run: bool = False

    def as_document(self) -> Item:
        """Return what `--json` prints."""
        return {"notebooks": [notebook.as_document(self.root) for notebook in self.notebooks]}

    def show(self) -> None:
        """Print the files as a tree."""
        console.out(self.tree())
        if self.dry_run:
            console.say("Nothing was made: --dry-run.")

    def raise_for_status(self) -> None:
        """Return: a notebook that could not be made has raised already."""

    def tree(self) -> str:
        """Return the files as a tree, with what each notebook is paired with."""
        rows: dict[str, list[str]] = {}
        for notebook in self.notebooks:
            folder, _, name = relative(notebook.file, self.root).rpartition("/")
            note = ", ".join(filter(None, (_what(notebook.answers), notebook.template)))
            note += ", exists and is kept" if notebook.status == "kept" else ""
            hint = ": --name makes a second one, --force overwrites it"
            note += hint if notebook.asked_another else ""
            note += ", overwritten" if notebook.status == "overwritten" else ""
            rows.setdefault(folder, []).append(f"{name}  ({note})")
            if notebook.answers_file and notebook.status != "kept":
                folder, _, name = relative(notebook.answers_file, self.root).rpartition("/")
                rows.setdefault(folder, []).append(name)
        lines = []
        for folder in rows:
            lines.append(f"{folder}/")
            last = len(rows[folder]) - 1
            lines += [
                f"{'└──' if i == last else '├──'} {row}" for i, row in enumerate(rows[folder])
            ]
        return "\n".join(lines)


def scaffold(settings: Settings, catalog: Catalog, request: ScaffoldRequest) -> Scaffolded:
    """Make the notebooks, all or none, and return what became of each.

    One that exists is left as it is where it is paired with the same thing already.
    Raises UsageError, Invalid (an unknown asset or job, a template that does not render),
    SetupError (the template is not there) and Conflict (a file is in the way).
    """
    root = settings.root.resolve()
    folder = _folder(settings)
    own = _own_template(request.template)
    facts = _facts(catalog, request)
    template = templates.open_template(root)
    modules = [place for place in (root, root / "src") if place != folder]
    names = Names(templates.reserved_names(template), modules)
    made = [_notebook(root, folder, names, request, own, fact) for fact in facts]
    _check_files(settings, made, request.force)
    new = [notebook for notebook in made if notebook.status != "kept"]
    if new:
        _warn_of_values(root)
        _render(root, template, own, new, write=not request.dry_run)
    if request.git_commit and new:
        _commit(root, new)
    return Scaffolded(root, made, request.dry_run)


def _warn_of_values(root: Path) -> None:
    """Say if the notebooks can never load a value, although a server knows the assets."""
    try:
        require_loadable(root)
    except SetupError as error:
        console.warn(f"pair.load cannot work in this project: {error.message}. {error.hint}")


def _folder(settings: Settings) -> Path:
    folder = settings.notebooks.resolve()
    if not folder.is_relative_to(settings.root.resolve()) or folder == settings.root.resolve():
        raise SettingsError(
            f"the notebooks' folder {settings.notebooks} is not inside the project",
            "Correct `notebooks` in dagmar.yaml.",
        )
    return folder


def _own_template(template: str) -> Path | None:
    """Return the folder of a template that is the user's own."""
    if template in TEMPLATES:
        return None
    try:
        folder = Path(template).expanduser()
    except RuntimeError:  # nobody of that name
        folder = Path(template)
    if (folder / SHAPE).is_file():
        return folder
    if folder.is_dir():
        raise Invalid(
            f"the template folder {template} has no {SHAPE}", "That file says what a notebook is."
        )
    raise UsageError(
        f"there is no template '{template}'{did_you_mean(template, TEMPLATES)}",
        f"The templates: {', '.join(TEMPLATES)}, or the path of a folder with a {SHAPE}.",
    )


def _check_options(options: Mapping[str, str], own: Path | None) -> None:
    for key, value in options.items():
        if own is None and key not in OPTIONS:
            raise UsageError(
                f"there is no option '{key}'{did_you_mean(key, OPTIONS)}",
                f"The options of this template: {', '.join(OPTIONS)}.",
            )
        if key in OPTIONS and value not in OPTIONS[key]:
            raise UsageError(
                f"--set {key}={value}: there is no such {key}", f"One of {', '.join(OPTIONS[key])}."
            )


def _facts(catalog: Catalog, request: ScaffoldRequest) -> list[Item]:
    """Return the answers that come from Dagster, one for each asset and job."""
    assets = {str(asset["key"]): asset for asset in catalog.assets}
    keys = list(dict.fromkeys(map(AssetKey, request.assets)))
    if request.select:
        from dagmar.orchestration.selection import resolve

        keys = sorted(resolve(request.select, catalog.assets) & set(assets))
        if not keys:
            raise Invalid("--select matches no asset", "Look with: invoke discover --select …")
    for key in keys:
        _check_known("asset", key, assets, catalog)
    for job in request.jobs:
        if not has_job(catalog, job):
            _check_known("job", job, [job["name"] for job in catalog.jobs], catalog)
    known = catalog.inputs(keys) if keys else {}
    return [
        {
            "asset": str(key),
            "upstream": known.get(key) or Inputs(values=tuple(assets[key]["dependencies"])),
            "materializable": bool(assets[key]["materializable"]),
        }
        for key in keys
    ] + [{"job": job} for job in dict.fromkeys(request.jobs)]


def _check_known(what: str, name: str, known: Iterable[str], catalog: Catalog) -> None:
    names = list(known)
    if name in names:
        return
    message = f"there is no {what} '{name}'{did_you_mean(name, names)}"
    reasons = [f"{name}: {failure.text}" for name, failure in catalog.broken.items()]
    if not reasons:
        raise Invalid(message, f"See them all with: invoke discover --kind {what}s")
    # It may be in there.
    raise Invalid(
        f"{message}. Not every code location is loaded:\n  " + "\n  ".join(reasons),
        "Mend it, and reload it in the Dagster UI. For the traceback, type: "
        "invoke discover --kind locations --json",
    )


def _notebook(
    root: Path, folder: Path, names: Names, request: ScaffoldRequest, own: Path | None, fact: Item
) -> Notebook:
    from importlib.metadata import version

    name = names.check(request.name) if request.name else ""
    name = name or names.of_notebook(fact.get("asset") or fact["job"])
    upstream: Inputs = fact.pop("upstream", Inputs())
    keys = sorted(upstream.values)
    answers = {
        "name": name,
        **fact,
        "template": OWN if own else request.template,
        "folder": folder.relative_to(root).as_posix(),
        "marimo": version("marimo"),
    }
    if upstream.partitioned:
        answers["partitioned"] = True
    if keys:
        variables = names.of_variables(keys)
        answers["inputs"] = [
            {
                "name": variable,
                "asset": str(key),
                **({"partition": True} if key in upstream.alike else {}),
            }
            for variable, key in zip(variables, keys, strict=True)
        ]
    if request.title:
        answers["title"] = request.title
    if request.options:
        answers["set"] = dict(request.options)
    return Notebook(
        answers,
        folder / f"{name}.py",
        None if own else root / NOTEBOOK_ANSWERS / f"{name}.yml",
        request.template,
    )


def _check_files(settings: Settings, made: Sequence[Notebook], force: bool) -> None:
    """Decide what becomes of each notebook. Raises Conflict where a file is in the way."""
    pairings = read_pairings(settings.root, settings.notebooks)
    seen: dict[Path, Notebook] = {}
    for notebook in made:
        if other := seen.get(notebook.file):
            both = [_what(one.answers) for one in (other, notebook)]
            raise Conflict(
                f"{both[0]} and {both[1]} would both be {notebook.file.name}",
                "Make them one at a time, with --name.",
            )
        seen[notebook.file] = notebook
        if not notebook.file.exists() and not notebook.file.is_symlink():
            continue
        path = relative(notebook.file, settings.root)
        real = notebook.file.resolve()
        if real.is_dir() or not real.is_relative_to(settings.root.resolve()):
            what = "a folder" if real.is_dir() else "a link to outside of the project"
            raise Conflict(f"{path} is {what}", "Move it away, or choose a name with --name.")
        answers = notebook.answers
        same = path in (
            pairings.assets.get(answers["asset"], [])
            if "asset" in answers
            else pairings.jobs.get(answers["job"], [])
        )
        if force:
            notebook.status = "overwritten"
        elif same:
            _keep(settings.root, notebook)
        else:
            raise Conflict(
                f"{path} exists, and is not paired with {_what(answers)}",
                "Choose another name with --name, or overwrite it with --force.",
            )


def _keep(root: Path, notebook: Notebook) -> None:
    """Tell of the notebook that is there, not of the one that would have been made."""
    file, there = templates.made_from(root.resolve(), notebook.answers["name"])
    # Nothing tells of which folder of the user's own a notebook is.
    if there or notebook.answers_file:
        notebook.asked_another, notebook.template = there != notebook.template, there
    notebook.status, notebook.answers_file = "kept", file


def _what(answers: Item) -> str:
    return f"asset {answers['asset']}" if "asset" in answers else f"job {answers['job']}"


def _render(
    root: Path,
    template: templates.Template,
    own: Path | None,
    new: Sequence[Notebook],
    write: bool,
) -> None:
    """Render in a folder of its own, look at the result, then put every file in its place."""
    scratch = root / SCRATCH
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix=SCAFFOLD_PREFIX) as name:
        source, version = template.path, template.commit
        if own:
            source, version = own_template.beside_ours(template, own, Path(name) / "template"), ""
        data = {"notebooks": [one.answers for one in new], "origin": template.origin}
        out = Path(name) / "out"
        templates.copy(source, out, data, version)
        texts = {}
        for notebook in new:
            for file in filter(None, (notebook.file, notebook.answers_file)):
                texts[file] = (out / file.relative_to(root)).read_text("utf-8")
            _check_python(notebook, texts[notebook.file])
        if own:
            rendered = {out / one.file.relative_to(root): one.file for one in new}
            saved = own_template.as_saved({file: texts[to] for file, to in rendered.items()}, own)
            texts.update({rendered[file]: text for file, text in saved.items()})
        if write:
            _write(root, new, texts)


def _write(root: Path, new: Sequence[Notebook], texts: Mapping[Path, str]) -> None:
    """Put every file in its place. Raises Conflict for a notebook that came up meanwhile."""
    for notebook in new:
        if notebook.status == "created" and notebook.file.exists():
            raise Conflict(
                f"{relative(notebook.file, root)} was made meanwhile by somebody else",
                "Look at it, then type the same again.",
            )
    write_all(texts)
    for notebook in new:
        if notebook.answers_file is None:
            # Those of a notebook that stood here before; an update would merge it into this one.
            stale = root / NOTEBOOK_ANSWERS / f"{notebook.answers['name']}.yml"
            stale.unlink(missing_ok=True)


def _check_python(notebook: Notebook, text: str) -> None:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f", line {line}" if line else ""
        raise Invalid(
            f"the template {notebook.template} makes no Python of {_what(notebook.answers)}: "
            f"{getattr(error, 'msg', error)}{where}",
            f"Look at {SHAPE} in that folder.",
        ) from None


def _commit(root: Path, new: Sequence[Notebook]) -> None:
    """Commit the new files and nothing else. Raises Conflict with git's own words."""
    files = [str(file) for one in new for file in (one.file, one.answers_file) if file]
    what = _what(new[0].answers) if len(new) == 1 else f"{len(new)} notebooks"
    for arguments in (
        ("add", "--", *files),
        ("commit", "--quiet", "-m", f"feat: scaffold {what}", "--", *files),
    ):
        done = templates.git(root, *arguments)
        if done.returncode:
            raise Conflict(
                f"the notebooks are made, but git refused: {templates.last_line(done)}",
                "Commit them by hand.",
            )
