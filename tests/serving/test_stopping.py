"""The signals that end a server."""

import os
import signal

import pytest

from p2net_tf.serving.stopping import stop_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_and_the_second_would_end(number):
    before = signal.getsignal(number)
    with stop_signals() as asked:
        assert not asked.is_set()
        os.kill(os.getpid(), number)
        assert asked.wait(5)
        assert signal.getsignal(number) is signal.SIG_DFL
    assert signal.getsignal(number) is before
