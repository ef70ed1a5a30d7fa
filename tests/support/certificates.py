"""Certificates for the tests of TLS, valid from 2020 to 2120, and what wraps them for a server.

Made for these tests alone by an authority that nobody trusts: AUTHORITY signed GOOD (the names
`provider.test` and `localhost`, the address 127.0.0.1) and EXPIRED (over since 2021).
"""

from __future__ import annotations

import ssl
from pathlib import Path

AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBbzCCARSgAwIBAgICEAEwCgYIKoZIzj0EAwIwHTEbMBkGA1UEAwwSZW1yIHRl
c3QgYXV0aG9yaXR5MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAd
MRswGQYDVQQDDBJlbXIgdGVzdCBhdXRob3JpdHkwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARJ2rhTcbZPfWjrOEcTKiSmin+XCcpp0wmYSmiNeRMFjRLhEI2FACma
YsfatuxHYIc1RFWuodgPTzaXr1Y0urboo0IwQDAPBgNVHRMBAf8EBTADAQH/MA4G
A1UdDwEB/wQEAwICBDAdBgNVHQ4EFgQUF2qZ+l5mZcP/9wuwS/HNFJidBmcwCgYI
KoZIzj0EAwIDSQAwRgIhAONOPlV9E0aR+uJ4H96a4y0NZPOrdoi9FuljKXVIND9n
AiEAr/Mq5CC4TbFKgpXwOr2UGRkL932nlX+Ju7u8gt4M6/I=
-----END CERTIFICATE-----
"""

GOOD = """\
-----BEGIN CERTIFICATE-----
MIIBtjCCAV2gAwIBAgICEAIwCgYIKoZIzj0EAwIwHTEbMBkGA1UEAwwSZW1yIHRl
c3QgYXV0aG9yaXR5MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAP
MQ0wCwYDVQQDDARnb29kMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEKl7nkhc1
Ulf120G56O9Wtb8x51Kl2cmYTTc63+BIhntHTombLZD6cjU6KJVS41KjtZRiSnwm
OkkqDcJcfC+nd6OBmDCBlTApBgNVHREEIjAggg1wcm92aWRlci50ZXN0gglsb2Nh
bGhvc3SHBH8AAAEwCQYDVR0TBAIwADAdBgNVHSUEFjAUBggrBgEFBQcDAQYIKwYB
BQUHAwIwHQYDVR0OBBYEFJG6RKgRB9CrLTe2Z5RXMCTKIekHMB8GA1UdIwQYMBaA
FBdqmfpeZmXD//cLsEvxzRSYnQZnMAoGCCqGSM49BAMCA0cAMEQCIBKwmgz3BBek
OZXCTg7u/cv66zMsENaTfr/74d7ctL0gAiAzgGRRcPKVXl43vsUAAuYHt0bIH1c/
JhoMy7+RKLQeqQ==
-----END CERTIFICATE-----
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIK1/74yPVXu4GO1m/3HmQMq4IqYzTlikJrapXzNEwcxkoAoGCCqGSM49
AwEHoUQDQgAEKl7nkhc1Ulf120G56O9Wtb8x51Kl2cmYTTc63+BIhntHTombLZD6
cjU6KJVS41KjtZRiSnwmOkkqDcJcfC+ndw==
-----END EC PRIVATE KEY-----
"""

EXPIRED = """\
-----BEGIN CERTIFICATE-----
MIIBuDCCAV6gAwIBAgICEAMwCgYIKoZIzj0EAwIwHTEbMBkGA1UEAwwSZW1yIHRl
c3QgYXV0aG9yaXR5MB4XDTIwMDEwMTAwMDAwMFoXDTIxMDEwMTAwMDAwMFowEjEQ
MA4GA1UEAwwHZXhwaXJlZDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABJsQ2GyD
YtY12ixkMtfksxteNL2RQk0QRYfKPPJ6Gg8lzgs9DwbFf0lSjMn7aQ+WSnmjwNMd
geKikFa28mPB0wKjgZgwgZUwKQYDVR0RBCIwIIINcHJvdmlkZXIudGVzdIIJbG9j
YWxob3N0hwR/AAABMAkGA1UdEwQCMAAwHQYDVR0lBBYwFAYIKwYBBQUHAwEGCCsG
AQUFBwMCMB0GA1UdDgQWBBSEFdqhrmlY7wSZfwXDlpQZpMyuPjAfBgNVHSMEGDAW
gBQXapn6XmZlw//3C7BL8c0UmJ0GZzAKBggqhkjOPQQDAgNIADBFAiBfjYbBEpJR
NBPPQ0lMCE57+EvYwslP6XNHG8Nngh6YJQIhAPlIw5lauuOw936ahwJx+m5ibkwL
dyilZpfx2lG48t8x
-----END CERTIFICATE-----
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIGD1cqtg6Y7A+6ijUvET7+EaK8xeJ4Ano5b2MN3tmDaKoAoGCCqGSM49
AwEHoUQDQgAEmxDYbINi1jXaLGQy1+SzG140vZFCTRBFh8o88noaDyXOCz0PBsV/
SVKMyftpD5ZKeaPA0x2B4qKQVrbyY8HTAg==
-----END EC PRIVATE KEY-----
"""


def server_context(certificate: str, folder: Path) -> ssl.SSLContext:
    """A context for a server that shows `certificate`; `folder` is for a passing file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    path = folder / "certificate.pem"
    path.write_text(certificate)
    context.load_cert_chain(path)
    path.unlink()
    return context


def client_context() -> ssl.SSLContext:
    """A context for a client that trusts AUTHORITY and nobody else."""
    return ssl.create_default_context(cadata=AUTHORITY)
