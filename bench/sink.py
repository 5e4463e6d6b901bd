"""A provider that takes everything: a bare HTTP server in a process of its own, which answers 202 at once or late.

With a certificate it speaks TLS, as every real provider does.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_NUMBERS = itertools.count(1)


class Taker(asyncio.Protocol):
    """One connection: reads requests by their Content-Length, one after the other, and never looks inside."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.kept = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.kept += data
        while (head := self.kept.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self.kept, 0, head + 2)
            end = head + 4 + (int(length[1]) if length else 0)
            if len(self.kept) < end:
                return
            self.kept = self.kept[end:]
            asyncio.get_running_loop().call_later(self.delay, self.answer) if self.delay else self.answer()

    def answer(self) -> None:
        if not self.transport.is_closing():
            number = b"%022d" % next(_NUMBERS)
            self.transport.write(  # type: ignore[attr-defined]
                b"HTTP/1.1 202 Accepted\r\nX-Message-Id: " + number + b"\r\nContent-Length: 0\r\n\r\n"
            )


async def serve(delay: float, certificate: str | None) -> None:
    tls = None
    if certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Taker(delay), "127.0.0.1", 0, backlog=1024, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def certificate(folder: Path) -> Path:
    """Write a key and a self-signed certificate for 127.0.0.1 into one file, and return it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = folder / "sink.pem"
    path.write_bytes(secret + made.public_bytes(Encoding.PEM))
    return path


@contextmanager
def sink(delay: float, tls: Path | None = None) -> Iterator[str]:
    """Run a sink that answers after so many seconds, and yield its address."""
    command = [sys.executable, __file__, str(delay), *([str(tls)] if tls else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    uvloop.run(serve(float(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
