"""A run's folder: its settings, predictions and scores.

```
run.json                 the settings that decide the pictures, the method, the protocol
benchmark.json           where the data was when the run was last resumed: what a report reads photos with
split.json               the split: the run's own, or a copy of the one it was given
predictions/<scene>/     <render>.png, depth/<render>.png, scene.json; whole or absent
scores/<scene>.json      metrics of every target, and the settings they were computed with
scores.json              everything a table needs
```

Other protocols than view synthesis write geometry.npz into predictions/<scene>, and ``scores_<protocol>``.
"""

import json
from pathlib import Path

from geometry.atomic import atomic_file, clear_leftovers
from geometry.errors import InputError
from geometry.formats.text import read_object
from geometry.results import keep_apart
from geometry.stored_config import changes

VERSION = 1
# What a model's run did before its identity said so.
_UNSTATED = {
    "depth": "network",
    "refine": 0,
    "refine_cameras": False,
    "exposure": False,
    "moving": False,
    "seed": 0,
}


class Store:
    """Reads and writes a run's folder."""

    def __init__(self, folder: Path | str, protocol: str = "nvs") -> None:
        self.folder = Path(folder).expanduser()
        self._scores = "scores" if protocol == "nvs" else f"scores_{protocol}"

    def predictions(self, scene: str) -> Path:
        return self.folder / "predictions" / safe_name(scene)

    def scores(self, scene: str) -> Path:
        return self.folder / self._scores / f"{safe_name(scene)}.json"

    @property
    def summary(self) -> Path:
        return self.folder / f"{self._scores}.json"

    def summaries(self) -> list[dict]:
        """Those of every protocol of the run, view synthesis first."""
        found = sorted(self.folder.glob("scores*.json"), key=lambda path: (len(path.name), path.name))
        audit = self.folder / "audit.json"
        note = {"audit": read_object(audit, "an audit").get("note")} if audit.is_file() else {}
        return [read_object(path, "a run's scores") | note for path in found or [self.summary]]

    def predicted(self, scene: str) -> bool:
        return (self.predictions(scene) / "scene.json").is_file()

    @property
    def split(self) -> Path:
        return self.folder / "split.json"

    @property
    def benchmark(self) -> Path:
        return self.folder / "benchmark.json"

    def _begun(self) -> bool:
        """Whether there is a prediction or a score."""
        return any(self.folder.glob("predictions/*/scene.json")) or any(self.folder.glob("scores*/*.json"))

    def require_own(self, root: Path | str | None = None) -> None:
        """Refuse a folder that is the data's (``root``), or holds files of these names and is no run's."""
        keep_apart(self.folder, [root])
        path = self.folder / "run.json"
        scores = self.folder / self._scores
        for place in (self.folder / "predictions", scores, self.summary, self.benchmark):
            if place.exists() and not path.is_file():
                raise InputError(f"{path} is missing beside {place.name}; give another out=")

    def claim(self, settings: dict[str, object], *, benchmark: dict[str, object]) -> None:
        """Make the folder this run's, or resume in it if it already is.

        Settings of a run that failed before it had a prediction are replaced.

        Args:
            settings: all that decides the pictures.
            benchmark: the config's part about the data, which may lie elsewhere the next time.
        """
        path = self.folder / "run.json"
        wanted = json.loads(json.dumps({"version": VERSION, **settings}))
        if path.is_file():
            different = changes(_fully_stated(read_object(path, "a run")), wanted)
            if different and self._begun():
                raise InputError(
                    f"{self.folder}: holds a run with other settings ({'; '.join(different)}); give another "
                    "out="
                )
        else:
            self.require_own()
        for folder in (self.folder, self.folder / "predictions", self.folder / self._scores):
            clear_leftovers(folder)
        write_json(path, wanted)
        write_json(self.benchmark, benchmark)


def _fully_stated(settings: dict) -> dict:
    """Settings of a stored run, with what an earlier version left unsaid."""
    identity = settings.get("identity", {})
    if "poses" not in settings.get("protocol", {}):  # geometry's, of later versions
        return settings
    return {**settings, "identity": {**_UNSTATED, **identity}} if "weights_sha256" in identity else settings


def safe_name(scene: str) -> str:
    """A scene's name as a file name: sub-folders in it become underscores."""
    return scene.replace("/", "_").replace("\\", "_")


def write_json(path: Path, content: object) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
