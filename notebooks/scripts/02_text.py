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
# *Notebook 2 of 5 · prerequisites: none, it also runs before
# [1 Extract image features](01_features.ipynb) · next: [3 Train the captioner](03_train.ipynb)*
#
# ```text
#    photos                 captions
#      │                       │
#  01_features          ▶ 02_text ◀     (you are here)
#      │ features.pkl          │ captions.pkl, tokenizer.pkl
#      └──────────┬────────────┘
#                 │
#             03_train
#                 │ captioner.pkl, history.pkl
#            04_evaluate
#                 │ predictions.pkl, confidence.pkl, scores.json
#            05_visualize ──► gallery.html
# ```
#
# A network can't process text: it takes arrays of numbers whose rows have equal lengths. So a
# caption is split into **tokens**, here words, and each token is replaced by its **token ID**, its
# index in the **vocabulary**, the list of all tokens that the model knows (the numbers are
# examples):
#
# ```text
#  "A dog runs."
#        │  split into tokens
#   a    dog   runs
#        │  add BOS and EOS
# <bos>   a    dog   runs  <eos>
#        │  look up token IDs
#   1     4    17     52     2
#        │  pad
#   1     4    17     52     2   0   0
# ```
#
# **BOS** (*beginning of sequence*) and **EOS** (*end of sequence*) mark where a caption begins and
# ends, and **padding** fills the rows up to a common length. We take these steps one by one.
#
# **You will learn**
# - how to split captions into tokens without losing any word;
# - how to build a vocabulary from the training captions, and what a rare word costs;
# - how captions of different lengths become one array, and why padding must not count when a model
#   is trained.
#
# **You need** Python and NumPy. This notebook doesn't use the photos, so it can run before
# notebook 1. Reading takes about 25 minutes; running takes less than one on two cores, for the
# drawn sample and for Flickr8k.
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
    url = "https://github.com/INSERT_OWNER_HERE/image-captioning"
    os.system(f"git clone --quiet --depth 1 {url} image-captioning")
    found = list(Path.cwd().glob("image-captioning"))
    if not found:
        fix = "turn on internet access, or write the address of your repository into this cell"
        raise SystemExit(f"{url} could not be cloned: {fix}.")
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
# `max_length`, the number of words at which a caption is cut off.

# %% tags=["parameters"]
config = load_config(detect_preset())
print(summarize(config, "min_count", "max_length"))

# %% [markdown]
# ## The references
#
# Many data sets have several reference captions for each photo. For Flickr8k five people each wrote
# one; for the drawn sample a program writes five, from five templates. Other data sets have only
# one. Here are those of our example, the photo of notebook 1:

# %%
from utils.data.photo_files import readable_names
from utils.data.photos import find_photos

photos = find_photos(config)
(example,) = readable_names(photos, "train", count=1)
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
# In Flickr8k the two numbers are 23 % and 8 %: captions of the same photo have more words in common
# than those of different photos, but most of their words differ. The model must learn what the
# captions of a photo have in common. And a score must not require one particular caption.
#
# ## From a caption to tokens
#
# **By hand**, for the first caption of plain words (or else for another sentence): lower case, no
# punctuation, split at spaces. Without this [**normalization**](
# https://huggingface.co/learn/llm-course/chapter6/4), `"Dog"`, `"dog"` and `"dog,"` would be three
# tokens, and each would have to be learned separately.

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
# on. This is called [**data leakage**](https://en.wikipedia.org/wiki/Leakage_(machine_learning)).

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
# ## Which words are frequent?
#
# We count the tokens of the training captions, and of no others: when a model is used, the captions
# of new photos don't exist yet.

# %%
print(f"{counts.total():,} tokens, {len(counts):,} distinct ones")

# %% [markdown]
# The ten most frequent:

# %%
pd.DataFrame(counts.most_common(10), columns=["token", "count"])

# %% [markdown]
# In any large text, few words are frequent and most are rare.
# [**Zipf's law**](https://en.wikipedia.org/wiki/Zipf%27s_law) says how fast the frequency falls:
# sort the words by falling count, and the frequency of the word at **rank** $r$ is about
#
# $$p(r) \approx \frac{c}{r}.$$
#
# So the tenth word is about a tenth as frequent as the first. For English text
# [Shannon](https://doi.org/10.1002/j.1538-7305.1951.tb01366.x) used $c = 0.1$, ten percent. Do
# captions follow this law? We compare these captions with Flickr8k, a data set of photos whose
# captions people wrote. Its counts are given at a few ranks:

# %%
FLICKR8K_TRAIN_TOKENS = 323_650
FLICKR8K_RANKS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]
FLICKR8K_COUNTS = [46_782, 14_085, 6_907, 4_967, 2_102, 940, 454, 199, 60, 22, 7, 1]

sorted_counts = [count for _, count in counts.most_common()]
shares = {"these captions": {}, "Flickr8k": {}}  # rank: % of all tokens
for rank, count in enumerate(sorted_counts, start=1):
    shares["these captions"][rank] = 100 * count / counts.total()
for rank, count in zip(FLICKR8K_RANKS, FLICKR8K_COUNTS, strict=True):
    shares["Flickr8k"][rank] = 100 * count / FLICKR8K_TRAIN_TOKENS

# %% [markdown]
# These are the 30,000 training captions of [Flickr8k](https://doi.org/10.1613/jair.3994) (Hodosh,
# Young and Hockenmaier, 2013), counted with `tokenize`: 7,689 distinct tokens, 3,183 of which occur
# only once.

# %%
from utils.plotting.charts import plot_zipf

top_tokens = [token for token, _ in counts.most_common()]
labels = {rank: top_tokens[rank - 1] for rank in (1, 10, 100) if rank <= len(top_tokens)}
_ = plot_zipf(shares, zipf=10, labels=labels)

# %% [markdown]
# Both axes are logarithmic, so Zipf's law is a straight line (dashed). Flickr8k's points follow it,
# within a factor of 1.6, from the first rank to the thousandth, and fall faster after that. Its 29
# most frequent tokens make up half of the text. The drawn sample ends where its program has no more
# words. Human captions have no such end: more captions bring more new words.
#
# How many tokens of these captions are rare?

# %%
for limit in (2, 5, 20):
    num_rare = sum(count < limit for count in sorted_counts)
    print(f"{num_rare:,} tokens ({num_rare / len(counts):.0%}) occur fewer than {limit} times")

# %% [markdown]
# ## Unknown words
#
# A network learns little about a word from one or two examples, and every word of the vocabulary
# costs weights. So rare words are left out: all words with fewer than `min_count` occurrences share
# one token, `<unk>`, called **UNK** (*unknown*). The price is the **out-of-vocabulary rate**, the
# fraction of the tokens of a text that are not in the vocabulary $V$:
#
# $$\text{OOV rate} = \frac{\text{number of tokens that are not in } V}{\text{number of tokens}}.$$
#
# It must be measured on captions that the vocabulary was not built from: on the training captions
# it would be zero with `min_count=1`, and too low with any other value. We use the validation
# captions.

# %%
validation_counts = Counter()
for name in photos.splits["validation"]:
    for text in photos.captions[name]:
        validation_counts.update(tokenize(text))


def out_of_vocabulary_rate(min_count):
    """The percentage of the validation tokens that are rarer than this in training."""
    num_unknown = 0
    for token, count in validation_counts.items():
        if counts[token] < min_count:  # 0 for a token that training captions lack
            num_unknown += count
    return 100 * num_unknown / max(1, validation_counts.total())


rate = out_of_vocabulary_rate(config.min_count)
print(f"OOV rate with min_count={config.min_count}: {rate:.2f} %")

# %% [markdown]
# How does the rate depend on the cutoff? Flickr8k's numbers are those of its 5,000 validation
# captions, with a vocabulary from its 30,000 training captions.

# %%
from utils.plotting.charts import plot_unknown

FLICKR8K_OOV = {1: 1.34, 2: 2.00, 4: 2.99, 8: 4.48, 16: 6.54, 32: 9.48, 64: 13.78}

cutoffs = list(FLICKR8K_OOV)
own_rates = {cutoff: out_of_vocabulary_rate(cutoff) for cutoff in cutoffs}
_ = plot_unknown({"these captions": own_rates, "Flickr8k": FLICKR8K_OOV}, config.min_count)

