"""The loss is on answers only, token by token, as TRL has it; what cannot be learned from is refused."""

import json

import pytest
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from k15_plugins.models.tiny_reasoner import tiny_tokenizer
from k15_plugins.stages.answer_tokens import tokenized

CHATML = (
    "{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'] + '<eos>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
# As some models do, which take the reasoning out of all answers but the last.
LAST_ONLY = CHATML.replace(
    "m['content']", "(m['content'][-1:] if m['role'] == 'assistant' and not loop.last else m['content'])"
)
ASK, ANSWER = {"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "is 2"}
AGAIN = {"role": "user", "content": "sure?"}


def byte_tokenizer(merges=(), template=CHATML) -> PreTrainedTokenizerFast:
    signs = [
        "<pad>",
        "<eos>",
        "<bos>",
        *sorted(pre_tokenizers.ByteLevel.alphabet()),
        *("".join(pair) for pair in merges),
    ]
    tokenizer = Tokenizer(models.BPE({sign: number for number, sign in enumerate(signs)}, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    # Before a text stands a token of its own, which chat templates write themselves.
    tokenizer.post_processor = processors.TemplateProcessing("<bos> $A", special_tokens=[("<bos>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", chat_template=template
    )


def of(rows, tokenizer, max_length=None, source="math"):
    data = Dataset.from_dict(
        {
            "place": [f"a.jsonl, line {number}" for number in range(1, len(rows) + 1)],
            "source": [source] * len(rows),
            "row": [json.dumps(row) for row in rows],
        }
    )
    return tokenized(data, tokenizer, max_length)


def learned(row, tokenizer):
    """The text that has a loss, and the whole."""
    found = of([row], tokenizer)[0]
    assert all(label in (-100, token) for label, token in zip(found["labels"], found["input_ids"], strict=True))
    return (
        tokenizer.decode([label for label in found["labels"] if label != -100]),
        tokenizer.decode(found["input_ids"]),
    )


def test_prompt_tokens_have_no_loss():
    tokenizer = tiny_tokenizer()
    found = of([{"prompt": "4 + 3 =", "completion": " answer 7"}], tokenizer)[0]
    answer = tokenizer.convert_tokens_to_ids(["answer", "7", "<eos>"])
    assert found["labels"] == [-100, -100, -100, -100, *answer]
    assert found["input_ids"] == [*tokenizer.convert_tokens_to_ids(["4", "+", "3", "="]), *answer]
    assert (found["place"], found["source"]) == ("a.jsonl, line 1", "math")


def test_all_answers_of_a_conversation_have_a_loss_and_nothing_else():
    row = {"messages": [{"role": "system", "content": "Add."}, ASK, ANSWER, AGAIN, ANSWER]}
    text, whole = learned(row, byte_tokenizer())
    assert text == "is 2<eos>\nis 2<eos>\n"
    assert (
        whole == "<system>Add.<eos>\n<user>1 + 1?<eos>\n<assistant>is 2<eos>\n<user>sure?<eos>\n<assistant>is 2<eos>\n"
    )


def test_answers_in_the_prompt_have_no_loss():
    text, _ = learned({"prompt": [ASK, ANSWER, AGAIN], "completion": [ANSWER]}, byte_tokenizer())
    assert text == "is 2<eos>\n"


def test_an_end_that_is_there_is_not_written_twice():
    assert learned({"prompt": "1", "completion": "2<eos>"}, byte_tokenizer()) == ("2<eos>", "<bos>12<eos>")


# A merge over the border, a space that belongs to the answer's first token, signs of several bytes.
PAIRS = [("ab", "bc"), ("a", " b"), ("ä", "öé"), ("b", "a"), ("", "a"), ("x =", " 12")]


@pytest.mark.parametrize("merges", [(), (("b", "b"), ("Ġ", "b"))])
def test_texts_have_the_tokens_and_labels_of_trl(merges, tmp_path):
    texts = [{"prompt": prompt, "completion": completion} for prompt, completion in PAIRS]
    chats = [
        {"prompt": [{"role": "user", "content": prompt}], "completion": [{"role": "assistant", "content": answer}]}
        for prompt, answer in PAIRS
    ]
    for rows in (texts, chats):
        tokenizer = byte_tokenizer(merges)
        sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
        trainer = SFTTrainer(
            LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes)),
            SFTConfig(str(tmp_path), use_cpu=True, bf16=False, report_to="none"),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )
        ours = of(rows, tokenizer)
        for name in ("input_ids", "labels"):
            assert list(ours[name]) == list(trainer.train_dataset[name])


def test_a_row_that_is_too_long_is_refused_with_its_place():
    rows = [{"prompt": "4 =", "completion": " 4"}, {"prompt": "4 =", "completion": " 4 + 3 + 2"}]
    tokenizer = tiny_tokenizer()
    assert len(of(rows, tokenizer, max_length=8)) == 2
    sentence = (
        r"a\.jsonl, line 2 must have at most max_length=7 tokens, got 8; raise max_length, or leave such rows out"
    )
    with pytest.raises(ValueError, match=sentence):
        of(rows, tokenizer, max_length=7)
    with pytest.raises(
        ValueError, match=r"a\.jsonl, line 1 must have .*=3 tokens, got 4, as 1 other rows have; raise"
    ):
        of(rows, tokenizer, max_length=3)


def test_words_that_the_tokenizer_does_not_know_are_refused():
    with pytest.raises(ValueError, match=r"source tales must be in words .*, got 40 % of its tokens as <unk>"):
        of([{"prompt": "4 =", "completion": " a tale"}], tiny_tokenizer(), source="tales")


def test_messages_need_a_chat_template():
    with pytest.raises(ValueError, match=r"a\.jsonl, line 1: messages need a tokenizer with a chat template"):
        of([{"messages": [ASK, ANSWER]}], tiny_tokenizer())


def test_a_template_that_rewrites_earlier_answers_is_refused_where_it_matters():
    tokenizer = byte_tokenizer(template=LAST_ONLY)
    with pytest.raises(ValueError, match=r"line 1: the chat template must .*, got another text for message 2 of 4"):
        of([{"messages": [ASK, ANSWER, AGAIN, ANSWER]}], tokenizer)
    text, _ = learned({"prompt": [ASK, ANSWER, AGAIN], "completion": [ANSWER]}, tokenizer)
    assert text == "is 2<eos>\n"


def test_a_row_without_a_token_of_an_answer_is_refused():
    tokenizer = byte_tokenizer(template="{{ messages[0]['content'] }}")
    with pytest.raises(ValueError, match=r"a\.jsonl, line 1 must have an answer to learn from, got no token of one"):
        of([{"messages": [ASK, ANSWER]}], tokenizer)


def test_a_tokenizer_that_does_not_tell_places_is_refused():
    class Slow:
        is_fast = False

    with pytest.raises(ValueError, match=r"the tokenizer must be a fast one, .*, got Slow"):
        of([{"prompt": "4 =", "completion": " 4"}], Slow())
