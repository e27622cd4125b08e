# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Tokenize the captions
#
# [![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)][kaggle]
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)][colab]
#
# [kaggle]: https://kaggle.com/kernels/welcome?src=https://github.com/INSERT_OWNER_HERE/image-captioning/blob/main/notebooks/02_text.ipynb
# [colab]: https://colab.research.google.com/github/INSERT_OWNER_HERE/image-captioning/blob/main/notebooks/02_text.ipynb
#
# *Notebook 2 of 5 · prerequisites: [1 Extract image features](01_features.ipynb) (not needed here)
# · next: [3 Train the captioner](03_train.ipynb)*
#
# A network can't process text. It takes numbers, in arrays whose rows have equal lengths. So a
# caption is split into **tokens** (here: words), and each token is replaced by its **token ID**,
# its index in the **vocabulary**, the list of all tokens that the model knows:
#
# `A dog runs.` → `a dog runs` → `1 4 17 52 2 0 0 0` (BOS, three words, EOS, padding).
#
# **BOS** and **EOS** mark the beginning and the end of a sequence; **padding** fills rows up to a
# common length.
#
# **You will**
# - normalize captions so that `Dog` and `dog,` are one token, without losing any word;
# - build a vocabulary from the training captions, and from nothing else;
# - encode captions as token IDs and decode them, and see what a model learns from each sequence.
#
# **You need** Python; TensorFlow is not used here. Minutes: less than 1, anywhere.
#
# ## Setup
#
# All five notebooks start with this cell: it finds the package `utils` that they share, or clones
# the repository on Colab and Kaggle.

# %%
import os
import sys
from pathlib import Path

folders = [Path.cwd(), *Path.cwd().parents]
folders += [file.parents[1] for file in Path("/kaggle/input").rglob("utils/artifacts.py")]
found = [folder for folder in folders if (folder / "utils" / "artifacts.py").is_file()]
if not found and {"COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"} & os.environ.keys():
    os.system("git clone --quiet --depth 1 https://github.com/INSERT_OWNER_HERE/image-captioning")
    found = list(Path.cwd().glob("image-captioning"))
if not found:
    raise SystemExit("No folder utils here: clone the repository, or attach it on Kaggle.")
sys.path.insert(0, str(found[0]))

from utils.notebook_setup import prepare_notebook

prepare_notebook()

# %%
import numpy as np
import pandas as pd

from utils import artifacts
from utils.config import load_config, summarize
from utils.data.caption_files import detect_preset

# %% [markdown]
# Two settings matter here: `min_count`, how often a word must occur to be in the vocabulary, and
# `max_length`, the number of words at which a caption is truncated.

# %% tags=["parameters"]
config = load_config(detect_preset())
print(summarize(config, "min_count", "max_length"))

# %% [markdown]
# ## The references
#
# Every photo has several reference captions, written independently of each other.

# %%
from utils.data.photos import find_photos

photos = find_photos(config)
example = photos.splits["train"][0]
print(*photos.captions[example], sep="\n")

# %% [markdown]
# How much do they agree? The
# [**Jaccard similarity**](https://en.wikipedia.org/wiki/Jaccard_index) of two captions is the
# number of words in both divided by the number of words in either. Here is its mean for two
# captions of the same photo, and for captions of two different photos. (`tokenize` gives the words
# of a caption; we will see how.)

# %%
from utils.data.tokenizer import tokenize


def jaccard(first, second):
    """The share of the words of either caption that are in both."""
    first_words = set(tokenize(first))
    second_words = set(tokenize(second))
    return len(first_words & second_words) / max(1, len(first_words | second_words))


several = [name for name in photos.splits["train"] if len(photos.captions[name]) > 1][:200]
first_captions = [photos.captions[name][0] for name in several]
last_captions = [photos.captions[name][-1] for name in several]
same_photo_values = []
for first, last in zip(first_captions, last_captions, strict=True):
    same_photo_values.append(jaccard(first, last))
different_photo_values = []
for first, last in zip(first_captions, last_captions[1:], strict=False):
    different_photo_values.append(jaccard(first, last))