# %% [markdown]
# And how many words does each cutoff leave in the vocabulary?

# %%
FLICKR8K_SIZES = {1: 7_689, 2: 4_506, 4: 2_920, 8: 1_895, 16: 1_233, 32: 781, 64: 473}

own_sizes = {cutoff: sum(count >= cutoff for count in sorted_counts) for cutoff in cutoffs}
sizes = pd.DataFrame({"these captions": own_sizes, "Flickr8k": FLICKR8K_SIZES})
sizes.rename_axis("min_count")

# %% [markdown]
# On Flickr8k, `min_count=4` removes 62 % of the words from the vocabulary, and only 3 % of the
# validation tokens become unknown. But these are spread out: one validation caption in four has at
# least one unknown word, and it is often the most specific one. With `min_count=1` the rate is
# still 1.3 %: words that no training caption has. The drawn sample has hardly any rare words, so
# its rate is near zero for every cutoff up to 20.
#
# ## The vocabulary
#
# **By hand**: keep the frequent words, the most frequent first, and number them. The IDs below 4
# are reserved for the **special tokens**: `<pad>` (0), `<bos>` (1), `<eos>` (2) and `<unk>` (3).
# The next section uses the first three.

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
# Which words of the validation captions are unknown?

# %%
unknown = Counter()
for token, count in validation_counts.items():
    if token not in tokenizer.word_to_id:
        unknown[token] = count
print("most frequent unknown:", ", ".join(word for word, _ in unknown.most_common(5)) or "none")

# %% [markdown]
# ## From tokens to token IDs
#
# Why BOS and EOS? The model predicts each token from those before it. The first word has none
# before it, so it is predicted from BOS. And a model that never predicts EOS would never stop. PAD,
# the token of the padding, means nothing: it is never predicted.
#
# **By hand**: look up the ID of each word, put BOS before and EOS after them, and pad on the right.

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
# All unknown words have the ID of UNK, 3:

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
# How long must a row be? Long enough for nearly all captions. A longer caption is **truncated**,
# and gets no EOS: the model should not learn that sentences end there. The dashed line is the
# limit. If many captions are truncated, or many words are unknown, a line says which setting to
# change.

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
# ## A padded batch and its mask
#
# A network processes several captions at a time, a **batch**, as one array of the shape
# `(batch, time)`. All rows of an array have the same length, and captions do not: hence the
# padding. Here is a batch of three short captions of different lengths, if the data have so many:

# %%
first_of_length = {}  # for each number of tokens, the first training caption that has it
for text, length in zip(train_captions, lengths, strict=True):
    first_of_length.setdefault(length, text)
distinct_lengths = sorted(first_of_length)
three_or_more = [length for length in distinct_lengths if length >= 3] or distinct_lengths
batch_captions = [first_of_length[length] for length in three_or_more[:3]]

padded = tokenizer.encode(batch_captions)
longest = np.count_nonzero(padded, axis=1).max()
batch = padded[:, :longest]  # no longer than the longest caption of the batch
print("shape", batch.shape)
print(batch)

# %% [markdown]
# Which elements are tokens, and which are padding? A **mask** is an array of the same shape that
# says so: 1 for a token, 0 for padding.
# [**Masking**](https://keras.io/guides/understanding_masking_and_padding/) means leaving out
# whatever is computed where the mask is 0.

# %%
mask = (batch != PAD_ID).astype(int)
print(mask)

# %% [markdown]
# The same batch in words, and its mask below:

# %%
from utils.plotting.diagrams import plot_padded_batch

_ = plot_padded_batch(batch, mask, tokenizer.vocabulary)

# %% [markdown]
# Gray cells are padding. How much padding is there if *all* training captions are padded to the
# length that the setting allows?

# %%
train_sequences = tokenizer.encode(train_captions)
padding_share = np.mean(train_sequences == PAD_ID)
print(f"shape {train_sequences.shape}: {padding_share:.0%} of the elements are padding")

# %% [markdown]
# All of these elements would be computed for nothing. So a batch is only as long as its longest
# caption, and notebook 3 puts captions of similar length into the same batch.
#
# ## What a model learns from a caption
#
# A [**language model**](https://en.wikipedia.org/wiki/Language_model) predicts the next token from
# the tokens before it, the **prefix**. A captioner is a language model that sees an image as well.
# One caption gives a training example for each of its tokens, and one more for EOS:

# %%
sequence = sequences[0]
examples = []
for step in range(1, np.count_nonzero(sequence)):
    prefix = [tokenizer.vocabulary[token_id] for token_id in sequence[:step]]
    examples.append([" ".join(prefix), tokenizer.vocabulary[sequence[step]]])
pd.DataFrame(examples, columns=["prefix (input)", "next token (target)"])

# %% [markdown]
# So the inputs and the targets are the same sequence, shifted by one: the inputs are
# `sequence[:-1]`, and the **targets**, the right answers, are `sequence[1:]`. The mask is that of
# the targets: there is nothing to predict where the target is padding.
#
# ```text
# input     <bos>    a     dog    runs   <eos>  <pad>
#             │      │      │      │       │      │
# target      a     dog    runs  <eos>   <pad>  <pad>
# mask        1      1      1      1       0      0
# ```
#
# A network that reads from left to right predicts all tokens of a caption in one pass. Padding is
# on the right, so no prediction that counts has padding before it.
# [Notebook 3](03_train.ipynb) checks that this equals the slow way, one prefix at a time.
#
# ## The simplest language model
#
# To compute a loss we need a model. The simplest language model looks at one previous token and
# counts what followed it in the training captions: it counts pairs of adjacent tokens, **bigrams**.

# %%
from collections import defaultdict

followers = defaultdict(Counter)  # token ID -> how often each token ID follows
for token_ids in train_sequences.tolist():
    for previous_id, next_id in zip(token_ids[:-1], token_ids[1:], strict=True):
        if next_id == PAD_ID:
            break
        followers[previous_id][next_id] += 1

# %% [markdown]
# What follows the most frequent word?

# %%
top_word = counts.most_common(1)[0][0]
next_words = followers[tokenizer.word_to_id.get(top_word, UNK_ID)]
for token_id, count in next_words.most_common(6):
    print(f"{top_word} {tokenizer.vocabulary[token_id]:12} {count / next_words.total():.0%}")

# %% [markdown]
# As probabilities: each count is divided by the sum of the counts. A small number is added to every
# count before, so that no token has probability zero. Like a network, the model gives a probability
# to *every* token of the vocabulary, PAD included.

# %%
vocab_size = len(tokenizer)


def next_token_probabilities(previous_id):
    """The bigram model's probability of each token as the next one, `(vocab_size,)`."""
    smoothed = np.full(vocab_size, 0.1)
    for token_id, count in followers[previous_id].items():
        smoothed[token_id] += count
    return smoothed / smoothed.sum()


probabilities = next_token_probabilities(BOS_ID)
print(probabilities.shape, "sum", probabilities.sum().round(6))

# %% [markdown]
# ## The loss of a token
#
# The **loss** of one token is its **negative log-probability**, $-\log p$, where $p$ is the
# probability that the model gave to the right token. It is 0 if the model was certain of the right
# token, and the lower the probability, the higher the loss:

# %%
for probability in (1, 0.5, 0.1, 0.01):
    print(f"p = {probability:<5} loss = {np.log(1 / probability):.3f}")

# %% [markdown]
# The loss of the batch's shortest caption, token by token:

# %%
by_length = np.argsort(mask.sum(axis=1), kind="stable")
short_row = batch[by_length[0]]
long_row = batch[by_length[-1]]

steps = []
for previous_id, target_id in zip(short_row[:-1], short_row[1:], strict=True):
    if target_id == PAD_ID:
        break
    probability = next_token_probabilities(previous_id)[target_id]
    target = tokenizer.vocabulary[target_id]
    steps.append([tokenizer.vocabulary[previous_id], target, probability, -np.log(probability)])
pd.DataFrame(steps, columns=["previous", "target", "probability", "loss"]).round(3)

# %% [markdown]
# ## The loss with and without the mask
#
# Now for two captions of different lengths, the shortest and the longest of the batch.
# **Step 1**: the loss of *every* position, padding included.

# %%
two_captions = np.stack([short_row, long_row])
inputs = two_captions[:, :-1]
targets = two_captions[:, 1:]

