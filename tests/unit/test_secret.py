"""Key material shows nowhere: not printed, formatted, pickled, copied, encoded or quoted in an error."""

from __future__ import annotations

import copy
import pickle
import traceback

import msgspec
import pytest

from federation.kernel.secret import Secret
from federation.kernel.session import GroupShare, Keys

CANARY = b"canary-key-material-32-bytes-xx!"
SHOWN = CANARY.decode()


@pytest.mark.parametrize(
    "show", [repr, str, format, lambda s: f"{s}", lambda s: f"{s!r:>60}", lambda s: f"{s!s}", lambda s: f"{[s]} { ({'k': s}) }"]
)
def test_no_way_of_printing_shows_it(show: object) -> None:
    text = show(Secret(CANARY))  # type: ignore[operator]
    assert SHOWN not in text
    assert CANARY.hex() not in text


def test_control_the_bytes_themselves_do_show() -> None:
    assert SHOWN in repr(CANARY)
    assert SHOWN in repr(Secret(CANARY).reveal())


@pytest.mark.parametrize(
    "keep", [pickle.dumps, copy.copy, copy.deepcopy, msgspec.msgpack.encode, msgspec.json.encode, lambda s: msgspec.convert(s, bytes)]
)
def test_it_is_never_serialised_and_the_error_does_not_quote_it(keep: object) -> None:
    with pytest.raises((TypeError, msgspec.ValidationError)) as caught:
        keep(Secret(CANARY))  # type: ignore[operator]
    assert SHOWN not in "".join(traceback.format_exception(caught.value))


def test_a_traceback_with_local_variables_shows_none() -> None:
    key, keys, share = Secret(CANARY), Keys(CANARY, {}, CANARY), GroupShare(CANARY)
    with pytest.raises(ZeroDivisionError) as caught:
        _fails_beside(key, keys, share)
    text = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "Secret(32 bytes)" in text
    assert "Keys(" in text
    assert SHOWN not in text.replace(f"CANARY = {CANARY!r}", "")


def _fails_beside(*secrets: object) -> float:
    return len(secrets) / 0


def test_equal_only_to_a_secret_of_the_same_bytes() -> None:
    assert Secret(CANARY) == Secret(CANARY)
    assert hash(Secret(CANARY)) == hash(Secret(bytes(len(CANARY))))  # a hash that tells nothing but the length
    assert Secret(CANARY) != Secret(CANARY[:-1])
    assert Secret(CANARY) != CANARY


def test_it_has_no_attribute_to_add_or_dictionary_to_dump() -> None:
    with pytest.raises(AttributeError):
        Secret(CANARY).note = 1  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        vars(Secret(CANARY))
