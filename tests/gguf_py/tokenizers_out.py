"""Tokenizers that `to_safetensors` writes, beside llama.cpp's: the tokenizers library must give a text of many scripts the same ids.

SmolLM2, MiniLM, and vocabularies that are trained here: bytes whose merges go across every boundary, so that each name of a
pre-tokenizer shows where it cuts; SentencePiece's by scores and by likelihood, with and without a space before a text.
"""

import io
import json
import re
import shutil
import unicodedata

import sentencepiece
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

TEXT = """The quick brown fox jumps over the lazy dog's 12345 bones; I'll SEE you'Re 3.14159% at 10:45, don't we?
  leading   spaces, tabs\tand trailing   \t
Größe, naïve café, Ærøskøbing, çà et là, Straße, ŁÓDŹ, İstanbul ığüşöç
Привет, мир! Съешь же ещё этих мягких французских булок, да выпей чаю. Ёлка 2024
Γειά σου Κόσμε, άλφα βήτα
日本語のテキストです。カタカナとひらがな、漢字交じり文。12個
中文文本，沒有空格，標點符號！ 汉字３４５
한국어 문장입니다. 안녕하세요 세계
مرحبا بالعالم، كيف حالك؟ ١٢٣٤٥ مُحَمَّد
שלום עולם, מה שלומך?
नमस्ते दुनिया, आप कैसे हैं? ०१२३ हिन्दी में
สวัสดีชาวโลก ภาษาไทย ๑๒๓
Xin chào thế giới, tiếng Việt có dấu
বাংলা ভাষা, தமிழ் மொழி, ქართული ენა, Հայերեն
emoji: 😀👍🏽 👨‍👩‍👧‍👦 🇺🇳 ❤️ ☃
fn main() { let x = vec![1, 2, 3]; println!("{:?}", x); } // comment == != <= => && || ++ -- /* */
HTTPServer camelCaseWords XMLHttpRequest snake_case_words UPPERlower ABCdef
∑∫√∞≠≤≥±×÷ ½ ¼ ² ³ Ⅷ ① € $100 ¥ £ ^~`|<>
e\u0301 n\u0303 A\u030a \u00a0nbsp\u3000ideographic
"quoted" 'single' “curly” ‘q’ — dash – en … dots.... !!! ??? (a)[b]{c}
<s> </s> <|endoftext|> <|im_start|>user<|im_end|> [CLS] [SEP] [MASK] <bos> <eos> <unk>
1 22 333 4444 55555 666666 7777777 1,234,567.89 0x1F 1e-5 v1.2.3
'S 'T 'LL it'S I'M WE'VE they'd
line one\r\nline two\n\n\n   line three\r\r\n\tindented
"""
TEXTS = [TEXT, *TEXT.split("\n"), " ", "a"]

# All that llama.cpp v0.5.0 knows and that tokenizer.json can have.
PRE = """default gpt-2 a.x-4.0 exaone4 gigachat granite-docling jais jina-de jina-es jina-v1-en mellum
modern-bert mpt olmo phi-2 roberta-bpe trillion smollm codeshell command-r exaone mellum2 minerva-7b refact starcoder
llama-bpe chatglm-bpe dbrx falcon-h1 falcon3 glm4 jina-v5-nano lfm2 llama-v3 llama3 midm-2.0 pixtral smaug-bpe qwen2
deepseek-r1-qwen f2llmv2 grok-2 hunyuan kormo megrez solar-open stablelm2 qwen35 tekken gpt-4o kanana2
llama4 minimax-m2 talkie granite-embed-multi-97m deepseek-v3 hunyuan-dense hy_v4 joyai-llm deepseek-coder falcon poro-chat bloom gpt3-finnish
viking bailingmoe bailingmoe2 llada-moe seed-coder superbpe jais-2 youtu tiny_aya cohere2moe minicpm5 exaone-moe ufakzeka
laguna deepseek-llm chameleon kimi-k2 afmoe spark2_5""".split()


def has(*categories):
    return lambda text: any(unicodedata.category(letter) in categories for letter in text)


MARKS = has("Mn", "Mc", "Me")
CAMEL = re.compile("[a-z][A-Z]").search
# What llama.cpp does otherwise than the rules of the models, which the files have: it knows no letters that are large, and no digits
# but those of ASCII, where its own code for an expression is missing; and its own code for others leaves out marks.
LEFT_OUT = dict.fromkeys(["tekken", "gpt-4o", "kanana2", "llama4", "minimax-m2", "talkie"], MARKS) | {
    "youtu": lambda text: MARKS(text) or CAMEL(text),
    "tiny_aya": lambda text: MARKS(text) or CAMEL(text),
    "cohere2moe": lambda text: MARKS(text) or CAMEL(text),
    "superbpe": lambda text: any(letter.isdigit() and not letter.isascii() for letter in text),
    "kimi-k2": lambda text: MARKS(text) or CAMEL(text),
    "deepseek-coder": lambda text: "\u3000" in text,
    "deepseek-llm": lambda text: "\u3000" in text,
}


def is_bent(text):
    """Whether llama.cpp takes more from a text than accents: vowels of India's scripts, and all of Hangul but the first sounds."""
    return has("Mc")(text) or any("HANGUL" in unicodedata.name(letter, "") for letter in text)


