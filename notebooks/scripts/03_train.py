# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Teach a network to write
#
# *Notebook 3 of 5 · before: [1 Turn pictures into numbers](01_features.ipynb) and [2 Turn captions
# into numbers](02_text.ipynb) · after: [4 Measure what it writes](04_evaluate.ipynb)*
#
# A captioner is a machine for one question: *given this picture and these words, what is the next
# word?* Ask it again and again, and it writes a sentence:
#
# picture + `a` → `dog` · picture + `a dog` → `runs` · picture + `a dog runs` → *end*
#
# **You will**
# - put a number on how wrong a guess is, and compute it by hand for one caption;
# - build the classic captioner, where an LSTM and the picture meet before the last layer;
# - let a second one look at parts of the picture, word by word, and compare the two.
#
# **You need** to have trained one Keras model; notebooks 1 and 2 run before. Minutes on two cores:
# about 1 for the drawn sample; about two hours for 6,000 photos.
#
# ## Setup
#
# The same cell opens all five notebooks: it finds the package `utils` that they share.

# %%
import os
import sys
from pathlib import Path

from utils import feature_grids

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
# The settings of this notebook: how wide the network is (`units`, `embedding_dim`), how strongly it is
# kept from learning by heart (`dropout`, `label_smoothing`), how long and how fast it learns, how much of
# its weights' average each step keeps (`ema_momentum`), after how many epochs without a better score
# it stops (`patience`: *early stopping*), and ways to go further, which are explained near the end.

# %% tags=["parameters"]
config = load_config(detect_preset())
shown = "captioner units embedding dropout smoothing epochs batch_size learning_rate ema_momentum"
shown += " patience fine_tune_epochs scst_epochs members"
print(summarize(config, *shown.split()))

# %% [markdown]
# What the notebooks before have made. Had one of them been run with other settings, or not at all,
# loading it would say which to run again.

# %%
from utils.data.tokenizer import Tokenizer

features, captions = artifacts.load("features", config), artifacts.load("captions", config)
tokenizer = Tokenizer.from_dict(artifacts.load("tokenizer", config))
grid = feature_grids.load_grid(features, config)
print(f"{len(grid):,} photos of {grid.shape[1]} cells × {grid.shape[2]} channels")

# %% [markdown]
# ## How wrong is a guess?
#
# The model answers with a probability for every word. If the right word got probability $p$, the
# answer costs $-\log p$: nothing for certainty, much for a surprise. The mean over all words is the
# **cross-entropy**, the one number that training pushes down. For somebody who knows nothing all
# words are equally likely:

# %%
known_nothing = np.log(len(tokenizer))
print(f"guessing blindly among {len(tokenizer):,} words costs {known_nothing:.2f} a word")

# %% [markdown]
# Knowing how frequent words are is worth a lot already. First what we learn from: for every photo
# its row in the grid, and all its captions as numbers. A photo that 01 could not read is left out.

# %%
from utils.training.batching import make_training_data

positions, left = {name: row for row, name in enumerate(features["names"])}, features["skipped"]
splits = {s: [n for n in names if n not in left] for s, names in captions["splits"].items()}
pairs = make_training_data(splits["train"], captions["captions"], positions, tokenizer)
print(f"rows {pairs[0].shape}, words {pairs[1].shape}: photos, captions, positions")

# %% [markdown]
# **By hand**: count the targets, padding left out, and take the mean cost if each word is guessed
# by its share; a tenth is added to each count, for no word is impossible. **By name**:
# `word_frequencies`.

# %%
from utils.models.captioners import token_frequencies

targets = pairs[1][:, :, 1:]
counts = np.bincount(targets[targets > 0], minlength=len(tokenizer)) + 0.1
frequencies = token_frequencies(pairs[1].reshape(-1, pairs[1].shape[-1]), len(tokenizer))
assert np.allclose(frequencies, counts / counts.sum())
known_frequencies = -np.sum(frequencies * np.log(frequencies))
assert known_frequencies < known_nothing
print(f"guessing by frequency costs {known_frequencies:.2f} a word")

# %% [markdown]
# ## The classic: read, look, merge
#
# Each word becomes a row of a table, learnt like any weight: its *embedding*. An **LSTM** (long
# short-term memory) reads these rows and keeps a summary of the sentence so far, its *hidden
# state*. The picture is turned into a vector of the same width. The two are added, and a last layer
# gives every word a score, a *logit*. That is the `merge` captioner, the one of the VGG16 + LSTM
# recipes. (A third kind, `inject`, starts the LSTM with the picture as its hidden state; Show and
# Tell gave it the picture as a first word.)