losses = np.zeros(targets.shape)
for row, step in np.ndindex(*targets.shape):
    probability = next_token_probabilities(inputs[row, step])[targets[row, step]]
    losses[row, step] = -np.log(probability)
print(losses.round(2))

# %% [markdown]
# The losses after the first caption's EOS are those of predicting PAD. They are high, because no
# caption taught the model to predict it, and nothing depends on them: decoding stops at EOS.
#
# **Step 2**: multiply by the mask, which sets them to zero.

# %%
target_mask = (targets != PAD_ID).astype(float)
print((losses * target_mask).round(2))

# %% [markdown]
# **Step 3**: divide the sum by the number of *tokens*, not by the number of elements. With the loss
# $\ell_{bt}$ and the mask $m_{bt}$ of token $t$ in caption $b$, the **masked loss** is
#
# $$L = \frac{\sum_{b,t} m_{bt}\,\ell_{bt}}{\sum_{b,t} m_{bt}}.$$

# %%
masked_sum = (losses * target_mask).sum()
num_tokens = int(target_mask.sum())
with_mask = masked_sum / num_tokens
without_mask = losses.sum() / losses.size
print(f"with the mask:    {masked_sum:.3f} / {num_tokens} tokens = {with_mask:.3f}")
print(f"without the mask: {losses.sum():.3f} / {losses.size} elements = {without_mask:.3f}")

# %% [markdown]
# **With the library**: `masked_loss` takes logits, the numbers before the softmax (notebook 1), and
# computes the softmax itself. The logarithm of a probability serves as a logit, since the softmax
# of the logarithms of probabilities gives these probabilities back.

# %%
from utils.training.loss import masked_loss

logits = np.zeros((*inputs.shape, vocab_size))  # (batch, time, vocab_size)
for row, step in np.ndindex(*inputs.shape):
    logits[row, step] = np.log(next_token_probabilities(inputs[row, step]))
library_loss = masked_loss(logits, targets, label_smoothing=0.0).numpy()
assert np.isclose(library_loss, with_mask, rtol=1e-5)
print(f"shape of the logits {logits.shape}, masked_loss {library_loss:.3f}")

# %% [markdown]
# ## What goes wrong without the mask
#
# Is the unmasked loss just another scale? No. We pad the same two captions further, and compare
# three models:
#
# - the bigram model, which was counted without padding, as with a mask;
# - the same model after training *without* a mask: it has also learned that PAD follows EOS and
#   PAD, and knows the words no better;
# - a model that knows no word at all, and gives PAD a probability of 90 % at every position; the
#   other tokens share the rest.


# %%
def with_padding(previous_id):
    """The bigram model, if padding is counted: PAD follows EOS and PAD, nearly always."""
    if previous_id not in (EOS_ID, PAD_ID):
        return next_token_probabilities(previous_id)
    probabilities = np.full(vocab_size, 0.001 / (vocab_size - 1))
    probabilities[PAD_ID] = 0.999
    return probabilities


def always_pad(previous_id):
    """A model that predicts PAD, whatever came before."""
    probabilities = np.full(vocab_size, 0.1 / (vocab_size - 1))
    probabilities[PAD_ID] = 0.9
    return probabilities


def mean_losses(model, rows):
    """The mean loss of a model with and without the mask."""
    row_losses = []
    row_masks = []
    for row in rows.tolist():
        for previous_id, target_id in zip(row[:-1], row[1:], strict=True):
            row_losses.append(-np.log(model(previous_id)[target_id]))
            row_masks.append(target_id != PAD_ID)
    return np.average(row_losses, weights=row_masks), np.mean(row_losses)


assert np.allclose(mean_losses(next_token_probabilities, two_captions), (with_mask, without_mask))

# %% [markdown]
# The table has a row for each length that the captions are padded to.

# %%
models = {
    "bigram": next_token_probabilities,
    "bigram, padding counted": with_padding,
    "always PAD": always_pad,
}
table = {}
for extra in (0, 10, 30, 100):
    rows = np.pad(two_captions, ((0, 0), (0, extra)), constant_values=PAD_ID)
    table[rows.shape[1]] = np.concatenate([mean_losses(model, rows) for model in models.values()])
