"""Checks of the settings, and of the variables and files that they name."""

from __future__ import annotations

import shlex
import shutil
from importlib.util import find_spec
from urllib.parse import urlsplit

from dagmar.errors import DagmarError, SettingsError
from dagmar.files import expanded, write_atomically
from dagmar.project.schema import schema
from dagmar.upkeep.checking import FAIL, WARN, Finding, Project, Skip, check, failed, passed, warned
from dagmar.upkeep.oldkeys import OldKey, find_old_keys, rename

FILE = "dagmar.yaml"
# Scheme → (the package that universal-pathlib needs, variables and files with credentials).
STORES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "s3": (
        "s3fs",
        ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
         "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        ("~/.aws/credentials", "~/.aws/config"),
    ),
    "gs": (
        "gcsfs", ("GOOGLE_APPLICATION_CREDENTIALS",),
        ("~/.config/gcloud/application_default_credentials.json",),
    ),
    "az": (
        "adlfs",
        ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_KEY",
         "AZURE_STORAGE_SAS_TOKEN", "AZURE_CLIENT_ID"),
        ("~/.azure/msal_token_cache.json",),
    ),
}  # fmt: skip
STORES["gcs"], STORES["abfs"] = STORES["gs"], STORES["az"]


def _old_keys(project: Project) -> tuple[str, list[OldKey]]:
    """Return the text of the settings file and the old keys in it."""
    try:
        # Bytes, because `read_text` would change line endings.
        text = (project.root / FILE).read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return "", []
    return text, find_old_keys(text, schema())


def _rename_old_keys(project: Project) -> str:
    text, old = _old_keys(project)
    if not old:
        return ""
    write_atomically(project.root / FILE, rename(text, old))
    return f"renamed in {FILE}: " + ", ".join(f"{key.path[-1]} → {key.name}" for key in old)


@check("settings", fix=_rename_old_keys)
def settings(project: Project) -> Finding:
    """The settings can be read, and every key in them is known."""
    _, old = _old_keys(project)
    if old:
        message = "; ".join(
            f"{FILE}:{key.line}: '{'.'.join(key.path)}' is now called '{key.name}'" for key in old
        )
        return failed(message, command="invoke doctor --fix")
    from dagmar.project.settings import load

    try:
        load(project.root, project.environ)
    except SettingsError as error:
        command = error.command or ("" if error.hint else "invoke doctor")
        return failed(error.message, error.hint or f"Correct {FILE}, then type:", command)
    there = (project.root / FILE).is_file()
    return passed(FILE if there else f"there is no {FILE}: defaults are used")


@check("targets")
def targets(project: Project) -> Finding:
    """Every target has the variables and files that it names."""
    own = project.settings.default_target
    problems, worst, first = [], WARN, ("", "")
    for name in [own, *(other for other in project.settings.targets if other != own)]:
        try:
            project.settings.target("" if name == own else name)
        except SettingsError as error:
            problems.append(error.message)
            if len(problems) == 1:
                first = error.hint or f"Correct targets.{name} in {FILE}.", error.command
            # Only the target in use stops anything today.
            worst = FAIL if name == own else worst
        except DagmarError as error:  # the name of the default target itself
            return failed(error.message, error.hint, error.command)
    if problems:
        return Finding(worst, "; ".join(problems), *first)
    return passed(f"'{own}' is used, of {', '.join(sorted(project.settings.targets))}")


@check("storage")
def storage(project: Project) -> Finding:
    """Exports can be uploaded to the place in the settings."""
    export = project.settings.layer.values.get("export")
    place = str(export.get("upload") or "") if isinstance(export, dict) else ""
    if not place:
        raise Skip("no upload is set")
    scheme = urlsplit(place).scheme
    if scheme in ("", "file"):
        folder = project.root / expanded(place.removeprefix("file://"))
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        if not there.is_dir():
            command = f"ls -l {shlex.quote(str(there))}"
            return failed(f"{there} is a file, and must be a folder", command=command)
        return passed(f"a folder; {shutil.disk_usage(there).free / 1e9:.1f} GB free")
    if find_spec("upath") is None:
        command = project.add("universal-pathlib")
        return failed("universal-pathlib is not installed, which uploads need", command=command)
    if scheme not in STORES:
        raise Skip(f"{scheme}:// cannot be checked")
    package, variables, files = STORES[scheme]
    if project.version(package) is None:
        return failed(f"{scheme}:// needs {package}", command=project.add(package))
    home = expanded(project.environ.get("HOME") or "~")
    known = any(project.environ.get(variable) for variable in variables) or any(
        (home / file.removeprefix("~/")).is_file() for file in files
    )
    if not known:
        message = f"no credentials for {scheme}:// were found; the machine's role may still work"
        return warned(message, command=f"export {variables[0]}=…")
    return passed(f"{package}, and credentials; no upload was tried")
