"""All devices that there are: the shipped ones, and those that were measured by their users.

A device is named in one of three ways: a shipped one by its name, whatever the case; one of the user's by the path of
its profile, which ends in ``.safetensors`` or has a separator in it; or by the name under which it is registered.
Registered profiles are files of one folder, so that a name means the same in every process of the user.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hwgpt_gym.checks import check_type, echo, suggest
from hwgpt_gym.devices import DEVICES, Device, ProfilingConditions
from hwgpt_gym.search_space import get_search_space

if TYPE_CHECKING:
    from hwgpt_gym.onboarding.profile import DeviceProfile

FOLDER_VARIABLE: Final = "HWGPT_DEVICES"
"""The environment variable that names the folder of registered profiles."""

SUFFIX: Final = ".safetensors"
DEFAULT_SCALE: Final = "s"


_LOADED: Final[dict[str, ProfiledDevice]] = {}
"""The devices whose profiles this process has seen, by content: files that name one of them need no registration."""


@dataclass(frozen=True)
class ProfiledDevice(Device):
    """A device that was measured by its user.

    Attributes:
        content: The SHA-256 of its profile: two devices of one name differ in it.
        reference: What names it in another process: the absolute path of its profile, or its registered name.
        profile: Its profile.
    """

    content: str
    reference: str = field(compare=False)
    profile: DeviceProfile = field(compare=False, repr=False)

    def conditions(self, metric: str, scale: str) -> ProfilingConditions:
        """Return the conditions under which a metric was measured.

        Raises:
            ValueError: If it was not measured at that scale.
        """
        own = self.profile.scales.get(get_search_space(scale).scale)
        if own is None or metric not in own.metrics:
            raise ValueError(f"{metric!r} of the device {self.name!r} was not measured at scale {scale!r}")
        conditions, clock = own.conditions, own.metrics[metric].clock
        parts = (
            conditions.workload,
            f"{conditions.backend} {conditions.backend_version}".strip(),
            clock and f"{clock} time",
        )
        return ProfilingConditions(
            conditions.batch_size,
            conditions.sequence_length,
            conditions.precision,
            None,
            ", ".join(part for part in parts if part),
        )

    @property
    def metrics(self) -> dict[str, tuple[str, ...]]:
        """What is known of it: the metrics by scale."""
        return {scale: tuple(own.metrics) for scale, own in self.profile.scales.items()}


def get_device(device: str | os.PathLike[str] | Device | DeviceProfile) -> Device:
    """Return a device.

    Args:
        device: A shipped device's name, whatever the case; a registered one's; the path of a profile; a profile; or a
            device, which is returned.

    Raises:
        FileNotFoundError: If a path leads nowhere.
        ValueError: If there is no such device, or a profile is not legal; the message says why.
    """
    if isinstance(device, Device):
        return device
    if isinstance(device, os.PathLike) or (isinstance(device, str) and is_path(device)):
        return load_device(device)
    if not isinstance(device, str):
        return _profiled(device)
    if device.lower() in DEVICES:
        return DEVICES[device.lower()]
    path = devices_folder() / f"{device}{SUFFIX}"
    if not path.is_file():
        legal = [*DEVICES, *registered_devices()]
        raise ValueError(f"unknown device {echo(device)}: {suggest(device, legal)}, and paths that end in {SUFFIX!r}")
    found = _read(str(path), *_signature(path))
    if found.name != device:
        raise ValueError(f"{path} should be the device {device!r}, but its name is {found.name!r}")
    return _named(found, device)


def load_device(path: str | os.PathLike[str]) -> ProfiledDevice:
    """Load the profile of a device, as ``hwgpt-gym profile fit`` writes it; nothing in it is executed.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is damaged, no profile, or one of another version.

    Example:
        >>> load_device("mine.safetensors")  # doctest: +SKIP
    """
    file = Path(check_type("path", path, str | os.PathLike, "the path of a profile")).absolute()
    if not file.is_file():
        raise FileNotFoundError(f"there is no device profile at {path}")
    return _named(_read(str(file), *_signature(file)), str(file))


def register_device(
    device: str | os.PathLike[str] | DeviceProfile | ProfiledDevice, *, replace: bool = False
) -> ProfiledDevice:
    """Copy a profile into the folder of registered devices: from then on its name is enough, in every process.

    Args:
        device: The path of a profile, or a profile.
        replace: Whether another profile of the same name gives way to it.

    Raises:
        FileNotFoundError: If a path leads nowhere.
        ValueError: If it is no profile, or another one of its name is registered.
    """
    found = get_device(load_device(device) if isinstance(device, str) else device)
    if not isinstance(found, ProfiledDevice):
        raise ValueError(f"device must be a profile or the path of one, got {device!r}")
    path = devices_folder() / f"{found.name}{SUFFIX}"
    if path.is_file() and not replace:
        known = _read(str(path), *_signature(path))
        if known.content != found.content:
            raise ValueError(
                f"another device of the name {found.name!r} is registered, of the content {known.content[:16]} and not "
                f"{found.content[:16]}: give it another name, or say replace=True"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    found.profile.save(path)
    return _named(found, found.name)


def registered_devices() -> tuple[str, ...]:
    """Return the names of the registered devices."""
    folder = devices_folder()
    return tuple(sorted(path.stem for path in folder.glob(f"*{SUFFIX}"))) if folder.is_dir() else ()


def devices_folder() -> Path:
    """Return the folder of registered devices: that of ``HWGPT_DEVICES``, else one in the user's data directory."""
    from platformdirs import user_data_path

    value = os.environ.get(FOLDER_VARIABLE)
    return Path(value) if value else user_data_path("hwgpt-gym", appauthor=False) / "devices"


