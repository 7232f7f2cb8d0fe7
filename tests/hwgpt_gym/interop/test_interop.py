"""The package of bridges itself: it loads no library before one is needed, and says what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hwgpt_gym import interop


def test_importing_loads_no_library() -> None:
    code = (
        "import sys, hwgpt_gym.interop as i; i.to_configurations; i.ListInterface; i.suggest;"
        "libraries = {'ConfigSpace', 'optuna', 'pymoo', 'syne_tune', 'pandas', 'torch', 'matplotlib'};"
        "print(sorted(libraries & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("library", "name", "extra"),
    [("ConfigSpace", "to_configspace", "configspace"), ("syne_tune", "blackboxes", "syne-tune")],
)
def test_a_missing_library_is_named_with_its_extra(
    library: str, name: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    for module in [item for item in sys.modules if item.startswith(f"{library}.")]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"hwgpt_gym.interop.{extra.replace('-', '_')}", raising=False)
    with pytest.raises(ModuleNotFoundError, match=rf"{name} needs it, pip install 'hwgpt-gym\[{extra}\]'"):
        getattr(interop, name)


def test_names_are_those_that_are_there() -> None:
    assert sorted(name for names in interop._MODULES.values() for name in names) == interop.__all__
    with pytest.raises(AttributeError, match="no attribute 'to_nothing'"):
        interop.to_nothing  # noqa: B018
