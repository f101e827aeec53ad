"""Which videos or pictures a job works on: those of a folder, or those that a manifest names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rnnfv.datasets.manifest import read_table
from rnnfv.video.files import find_pictures, find_videos, full_id, image_files, item_id, item_ids

__all__ = ["Video", "list_videos"]


@dataclass(frozen=True)
class Video:
    """One video, or picture: its id, where it is, and how the user names the place."""

    id: str
    path: Path
    name: str

    def size(self) -> int | None:
        """Bytes of the file, or of the images in the folder; None where there is nothing."""
        if self.path.is_dir():
            return sum(image.stat().st_size for image in image_files(self.path))
        return self.path.stat().st_size if self.path.exists() else None


def list_videos(source: Path, manifest: Path | None, *, pictures: bool = False) -> list[Video]:
    """The videos to work on, or the single pictures, sorted by id.

    Raises
    ------
    FileNotFoundError
        If the source, or the manifest, does not exist.
    ValueError
        If there is none, an id is empty or occurs twice, a column is missing or a name is not valid UTF-8.
    """
    kind = "picture" if pictures else "video"
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist: give a folder of {kind}s, or one {kind}")
    if manifest is not None:
        videos = _read_manifest(manifest, source)
    else:
        videos = _find_pictures(source) if pictures else _find_videos(source)
    if not videos:
        raise ValueError(f"{manifest or source} has no {kind}s: give a folder of {kind}s, or one {kind}")
    return sorted(videos, key=lambda video: video.id)


def _find_videos(source: Path) -> list[Video]:
    if not source.is_dir():
        return [Video(item_id(source.parent, source), source, source.name)]
    paths = find_videos(source)
    ids = item_ids(source, paths)
    return [Video(ids[i], path, path.relative_to(source).as_posix()) for i, path in enumerate(paths)]


def _find_pictures(source: Path) -> list[Video]:
    root, paths = (source, find_pictures(source)) if source.is_dir() else (source.parent, [source])
    return [Video(name, path, name) for name, path in ((full_id(root, path), path) for path in paths)]


def _read_manifest(manifest: Path, source: Path) -> list[Video]:
    columns, rows = read_table(manifest, "id and path")
    for column in ("id", "path"):
        if column not in columns:
            raise ValueError(f"{manifest}: the column {column!r} is missing; it takes id and path to name videos")
    videos: dict[str, Video] = {}
    for line, row in rows:
        name, path = row["id"], row["path"]
        if not name or not path:
            raise ValueError(f"{manifest}, line {line}: the id or the path is empty")
        if name in videos:
            raise ValueError(f"{manifest}, line {line}: the id {name!r} comes a second time")
        beside = manifest.parent / path
        videos[name] = Video(name, beside if beside.exists() and not (source / path).exists() else source / path, path)
    return list(videos.values())
