"""Which exports may go, and what of them is removed; nothing is executed here."""

from __future__ import annotations

import gzip
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from dagmar.errors import Conflict, NotAllowed
from dagmar.export import folders, manifests, retention
from dagmar.export.manifests import Manifest
from support.export_project import ids, write_export


def test_old_exports_go_and_the_newest_good_one_always_stays(tmp_path: Path) -> None:
    fresh_but_failed = write_export(tmp_path, 1, manifests.FAILED)
    good, old, oldest = (
        write_export(tmp_path, 40),
        write_export(tmp_path, 50),
        write_export(tmp_path, 60),
    )
    exports = [(None, manifest) for manifest in (old, fresh_but_failed, oldest, good)]

    def gone(days: float | None = None, keep: int | None = None) -> list[str]:
        return [manifest.id for _, manifest in retention.expired(exports, days, keep)]

    assert gone() == []
    assert gone(days=30) == [old.id, oldest.id]
    assert gone(days=0) == [fresh_but_failed.id, old.id, oldest.id]
    assert gone(keep=1) == [old.id, oldest.id]
    assert gone(keep=3) == [oldest.id]
    assert gone(days=55, keep=10) == [oldest.id]


def test_exports_of_one_second_have_the_order_in_which_they_began() -> None:
    made = [folders.new_id() for _ in range(2_000)]
    assert [id[:-3] for id in made] == sorted(id[:-3] for id in made)
    assert len({id.partition("-")[0] for id in made}) < 100
    # In earlier versions all eight digits were random.
    unordered = f"{made[0].partition('-')[0]}-00000000"
    exports = [
        (id, manifests.unwritten("notebooks/orders.py", manifests.OK, id))
        for id in (made[1000], made[1999], unordered, made[0])
    ]
    gone = [id for id, _ in retention.expired(exports, keep=1)]
    assert gone == [made[1000], made[0], unordered]
    for _, manifest in exports:
        age = datetime.now(timezone.utc) - manifest.started
        assert timedelta() <= age < timedelta(minutes=30)


def test_notebooks_that_share_a_folder_keep_their_newest_good_export_each(tmp_path: Path) -> None:
    theirs = [write_export(tmp_path, age, notebook="/elsewhere/orders.py") for age in (50, 60)]
    mine = [write_export(tmp_path, age) for age in (1, 2)]
    exports = list(manifests.read_all(tmp_path / "orders"))
    gone = [manifest.id for _, manifest in retention.expired(exports, keep=1)]
    assert gone == [mine[1].id, theirs[1].id]
    policy = retention.Policy("notebooks/orders.py", keep=1)
    assert retention.expire(tmp_path, "orders", policy) == [tmp_path / "orders" / mine[1].id]
    assert ids(tmp_path, "orders") == [mine[0].id, *(one.id for one in theirs)]


def test_an_export_in_use_is_not_removed(tmp_path: Path) -> None:
    new, old = write_export(tmp_path, 1), write_export(tmp_path, 2)
    home = tmp_path / "orders" / old.id
    policy = retention.Policy("notebooks/orders.py", keep=1)
    with folders.held(home):
        assert retention.expire(tmp_path, "orders", policy) == []
        with pytest.raises(Conflict, match="is being sent or linked"):
            retention.remove_whole(home)
    assert retention.expire(tmp_path, "orders", replace(policy, done_for=old.id)) == []
    assert retention.expire(tmp_path, "orders", policy) == [home]
    retention.remove(home, old)  # another process was faster
    with pytest.raises(Conflict, match="was removed in the meantime"), folders.held(home):
        pass
    assert ids(tmp_path, "orders") == [new.id]