# %%
from dataclasses import replace

from utils.devices import dtype_policy
from utils.models.captioners import build_captioner
from utils.training.distribution import choose_strategy

devices, classic_settings = choose_strategy(), replace(config, decoder="merge")
frozen = (
    artifacts.load("backbone_features", config) if config.fine_tune_epochs else None
)  # tuning starts there


def build(config):
    """A captioner that has learnt nothing yet, on one device or copied to each of several GPUs."""
    with devices.scope():
        return build_captioner(grid.shape[2], len(tokenizer), config, frequencies)


merge = build(classic_settings)
near = 1e-4 if dtype_policy(config) == "float32" else 0.05  # half the bits are less exact
print(f"{merge.count_params():,} weights")

# %% [markdown]
# **By hand**, for our example and its first caption. An LSTM has a *memory* beside its hidden
# state. Four small layers look at the next word and at the hidden state: three *gates* (how much to
# let in, to keep, to show), and one for what is new.

# %%
import tensorflow as tf

photo, sentence = grid[pairs[0][:1]].astype("float32"), pairs[1][0][:1]
kernel, recurrent, bias = (np.asarray(weight) for weight in merge.lstm.get_weights())
hidden = memory = np.zeros(config.units)
for word in np.asarray(merge.embedding(sentence[:, :-1]))[0]:
    let_in, keep, new, show = np.split(word @ kernel + hidden @ recurrent + bias, 4)
    let_in, keep, show = (1 / (1 + np.exp(-gate)) for gate in (let_in, keep, show))
    memory = keep * memory + let_in * np.tanh(new)
    hidden = show * np.tanh(memory)

# %% [markdown]
# **By name**: Keras's LSTM, which also returns the hidden state after every word. Again **by
# hand**, the layers after it. The picture's vector is first brought to mean 0 and spread 1 (*layer
# normalization*), as CNNs differ in how large their numbers are. `narrow` brings the sum to the
# width of a word's row, since one table serves both ways (*weight tying*): a word's logit is the
# dot product with its row, plus a bias. That starts as the logarithm of the word's share, so no
# epoch is spent on learning that "a" is frequent.

# %%
read = tf.cast(merge.lstm(merge.embedding(sentence[:, :-1]))[0], tf.float32)
assert np.allclose(read[0, -1], hidden, atol=near)
pooled = photo.mean(axis=1)
level = (pooled - pooled.mean()) / np.sqrt(pooled.var() + 1e-3)
level = level * merge.layer_norm.gamma + merge.layer_norm.beta  # learnt; 1 and 0 at the start
seen = tf.tanh(level @ merge.image_projection.kernel + merge.image_projection.bias)
both = tf.cast(merge.output_projection(read + seen[:, None]), tf.float32)
logits = tf.einsum("btd,vd->btv", both, merge.embedding.embeddings) + merge.bias

# %% [markdown]
# The whole **by name**: the model, called with features and words, gives the logits after *every*
# word at once.

# %%
assert np.allclose(merge([photo, sentence[:, :-1]]), logits, atol=near)
print(f"logits {logits.shape}: captions, words, vocabulary")

# %% [markdown]
# Now its cost, **by hand**: turn logits into probabilities, pick the right word's, take minus the
# logarithm, leave the padding out.

# %% tags=["nbval-ignore-output"]
targets = sentence[0, 1:]
probabilities = tf.nn.softmax(logits[0]).numpy()
costs = [-np.log(probabilities[step, word]) for step, word in enumerate(targets) if word]
print(f"{tokenizer.decode(sentence[0])}: {np.mean(costs):.2f} a word, over {len(costs)} words")

# %% [markdown]
# It has learnt nothing yet: what it knows of words is their frequency. **By name**: `caption_loss`,
# for whole batches.

# %%
from utils.training.loss import masked_loss

by_name = masked_loss(logits, sentence[:, 1:], label_smoothing=0.0).numpy()
assert np.isclose(by_name, np.mean(costs), atol=1e-4)

# %% [markdown]
# Many recipes do this one beginning at a time: a generator yields `a`, then `a dog`, then
# `a dog runs`, each as a padded row of its own, with the picture copied beside it and the next
# word as the answer. The same caption that way, and how often it computes the same thing:

# %%
slow = []
for known in range(1, np.count_nonzero(sentence)):
    beginning = np.where(np.arange(sentence.size) < known, sentence[0], 0)
    answer = tf.nn.log_softmax(merge([photo, beginning[None]])[0, known - 1])
    slow.append(-float(answer[sentence[0, known]]))
assert np.allclose(slow, costs, atol=10 * near)
print(f"the picture was looked at {len(slow)} times, and the start word read {len(slow)} times;")
print(f"{len(slow) * sentence.size} words went through the LSTM; one pass has {sentence.size - 1}")

# %% [markdown]
# The same costs, to the last beginning. An LSTM reads from left to right, so what it says after
# three words can't depend on the fourth: one pass holds all the exercises, and computes none twice.
# While it learns, the word before is always a person's, never its own guess: *teacher forcing*.
#
# ## Train the classic
#
# A batch is a number of photos with *all* their captions: so each photo is read and looked at once,
# not five times. And all captions of a batch are padded to its longest. **By hand**: the share of
# padding when photos come together by chance. **By name**: `plan_epoch` lays photos together whose
# longest captions are about as long, and shuffles the batches.

# %%
from utils.training.batching import bucketed_batches

lengths, size = (pairs[1] > 0).sum(axis=-1), config.batch_size
by_chance = np.random.RandomState(0).permutation(len(lengths))
by_chance = [by_chance[first : first + size] for first in range(0, len(lengths), size)]
by_length = bucketed_batches(pairs[1], size, seed=0)
for name, groups in {"by chance": by_chance, "by length": by_length}.items():
    words = [(lengths[group].sum(), lengths[group].max() * lengths[group].size) for group in groups]
    real, computed = np.sum(words, axis=0)
    print(f"{name}: {1 - real / computed:.0%} padding")

# %% [markdown]
# `train` is Keras's `fit` with three additions. After each epoch the captioner writes captions for
# the validation photos on its own, which are scored with **CIDEr-D** ([notebook
# 4](04_evaluate.ipynb) takes it apart; 0 is useless, 10 is the most, and people stay far below).
# The epoch that *writes* best is kept, not the one with the lowest loss. It writes with a moving
# average of its weights, which jitters less than they do. And after each epoch all of it is written
# to a file: if the training is killed, running this notebook again goes on from there, on the same
# machine to the very same end.
#
# We also want to watch it learn: each time it is judged, `watched` has it write a caption for the
# first validation photo, too, word by word, the likeliest each time (the next notebook shows how).

# %%
from utils.decoding.beam_search import generate
from utils.training.loop import Stage, make_validator, train

names = splits["validation"]
rows, _ = make_training_data(names, captions["captions"], positions, tokenizer)  # 01 has them all
references = [captions["captions"][name] for name in names]
validate, diary = make_validator(grid, rows, references, tokenizer, config), []


def watched(captioner):
    """The score; what it writes of one photo goes into the diary."""
    wrote = generate(captioner, grid, config, 1, rows=rows[:1], progress=False)
    diary.append(tokenizer.decode(wrote.token_ids[0]))
    return validate(captioner)


# %% [markdown]
# The optimizer is AdamW: Adam, which also shrinks the weights a little. Its rate rises for the
# first tenth of the steps, then falls to 0. Against learning by heart (*overfitting*), `dropout`
# hides part of the numbers from the network, and `label_smoothing` asks a little for all other words too,
# so that it never becomes too sure (*label smoothing*). So the cost while training can't reach 0,
# nor be compared with those above.

# %% tags=["nbval-ignore-output"]
diary.clear()
stage = Stage("train", "merge", classic_settings)
histories = {"merge": train(merge, pairs, grid, watched, classic_settings, stage)}
print("Somebody said:", references[0][0])
for row, wrote in zip(histories["merge"][-len(diary) :], diary, strict=False):
    print(f"epoch {row['epoch']:2}, CIDEr-D {row['CIDEr-D']:.2f}: {wrote}")

# %% [markdown]
# One photo, epoch by epoch: which comes first, the language or the picture? The score is that of
# all validation photos. (A training that goes on after a stop shows only what came since.)
#
# ## Look again at every word
#
# The classic sees the picture as *one* vector: the mean of all cells. A person who is about to say
# what somebody holds looks at the hands. **Attention** lets the network do that: from what it has
# read it makes a *query*, compares it with every cell, and mixes the cells, the best fitting most.
#
# **By hand**, three cells and one query, two numbers each. The dot product says how well a cell
# fits (divided by the root of the width, else wide vectors give sums so large that one cell takes
# all); softmax turns that into shares; the shares mix the cells. **By name**: `Attention.attend`.