# %%
if len(several) < 2:
    print("Fewer than two photos have several captions: there is nothing to compare.")
else:
    same_photo = np.mean(same_photo_values)
    different_photos = np.mean(different_photo_values)
    print(f"same photo {same_photo:.0%}, different photos {different_photos:.0%}")
if config.preset == "sample":
    assert same_photo > different_photos

# %% [markdown]
# Captions of the same photo share few words. The model must learn what they have in common, and a
# metric must not require one particular caption.
#
# ## From a caption to tokens
#
# **By hand**, for the first caption of plain words (or else for another sentence): lower case, no
# punctuation, split at spaces. Without this **normalization**, `"Dog"`, `"dog"` and `"dog,"` would
# be three tokens, and each would have to be learned separately.

# %%
import re

short = [text for text in photos.captions[example] if len(tokenize(text)) < config.max_length]
simple = [text for text in short if re.fullmatch("[A-Za-z ,.]+", text)]
caption = simple[0] if simple else "Dogs run."
characters = [character if character.isalnum() else " " for character in caption.lower()]
tokens = "".join(characters).split()
print(tokens)

# %% [markdown]
# **With the library**: `tokenize` does the same, and follows the conventions of the usual
# evaluation tools where the rules are less obvious: `don't` becomes `do n't`, and `t-shirt` is one
# token. Training and evaluation must use the same tokens. (Chinese, Japanese, Thai and a few others
# are written without spaces between words: in these scripts, each character is a token.)

# %%
from utils.data.tokenizer import mostly_characters

assert tokenize(caption) == tokens
print(tokenize("A dog doesn't catch the man's T-shirt!"))
if mostly_characters(tokenize(" ".join(photos.captions[example]))):
    print("These captions are written without spaces: each character is a token.")

# %% [markdown]
# Words of one letter are kept. Many tutorials drop them with `if len(word) > 1`; then the model can
# never generate "a dog". How many tokens would be lost?

# %%
from collections import Counter

train_captions = []
for name in photos.splits["train"]:
    train_captions.extend(photos.captions[name])
train_tokens = [tokenize(text) for text in train_captions]

counts = Counter()
for caption_tokens in train_tokens:
    counts.update(caption_tokens)
one_letter = Counter({token: count for token, count in counts.items() if len(token) == 1})
share = one_letter.total() / max(1, counts.total())
print(f"{share:.0%} of all tokens: {', '.join(token for token, _ in one_letter.most_common(3))}")

# %% [markdown]
# ## Check the splits
#
# The vocabulary must not be fitted on test captions. And the split must be **by photo**: if a photo
# had captions in both training and test, the model would be tested on an image that it was trained
# on. This is called **data leakage**.

# %%
split_sizes = {}
for split, names in photos.splits.items():
    num_captions = sum(len(photos.captions[name]) for name in names)
    split_sizes[split] = {"photos": len(names), "captions": num_captions}
pd.DataFrame(split_sizes)

# %% [markdown]
# No photo may be in two splits.

# %%
train = set(photos.splits["train"])
validation = set(photos.splits["validation"])
test = set(photos.splits["test"])
assert not train & validation
assert not train & test
assert not validation & test

# %% [markdown]
# ## A vocabulary
#
# The vocabulary is fitted on the training captions alone: when a model is used, the captions of new
# photos don't exist yet. `counts` from above has their tokens.

# %%
print(f"{counts.total():,} tokens, {len(counts):,} distinct ones")

# %% [markdown]
# The ten most frequent:

# %%
pd.DataFrame(counts.most_common(10), columns=["token", "count"])

# %% [markdown]
# Function words are the most frequent. Most words are rare
# ([**Zipf's law**](https://en.wikipedia.org/wiki/Zipf%27s_law)), and a network learns little from
# a few examples. So words with fewer than `min_count` occurrences share one token, `<unk>`
# (**unknown**, or *out of vocabulary*).

# %%
from utils.plotting.charts import plot_vocabulary

_ = plot_vocabulary(counts, config.min_count)

