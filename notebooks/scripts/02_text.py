# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Turn captions into numbers
#
# *Notebook 2 of 5 · before: [1 Turn pictures into numbers](01_features.ipynb) (not needed here) ·
# after: [3 Teach a network to write](03_train.ipynb)*
#
# A network can't read. It takes numbers, all rows of the same length, and it can only write words
# that it has a number for. At the end of this notebook a caption looks like this:
#
# `A dog runs.` → `a dog runs` → `1 4 17 52 2 0 0 0` (start, three words, end, padding).
#
# **You will**
# - clean captions so that `Dog` and `dog,` are one word, without losing any;
# - build a vocabulary from the training captions, and from nothing else;
# - turn captions into rows of numbers and back, and see what a model learns from each row.
#
# **You need** Python; no TensorFlow is used here. Minutes: less than 1, anywhere.
#
# ## Setup
#
# The same cell opens all five notebooks: it finds the package `utils` that they share.

# %%
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no C++ notes: errors come as exceptions
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # other notebooks' kernels want some
folders = [Path.cwd(), *Path.cwd().parents]
folders += [path.parents[1] for path in Path("/kaggle/input").rglob("utils/artifacts.py")]
home = next((folder for folder in folders if (folder / "utils" / "store.py").is_file()), None)
if home is None:
    raise SystemExit("No folder utils here: clone the repository, or attach it on Kaggle.")
sys.path.insert(0, str(home))

import numpy as np
import pandas as pd

from utils import artifacts
from utils.config import load_config, summarize
from utils.data.caption_files import detect_preset

# %% [markdown]
# Two settings matter here: `min_count`, how often a word must occur to be known, and `max_length`,
# where a caption is cut.

# %% tags=["parameters"]
config = load_config(detect_preset())
print(summarize(config, "min_count", "max_length"))

# %% [markdown]
# ## What people said
#
# Every photo has five captions, each written without seeing the others.

# %%
from utils.data.photos import find_photos

photos = find_photos(config)
example = photos.splits["train"][0]
print(*photos.captions[example], sep="\n")

# %% [markdown]
# How much do they agree? Take two captions of one photo: what share of their words stands in both?
# Beside it, the same for captions of two different photos.

# %%
names = photos.splits["train"][:200]
firsts = [set(photos.captions[name][0].lower().strip(" .").split()) for name in names]
others = [set(photos.captions[name][-1].lower().strip(" .").split()) for name in names]
same = np.mean([len(a & b) / len(a | b) for a, b in zip(firsts, others, strict=True)])
different = np.mean([len(a & b) / len(a | b) for a, b in zip(firsts, others[1:], strict=False)])

# %%
assert same > different
print(f"same photo {same:.0%}, different photos {different:.0%}")

# %% [markdown]
# Captions of the same thing share few words. A model must learn what is common behind them, and
# a score must not ask for one of these captions by the letter.
#
# ## From a caption to words
#
# **By hand**, for the first caption without a hyphen or an apostrophe: small letters, no
# punctuation, cut at the blanks. `"Dog"`, `"dog"` and `"dog,"` must become one word, or each would
# have to be learnt on its own.

# %%
short = [text for text in photos.captions[example] if len(text.split()) < config.max_length]
plain = [text for text in short if not set("'-’.:_") & set(text.strip(" ."))]
caption = plain[0] if plain else "A dog runs."
letters = [letter if letter.isalnum() else " " for letter in caption.lower()]
words = "".join(letters).split()
print(words)

# %% [markdown]
# **By name**: `words_of` does that, and follows the habits of the field's scoring tools where it
# is less obvious: `don't` becomes `do n't`, and `t-shirt` stays whole. Learning and scoring must
# mean the same by "a word".

# %%
from collections import Counter

from utils.data.tokenizer import tokenize

assert tokenize(caption) == words
print(tokenize("A dog doesn't catch the man's T-shirt!"))

# %% [markdown]
# One-letter words stay, too. Many recipes drop them, with `if len(word) > 1`, and then no caption
# can ever say "a dog". How much is lost?