def test_only_files_that_a_manifest_names_are_removed(tmp_path: Path) -> None:
    plain, added, changed = (
        write_export(tmp_path, 1),
        write_export(tmp_path, 2),
        write_export(tmp_path, 3),
    )
    home = tmp_path / "orders"
    (home / added.id / "notes.txt").write_text("mine", "utf-8")
    (home / changed.id / "orders.html").write_text("annotated", "utf-8")
    (home / "20200101T000000Z-00000000").mkdir()
    (home / "20200101T000000Z-00000000" / "manifest.json").write_text('{"tool": "other"}', "utf-8")
    for manifest in (plain, added, changed):
        retention.remove(home / manifest.id, manifest)
    left = sorted(str(file.relative_to(home)) for file in home.rglob("*") if file.is_file())
    assert left == [
        "20200101T000000Z-00000000/manifest.json",
        f"{changed.id}/orders.html",
        f"{added.id}/notes.txt",
    ]
    assert list(manifests.read_all(home)) == []


def test_what_is_not_an_unchanged_export_stays_and_says_why(tmp_path: Path) -> None:
    manifest = write_export(tmp_path, 1)
    folder = tmp_path / "orders" / manifest.id
    assert retention.prove(folder) == (manifest, "")
    link = folder.with_name("20200101T000000Z-00000000")
    link.symlink_to(folder)
    for foreign in (link, folder / "orders.html", folder / "gone"):
        assert retention.prove(foreign) == (None, "it was not created by dagmar")
    (folder / "orders.html").write_text("annotated", "utf-8")
    assert retention.prove(folder) == (None, "orders.html was changed since")
    (folder / "manifest.json").rename(tmp_path / "elsewhere.json")
    (folder / "manifest.json").symlink_to(tmp_path / "elsewhere.json")
    assert retention.prove(folder) == (None, "its manifest.json is not a file")


def test_a_file_that_cannot_be_read_may_have_been_changed(tmp_path: Path) -> None:
    """A folder in its place cannot be read, by root neither."""
    manifest = write_export(tmp_path, 1)
    page = tmp_path / "orders" / manifest.id / "orders.html"
    page.unlink()
    page.mkdir()
    retention.remove(page.parent, manifest)
    assert page.is_dir()


NOW = datetime(2026, 1, 10, tzinfo=timezone.utc)


def uploading(*since: Any) -> Manifest:
    """Return the manifest of an export that is being sent, since the last of these moments."""
    manifest = manifests.unwritten("notebooks/orders.py", manifests.UPLOADING)
    manifest.uploaded += [{"since": moment} for moment in since]
    return manifest


@pytest.mark.parametrize(
    ("since", "sent"),
    [
        (["2026-01-09T00:00:01+00:00"], True),
        (["2026-01-08T23:59:59+00:00"], False),
        (["2026-01-01T00:00:00+00:00", "2026-01-09T12:00:00+00:00"], True),
        (["2026-01-09T12:00:00+00:00", "2026-01-01T00:00:00+00:00"], False),
        # Another version of dagmar wrote these; nobody can say that they are not being sent.
        ([], True),
        (["yesterday"], True),
        (["2026-01-01T00:00:00"], True),
        ([3], True),
    ],
)
def test_an_upload_is_being_sent_until_a_day_after_it_began(since: list[Any], sent: bool) -> None:
    manifest = uploading(*since)
    assert retention._is_sent(manifest, NOW) is sent
    assert not retention._is_sent(replace(manifest, status=manifests.REMOVING), NOW)


def test_an_upload_that_was_interrupted_goes_and_one_at_work_stays(tmp_path: Path) -> None:
    now = datetime.now(timezone.utc)
    good = write_export(tmp_path, 9)
    manifest = write_export(tmp_path, 1, manifests.UPLOADING)

    def gone(began: datetime) -> list[str]:
        sent = replace(manifest, uploaded=[{"since": began.isoformat()}])
        return [each.id for _, each in retention.expired([(None, sent), (None, good)], keep=1)]

    assert gone(now - timedelta(hours=23)) == []
    assert gone(now - timedelta(hours=25)) == [manifest.id]


def bucket(folder: Path) -> Any:
    from upath import UPath

    return UPath(f"file://{folder}")


