"""`transformers serve` with a tiny model that is made on the spot: a real server, with what it ignores."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from tests.speakers.small import model, tokenizer


@contextmanager
def transformers_serve(folder: Path, seconds: float = 60.0) -> Iterator[str]:
    """Serves a small Llama from a folder; yields `<model>@<base_url>`."""
    made, words = folder / "model", tokenizer()
    model(len(words), seed=1).save_pretrained(made)
    words.save_pretrained(made)
    (folder / "home" / "hub").mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    run = [str(Path(sys.executable).with_name("transformers")), "serve", str(made)]
    run += ["--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    with (folder / "log.txt").open("w") as log, subprocess.Popen(run, stdout=log, stderr=log, env=env) as process:
        try:
            _await_health(f"http://127.0.0.1:{port}/health", process, time.monotonic() + seconds)
            yield f"{made}@http://127.0.0.1:{port}/v1"
        finally:
            process.kill()


def _await_health(url: str, process: subprocess.Popen[bytes], until: float) -> None:
    while True:
        try:
            with urlopen(url, timeout=1.0):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.1)
