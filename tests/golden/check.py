"""Every golden file of a folder, each by its kind."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from geometry.errors import InputError
from tests.golden.compare import Report, Row
from tests.golden.networks import check_network, is_network_file, variant_of
from tests.golden.utilities import UTILITIES

DATA = Path(__file__).with_name("data")  # the numbers that a clone carries


def check_file(path: Path, report: Report, device: str = "cpu", compute: str = "float32") -> None:
    """Compare all arrays of one file. A file of unknown kind leaves its arrays uncompared.

    Args:
        device, compute: of networks (`check_network`); the rest runs on the CPU.
    """
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            report.expect(path.name, arrays.files)
    for kind, check in UTILITIES.items():
        if path.name.startswith(kind):
            check(path, report)
            return
    if is_network_file(path):
        check_network(path, report, device, compute)


def check_folder(
    folder: Path,
    *,
    only: str = "",
    on_row: Callable[[Row], None] = lambda row: None,
    device: str = "cpu",
    compute: str = "float32",
) -> Report:
    """Compare every golden file whose name contains ``only``.

    Raises:
        InputError: the folder has no such file.
    """
    files = sorted(p for p in folder.iterdir() if p.suffix in (".npz", ".json") and only in p.name)
    if not files:
        raise InputError(f"{folder}: no golden files (.npz, .json)" + (f" named *{only}*" if only else ""))
    # Networks of one size one after another: each is built once.
    files.sort(key=lambda p: (is_network_file(p), variant_of(p) if is_network_file(p) else "", p.name))
    report = Report(on_row=on_row)
    for path in files:
        check_file(path, report, device, compute)
    return report