# %%
train_captions = [text for name in photos.splits["train"] for text in photos.captions[name]]
train_words = [tokenize(text) for text in train_captions]
lost = Counter(word for words in train_words for word in words if len(word) == 1)
share = lost.total() / sum(len(words) for words in train_words)
print(f"{share:.0%} of all words: {', '.join(word for word, _ in lost.most_common(3))}")

# %% [markdown]
# ## The split, checked
#
# A vocabulary must not see the captions of the test photos. The split goes **by photo**: with
# captions of one photo on both sides, a model could be tested on a picture that it has learnt.

# %%
table = pd.DataFrame(
    {
        split: {"photos": len(names), "captions": sum(len(photos.captions[n]) for n in names)}
        for split, names in photos.splits.items()
    }
)
table

# %% [markdown]
# No photo may stand in two of them.

# %%
train, validation, test = (set(names) for names in photos.splits.values())
assert not train & validation and not train & test and not validation & test

# %% [markdown]
# ## A vocabulary
#
# **By hand**: count the words of the training captions. The vocabulary is fitted on these alone:
# in real use nobody hands us tomorrow's captions to fit on.

# %%
counts = Counter(word for words in train_words for word in words)
print(f"{counts.total():,} words, {len(counts):,} different ones")

# %% [markdown]
# The ten most frequent:

# %%
pd.DataFrame(counts.most_common(10), columns=["word", "times"])

# %% [markdown]
# Little words lead. At the other end are words seen a few times only. From so few examples a
# network learns little, so words below `min_count` share one place: *unknown*.

# %%
from utils.plotting.figures import plot_vocabulary

_ = plot_vocabulary(counts, config.min_count)

# %% [markdown]
# Left: each word's count by its rank; both axes are logarithmic, each step is ten times more.
# Right: how much of all text the most frequent words cover. The dashed line is our cut.
#
# **By hand**: keep the words that are frequent enough, the most frequent first, and number them.
# The numbers below 4 are taken by padding, start, end and unknown.

# %%
kept = [word for word, times in counts.items() if times >= config.min_count]
kept.sort(key=lambda word: (-counts[word], word))
rare = sorted(set(counts) - set(kept))
print(f"{len(rare):,} words are left out, among them: {', '.join(rare[:5])}")
number_of = {word: number for number, word in enumerate(kept, start=4)}
print({word: number_of[word] for word in kept[:5]}, "...", {kept[-1]: number_of[kept[-1]]})

# %% [markdown]
# **By name**: a `Tokenizer`, fitted on the same captions, gives every word the same number.
# (`earlier` is empty, unless `start_from` names an earlier run; notebook 3 says what for.)

# %%
from utils.data.tokenizer import Tokenizer
from utils.models.warm_start import load_pretrained

_, pretrained = load_pretrained(config)
tokenizer = Tokenizer.fit(train_captions, config.min_count, config.max_length, pretrained)
assert tokenizer.vocabulary[4 : 4 + len(kept)] == kept
assert all(tokenizer.word_to_id[word] == number for word, number in number_of.items())
print(f"{len(tokenizer):,} words: {' '.join(tokenizer.vocabulary[:12])} ...")

# %% [markdown]
# The honest test of a vocabulary is text that it was not made from. How many of the words that
# people used for the *validation* photos does it know?

# %%
said = [word for name in validation for text in photos.captions[name] for word in tokenize(text)]
known = sum(word in tokenizer.word_to_id for word in said) / len(said)
unknown = Counter(word for word in said if word not in tokenizer.word_to_id)
print(f"{known:.1%} of the words of the validation captions are known")
print("most missed:", ", ".join(word for word, _ in unknown.most_common(5)) or "none")

# %% [markdown]
# ## Numbers
#
# **By hand**: look each word up; put the start word before and the end word after; fill up with
# padding on the right until all rows are equally long.

# %%
numbers = [1] + [tokenizer.word_to_id.get(word, 3) for word in words] + [2]
numbers += [0] * (config.max_length + 2 - len(numbers))
print(numbers)

# %% [markdown]
# **By name**: `encode` does it for many captions; `decode` goes back, and stops at the end word.

