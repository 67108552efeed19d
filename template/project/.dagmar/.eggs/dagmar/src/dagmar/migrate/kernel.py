"""One run of a Jupyter notebook, in a kernel of this environment.

The file is not written to. Cells run in the notebook's folder, in order, up to the first that
fails, as "Run all" does in Jupyter. Injected parameters are left out, as the conversion does.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagmar.errors import SetupError, TimedOut
from dagmar.failure import Failure
from dagmar.migrate.model import INJECTED, SourceNotebook
from dagmar.project.installing import add_command

if TYPE_CHECKING:
    from nbclient import NotebookClient

NEEDED = ("nbclient", "ipykernel")
_OBSERVE = "__import__('dagmar.notebook.observing', fromlist=['observe']).observe(get_ipython())"
_FINISH = "get_ipython().dagmar_observer.in_kernel(get_ipython(), {names!r}, {file!r})"


@dataclass
class Observed:
    """What one run of a notebook ended with.

    `cells` have what each shows, draws and prints, by their number; `values` are descriptions by
    name; `failed` is the number of the cell that failed, 0 if that is not known. `raised` has the
    class of the exception of each cell that may raise one.
    """

    cells: dict[int, dict[str, Any]] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    failure: Failure | None = None
    failed: int = 0
    raised: dict[int, str] = field(default_factory=dict)


def require_kernel(root: Path) -> None:
    """Raise SetupError, with the command to type, if no kernel can be started here."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        message = f"--verify runs Jupyter notebooks with {' and '.join(missing)}"
        what = "is not installed" if len(missing) == 1 else "are not installed"
        raise SetupError(f"{message}, which {what}", command=add_command(*missing, root=root))


def run_original(
    notebook: SourceNotebook,
    names: Sequence[str],
    timeout: float,
    report: Callable[[str], None] = lambda what: None,
) -> Observed:
    """Run a Jupyter notebook once, and describe the variables `names` that it ends with.

    Raises TimedOut after `timeout` seconds, SetupError if the kernel does not start. No process of
    the notebook is left behind.
    """
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    observed, deadline = Observed(), time.monotonic() + timeout
    ran = []
    with (
        tempfile.TemporaryDirectory() as folder,
        _kernel(notebook.path.parent, Path(folder), deadline) as client,
    ):
        started = time.monotonic()
        try:
            _run(client, _OBSERVE)
            for cell in notebook.cells:
                if cell.kind != "code" or not cell.source.strip() or INJECTED in cell.tags:
                    continue
                report(f"cell {cell.number} of {notebook.path.name}")
                code = _put(client, cell.source, cell.tags)
                ran.append(cell.number)
                observed.cells[cell.number] = {"shown": None, "figures": [], "printed": ""}
                try:
                    client.execute_cell(code, 0)
                    for output in code.outputs:
                        if output.output_type == "error":  # the cell has a tag for it
                            observed.raised[cell.number] = output.ename
                finally:
                    observed.cells[cell.number]["printed"] = _printed(code)
        except CellExecutionError as error:
            observed.failed = ran[-1]
            observed.failure = Failure(error.evalue, error.ename, place=f"cell {ran[-1]}")
        except CellTimeoutError:
            where = f"cell {ran[-1]} of {notebook.path.name}" if ran else notebook.path.name
            message = f"{where} was still running after --timeout {timeout:g}"
            raise TimedOut(message, f"Allow more time: --timeout {2 * timeout:g}") from None
        except DeadKernelError:
            observed.failed = ran[-1] if ran else 0
            observed.failure = Failure("the kernel died", "DeadKernelError")
            return observed
        observed.seconds = time.monotonic() - started
        file = Path(folder, "observed.json")
        with contextlib.suppress(CellExecutionError, CellTimeoutError, DeadKernelError):
            _run(client, _FINISH.format(names=list(names), file=str(file)))
        if file.is_file():
            document = json.loads(file.read_text("utf-8"))
            observed.values = document["values"]
            for number, cell in zip(ran, document["cells"], strict=False):
                observed.cells[number] |= {key: cell[key] for key in ("shown", "figures")}
    return observed


@contextlib.contextmanager
def _kernel(place: Path, folder: Path, deadline: float) -> Iterator[NotebookClient]:
    """Keep a kernel in this context; at its end, end all processes that it has started.

    It runs in `place` on the Python that runs this, whatever kernel the notebook names. `folder`
    has its sockets, which nobody else can open.
    """
    import psutil
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    class Here(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            return KernelSpec(**get_kernel_dict())

    manager = AsyncKernelManager(
        kernel_spec_manager=Here(),
        connection_file=str(folder / "kernel.json"),
        transport="ipc",
        ip=str(folder / "kernel"),
    )
    client = NotebookClient(
        _node(cells=[], metadata=_node()),
        km=manager,
        timeout_func=lambda cell: max(1, int(deadline - time.monotonic())),
        shutdown_kernel="immediate",
    )
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    left: list[psutil.Process] = []
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(client.setup_kernel(cleanup_kc=True, cwd=str(place), **quiet))
        except RuntimeError as error:
            message = f"the kernel does not start: {error}"
            command = f"{shlex.quote(sys.executable)} -m ipykernel_launcher"
            raise SetupError(message, "Start it by hand to see why:", command) from None
        kernel = psutil.Process(getattr(manager.provisioner, "pid", None))
        try:
            yield client
        finally:
            with contextlib.suppress(psutil.Error):
                left += [kernel, *kernel.children(recursive=True)]
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()


def _run(client: NotebookClient, code: str) -> None:
    """Run a line that is not a cell of the notebook."""
    client.execute_cell(_put(client, code), 0, store_history=False)


def _put(client: NotebookClient, code: str, tags: Collection[str] = ()) -> Any:
    """Return the only cell that the client has now; it needs no other."""
    metadata = _node(tags=sorted(tags))
    cell = _node(cell_type="code", source=code, metadata=metadata, outputs=[])
    client.nb.cells[:] = [cell]
    return cell


def _node(**fields: Any) -> Any:
    from nbformat import from_dict

    return from_dict(fields)  # type: ignore[no-untyped-call]


def _printed(cell: Any) -> str:
    streams = (each for each in cell.outputs if each.output_type == "stream")
    return "".join(each.text for each in streams if each.name == "stdout")