def test_uploaded_exports_that_may_go_are_removed_unless_it_is_only_tried(tmp_path: Path) -> None:
    new, old = write_export(tmp_path, 1), write_export(tmp_path, 2)
    policy = retention.Policy("notebooks/orders.py", keep=1)
    home = tmp_path / "orders"
    (tried,) = retention.expire_uploaded(bucket(tmp_path), "orders", policy, dry_run=True)
    assert tried.name == old.id
    assert (home / old.id / "orders.html").exists()
    assert retention.expire_uploaded(bucket(tmp_path), "orders", policy) == [tried]
    assert [path.name for path in home.iterdir()] == [new.id]
    assert retention.expire_uploaded(bucket(tmp_path), "orders", policy) == []


def test_of_an_uploaded_export_only_the_files_that_were_sent_go(tmp_path: Path) -> None:
    manifest = write_export(tmp_path, 1)
    home = tmp_path / "orders" / manifest.id
    for name in ("sales.html", "gone.html", "changed.html", "cut.html", "odd.html"):
        (home / name).write_text(name, "utf-8")
        manifest.files.append(manifests.describe(home / name))
    sales = (home / "sales.html").read_bytes()
    (home / "sales.html").write_bytes(gzip.compress(sales))  # as a bucket may store it
    (home / "cut.html").write_bytes(gzip.compress(b"cut")[:-9])
    (home / "odd.html").write_bytes(gzip.compress(b"odd")[:10] + b"\xff" * 20)
    (home / "gone.html").unlink()
    (home / "changed.html").write_text("mine", "utf-8")
    (home / "notes.txt").write_text("mine", "utf-8")
    retention._remove_uploaded(bucket(home), manifest)
    left = ["changed.html", "cut.html", "notes.txt", "odd.html"]
    assert sorted(path.name for path in home.iterdir()) == left
    retention._remove_uploaded(bucket(home), manifest)  # another process was faster
    for path in home.iterdir():
        path.unlink()
    retention._remove_uploaded(bucket(home), manifest)
    assert not home.exists()
    retention._remove_uploaded(bucket(home), manifest)
    assert not home.exists()


def test_an_uploaded_export_is_marked_before_its_files_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = write_export(tmp_path, 1)
    manifest.title = "Größe"
    home = tmp_path / "orders" / manifest.id

    def interrupt(path: Any, file: manifests.File) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(retention, "_is_as_sent", interrupt)
    with pytest.raises(KeyboardInterrupt):
        retention._remove_uploaded(bucket(home), manifest)
    assert manifests.read(home) == replace(manifest, status=manifests.REMOVING)
    ((place, found),) = manifests.read_all(tmp_path / "orders")
    assert retention.expired([(place, found)]) == [(place, found)]


def test_the_export_after_which_old_ones_go_counts_before_it_exists(tmp_path: Path) -> None:
    home = tmp_path / "orders"
    good, linked, older = (
        write_export(tmp_path, 2),
        write_export(tmp_path, 3, asset="raw/orders"),
        write_export(tmp_path, 4),
    )
    policy = retention.Policy("notebooks/orders.py", keep=1)

    def gone(**more: Any) -> list[str]:
        return [manifest.id for _, manifest in replace(policy, **more).choose(home)]

    assert gone() == [older.id]
    new = folders.new_id()
    assert gone(done_for=new) == [good.id, older.id]
    assert gone(done_for=new, linked=new) == [good.id, linked.id, older.id]
    assert gone(done_for=new, linked=older.id) == [good.id]
    assert gone(done_for=good.id) == [older.id]
    assert gone(done_for=older.id) == []
    assert gone(keep=None, days=3.5) == [older.id]
    assert gone(notebook="notebooks/sales.py") == []


def test_a_dry_run_and_a_folder_that_is_not_there_remove_nothing(tmp_path: Path) -> None:
    _, old = write_export(tmp_path, 1), write_export(tmp_path, 2)
    policy = retention.Policy("notebooks/orders.py", keep=1)
    home = tmp_path / "orders" / old.id
    assert retention.expire(tmp_path, "orders", policy, dry_run=True) == [home]
    assert home.exists()
    assert retention.expire(tmp_path / "none", "orders", policy) == []
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = write_export(tmp_path, 1)
    home = tmp_path / "orders" / manifest.id

    def refuse(path: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(NotAllowed, match=f"{home} cannot be written: Permission denied"):
        retention.remove(home, manifest)
    assert retention.prove(home) == (manifest, "")
