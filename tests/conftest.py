"""What holds for every test.

One thread, as the models here are too small to share out, for children too; and no deadlines, as the machine
may be busy with something else.
"""

import os
import signal
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")


@pytest.fixture
def foreground() -> Iterator[None]:
    """Ctrl-C as in the foreground: what a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
