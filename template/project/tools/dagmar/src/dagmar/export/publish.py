"""What happens to a page that lies in its folder: it is sent, linked, and old ones go.

Whatever of this fails, the page is kept, and one command does the rest later.
"""

from __future__ import annotations

import functools
import shlex
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dagmar.errors import DagmarError, Invalid
from dagmar.export import folders, manifests
from dagmar.export.exporting import Exported, Problem, Tell, save, url_of, write_index
from dagmar.export.manifests import Manifest
from dagmar.export.request import ExportRequest
from dagmar.project.settings import Settings

if TYPE_CHECKING:
    from dagmar.export.upload import Storage


@dataclass(frozen=True)
class Publisher:
    """Sends, links and cleans up as a request and the settings ask for."""

    settings: Settings
    request: ExportRequest
    target: str = ""
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def upload_to(self) -> str:
        """Where exports are sent, or an empty text."""
        return self.request.upload or str(self.settings.export.get("upload", ""))

    @property
    def days(self) -> float | None:
        """Days after which exports go."""
        asked = self.request.retention_days
        found: float | None = self.settings.export.get("retention_days") if asked is None else asked
        return found

    @property
    def keep(self) -> int | None:
        """How many exports of a notebook stay."""
        asked = self.request.keep
        found: int | None = self.settings.export.get("keep") if asked is None else asked
        return found

    @functools.cached_property
    def storage(self) -> Storage:
        """The storage, opened once."""
        from dagmar.export.upload import Storage

        public = str(self.settings.export.get("public_url", ""))
        return Storage(self.upload_to, public, self.request.compress)

    def check(self) -> None:
        """Ask whether what will be made can be attached. Raises Invalid or NotAllowed."""
        if self.request.attach:
            from dagmar.export.attach import check

            target = self.settings.target(self.target, self.url)
            check(target, self.request.attach, self.request.partition)

    def publish(self, exported: Exported, tell: Tell = lambda notebook, what: None) -> None:
        """Send and link an export that succeeded, and remove older ones of its notebook.

        One after the other, whichever thread it is called from: index pages are written by one.
        Raises Conflict for one that was removed meanwhile.
        """
        if exported.manifest is not None and exported.folder is not None:
            with self._lock, folders.held(exported.folder):
                self._publish(exported, exported.manifest, exported.folder, tell)

    def _publish(self, exported: Exported, manifest: Manifest, folder: Path, tell: Tell) -> None:
        steps: list[tuple[str, Callable[[], None]]] = []
        # A failed page is kept here, and goes nowhere unless it is named: people rely on links.
        if manifest.ok or self.request.existing:
            if self.upload_to and manifest.files:
                steps.append(("upload", lambda: self._upload(exported, tell)))
            if self.request.attach and manifest.files:
                steps.append(("attach", lambda: self._attach(exported)))
        for step, act in steps:
            tell(exported.notebook, step)
            try:
                act()
            except DagmarError as error:
                exported.problems.append(Problem(step, error, self.repeat(exported, step, error)))
                break  # what is attached must have its address
            finally:
                save(exported)
        if steps:
            write_index(exported)
        if manifest.ok and not exported.problems:
            try:
                exported.removed = self.expire(folder.parent, manifest.notebook, manifest.id)
            except DagmarError as error:
                exported.problems.append(Problem("retention", error))
            if exported.removed:
                write_index(exported)

    def repeat(self, exported: Exported, step: str, error: DagmarError) -> str:
        """Return the command that does the rest for an export that exists.

        A name that is not known is replaced by the one that may be meant; without one, there is
        no command that would do.
        """
        assert exported.manifest is not None
        request = self.request
        meant = error.meant if step == "attach" else {}
        if step == "attach" and isinstance(error, Invalid) and not meant:
            return ""
        flags = {
            "existing": exported.manifest.id,
            "output": request.output,
            "upload": request.upload,
            "attach": meant.get(request.attach, request.attach),
            "partition": meant.get(request.partition, request.partition),
            "target": self.target,
            "url": self.url,
        }
        words = [f"--{name} {shlex.quote(value)}" for name, value in flags.items() if value]
        return f"invoke export {' '.join(words)}{' --compress' if request.compress else ''}"

    def _upload(self, exported: Exported, tell: Tell) -> None:
        exported.url = self.storage.send(
            exported, lambda name: tell(exported.notebook, f"upload {name}")
        )

    def _attach(self, exported: Exported) -> None:
        from dagmar.export.attach import attach

        assert exported.manifest is not None
        if exported.manifest.uploaded and not self.upload_to:
            exported.url = exported.manifest.uploaded[-1]["url"]
        target = self.settings.target(self.target, self.url)
        attach(self.settings, target, exported, self.request.attach, self.request.partition)

    def expire(self, folder: Path, notebook: str, id: str, dry_run: bool = False) -> list[str]:
        """Remove what may go of a notebook when its export `id` is made, here and there.

        Its exports lie in `folder`. Returns the folders and addresses. Raises DagmarError.
        """
        from dagmar.export import retention

        if self.days is None and self.keep is None:
            return []
        linked: str | None = id
        if not (dry_run and self.request.attach):
            found = manifests.read_all(folder)
            linked = retention.newest_linked(one for one in found if one[1].notebook == notebook)
        policy = retention.Policy(notebook, self.days, self.keep, id, linked)
        gone = retention.expire(folder.parent, folder.name, policy, dry_run)
        removed = [str(one) for one in gone]
        if self.upload_to:
            removed += self.storage.expire(folder.name, policy, dry_run)
        return removed


def existing(settings: Settings, request: ExportRequest) -> Exported:
    """Return the export called `request.existing`. Raises Invalid where there is none."""
    exports = folders.exports_of(settings, request.output)
    if manifests.FOLDER.fullmatch(request.existing):
        for folder in exports.glob(f"*/{request.existing}"):
            if (manifest := manifests.read(folder)) and manifest.whole:
                url = url_of(settings, folder, manifest)
                return Exported(manifest.notebook, manifest, folder, url)
    raise Invalid(
        f"there is no export {request.existing}", f"Look into {exports}, or give --output DIR."
    )
