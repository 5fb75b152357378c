import json

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from k15_plugins.rewards import CodeReward
from k15_plugins.stages.train_on_programs import train_on_programs
from k15_plugins.tasks.short_functions import short_functions

CHAT = "{% for m in messages %}{{ m['content'] + '<eos>' }}{% endfor %}"


def byte_tokenizer() -> PreTrainedTokenizerFast:
    signs = ["<pad>", "<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({sign: number for number, sign in enumerate(signs)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", padding_side="left", chat_template=CHAT
    )


def start(folder, steps):
    train = short_functions(held_out=0.1).train
    train = train.select([len(train) - 1])
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=2,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    sft = {"per_device_train_batch_size": 1, "learning_rate": 5e-3, "use_cpu": True, "bf16": False}
    sft |= {"disable_tqdm": True, "report_to": "none"}
    options = {"examples": steps, "max_new_tokens": 80, "evaluation_batch_size": 4, "sft": sft}
    # Measured on what it has seen: so small a model learns one program by heart.
    return train_on_programs(model, tokenizer, train, train, str(folder), CodeReward(), **options), model


def test_a_model_learns_a_program_and_is_saved_with_how_it_was_made(tmp_path):
    result, model = start(tmp_path, steps=120)
    assert result["before"]["accuracy"] == 0
    assert result["before"]["truncated_share"] == 1
    assert result["after"]["accuracy"] == 1
    assert result["after"]["truncated_share"] == 0
    assert json.loads((tmp_path / "warm_start.json").read_text()) == result
    assert result["examples"] == 120
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = AutoTokenizer.from_pretrained(tmp_path)("def f", return_tensors="pt")["input_ids"]
    assert torch.equal(loaded(ids).logits, model.eval()(ids).logits)