class Check:
    """Compares models one after another."""

    def __init__(self, run, expect, library, work):
        self.run, self.expect, self.library = run, expect, library
        self.work = work / "tokenizers"
        self.work.mkdir(exist_ok=True)
        self.compared = 0

    def folder(self, name):
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def compare(self, what, gguf, skip=lambda text: False):
        out = self.work / "out"
        shutil.rmtree(out, ignore_errors=True)
        self.run("to-safetensors", gguf, out)
        json.loads((out / "tokenizer_config.json").read_text())
        tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
        model = self.library.open(gguf)
        if not model:
            return self.expect(False, f"{what}: llama.cpp does not load it")
        for text in TEXTS:
            for special in (True, False):
                if not skip(text):
                    wanted = self.library.tokenize(model, text, special)
                    found = tokenizer.encode(text, add_special_tokens=special).ids
                    self.expect(wanted == found, f"{what}: other ids of {text[:40]!r}: {difference(tokenizer, wanted, found)}")
                    self.compared += 1
        self.library.lib.llama_model_free(model)
        return None

    def imported(self, folder, model, save):
        """A GGUF of a tiny model with as many rows as there are tokens."""
        save(folder, model)
        gguf = folder / "model.gguf"
        self.run("from-safetensors", folder, gguf)
        return gguf


def difference(tokenizer, wanted, found):
    at = next((at for at, (a, b) in enumerate(zip(wanted, found)) if a != b), min(len(wanted), len(found)))
    show = lambda ids: [tokenizer.id_to_token(id) for id in ids[max(0, at - 2) : at + 3]]
    return f"llama.cpp {show(wanted)}, here {show(found)} at {at}"


def bytes_vocabulary():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=1600, min_frequency=2, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    # Each start of a line on its own, so that merges begin and end anywhere.
    lines = [line[at:] for line in TEXT.split("\n") for at in range(0, len(line), 3)]
    tokenizer.train_from_iterator([TEXT, *lines], trainer)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return tokenizer


def words_vocabulary():
    """Of characters between spaces, each of which is a token: others are the unknown one, which llama.cpp leaves out."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = ["<s>", "</s>", "<unk>", "<mask>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(vocab_size=1500, min_frequency=2, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([TEXT, TEXT.lower(), *TEXT.split("\n")], trainer)
    return tokenizer


def pieces(model_type, prefix):
    """`tokenizer.model` of SentencePiece."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for line in TEXT.split("\n") if line] * 8), model_writer=model, model_type=model_type,
        vocab_size=700, hard_vocab_limit=False, byte_fallback=model_type == "bpe", add_dummy_prefix=prefix, character_coverage=0.98,
        normalization_rule_name="identity" if model_type == "bpe" else "nmt_nfkc", remove_extra_whitespaces=model_type != "bpe",
        num_threads=1, minloglevel=2, user_defined_symbols=["<|im_start|>"],
    )  # fmt: skip
    return model.getvalue()


def check(run, expect, library, arguments, minilm, save, tiny):
    """`save(folder, model)` writes tiny models whose config.json and shapes `tiny(rows=…)` gives."""
    checking = Check(run, expect, library, arguments.work)
    checking.compare("SmolLM2", arguments.smollm2)
    checking.compare("MiniLM", minilm, skip=is_bent)

    tokenizer = bytes_vocabulary()
    folder = checking.folder("bytes")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"}))
    gguf = checking.imported(folder, tiny(rows=tokenizer.get_vocab_size()), save)
    for name in PRE:
        edited = folder / "edited.gguf"
        run("edit", gguf, edited, "--set", f"tokenizer.ggml.pre={name}")
        checking.compare(name, edited, skip=LEFT_OUT.get(name, lambda text: False))
    tokenizer = words_vocabulary()
    folder = checking.folder("words")
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    gguf = checking.imported(folder, tiny(rows=tokenizer.get_vocab_size()), save)
    checking.compare("words", gguf)
    run("edit", gguf, folder / "small.gguf", "--add", "tokenizer.ggml.normalizer.lowercase=bool:true")
    # The library makes two letters of it.
    checking.compare("words of small letters", folder / "small.gguf", skip=lambda text: "İ" in text)
    for kind in ("bpe", "unigram"):
        for prefix in (True, False):
            what = f"{kind}{' with a space before' if prefix else ''}"
            folder = checking.folder("pieces")
            model = pieces(kind, prefix)
            (folder / "tokenizer.model").write_bytes(model)
            settings = {"add_prefix_space": prefix, "bos_token": "<s>", "eos_token": "</s>"}
            (folder / "tokenizer_config.json").write_text(json.dumps(settings))
            rows = sentencepiece.SentencePieceProcessor(model_proto=model).get_piece_size()
            config, shapes = tiny(rows=rows)
            # Where no key says which token is unknown, llama.cpp takes the third.
            config["unk_token_id"] = 0
            checking.compare(what, checking.imported(folder, (config, shapes), save))
    shutil.rmtree(checking.work)
    print(f"  tokenizers: {checking.compared} texts have llama.cpp's ids, in {len(PRE) + 8} vocabularies", flush=True)