# %% [markdown]
# Left: the count of each word by its rank, on logarithmic axes. Right: the **coverage**, the share
# of all tokens that the most frequent words account for. The dashed line is `min_count`.
#
# **By hand**: keep the frequent words, the most frequent first, and number them. The IDs below 4
# are reserved for the **special tokens** `<pad>`, `<bos>`, `<eos>` and `<unk>`.

# %%
kept = [token for token, count in counts.items() if count >= config.min_count]
kept.sort(key=lambda token: (-counts[token], token))
rare = sorted(set(counts) - set(kept))
print(f"{len(rare):,} words are out of vocabulary, among them: {', '.join(rare[:5])}")
word_to_id = {word: token_id for token_id, word in enumerate(kept, start=4)}
first_ids = {word: word_to_id[word] for word in kept[:5]}
last_id = {word: word_to_id[word] for word in kept[-1:]}
print(first_ids, "...", last_id)

# %% [markdown]
# **With the library**: a `Tokenizer`, fitted on the same captions, gives every word the same ID.
# (`pretrained_words` is empty unless `start_from` names an earlier run; see notebook 3.)

# %%
from utils.data.tokenizer import Tokenizer
from utils.models.warm_start import load_pretrained

_, pretrained_words = load_pretrained(config)
tokenizer = Tokenizer.fit(train_captions, config.min_count, config.max_length, pretrained_words)
assert tokenizer.vocabulary[4 : 4 + len(kept)] == kept
for word, token_id in word_to_id.items():
    assert tokenizer.word_to_id[word] == token_id
print(f"{len(tokenizer):,} tokens: {' '.join(tokenizer.vocabulary[:12])} ...")

# %% [markdown]
# A vocabulary must be evaluated on text that it was not fitted on. What is its coverage of the
# *validation* captions?

# %%
validation_tokens = []
for name in photos.splits["validation"]:
    for text in photos.captions[name]:
        validation_tokens.extend(tokenize(text))
unknown = Counter(token for token in validation_tokens if token not in tokenizer.word_to_id)
coverage = 1 - unknown.total() / max(1, len(validation_tokens))
print(f"{coverage:.1%} of the tokens of the validation captions are in the vocabulary")
print("most frequent unknown:", ", ".join(word for word, _ in unknown.most_common(5)) or "none")

# %% [markdown]
# ## Token IDs
#
# **By hand**: look up the ID of each word, put BOS before and EOS after them, and pad on the right
# to a common length.

# %%
from utils.data.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID

token_ids = [BOS_ID]
for token in tokens:  # no more than `max_length`
    token_ids.append(tokenizer.word_to_id.get(token, UNK_ID))
token_ids.append(EOS_ID)
while len(token_ids) < config.max_length + 2:
    token_ids.append(PAD_ID)
print(token_ids)

# %% [markdown]
# **With the library**: `encode` does this for many captions; `decode` is its inverse, and stops at
# EOS.

# %%
assert tokenizer.encode([caption])[0].tolist() == token_ids
sequences = tokenizer.encode(photos.captions[example])
sequences

# %% [markdown]
# All unknown words have the ID 3:

# %%
with_unknown = tokenizer.encode(["a zyzzyva and a quokka"])[0]
print(with_unknown[with_unknown != PAD_ID], tokenizer.decode(with_unknown))

# %% [markdown]
# Decoding returns the words between BOS and EOS. An unknown word is decoded as `<unk>`. The words
# are joined by spaces, by `join_tokens` (which leaves out spaces where a script has none).

# %%
from utils.data.tokenizer import join_tokens

for sequence, text in zip(sequences, photos.captions[example], strict=True):
    expected = [word if word in tokenizer.word_to_id else "<unk>" for word in tokenize(text)]
    assert tokenizer.decode(sequence) == join_tokens(expected[: config.max_length])
    print(tokenizer.decode(sequence))

# %% [markdown]
# How long must a sequence be? Long enough for nearly all captions. A longer caption is
# **truncated**, and gets no EOS, as the model should not learn that sentences end there. The dashed
# line is the limit. If many captions are truncated, or many words are unknown, a line says which
# setting to change.

