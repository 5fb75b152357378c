"""The difficulty levels of a reasoning-gym task: the steps of its curriculum."""

from dataclasses import fields
from typing import Any

from k15_plugins.extras import optional_import

with optional_import():
    from reasoning_gym.coaching import RangeAttributeDefinition
    from reasoning_gym.coaching.base_curriculum import DefaultCurriculumContext, RangeAttributeMode
    from reasoning_gym.factory import DATASETS, create_curriculum, has_curriculum


def level_count(name: str) -> int:
    """Count the levels of a task's own curriculum.

    Args:
        name: Name of a reasoning-gym task.

    Returns:
        Number of levels; 1 for a task without a curriculum, whose only level is its default settings.
    """
    if not has_curriculum(name):
        return 1
    counts = []
    for attribute in create_curriculum(name).attributes.values():
        # A level of an interval attribute reaches from one value to the next, so the last value starts no level.
        interval = isinstance(attribute, RangeAttributeDefinition) and attribute.ensure_interval
        counts.append(max(1, len(attribute.levels) - interval))
    return max(counts, default=1)


def curriculum_settings(name: str, level: int) -> dict[str, Any]:
    """Return the settings of one level of a task's curriculum; none for a task without one.

    Args:
        name: Name of a reasoning-gym task.
        level: From 0.
    """
    if not has_curriculum(name):
        return {}
    curriculum = create_curriculum(name)
    curriculum.set_global_level(level)
    # UPPER_BOUND: just this level; reasoning-gym's default would be all levels up to it.
    config = curriculum.generate_configuration(context=DefaultCurriculumContext(mode=RangeAttributeMode.UPPER_BOUND))
    return {f.name: getattr(config, f.name) for f in fields(config) if f.name not in ("seed", "size")}


def differences(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that differ from the defaults: some scorers need them, and the entry stays short.

    Args:
        name: Name of a reasoning-gym task.
        settings: All of its settings.
    """
    defaults = DATASETS[name][1]()
    return {key: value for key, value in settings.items() if value != getattr(defaults, key)}
