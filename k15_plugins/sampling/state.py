"""What a saved state and the object that loads it must agree on."""

from typing import Any


def refuse_other_settings(saved: dict[str, Any], own: dict[str, Any]) -> None:
    """Refuse a state that was saved by an object built in another way.

    Args:
        saved: The settings found in the state.
        own: The settings of the object that is to load it.

    Raises:
        ValueError: If the two differ, naming the first setting that does.
    """
    for name in own | saved:
        if saved.get(name) != own.get(name):
            raise ValueError(
                f"{name} must be that of the saved state, {saved.get(name)!r}, got {own.get(name)!r}; build this "
                "object with the saved run's settings, or start without the saved state."
            )