columns = pd.MultiIndex.from_product([list(models), ["mask", "no mask"]])
pd.DataFrame(table.values(), index=pd.Index(table, name="length"), columns=columns).round(2)

# %% [markdown]
# The masked losses are the same in each row: they depend on the captions alone. The unmasked ones
# change from row to row, although captions and models are the same. So they can't be compared
# between batches, which have different amounts of padding.
#
# What would a network learn without the mask? The second model: padding is the easiest thing to
# predict. The network does not unlearn words. But compare the two columns of this model: its
# loss **looks far too good**, and the more padding there is, the better it looks, although it
# knows the words as well as the first model. Most of the mean is padding. So the words also count
# less in training, and how much a word counts depends on how far its batch is padded.
#
# And the unmasked loss **ranks models wrongly**. With enough padding it is lower for the model that
# knows no word than for the first one. With the mask, the models that know something about words
# have the lower loss.
#
# ## How good is the bigram model?
#
# Its masked loss on all validation captions, beside that of the uniform model, which gives each
# token of the vocabulary the same probability $1/|V|$. Its loss is $\log |V|$ for each token.

# %%
validation_losses = []
for name in photos.splits["validation"]:
    for row in tokenizer.encode(photos.captions[name]).tolist():
        for previous_id, target_id in zip(row[:-1], row[1:], strict=True):
            if target_id == PAD_ID:
                break
            seen = followers[previous_id]  # only this one probability is needed
            probability = (seen[target_id] + 0.1) / (seen.total() + 0.1 * vocab_size)
            validation_losses.append(-np.log(probability))
print(f"uniform {np.log(vocab_size):.2f}, bigram {np.mean(validation_losses):.2f}")

# %% [markdown]
# The bigram model has never seen a photo. A low loss alone doesn't show that a captioner uses the
# image: much of a caption can be predicted from the word before. The network of
# [notebook 3](03_train.ipynb) gets the whole prefix and the image. How much lower is its loss?
#
# ## Save
#
# Two artifacts: `captions.pkl` holds the captions and the splits, `tokenizer.pkl` the tokens in the
# order of their IDs. They are plain lists and dicts, which any version of any library can read.

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
# The vocabulary was counted in the captions, so `captions.pkl` is the parent of `tokenizer.pkl`,
# whose header records its fingerprint ([notebook 1](01_features.ipynb)):

# %%
header = artifacts.read_header(path, "tokenizer")
assert header.parents == {"captions": artifacts.fingerprint(path.with_name("captions.pkl"))}
print("made from:", list(header.parents))
print("settings: ", header.config)

# %% [markdown]
# The loaded tokenizer gives the same token IDs.

# %%
loaded = Tokenizer.from_dict(artifacts.load("tokenizer", config))
assert (loaded.encode(photos.captions[example]) == sequences).all()

