"""Commands answer `--help` before anything heavy is imported, and imports ask nothing of a network."""

import subprocess
import sys

from eval.commands import table
from eval.tables.formats import FORMATS
from geometry.commands.prepare_data import SETS
from geometry.datasets.dl3dv import IMAGE_FOLDERS
from geometry.datasets.preparation import PREPARATIONS
from geometry.options import WORLD_KINDS, WORLD_PATHS
from geometry.worlds import KINDS
from geometry.worlds import paths as world_paths
from nvs.cameras import PATHS, RELEASED_MODES

HELP = """
import contextlib, importlib, io, sys
from eval.__main__ import COMMANDS as OF_EVAL
from geometry.__main__ import COMMANDS as OF_GEOMETRY
from geometry.commands.data import COMMANDS as OF_DATA
from geometry.commands.prepare_data import SETS
from nvs.__main__ import COMMANDS as OF_NVS

modules = [module for group in (OF_EVAL, OF_GEOMETRY, OF_DATA, OF_NVS) for module, _ in group.values()]
asked = [(module, ["--help"]) for module in modules]
asked += [("geometry.commands.prepare_data", [name, "--help"]) for name in SETS]
for module, words in asked:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            status = importlib.import_module(module).main(words)
        except SystemExit as end:
            status = end.code
    assert status == 0 and "usage: " in said.getvalue(), (module, said.getvalue())
    heavy = {"torch", "numpy", "scipy", "cv2", "PIL", "hydra"} & sys.modules.keys()
    assert not heavy, f"{module} imports {sorted(heavy)} for --help"
print(len(asked))
"""

OFFLINE = """
import socket, sys

def refuse(*_, **__):
    raise AssertionError("the network was asked")

socket.socket.connect = socket.socket.sendto = socket.getaddrinfo = refuse
import importlib
import eval, geometry, nvs
assert "torch" not in sys.modules
for package in (geometry, nvs):
    for name in package.__all__:
        getattr(package, name)
for name in ("eval.run", "eval.report", "nvs.training.finetuning", "geometry.commands.experiment"):
    importlib.import_module(name)
geometry.load("tiny")
"""


def run(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_help_imports_more_than_the_standard_library():
    assert int(run(HELP)) > 25


def test_importing_everything_and_loading_the_bundled_model_needs_no_network():
    run(OFFLINE)


def test_choices_that_parsers_offer_are_those_that_there_are():
    assert KINDS == WORLD_KINDS
    assert tuple(world_paths.PATHS) == WORLD_PATHS
    assert (*RELEASED_MODES, "orbit", "spline") == PATHS
    assert SETS.keys() - {"procedural"} == PREPARATIONS.keys()  # whose worlds are made, not unpacked
    assert tuple(SETS["dl3dv_benchmark"][1]["--resolution"]["choices"]) == tuple(IMAGE_FOLDERS)
    assert tuple(FORMATS) == table.FORMATS
