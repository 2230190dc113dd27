"""Who a client is: its key, its certificate, and the authority it trusts, kept in its state directory.

Enrolment trusts nothing but the fingerprint in the token. Not here: keys in hardware, and revocation of the coordinator.
"""

import hashlib
import os
import socket
import ssl
import time
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PEM = serialization.Encoding.PEM


class Untrusted(Exception):
    """What answers is not the coordinator that the token names."""


def write_durably(path, data):
    """Replaces a file whole, readable by its owner only: after a crash it is the old one or the new one."""
    partial = path.with_name(path.name + ".partial")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


class Identity:
    """An enrolled device."""

    def __init__(self, state):
        self.path = Path(state, "identity.pem")
        pem = self.path.read_bytes()
        self.key = serialization.load_pem_private_key(pem, password=None)
        self.certificate, self.authority = x509.load_pem_x509_certificates(pem)

    @staticmethod
    def exists(state):
        return Path(state, "identity.pem").exists()

    @staticmethod
    def enrol(state, server, token, stub_class, request_class):
        """Exchanges a one-time token for an identity."""
        parts = token.strip().split(".")
        if len(parts) != 3 or parts[0] != "nibble1":
            raise Untrusted("not a token that this client understands")
        authority = authority_of(server, fingerprint=parts[2])
        key = ec.generate_private_key(ec.SECP256R1())
        with grpc.secure_channel(server, grpc.ssl_channel_credentials(authority.public_bytes(PEM))) as channel:
            request = request_class(token=token.strip(), csr_der=signing_request(key))
            answer = stub_class(channel).Enrol(request, timeout=30)
        Identity._keep(Path(state, "identity.pem"), key, answer.certificate)
        return Identity(state)

    def renew_when_due(self, channel, stub_class, request_class):
        """Gets a new certificate when a third of the time is left; says whether it did."""
        begins, ends = self.certificate.not_valid_before_utc.timestamp(), self.certificate.not_valid_after_utc.timestamp()
        if ends - time.time() > (ends - begins) / 3:
            return False
        answer = stub_class(channel).Renew(request_class(csr_der=signing_request(self.key)), timeout=30)
        Identity._keep(self.path, self.key, answer.certificate)
        self.__init__(self.path.parent)
        return True

    def channel(self, server):
        authority, certificate = self.authority.public_bytes(PEM), self.certificate.public_bytes(PEM)
        return grpc.secure_channel(server, grpc.ssl_channel_credentials(authority, _key_pem(self.key), certificate))

    def sign(self, message):
        return self.key.sign(message, ec.ECDSA(hashes.SHA256()))

    @staticmethod
    def _keep(path, key, certificate):
        # One file, so that no crash leaves a key beside the certificate of another.
        chain = [x509.load_der_x509_certificate(der).public_bytes(PEM) for der in (certificate.der, certificate.authority_der)]
        write_durably(path, _key_pem(key) + b"".join(chain))


def signing_request(key):
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


def authority_of(server, fingerprint):
    """The authority with this fingerprint, from the chain that the server shows.

    The first certificate of the chain must be signed by it. That it is good for the server's name, gRPC checks itself on
    every connection.
    """
    host, port = server.rsplit(":", 1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection((host.strip("[]"), int(port)), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname=host.strip("[]")) as tls:
            chain = [x509.load_der_x509_certificate(der) for der in _shown_chain(tls)]
    for authority in chain:
        if hashlib.sha256(authority.public_bytes(serialization.Encoding.DER)).hexdigest() == fingerprint:
            try:
                chain[0].verify_directly_issued_by(authority)
            except (ValueError, TypeError, InvalidSignature) as error:
                raise Untrusted("the server's certificate is not signed by the authority that the token names") from error
            return authority
    raise Untrusted("the server does not show the authority that the token names")


def _shown_chain(tls):
    if hasattr(tls, "get_unverified_chain"):
        return tls.get_unverified_chain()
    # Python has the method since 3.13 and what it calls since 3.10.
    return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in tls._sslobj.get_unverified_chain()]


def _key_pem(key):
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
