"""From a node of the config to the object that it describes."""

from typing import Any

from hydra.utils import instantiate


def build(node: dict[str, Any], **given: Any) -> Any:
    """Build what a node describes, from plain dicts and lists (TRL writes its arguments as JSON).

    Args:
        node: A node with `_target_`.
        **given: Arguments that no config knows; one that the node has wins.
    """
    make = instantiate({**node, "_partial_": True}, _convert_="all")
    return make(**{key: value for key, value in given.items() if key not in node})
