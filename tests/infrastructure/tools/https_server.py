"""A real HTTPS server on loopback with its own certificate, for the tests of http_get."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "api.example.test"

Answer = Callable[[BaseHTTPRequestHandler], None]


class HttpsServer:
    """requests: the Host header and path of each. tls: trusts the server's certificate."""

    def __init__(self, port: int, tls: ssl.SSLContext, requests: list[tuple[str, str]]) -> None:
        self.port = port
        self.tls = tls
        self.requests = requests


@contextmanager
def https_server(folder: Path, answer: Answer) -> Iterator[HttpsServer]:
    """Serves until the block ends; every GET and POST is answered by `answer`."""
    certificate = write_certificate(folder)
    requests: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            requests.append((str(self.headers["Host"]), self.path))
            answer(self)

        do_POST = do_GET  # noqa: N815 - the name that the server looks for

        def log_message(self, *_: object) -> None:
            """Tests read `requests` instead."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield HttpsServer(server.server_port, ssl.create_default_context(cafile=str(certificate)), requests)
    finally:
        server.shutdown()
        server.server_close()


def write_certificate(folder: Path) -> Path:
    """A key and a self-signed certificate for `HOST`, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return pem


def respond(
    request: BaseHTTPRequestHandler, body: bytes, status: int = 200, kind: str = "text/plain", **headers: str
) -> None:
    """A whole answer with its length."""
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body)
