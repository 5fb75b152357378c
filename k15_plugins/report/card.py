"""The model cards of a run: README.md beside its checkpoints and in its model's folder."""

from pathlib import Path
from typing import Any

import yaml
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from k15_plugins.report.describe import recipe_of, what_was_done

_CARD = """\
---
library_name: transformers
tags: [trl, k15-plugins]
---

# {model}

{sentence}

The recipe is `{recipe}`. The whole config is in [config.yaml](../config.yaml), curves and answers to read are in
[report.html](../report.html).

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{path}")
tokenizer = AutoTokenizer.from_pretrained("{path}")
```
"""


def write_cards(run_dir: Path) -> None:
    """Write the card of a run's checkpoints, and that of its model where it is there already.

    Args:
        run_dir: The run's folder, with a `config.yaml` in it.
    """
    config = yaml.safe_load((run_dir / "config.yaml").read_text())
    recipe, sentence = recipe_of(run_dir), what_was_done(config, run_dir)
    for name, path in (("checkpoints", f"{run_dir}/checkpoints/checkpoint-STEP"), ("model", f"{run_dir}/model")):
        if (run_dir / name).is_dir():
            title = f"{'Checkpoints' if name == 'checkpoints' else 'Model'} of {recipe}, {run_dir.resolve().name}"
            card = _CARD.format(model=title, sentence=sentence, recipe=recipe, path=path)
            (run_dir / name / "README.md").write_text(card, encoding="utf-8")


class CardWriter(TrainerCallback):
    """Writes the card beside the checkpoints of a run in place of TRL's, which names neither model nor recipe.

    Args:
        run_dir: The run's folder, with a `config.yaml` in it.
    """

    def __init__(self, run_dir: Path):
        self.run_dir = run_dir

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write the card; the trainer has just written its own."""
        if state.is_world_process_zero:
            write_cards(self.run_dir)