# %%
from utils.data.report import measure_vocabulary, vocabulary_problems
from utils.plotting.charts import plot_lengths

lengths = np.array([len(caption_tokens) for caption_tokens in train_tokens])
num_truncated = np.sum(lengths > config.max_length)
_ = plot_lengths(lengths, config.max_length)
print(f"{num_truncated} of {len(lengths):,} captions are truncated at {config.max_length} words")
for problem in vocabulary_problems(measure_vocabulary(photos, config, pretrained_words), config):
    print(problem)

# %% [markdown]
# ## What a model learns from one sequence
#
# A **language model** predicts the next token from the tokens before it. The simplest one counts
# **bigrams**, pairs of adjacent tokens: what follows the most frequent word?

# %%
top_word = counts.most_common(1)[0][0]
bigrams = Counter()
for caption_tokens in train_tokens:
    bigrams.update(zip(caption_tokens, caption_tokens[1:], strict=False))
next_words = Counter({pair[1]: count for pair, count in bigrams.items() if pair[0] == top_word})
shares = [f"{word} {n / next_words.total():.0%}" for word, n in next_words.most_common(6)]
print(f"after {top_word!r}:", ", ".join(shares))

# %% [markdown]
# A bigram model sees one previous token. The network of the next notebook is conditioned on the
# whole **prefix** (all tokens so far) and on the image. One caption gives a training example for
# each of its tokens, and one more for EOS.

# %%
inputs = sequences[0][:-1]
targets = sequences[0][1:]
examples = []
for step in range(np.count_nonzero(targets)):
    prefix = [tokenizer.vocabulary[token_id] for token_id in inputs[: step + 1]]
    examples.append([" ".join(prefix), tokenizer.vocabulary[targets[step]]])
pd.DataFrame(examples, columns=["prefix (input)", "next token (target)"])

# %% [markdown]
# Inputs and targets are the same sequence, shifted by one: inputs are `sequence[:-1]`, **targets**
# are `sequence[1:]`. A network that processes a sequence from left to right makes all predictions
# of a caption in one pass. [Notebook 3](03_train.ipynb) checks that this equals the slow way, one
# prefix at a time.
#
# ## Save
#
# `captions.pkl` holds the captions and the splits, `tokenizer.pkl` the tokens in the order of their
# IDs.
# They are plain lists and dicts, which any version of any library can read.

# %%
captions = {
    "captions": {name: photos.captions[name] for name in photos.names},
    "splits": photos.splits,
    "split_source": photos.split_source,
    "subsets": photos.subsets,
}
for kind, data in {"captions": captions, "tokenizer": tokenizer.to_dict()}.items():
    path = artifacts.save(kind, data, config)
    print(path.name, artifacts.format_size(path), "for 03_train, 04_evaluate and 05_visualize")

# %% [markdown]
# The loaded tokenizer gives the same token IDs.

# %%
loaded = Tokenizer.from_dict(artifacts.load("tokenizer", config))
assert (loaded.encode(photos.captions[example]) == sequences).all()

