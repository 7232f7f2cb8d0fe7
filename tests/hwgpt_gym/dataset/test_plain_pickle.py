"""The unpickler admits plain data, refuses everything else by name, and executes nothing."""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwgpt_gym.dataset.plain_pickle import PlainUnpickler, UnsafePickleError, load_plain_pickle


class Calls:
    """Pickles as a call of a function, as an attacker writes it."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def load(content: bytes) -> Any:
    return PlainUnpickler(io.BytesIO(content)).load()


PLAIN: list[Any] = [
    None,
    True,
    10**30,
    2.5,
    "text",
    b"bytes\xff",
    b"",
    1 + 2j,
    [1, (2, "x"), {"k": [3.0]}],
    {1, 2},
    frozenset({3}),
    OrderedDict(a=1),
    np.float64(0.1),
    np.float32(0.1),
    np.int64(-7),
    np.bool_(True),
    np.str_("name"),
    np.arange(6).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.array(["ab", "c"]),
    np.array(2.0),
    np.zeros((0, 3), dtype=np.float32),
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_data_is_admitted(value: Any, protocol: int) -> None:
    loaded = load(pickle.dumps({"value": value}, protocol))["value"]
    if isinstance(value, np.ndarray):
        assert loaded.dtype == value.dtype
        np.testing.assert_array_equal(loaded, value)
    else:
        assert type(loaded) is type(value)
        assert loaded == value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("nest", [lambda x: x, lambda x: [{"arch": (1, x)}], lambda x: {"a": np.float64(1), "b": x}])
def test_code_is_refused_by_name_and_not_run(tmp_path: Path, protocol: int, nest: Callable[[Any], Any]) -> None:
    marker = tmp_path / "executed"
    attacks = {
        f"{os.system.__module__}.system": Calls(os.system, f"touch {marker}"),
        "eval": Calls(eval, f"open({str(marker)!r}, 'w')"),
        "exec": Calls(exec, f"open({str(marker)!r}, 'w')"),
        "getattr": Calls(getattr, marker, "touch"),
        "open": Calls(open, str(marker), "w"),
        "Calls": Calls,
    }
    for name, attack in attacks.items():
        file = tmp_path / "attack.pkl"
        file.write_bytes(pickle.dumps(nest(attack), protocol))
        with pytest.raises(UnsafePickleError, match=rf"attack\.pkl: refused \S*{name}"):
            load_plain_pickle(file)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"cos\nsystem\n(S'touch executed'\ntR.", "os.system"),
        (b"cposix\nsystem\n(S'touch executed'\ntR.", "posix.system"),
        (b"c__builtin__\neval\n(S'1'\ntR.", "__builtin__.eval"),
        (b"(S'touch executed'\nios\nsystem\n.", "os.system"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0bf2py.os.sys\x93.", "numpy.f2py.os.sys"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0fdtype.__class__\x93.", "numpy.dtype.__class__"),
        (b"cnumpy.testing._private.utils\nrunstring\n.", "numpy.testing._private.utils.runstring"),
        (b"cnumpy\nload\n(S'file'\ntR.", "numpy.load"),
        (b"cnumpy\nfromfile\n(S'file'\ntR.", "numpy.fromfile"),
        (b"cnumpy\nmemmap\n(S'file'\ntR.", "numpy.memmap"),
        (b"cnumpy.core.records\nfromfile\n.", "numpy.core.records.fromfile"),
        (b"c_codecs\ndecode\n.", "_codecs.decode"),
        (b"ccopyreg\n_reconstructor\n.", "copyreg._reconstructor"),
        (b"ccollections\ndefaultdict\n.", "collections.defaultdict"),
        (b"Pidentity\n.", "the persistent object 'identity'"),
    ],
)
def test_hand_made_attack(content: bytes, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsafePickleError, match=f"refused {name}"):
        load(content)
    assert not list(tmp_path.iterdir())


DTYPE = b"cnumpy\ndtype\n(V%b\nI0\nI1\ntR"
FLOAT64 = DTYPE % b"f8" + b"(I3\nV<\nNNNI-1\nI-1\nI0\ntb"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(DTYPE % b"O8" + b".", r"numpy\.dtype\('O8'\)", id="dtype of objects"),
        pytest.param(DTYPE % b"V8" + b".", r"numpy\.dtype\('V8'\)", id="dtype of anything"),
        pytest.param(DTYPE % b"f8,O" + b".", r"numpy\.dtype\('f8,O'\)", id="dtype with fields"),
        pytest.param(
            DTYPE % b"f8" + b"(I3\nV|\nN(Va\nt}Va\n(cnumpy\ndtype\nI0\ntsI8\nI1\nI0\ntb.", "dtype state", id="fields"
        ),
        pytest.param(b"cnumpy\ndtype\n(]tR.", r"numpy\.dtype\(\[\]\)", id="dtype of a list"),
        pytest.param(
            b"cnumpy.core.multiarray\nscalar\n(Vf8\nVx\ntR.",
            "array of str: only plain dtypes",
            id="scalar without dtype",
        ),
        pytest.param(
            b"cnumpy.core.multiarray\nscalar\n(" + FLOAT64 + b"]tR.",
            "array data of type list",
            id="scalar of an object",
        ),
        pytest.param(
            b"cnumpy.core.multiarray\nscalar\n(" + FLOAT64 + b"c_codecs\nencode\n(Vabc\nVlatin1\ntRtR.",
            r"shape \(\), 'C' and 3 bytes",
            id="scalar of too few bytes",
        ),
        pytest.param(
            b"cnumpy.core.multiarray\n_reconstruct\n(c__builtin__\nset\n(I0\nt]tR.",
            r"anything but numpy\.ndarray",
            id="reconstruct another class",
        ),
        pytest.param(
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR(I1\n(I2\nt" + FLOAT64 + b"I00\n]tb.",
            "array data of type list",
            id="array of objects",
        ),
        pytest.param(b"cnumpy\nndarray\n(I9\ntR.", r"call numpy\.ndarray", id="call ndarray"),
        pytest.param(b"c_codecs\nencode\n(Vx\nVbz2\ntR.", "encoding 'bz2': only latin1", id="another codec"),
        pytest.param(b"c__builtin__\nbytes\n(I99999999999\ntR.", "bytes with arguments", id="huge bytes"),
        pytest.param(b"cnumpy\ndtype\n}V__code__\nI1\nsb.", "change a function", id="change a function"),
    ],
)
def test_numpy_gadgets_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(UnsafePickleError, match=f"refused .*{message}"):
        load(content)


def test_object_arrays_are_refused() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(UnsafePickleError, match="refused"):
            load(pickle.dumps(np.array([print, None], dtype=object), protocol))


@pytest.mark.parametrize("content", [b"", b"\x80\x02]", b"not a pickle", b"\x80\x04\x95\xff", b"\x80\x02cos"])
def test_damaged_file(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "damaged.pkl"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged\.pkl: "):
        load_plain_pickle(file)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_plain_pickle(tmp_path / "missing.pkl")