# %%
assert tokenizer.encode([caption])[0].tolist() == numbers
rows = tokenizer.encode(photos.captions[example])
rows

# %% [markdown]
# Words that are not known get number 3, whatever they are:

# %%
strange = tokenizer.encode(["a zyzzyva and a quokka"])[0]
print(strange[strange > 0], tokenizer.decode(strange))

# %% [markdown]
# Back again: what stands between start and end. An unknown word comes back as `<unk>`.

# %%
for row, text in zip(rows, photos.captions[example], strict=True):
    known_words = [w if w in tokenizer.word_to_id else "<unk>" for w in tokenize(text)]
    assert tokenizer.decode(row).split() == known_words[: config.max_length]
    print(tokenizer.decode(row))

# %% [markdown]
# How long must a row be? Long enough for nearly all captions: a longer one is cut, and gets no end
# word, since it should not teach the model that sentences end there. The dashed line is the limit.

# %%
from utils.plotting.figures import plot_lengths

lengths = np.array([len(tokenize(text)) for text in train_captions])
cut = np.sum(lengths > config.max_length)
_ = plot_lengths(lengths, config.max_length)
print(f"{cut} of {len(lengths):,} training captions are cut at {config.max_length} words")

# %% [markdown]
# ## What is learnt from one row
#
# Language has rules, and counting finds them: what follows the most frequent word?

# %%
top = counts.most_common(1)[0][0]
pairs = Counter(pair for words in train_words for pair in zip(words, words[1:], strict=False))
after = Counter({second: n for (first, second), n in pairs.items() if first == top})
print(f"after {top!r}:", ", ".join(f"{w} {n / after.total():.0%}" for w, n in after.most_common(6)))

# %% [markdown]
# A table like this knows one word of the past. The network of the next notebook will know the
# whole sentence so far, and the picture. From each beginning of a sentence it is to guess the next
# word: one caption makes as many exercises as it has words, and one more for the end.

# %%
inputs, targets = rows[0][:-1], rows[0][1:]
steps = range(np.count_nonzero(targets))
read = [" ".join(tokenizer.vocabulary[n] for n in inputs[: step + 1]) for step in steps]
exercises = [(read[step], tokenizer.vocabulary[targets[step]]) for step in steps]
pd.DataFrame(exercises, columns=["what it has read", "what comes next"])

# %% [markdown]
# The two columns are the same row, shifted by one. So nothing has to be written down twice: inputs
# are `row[:-1]`, targets are `row[1:]`, and a network that reads from left to right does all
# exercises of a caption in one pass. [Notebook 3](03_train.ipynb) checks that this equals the slow
# way, one beginning at a time.
#
# ## Save
#
# `captions.pkl` holds what people said and the split, `tokenizer.pkl` the words in their order.
# They are plain lists and dicts, which any version of any library can read.

# %%
captions = {"captions": {name: photos.captions[name] for name in photos.names}}
captions |= {"splits": photos.splits, "split_source": photos.split_source, "marked": photos.subsets}
for kind, data in {"captions": captions, "tokenizer": tokenizer.to_dict()}.items():
    path = artifacts.save(kind, data, config)
    print(path.name, artifacts.format_size(path), "for 03_train, 04_evaluate and 05_visualize")

# %% [markdown]
# What was saved comes back as it was.

# %%
again = Tokenizer.from_dict(artifacts.load("tokenizer", config))
assert (again.encode(photos.captions[example]) == rows).all()