# %% [markdown]
# ## What you learned
#
# - Captions are tokenized by the rules that evaluation uses as well; short words are kept.
# - The vocabulary is fitted on the training captions alone; rare words share one token.
# - A sequence of token IDs and the same sequence shifted by one are all the training examples of a
#   caption.
#
# **Try it.** *Vary*: change a value. *Modify*: edit a few lines. *Implement*: write a dozen lines.
# *Extend*: go beyond this series. Predict the result before you run anything. Put the code
# of an answer into a new cell below, after you have run all cells above. It is written for the
# drawn sample; on photos its numbers differ.
#
# 1. *Vary*: How large would the vocabulary be with a `min_count` of 1, and of 10? Before you run
#    it: look at the left figure above, and guess.
#
# <details><summary>An answer</summary>
#
# ```python
# for min_count in (1, 10, config.min_count):
#     vocab_size = len(Tokenizer.fit(train_captions, min_count, config.max_length))
#     rare = sorted(word for word, count in counts.items() if count < min_count)
#     print(f"min_count {min_count}: {vocab_size:,} tokens; lost: {', '.join(rare[:9]) or 'none'}")
#     assert vocab_size == 4 + len(counts) - len(rare)  # there are four special tokens
# ```
#
# The drawn scenes have hardly any rare words. In captions of photos about half of all distinct
# words are rare, and these are often the most informative ones.
# </details>
#
# 2. *Modify*: Use the bigram model to predict each next word of the validation captions: always the
#    most frequent continuation. Before you run it: will its accuracy exceed one third?
#
# <details><summary>An answer</summary>
#
# ```python
# continuation = {}
# for (first, second), _ in bigrams.most_common():
#     continuation.setdefault(first, second)
# bigram_hits = []
# top_word_hits = []
# for name in photos.splits["validation"]:
#     for text in photos.captions[name]:
#         words = tokenize(text)
#         for first, second in zip(words, words[1:], strict=False):
#             bigram_hits.append(continuation.get(first) == second)
#             top_word_hits.append(second == top_word)
# print(f"bigrams: {np.mean(bigram_hits):.0%}; always {top_word!r}: {np.mean(top_word_hits):.0%}")
# assert np.mean(bigram_hits) > np.mean(top_word_hits)
# ```
#
# On drawn scenes it does, but barely. One previous word predicts the next one well, without any
# image: the network of the next notebook has to beat that, and a good accuracy alone does not show
# that it uses the image.
# </details>
#
# 3. *Implement*: Generate captions without any image: sample each word from those that followed the
#    previous one in the training captions. Before you run it: how long will a sentence make sense?
#
# <details><summary>An answer</summary>
#
# ```python
# import random
#
# rng = random.Random(1)
# next_words = {}
# for words in train_tokens:
#     for first, second in zip(["<bos>", *words], [*words, "<eos>"], strict=True):
#         next_words.setdefault(first, []).append(second)
# generated = []
# for _ in range(100):
#     sentence = []
#     word = rng.choice(next_words["<bos>"])
#     while word != "<eos>":
#         sentence.append(word)
#         word = rng.choice(next_words[word])
#     generated.append(sentence)
# print(*[" ".join(sentence) for sentence in generated[:6]], sep="\n")
# novel = np.mean([sentence not in train_tokens for sentence in generated])
# print(f"{novel:.0%} of them are not among the training captions")
# assert novel > 0
# ```
#
# Each pair of neighbors occurs in a training caption, the whole sentence hardly ever: the model
# sees one word, so it loses the subject of the sentence. The LSTM of the next notebook has a state
# that summarizes all words so far.
# </details>
#
# 4. *Extend*: Suppose the captions were in another language: German, Russian, Korean, Hindi or
#    Japanese. Before you run it: for which of these are the tokens words?
#
# <details><summary>An answer</summary>
#
# ```python
# texts = {"German": "Ein Mädchen läuft über die Brücke.", "Russian": "Девочка бежит по мосту."}
# texts["Korean"] = "달리는 개."
# texts["Japanese"] = "女の子が橋を渡る。"
# texts["Hindi"] = "कुत्ता दौड़ता है।"
# for language, text in texts.items():
#     print(f"{language:9} {text}  {tokenize(text)}")
# assert len(tokenize(texts["German"])) == 6
# assert len(tokenize(texts["Hindi"])) == 3
# assert len(tokenize(texts["Japanese"])) == 8
# ```
#
# Where spaces separate words, the tokens are words; vowel signs and accents, which Hindi and
# other languages write as combining marks, stay with their letters. Japanese, Chinese, Thai, Lao,
# Khmer and Burmese are written without spaces: each character is a token. So a caption has more
# tokens (raise `max_length`), of fewer kinds, and scores can't be compared with scores by word.
# With few captions lower `min_count`, or few words are frequent enough. Multi30k has German
# captions for the photos of Flickr30k, STAIR Captions has Japanese ones for COCO.
# </details>
#
# *Next*: [3 Train the captioner](03_train.ipynb).
