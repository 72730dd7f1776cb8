"""How commands end: bad input, full disks, Ctrl-C."""

import errno

import pytest

from geometry.errors import InputError, run_command


def fail(error, cause=None):
    raise error from cause


@pytest.mark.parametrize(
    ("error", "cause", "status", "said"),
    [
        (InputError("a.png: expected an image"), None, 2, "error: a.png: expected an image"),
        (OSError(errno.ENOSPC, "", "out"), None, 2, "error: cannot write out: No space left on device"),
        (KeyboardInterrupt(), None, 130, "interrupted"),
        # Of a module written in C that Ctrl-C met in its import.
        (ImportError("initialization failed"), KeyboardInterrupt(), 130, "interrupted"),
        (OSError(errno.EPIPE, ""), KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_a_person_causes_is_one_line(error, cause, status, said, capsys):
    assert run_command(lambda: fail(error, cause)) == status
    assert capsys.readouterr().err == f"{said}\n"


def test_our_own_faults_are_raised():
    for error in (RuntimeError(), OSError(errno.EIO, ""), SystemExit(3)):
        with pytest.raises(type(error)):
            run_command(lambda error=error: fail(error))


@pytest.mark.timeout(10)
def test_an_error_in_its_own_chain_ends_the_command_too(capsys):
    def circular():  # as Hydra's errors, out of which ours is raised again
        error, wrapped = InputError("x: expected y"), RuntimeError()
        wrapped.__cause__, error.__cause__ = error, wrapped
        raise error

    assert run_command(circular) == 2
    assert capsys.readouterr().err == "error: x: expected y\n"