# %% [markdown]
# ## What you learned
#
# - Captions are tokenized by the rules that evaluation uses as well; short words are kept.
# - The vocabulary is built from the training captions alone. Rare words share one token, UNK; the
#   out-of-vocabulary rate on the validation captions says what that costs.
# - A sequence begins with BOS and ends with EOS. Shifted by one it is its own target.
# - A batch pads captions to one length. The mask keeps padding out of the loss; without it the loss
#   depends on the amount of padding, and looks better than the words deserve.
#
# ## Exercises
#
# **Try it.** *Vary*: change a value. *Modify*: edit a few lines. *Implement*: write a dozen lines.
# *Extend*: go beyond this series. Predict the result before you run anything. Put the code
# of an answer into a new cell below, after you have run all cells above. It is written for the
# drawn sample; on photos its numbers differ.
#
# 1. *Vary*: Which masked loss does a model have that gives every token the same probability? Does
#    it depend on the captions, on the padding, or on the vocabulary?
#
# <details><summary>Hint</summary>
#
# Pass a function to `mean_losses` that returns the same array for every previous token. What is the
# negative logarithm of one of its elements?
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# def uniform(previous_id):
#     return np.full(vocab_size, 1 / vocab_size)
#
#
# for rows in (two_captions, train_sequences[:100]):
#     with_the_mask, without_the_mask = mean_losses(uniform, rows)
#     print(f"with the mask {with_the_mask:.4f}, without {without_the_mask:.4f}")
#     assert np.isclose(with_the_mask, np.log(vocab_size))
# print(f"log({vocab_size}) = {np.log(vocab_size):.4f}")
# ```
#
# It is the logarithm of the size of the vocabulary, for any caption and any padding. A network
# that has not been trained yet is close to this number: a useful check before a long training.
# </details>
#
# 2. *Modify*: The masked loss is a mean over tokens. Another choice is to compute the mean of each
#    caption first, and then the mean over captions. Are the two equal for the two captions above?
#    In which of them does a word of a short caption count for more?
#
# <details><summary>Hint</summary>
#
# Sum along the time axis only: `(losses * target_mask).sum(axis=1)`. What do you divide by?
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# sums = (losses * target_mask).sum(axis=1)
# lengths_of_two = target_mask.sum(axis=1)
# mean_of_means = (sums / lengths_of_two).mean()
# print(f"tokens per caption {lengths_of_two}, loss per caption {(sums / lengths_of_two).round(3)}")
# print(f"mean over captions {mean_of_means:.3f}, mean over tokens {with_mask:.3f}")
# assert np.isclose((sums / lengths_of_two) @ (lengths_of_two / lengths_of_two.sum()), with_mask)
# ```
#
# They are equal only if both captions have the same length or the same mean loss. In the mean over
# captions each caption counts the same, so a word of a short caption counts for more. In the mean
# over tokens each word counts the same, and a long caption counts for more. As the assertion shows,
# the mean over tokens is the mean over captions with their lengths as weights.
# </details>
#
# 3. *Implement*: Generate captions without any image: sample each word from those that followed the
#    previous one in the training captions. Before you run it: how long will a sentence make sense?
#
# <details><summary>Hint</summary>
#
# Start from BOS, and stop at EOS. `followers[previous_id]` has the IDs of the tokens that followed
# the previous one, and how often: divide the counts by their sum, and sample one of these IDs with
# `rng.choice(next_ids, p=...)`.
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# rng = np.random.default_rng(1)
# train_texts = {tokenizer.decode(token_ids) for token_ids in train_sequences}
# generated = []
# for _ in range(100):
#     token_ids = [BOS_ID]
#     while token_ids[-1] != EOS_ID and len(token_ids) < config.max_length:
#         next_ids = list(followers[token_ids[-1]])
#         frequencies = np.array([followers[token_ids[-1]][next_id] for next_id in next_ids])
#         token_ids.append(int(rng.choice(next_ids, p=frequencies / frequencies.sum())))
#     generated.append(tokenizer.decode(token_ids))
# print(*generated[:6], sep="\n")
# novel = np.mean([text not in train_texts for text in generated])
# print(f"{novel:.0%} of them are not among the training captions")
# assert novel > 0
# ```
#
# Each pair of neighbors occurs in a training caption, the whole sentence hardly ever: the model
# sees one word, so it loses the subject of the sentence. The network of the next notebook has a
# state that summarizes all words so far.
# </details>
#
# 4. *Extend*: Suppose the captions were in another language: German, Russian, Korean, Hindi or
#    Japanese. Before you run it: for which of these are the tokens words?
#
# <details><summary>Hint</summary>
#
# Where do you put spaces when you write these languages? Try `tokenize` on a sentence of each.
# </details>
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
#
# ## Further reading
#
# - [Understanding masking and padding](https://keras.io/guides/understanding_masking_and_padding/),
#   a guide of Keras: how layers pass a mask on to each other.
# - [Byte-pair encoding](https://arxiv.org/abs/1508.07909) (Sennrich, Haddow and Birch, 2016):
#   tokens that are parts of words, as large language models use them. Hardly any text has unknown
#   tokens then, but sequences are longer. The [course of Hugging Face](
#   https://huggingface.co/learn/llm-course/chapter6/5) builds such a tokenizer step by step.
# - [Framing Image Description as a Ranking Task](https://doi.org/10.1613/jair.3994) (Hodosh, Young
#   and Hockenmaier, 2013): how the captions of Flickr8k were collected.
# - [Prediction and Entropy of Printed English](https://doi.org/10.1002/j.1538-7305.1951.tb01366.x)
#   (Shannon, 1951): how well people predict the next letter of a text.