# %% [markdown]
# ## What you have seen
#
# - Captions became words by rules that scoring uses as well, and no word was dropped for being
#   short.
# - The vocabulary came from the training captions alone; rare words share one number.
# - A row of numbers and the same row shifted by one are all the exercises of a caption.
#
# **Try it.** A *Look* changes a number, a *Change* needs a few lines, a *Build* a dozen, and
# *Beyond* leads out of this series. Say what you expect before you run anything. An answer's code
# goes into a new cell below, once all cells above have run. It is written for the drawn sample; on
# photos its numbers differ.
#
# 1. *Look*: How many words would the vocabulary hold with `min_count` 1, and with 10? Before you
#    run it: look at the left figure above, and guess.
#
# <details><summary>An answer</summary>
#
# ```python
# for least in (1, 10, settings.min_count):
#     size = len(Tokenizer.fit(train_captions, least, settings.max_length))
#     lost = sorted(word for word, times in counts.items() if times < least)
#     print(f"min_count {least}: {size:,} words; lost: {', '.join(lost[:9]) or 'none'}")
#     assert size == 4 + len(counts) - len(lost)  # four stand for padding, start, end, unknown
# ```
#
# In drawn scenes hardly any word is rare. In what people write of photos about half of all
# different words are, and these are often the ones that tell most.
# </details>
#
# 2. *Change*: The table `pairs` knows which word follows which. Let it guess each next word of the
#    validation captions: always the one that followed most often. Before you run it: will it be
#    right more often than one time in three?
#
# <details><summary>An answer</summary>
#
# ```python
# follower = {}
# for (first, second), _ in pairs.most_common():
#     follower.setdefault(first, second)
# texts = [words_of(text) for name in validation for text in photos.captions[name]]
# steps = [step for text in texts for step in zip(text, text[1:], strict=False)]
# by_pair = np.mean([follower.get(first) == second for first, second in steps])
# by_count = np.mean([second == top for _, second in steps])
# print(f"by the word before: {by_pair:.0%} right; always {top!r}: {by_count:.0%}")
# assert by_pair > by_count
# ```
#
# In drawn scenes it is, if barely. One word of the past is worth a lot, without any picture: the
# next network has to beat that, and good guesses alone do not show that it looks.
# </details>
#
# 3. *Build*: Build a writer that has never seen a picture: draw each word from those that followed
#    the last one in the training captions. Before you run it: how far will a sentence make sense?
#
# <details><summary>An answer</summary>
#
# ```python
# import random
#
# follow, chance, invented = {}, random.Random(1), []
# for text in train_words:
#     for first, second in zip(["<start>", *text], [*text, "<end>"], strict=True):
#         follow.setdefault(first, []).append(second)
# while len(invented) < 100:
#     text = ["<start>"]
#     while text[-1] != "<end>":
#         text.append(chance.choice(follow[text[-1]]))
#     invented.append(text[1:-1])
# print(*[" ".join(text) for text in invented[:6]], sep="\n")
# new = np.mean([text not in train_words for text in invented])
# print(f"{new:.0%} of them were said by nobody")
# assert all(b in follow[a] for text in invented for a, b in zip(text, text[1:], strict=False))
# ```
#
# Somebody has said each two neighbours, hardly anybody the whole: after a few words it has
# forgotten what the sentence was about. A memory is what the LSTM of the next notebook brings.
# </details>
#
# 4. *Beyond*: Suppose the captions were in another language: German, Russian, Korean, Japanese or
#    Hindi. Before you run it: in which of these does `words_of` find the words?
#
# <details><summary>An answer</summary>
#
# ```python
# said = {"German": "Ein Mädchen läuft über die Brücke.", "Russian": "Девочка бежит по мосту."}
# said |= {"Korean": "달리는 개.", "Japanese": "女の子が橋を渡る。", "Hindi": "कुत्ता दौड़ता है।"}
# for language, text in said.items():
#     print(f"{language:9} {text}  {words_of(text)}")
# assert len(words_of(said["German"])) == 6 and len(words_of(said["Japanese"])) == 1
# print("with blanks:", words_of(" ".join(said["Japanese"])))
# ```
#
# Where blanks part the words and letters are letters, nothing has to change. Japanese and Chinese
# have no blanks: the cheapest mend is to put one between all letters in the captions' file, so that
# each letter is a word, and to raise `max_length`. Hindi and Thai write vowels as signs around a
# letter, which `words_of` takes for punctuation: they need another pattern in `utils/text.py`. With
# few captions lower `min_count`, or hardly a word is frequent enough. Multi30k has German captions
# for the photos of Flickr30k.
# </details>
#
# *Next*: [3 Teach a network to write](03_train.ipynb).
