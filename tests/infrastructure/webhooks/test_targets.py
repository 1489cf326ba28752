"""Which URLs a webhook may have."""

from __future__ import annotations

import pytest

from domain.errors import Invalid
from infrastructure.webhooks.targets import target_of

PRIVATE = [
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://10.1.2.3/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data",
    "https://100.64.0.1/",
    "https://0.0.0.0/",
    "https://255.255.255.255/",
    "https://[::1]/",
    "https://[::ffff:10.0.0.1]/",
    "https://[fd00::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[64:ff9b::a00:1]/",
    "https://[2002:a00:1::]/",
    "https://localhost/",
    "https://LOCALHOST./",
    "https://a.localhost/",
    "https://db.internal/",
    "https://printer.local/",
]


@pytest.mark.parametrize("url", PRIVATE)
def test_private_hosts_are_refused(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        target_of(url, ())
    assert refused.value.faults[0].pointer == "/url"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "https:///path",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://example.com/#part",
        "https://example.com:99999/",
        "https://[::1/",
        "example.com",
    ],
)
def test_what_is_no_plain_https_url_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        target_of(url, ())


def test_public_hosts_are_taken() -> None:
    assert target_of("https://example.com/hook?a=b", ()) == ("example.com", 443, False)
    assert target_of("https://93.184.216.34:8443/", ()) == ("93.184.216.34", 8443, False)
    assert target_of("https://[2606:2800::1]/", ()) == ("2606:2800::1", 443, False)


def test_hosts_that_the_installation_names_may_be_private_and_plain() -> None:
    assert target_of("http://127.0.0.1:9000/", ("127.0.0.1:9000",)) == ("127.0.0.1", 9000, True)
    assert target_of("http://hooks.internal/", ("hooks.internal",)) == ("hooks.internal", 80, True)
    with pytest.raises(Invalid):
        target_of("http://127.0.0.1:9001/", ("127.0.0.1:9000",))
