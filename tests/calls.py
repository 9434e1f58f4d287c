"""Verbs of the command line, called in the process of the test."""

from typer.testing import CliRunner

from p2net_tf.cli import app
from p2net_tf.utils.console import be_quiet


def call(*arguments, code=0):
    """What `p2net ARGUMENTS` gives; errors that it would say in a line are raised."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    be_quiet(False)
    if isinstance(result.exception, Exception) and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result
