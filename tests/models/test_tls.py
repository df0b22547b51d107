import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from persona_env.models.faults import Refused
from tests.models.asked import client, outcomes, requests
from tests.models.fault_server import FaultServer

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that nobody has signed but itself."""
    made = tmp_path / "both.pem"
    run = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    run += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(made), "-out", str(tmp_path / "cert.pem")]
    subprocess.run(run, check=True, capture_output=True)
    made.write_text(made.read_text() + (tmp_path / "cert.pem").read_text())
    return made


def test_https_is_spoken_and_a_server_that_cannot_show_who_it_is_is_told_nothing(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with FaultServer(tls=tls) as server:
        with client(server) as asked:
            assert isinstance(asked.complete(requests(1))[0], Refused)
        assert not server.calls
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with client(server) as asked:
            assert outcomes(asked.complete(requests(30))) == {"right": 30}
        assert server.connections < 30
