"""Where the Hydra groups are: at the top of a checkout, and inside of an installed package."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
CONF = next(place for place in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if place.is_dir())