def is_path(device: str) -> bool:
    """Whether a string is the path of a profile and not a name."""
    return device.endswith(SUFFIX) or any(separator in device for separator in ("/", os.sep, os.altsep or os.sep))


def reference_of(device: Device) -> str:
    """Return what names a device in another process.

    Raises:
        ValueError: If nothing does: a profile that is neither saved nor registered.
    """
    reference = device.reference if isinstance(device, ProfiledDevice) else device.name
    if not reference:
        raise ValueError(f"the profile of {device.name!r} must be saved or registered first: give its path or its name")
    return reference


def content_of(device: Device) -> str:
    """Return the SHA-256 of a device's profile; empty for a shipped device."""
    return device.content if isinstance(device, ProfiledDevice) else ""


def find_device(device: str, content: str) -> Device:
    """Return the device that a file names, and no other one of its name.

    Args:
        device: A name, or the path of a profile.
        content: The SHA-256 of its profile as the file says; empty for a shipped device.

    Raises:
        FileNotFoundError: If a path leads nowhere.
        ValueError: If there is no such device, or the one of this name is another one.
    """
    if content in _LOADED:
        return _LOADED[content]
    try:
        found = get_device(device)
    except ValueError as error:
        raise ValueError(
            f"{error}; a profile that is not registered has to be loaded (--device PATH) or registered first"
        ) from error
    if content_of(found) != content:
        kinds = [f"the profile {item[:16]}" if item else "the shipped device" for item in (content, content_of(found))]
        raise ValueError(f"the device {device!r} that is meant is {kinds[0]}, but {kinds[1]} has that name here")
    return found


def default_scale(devices: Sequence[Device]) -> str:
    """Return the scale where none is said: that of the profiles among devices, if they hold one and the same."""
    scales = {scale for device in devices if isinstance(device, ProfiledDevice) for scale in device.metrics}
    return scales.pop() if len(scales) == 1 else DEFAULT_SCALE


def _profiled(profile: DeviceProfile) -> ProfiledDevice:
    """Make the device of a profile."""
    from hwgpt_gym.onboarding.profile import DeviceProfile

    if not isinstance(profile, DeviceProfile):
        raise ValueError(f"device must be a name, a path, a device or a profile, got {echo(profile)}")
    conditions = next(iter(profile.scales.values())).conditions
    kind = "gpu" if conditions.target.startswith("cuda") else "cpu"
    precision = conditions.precision
    own = ProfiledDevice(profile.name, profile.label, kind, precision, profile.content_hash, "", profile)  # type: ignore[arg-type]
    _LOADED.setdefault(own.content, own)
    return own


def _named(device: ProfiledDevice, reference: str) -> ProfiledDevice:
    own = (device.name, device.label, device.kind, device.precision, device.content)
    return ProfiledDevice(*own, reference, device.profile)


def _signature(path: Path) -> tuple[int, int]:
    """Return what changes when a file does."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=64)
def _read(path: str, modified: int, size: int) -> ProfiledDevice:
    """Read a profile; once for each state of its file."""
    from hwgpt_gym.onboarding.profile import load_profile

    return _profiled(load_profile(path))