# %%
from utils.models.captioners import AttentionCaptioner

cells, query = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), np.array([0.0, 3.0])
fits = np.array([query @ cell for cell in cells]) / np.sqrt(len(query))
shares = np.exp(fits) / np.exp(fits).sum()
mixed = sum(share * cell for share, cell in zip(shares, cells, strict=True))
print("shares", shares.round(2), "mixed", mixed.round(2))
looked, attention = AttentionCaptioner.attend(
    tf.constant(query[None, None]), tf.constant(cells[None])
)
assert np.allclose(attention[0, 0], shares) and np.allclose(looked[0, 0], mixed)

# %% [markdown]
# The second cell points where the query points and gets most of the say.
#
# The `attention` captioner has one LSTM that reads, then the look, then one LSTM that writes. The
# first starts from the picture's mean instead of zeros. It never waits for a look, so whole
# sentences still run in one pass. **By hand**, layer by layer; **by name**, the model itself:

# %%
model = build(replace(config, decoder="attention"))
leveled, words = model.layer_norm(photo), model.embedding(sentence[:, :-1])
thought = model.image_projection(tf.reduce_mean(leveled, axis=1))
read = model.attention_lstm(words, initial_state=[thought, tf.zeros_like(thought)])[0]
cells_here = model.key_projection(leveled)
fits_here = tf.matmul(model.query_projection(read), cells_here, transpose_b=True)
looked = tf.nn.softmax(fits_here / config.units**0.5) @ cells_here
written = model.language_lstm(tf.concat([read, looked], axis=-1))[0]
logits = model.compute_logits(written + looked)
assert np.allclose(model([photo, sentence[:, :-1]]), logits, atol=near)

# %% [markdown]
# The last LSTM gets what was read and what was looked at; what was looked at is added once more to
# what it says, so that it has a short way to the words. The same as a picture, with the shapes of
# this run for one photo and one caption (the start word and as many as a row holds): above, the
# words; below, the picture.

# %%
from utils.plotting.figures import plot_architecture

time, wide, narrow = sentence.shape[1] - 1, config.units, config.embedding_dim
boxes = {
    "words": (0, 0, [time]),
    "embedding_dim": (1, 0, [time, narrow], "words"),
    "grid": (0, 1.5, grid.shape[1:]),
    "mean": (1, 1, [wide], "grid"),
    "cells": (1, 2, [grid.shape[1], wide], "grid"),
    "read: LSTM": (2, 0, [time, wide], "embedding_dim", "mean"),
    "look: attention": (2.6, 2, [time, wide], "read: LSTM", "cells"),
    "write: LSTM": (3.6, 0, [time, wide], "read: LSTM", "look: attention"),
    "sum, narrow": (4.6, 1, [time, narrow], "write: LSTM", "look: attention"),
    "logits": (5.6, 1, [time, len(tokenizer)], "sum, narrow"),
}
_ = plot_architecture(boxes)

# %% [markdown]
# In the classic the two meet at the sum only: it has no *cells*, no *look* and no second LSTM, and
# *mean* leads straight to *sum*.
#
# What will training both take on Kaggle, before anything is tuned? An estimate, measured nowhere
# yet: six operations a weight and word, of which a GPU does 10^12 a second (1 TFLOP), 20 ms to
# start a step, and 15 ms to write a validation caption.

# %%
words, weights = config.epochs * int((pairs[1] > 0).sum()), build(config).count_params()
print(f"{config.decoder}: {weights:,} weights")

work = 6 * words * (merge.count_params() + weights) / 1e12
waiting = 2 * config.epochs * (0.02 * len(by_length) + 0.015 * len(names))
print(f"both: {work:,.1f} TFLOP; minutes on a Kaggle GPU, estimated: {(work + waiting) / 60:.1f}")

# %% [markdown]
# `train_all` trains the settings' `captioner`: `attention`, unless you chose another.

# %%
from utils.training.batching import ValidationData
from utils.training.stages import train_all

checked = ValidationData(rows, references, tokenizer)
captioner, stages = train_all(build, features, frozen, pairs, checked, config)
histories |= stages

# %% [markdown]
# ## Compare
#
# Left, the cost while training (with `label_smoothing`, so not to be compared with those above); right,
# how good the captions for the validation photos are. A ring marks the epoch that is kept. The
# curves compare two whole captioners: the second one also has more weights.

