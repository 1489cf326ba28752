"""Keys and signed checkpoints: read as Go's `sumdb/note` writes them, refused when a byte is another."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.audit.notes import body_of, parsed
from application.audit.ports import Forged
from domain.errors import Invalid
from infrastructure.audit_keys import PublicKeys, SigningKey, key_in, make_key_in
from infrastructure.auditing import public_key, signing_key
from infrastructure.settings import Settings, load_settings, redacted

AT = datetime(2026, 3, 3, 14, 3, tzinfo=UTC)
KEY = SigningKey.generate("kasal/test")
NOTE = KEY.sign(body_of("kasal/test", 1_024, bytes(range(32)), AT))

GO_PRIVATE = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_PUBLIC = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SIGNATURE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqf"
    "qdngotpRZb6KE6RyyBwJnAM="
)
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)


def test_keys_and_signatures_are_those_of_go() -> None:
    """The example of the documentation of golang.org/x/mod/sumdb/note."""
    key = SigningKey.parse(GO_PRIVATE)
    assert (key.public, key.private) == (GO_PUBLIC, GO_PRIVATE)
    assert key.sign(GO_TEXT) == f"{GO_TEXT}\n{GO_SIGNATURE}\n"


def test_a_checkpoint_is_read_back_as_it_was_signed() -> None:
    checkpoint = PublicKeys([KEY.public]).check(NOTE)
    assert (checkpoint.size, checkpoint.root, checkpoint.at) == (1_024, bytes(range(32)), AT)
    head, _, signature = NOTE.partition("\n\n")
    assert head.splitlines() == [
        "kasal/test",
        "1024",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "at 2026-03-03T14:03:00Z",
    ]
    assert signature.startswith("— kasal/test ")


def test_a_key_that_was_changed_is_believed_beside_the_new_one() -> None:
    newer = SigningKey.generate("kasal/test")
    note = newer.sign(body_of("kasal/test", 2_000, bytes(32), AT))
    both = PublicKeys([KEY.public, newer.public])
    assert (both.check(NOTE).size, both.check(note).size) == (1_024, 2_000)
    with pytest.raises(Forged):
        PublicKeys([KEY.public]).check(note)


@given(st.integers(0, len(NOTE) - 1), st.characters(exclude_characters="\r"))
def test_a_checkpoint_with_another_character_is_not_signed(at: int, character: str) -> None:
    changed = NOTE[:at] + character + NOTE[at + 1 :]
    if changed != NOTE:
        with pytest.raises((Forged, Invalid)):
            PublicKeys([KEY.public]).check(changed)


@pytest.mark.parametrize(
    "note",
    ["", "\n\n", "a\n1\nAAAA\n\n— a AAAA\n", NOTE.replace("1024", "-1"), NOTE[:-1], NOTE.replace("at ", "")],
)
def test_what_is_no_checkpoint_is_refused(note: str) -> None:
    with pytest.raises(Invalid):
        parsed(note)


@pytest.mark.parametrize(
    "text", ["", "x", GO_PRIVATE[:-1], GO_PRIVATE.replace("c74f20a3", "c74f20a4"), GO_PUBLIC]
)
def test_what_is_no_private_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(Invalid, match="KASAL_AUDIT_KEY") as refused:
        SigningKey.parse(text)
    assert "AYEKFALVFGyNhPJ" not in str(refused.value)


@pytest.mark.parametrize("text", ["", GO_PRIVATE, GO_PUBLIC.replace("c74f20a3", "c74f20a4"), GO_PUBLIC[:-4]])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="public key"):
        PublicKeys([text])


def test_a_data_folder_keeps_its_key_to_its_owner(tmp_path: Path) -> None:
    assert key_in(tmp_path) is None
    made = make_key_in(tmp_path)
    assert make_key_in(tmp_path).private == made.private
    assert stat.S_IMODE((tmp_path / "audit.key").stat().st_mode) == 0o600
    assert (tmp_path / "audit.pub").read_text(encoding="utf-8").strip() == made.public


def test_the_key_of_the_settings_goes_before_the_one_of_the_folder(tmp_path: Path) -> None:
    make_key_in(tmp_path)
    file = tmp_path / "secret"
    file.write_text(f"{GO_PRIVATE}\n", encoding="utf-8")
    settings = load_settings({"KASAL_AUDIT_KEY_FILE": str(file), "KASAL_DATA_DIR": str(tmp_path)})
    found = signing_key(settings)
    assert found is not None
    assert found.public == GO_PUBLIC
    assert redacted(settings)["KASAL_AUDIT_KEY"] == "********"
    assert signing_key(Settings(data_dir=tmp_path / "elsewhere")) is None
    with pytest.raises(Invalid, match="KASAL_AUDIT_KEY"):
        load_settings({"KASAL_AUDIT_KEY": "secret"})


def test_a_process_without_the_private_key_knows_the_public_one_from_its_setting(tmp_path: Path) -> None:
    alone = load_settings({"KASAL_AUDIT_PUBLIC_KEY": GO_PUBLIC, "KASAL_DATA_DIR": str(tmp_path)})
    assert signing_key(alone) is None
    assert public_key(alone) == GO_PUBLIC
    assert public_key(Settings(audit_key=GO_PRIVATE, audit_public_key=GO_PUBLIC)) == GO_PUBLIC


def test_a_public_key_that_is_damaged_or_of_another_key_is_refused(tmp_path: Path) -> None:
    damaged = GO_PUBLIC.replace("c74f20a3", "c74f20a4")
    with pytest.raises(Invalid, match="KASAL_AUDIT_PUBLIC_KEY: expected a public key"):
        public_key(Settings(data_dir=tmp_path, audit_public_key=damaged))
    make_key_in(tmp_path)
    with pytest.raises(Invalid, match=r"KASAL_AUDIT_PUBLIC_KEY: expected .*that of the private key"):
        public_key(Settings(data_dir=tmp_path, audit_public_key=GO_PUBLIC))
    with pytest.raises(Invalid, match="KASAL_AUDIT_PUBLIC_KEY"):
        load_settings({"KASAL_AUDIT_PUBLIC_KEY": GO_PRIVATE})
