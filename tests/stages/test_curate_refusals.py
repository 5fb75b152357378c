"""What the stage that curates refuses before a model is loaded."""

import pytest
from stages.test_curate import BAD, SMALL, call, prepared, write

from k15_plugins.runs.before import check_before_stage
from k15_plugins.stages import curate as stage

WORDS = ("task=jsonl", "task.path={place}/words.jsonl", "task.held_out=null")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            WORDS,
            r"the filter 'can be verified' must leave problems, got 0 of 3 \(1 .*\); set stage\.rules\.exclude=false",
        ),
        (
            (*SMALL, "stage.benchmarks={gsm8k: nowhere.jsonl}"),
            r"stage\.benchmarks\.gsm8k=nowhere\.jsonl does not exist",
        ),
        ((*SMALL, "stage.benchmarks={gsm9k: nowhere.jsonl}"), r"name must be a benchmark, got 'gsm9k' \(did you mean"),
        ((*SMALL, "stage.benchmarks=[a]"), r"stage\.benchmarks"),
        ((*SMALL, "stage.rules.guesses=0"), r"guesses must be 1 or more, got 0"),
        ((*SMALL, "stage.rules.samples=null"), r"stage\.rules\.samples must be .*, got None"),
        ((*SMALL, "stage.rules.duplicates=1.5"), r"duplicates must be above 0 and at most 1, got 1\.5"),
        ((*SMALL, "+stage.rules.sample=3"), r"unknown key stage\.rules\.sample: did you mean stage\.rules\.samples"),
        ((*SMALL, "stage.guess.temperature=0"), r"temperature must be above 0, got 0"),
        ((*SMALL, "stage.guess.model=nowhere/of/all"), r"stage\.guess\.model must be the folder of a model or a name"),
        ((*SMALL, "stage.batch_size=0"), r"stage\.batch_size must be a whole number from 1, got 0"),
        (
            (*SMALL, "stage.rules.max_domain_share=0.4"),
            r"stage\.rules\.max_domain_share must be at least 1/1 \(1 by the number of domains\), got 0\.4",
        ),
        (
            ("task=short_functions", "reward=code"),
            r"task \(short_functions\) must give problems in text with the column",
        ),
        ((*SMALL, "metric=accuracy"), r"metric must be a figure that the run writes, got accuracy"),
    ],
)
def test_a_wrong_config_is_refused_before_a_model_is_loaded(words, told, tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "build_model", lambda *_: pytest.fail("a model was loaded"))
    write(tmp_path / "words.jsonl", BAD[:3])
    filled = [word.replace("{place}", str(tmp_path)) for word in words]
    with pytest.raises(ValueError, match=told) as error:  # noqa: PT012 - whichever of them comes first
        check_before_stage(prepared(*filled), tmp_path)
        call(tmp_path, *filled)
    assert len(str(error.value).splitlines()) == 1


def test_a_sharded_model_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(stage, "wants_fsdp", lambda: True)
    with pytest.raises(ValueError, match="backend=fsdp shards the model, and sampling needs it whole"):
        call(tmp_path, *SMALL)