# %%
from utils.plotting.figures import plot_histories

_ = plot_histories(histories)

# %% [markdown]
# The same in numbers: the score of the epoch that was kept, and which it was.

# %% tags=["nbval-ignore-output"]
losses = [row["loss"] for row in histories["merge"]]
assert losses[-1] <= losses[0]
best = {name: max(epochs, key=lambda row: row["CIDEr-D"]) for name, epochs in histories.items()}
table = pd.DataFrame(best).T[["CIDEr-D", "epoch"]].astype({"epoch": int})
table.round(2)

# %% [markdown]
# ## Going further
#
# Four settings make `train_all` do more. The drawn sample needs none of them; `flickr8k` has the
# first, which pays most. The second and third gained nothing certain there (`RESULTS.md`):
#
# - `fine_tune_epochs`: **tune the CNN** (*fine-tuning*). So far it answers what it was asked when it
#   was trained: which of a thousand things is this? A caption asks more: how many, doing what,
#   where? So now its last blocks learn with the captioner. They do so last: before the captioner
#   can write, its errors say little about pictures, and would only spoil what the CNN knows. And
#   slowly, for the same reason. By chance a photo is seen as it is or mirrored, so that there is
#   less to learn by heart (at a price: the captioner can't tell left from right).
# - `scst_epochs`: **train on the score** (*self-critical training*). Until now every word was to
#   be the one that a person said. Now the captioner writes five captions by chance for each photo;
#   CIDEr-D judges them, and each is made likelier or less likely by how far it is above or below
#   the others.
# - `members`: **write together** (an *ensemble*). Captioners that began with other random numbers
#   err in other places. Several choose each word by the mean of the probabilities that they give
#   it.
# - `start_from`: **begin with what another run learnt**, on a larger data set. Words that both
#   know keep their meaning. Notebook 2 must have run with the same setting. Mind what that run has
#   seen: Flickr30k was made to extend Flickr8k, so it may hold the photos that you test on.

# %% [markdown]
# ## Save
#
# The captioner is saved as plain arrays with the settings that made it: one file, never half of a
# pair. It remembers which features and which vocabulary it was trained on, and refuses others.

# %%
from utils.models.serialization import from_dict, to_dict

path = artifacts.save("captioner", to_dict(captioner), config)
artifacts.save("history", histories, config)
print(f"{path.name} for 04_evaluate and 05_visualize")

# %% [markdown]
# What was saved is the captioner that was trained, to the last digit that matters. Our example it
# has seen while it learnt. Of a validation photo, the one of the diary, it writes here: is it true?

# %% tags=["nbval-ignore-output"]
from utils.data.photos import image_paths
from utils.plotting.figures import show_photos

again = from_dict(artifacts.load("captioner", config), config)
looks = feature_grids.load_grid(frozen, config) if frozen else grid  # what a tuned captioner takes
photo = looks[pairs[0][:1]].astype("float32")
assert np.allclose(again([photo, sentence]), captioner([photo, sentence]), atol=near)
now = masked_loss(again([photo, sentence[:, :-1]]), sentence[:, 1:], label_smoothing=0.0).numpy()
print(f"our example's caption cost {np.mean(costs):.2f} a word before training, and now {now:.2f}")
wrote = generate(again, looks, config, beam_width=1, rows=rows[:1], progress=False)
title = f"It writes: {tokenizer.decode(wrote.token_ids[0])}. Somebody said: {references[0][0]}"
paths = image_paths(names[:1], config)
_ = show_photos(paths, [title] * len(paths), size=3)

# %% [markdown]
# ## What you have seen
#
# - A guess costs minus the logarithm of the right word's probability; one pass over a caption
#   gives the cost of all its beginnings.
# - The classic captioner adds what an LSTM has read to what a CNN has seen, and learns to write.
# - With attention the network looks again for every word; the curves compare the two.
#
# **Try it.** A *Look* changes a number, a *Change* needs a few lines, a *Build* a dozen, and
# *Beyond* leads out of this series. Say what you expect before you run anything. An answer's code
# goes into a new cell below, once all cells above have run. It is written for the drawn sample; on
# photos its numbers differ.
#
# 1. *Look*: Three cells, one query: `[0.0, 3.0]` looked at the second cell most. Before you run it:
#    which shares does `[0.0, 0.0]` give, and which `[0.0, 30.0]`?
#
# <details><summary>An answer</summary>
#
# ```python
# for query in ([0.0, 0.0], [0.0, 3.0], [0.0, 30.0]):
#     shares = tf.nn.softmax(cells @ query / np.sqrt(len(query))).numpy()
#     print(query, "shares", shares.round(2), "mixed", (shares @ cells).round(2))
# assert shares.max() > 0.99
# ```
#
# A query of zeros asks for nothing and gets the mean of all cells, which is all that the classic
# ever sees. A long one gets a single cell. So a network can learn how closely to look, too.
# </details>
#
# 2. *Change*: What is left without the picture? Train the classic for two epochs on a grid of
#    zeros. Before you run it: will the loss fall? How many different captions will it write?
#
# <details><summary>An answer</summary>
#
# ```python
# from utils.search import write_captions
#
# short, blank = replace(classic_settings, epochs=2), np.zeros_like(grid)
# blind = build(short)
# check = validator(blank, rows, references, tokenizer, short)
# losses = [epoch["loss"] for epoch in train(blind, pairs, blank, check, short)]
# wrote = write_captions(blind, blank, short, beam_width=1, rows=rows, progress=False)
# different = {tokenizer.decode(words) for words in wrote.words}
# print("losses", np.round(losses, 2), "and all it can say:", different)
# assert losses[1] < losses[0] and len(different) == 1
# ```
#
# The loss falls, as language alone can be learnt; but what is the same for every photo gives the
# same sentence for every photo. After all epochs it would be a better sentence, and still one.
# </details>
#
# 3. *Build*: Is it the attention, or only the larger network? Build a fair test: train the
#    attention captioner with the mean of all cells as its only cell, and beside it one with all of
#    them, two epochs each. Before you run it: who has learnt more by then?
#
# <details><summary>An answer</summary>
#
# ```python
# short, reached = replace(settings, epochs=2), {}
# mean = np.asarray(grid).mean(axis=1, keepdims=True)
# for name, looks in {"one cell": mean, "all cells": grid}.items():
#     check = validator(looks, rows, references, tokenizer, short)
#     reached[name] = train(build(short), pairs, looks, check, short)[-1]
# print(pd.DataFrame(reached).T.round(2))
# assert reached["all cells"]["loss"] < reached["one cell"]["loss"]
# ```
#
# Both have as many weights, the same data and as many steps: what the first one lacks is the choice
# where to look. Two epochs only show who learns faster; on drawn scenes the gap widens with more.
# </details>
#
# 4. *Beyond*: Build another kind of captioner, a forgetful one: a `Merge` (`utils/captioners.py`)
#    with a layer in the place of its LSTM that sees the last word and nothing that it has said
#    before. Before you run it: what will its sentences lack?
#
# <details><summary>An answer</summary>
#
# ```python
# from utils.captioners import CAPTIONERS, Merge
# from utils.search import write_captions
#
#
# class Forgetful(Merge):
#     def __init__(self, *given):
#         super().__init__(*given)
#         self.lstm = tf.keras.layers.Dense(settings.units, "tanh")  # it has no memory
#
#     def decode_sequence(self, words, state, training=False):
#         hidden = self.lstm(self.embedding(words)) + state["image_vector"][:, None]
#         logits = self.compute_logits(hidden, training)
#         return logits, state, logits[..., :0]  # it attends to no cell
#
#
# CAPTIONERS["forgetful"] = Forgetful
# own = replace(settings, decoder="forgetful", epochs=4)
# forgetful = build(own)
# history = train(forgetful, pairs, grid, validate, own)
# wrote = write_captions(forgetful, grid, own, beam_width=1, rows=rows[:5], progress=False)
# print(*[tokenizer.decode(words) for words in wrote.words], sep="\n")
# assert max(epoch["CIDEr-D"] for epoch in history) < best["merge"]["CIDEr-D"]
# ```
#
# It learns quickly, as there is little to learn, and its sentences end early or go round in a
# circle: after "in the snow" it can't know whether it has said who is there. It stays below the
# classic's best. A kind that is to stay gets its entry in `utils/captioners.py`, and its name in
# the choices of `utils/config.py`. Or change what is learnt: any folder with photos and a table
# of `image,caption` will do, `python -m utils run --input your_folder`. With few photos begin with
# what another run has learnt (`start_from`).
# </details>
#
# *Next*: [4 Measure what it writes](04_evaluate.ipynb).
