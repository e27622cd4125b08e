# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Train the captioner
#
# [![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)][kaggle]
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)][colab]
#
# [kaggle]: https://kaggle.com/kernels/welcome?src=https://github.com/INSERT_OWNER_HERE/image-captioning/blob/main/notebooks/03_train.ipynb
# [colab]: https://colab.research.google.com/github/INSERT_OWNER_HERE/image-captioning/blob/main/notebooks/03_train.ipynb
#
# *Notebook 3 of 5 · prerequisites: [1 Extract image features](01_features.ipynb) and [2 Tokenize
# the captions](02_text.ipynb) · next: [4 Generate and evaluate captions](04_evaluate.ipynb)*
#
# ```text
#    photos                 captions
#      │                       │
#  01_features              02_text
#      │ features.pkl          │ captions.pkl, tokenizer.pkl
#      └──────────┬────────────┘
#                 │
#           ▶ 03_train ◀        (you are here)
#                 │ captioner.pkl, history.pkl
#            04_evaluate
#                 │ predictions.pkl, confidence.pkl, scores.json
#            05_visualize ──► gallery.html
# ```
#
# Not drawn: notebooks 4 and 5 also load `features.pkl`, `captions.pkl` and `tokenizer.pkl`, and
# notebook 5 loads `captioner.pkl`. `history.pkl` has the numbers of every epoch, for you. With
# fine-tuning, notebooks 3 to 5 also load `backbone_features.pkl`, which notebook 1 writes.
#
# A captioner is a language model that is conditioned on an image: *given this image and these
# tokens, what is the next token?* Applied again and again, it generates a sentence
# (**autoregressive** generation):
#
# image + `a` → `dog` · image + `a dog` → `runs` · image + `a dog runs` → *EOS*
#
# **You will learn**
# - how the loss of a prediction is computed, and what cross-entropy and perplexity mean;
# - how the classic captioner is built from Keras layers, and what happens inside its LSTM;
# - what one training step does: forward pass, loss, gradient, clipping, update;
# - how attention works, from three numbers on paper to a model that you write yourself;
# - how to choose the epoch that is kept, and how to fine-tune the CNN.
#
# **You need** to have trained one Keras model, and to have run notebooks 1 and 2. Reading takes
# about two hours; a good place for a break is before *Attention*, another one before *Choosing the
# epoch*. Running takes two to four minutes on two cores for the drawn sample, and an
# estimated hour and a half for the 6,000 training photos of Flickr8k.
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
# The settings of this notebook: the size of the network (`units`, `embedding_dim`), its
# regularization (`dropout`, `label_smoothing`), how long and how fast it is trained, and further
# stages. Each of them is explained where it is used.

# %% tags=["parameters"]
config = load_config(detect_preset())
print(summarize(config, "decoder", "units", "embedding_dim", "dropout", "label_smoothing"))
print(summarize(config, "epochs", "batch_size", "learning_rate", "ema_momentum", "patience"))
print(summarize(config, "fine_tune_epochs", "scst_epochs", "ensemble_size"))

# %% [markdown]
# Load the artifacts that notebooks 1 and 2 have saved. `artifacts.load` checks their headers, as
# [notebook 1](01_features.ipynb) has shown: if one of them is missing, or does not fit these
# settings, the error says which notebook to run again.

# %%
from utils import feature_grids
from utils.data.tokenizer import PAD_ID, Tokenizer
from utils.earlier_notebooks import run_earlier_notebooks
from utils.training.distribution import choose_strategy

run_earlier_notebooks("03_train", config)  # only where a badge has opened this notebook alone
strategy = choose_strategy()  # one device, several GPUs, or several machines
features = artifacts.load("features", config)
captions = artifacts.load("captions", config)
tokenizer = Tokenizer.from_dict(artifacts.load("tokenizer", config))
vocab_size = len(tokenizer)
grid = feature_grids.load_grid(features, config)
print(f"{len(grid):,} photos of {grid.shape[1]} cells × {grid.shape[2]} channels")
print(f"a vocabulary of {vocab_size:,} tokens")

# %% [markdown]
# ## A batch and its shapes
#
# A captioner is trained on pairs: the features of a photo, and one of its captions as token IDs.
# `make_training_data` looks up each photo's row in the feature grid and encodes all its captions.
# Photos that notebook 1 could not read are left out.

# %%
from utils.training.batching import make_training_data, make_validation_data

positions = {name: row for row, name in enumerate(features["names"])}
splits = {}
for split, names in captions["splits"].items():
    splits[split] = [name for name in names if name not in features["skipped"]]
train_data = make_training_data(splits["train"], captions["captions"], positions, tokenizer)
validation_data = make_validation_data(
    splits["validation"], captions["captions"], positions, tokenizer
)
print(f"rows {train_data.rows.shape}: (photos,)")
print(f"token IDs {train_data.token_ids.shape}: (photos, captions, time)")

# %% [markdown]
# Our example is the first training photo, as in the notebooks before:

# %%
from utils.data.photo_files import recorded_paths
from utils.plotting.figures import show_photos

example = splits["train"][0]
title = captions["captions"][example][0]
_ = show_photos(recorded_paths([example], features, config), [title], size=2.7)

# %% [markdown]
# A batch is a few photos with *all* their captions: so each photo is read once, not once per
# caption. For the model the captions are one long list, several in a row for each photo.

# %%
batch_features = grid[train_data.rows[:4]].astype("float32")
batch_captions = train_data.token_ids[:4].reshape(-1, train_data.token_ids.shape[-1])
print(f"features {batch_features.shape}: (photos, cells, channels)")
print(f"captions {batch_captions.shape}: (sequences, time)")

# %% [markdown]
# The model predicts the *next* token. So the input is the caption without its last position, and
# the target is the caption without its first one, BOS. In each row of the table, the model has read
# all inputs down to this row, and must predict the target. The mask is 0 where the target is
# padding, which need not be predicted.

# %%
sequence = train_data.token_ids[0][:1]  # the first caption of our example, (1, time)
inputs, targets = sequence[:, :-1], sequence[:, 1:]
length = np.count_nonzero(targets)
table = pd.DataFrame(
    {
        "input": [tokenizer.vocabulary[token_id] for token_id in inputs[0]],
        "target": [tokenizer.vocabulary[token_id] for token_id in targets[0]],
        "mask": (targets[0] != PAD_ID).astype(int),
    }
)
table.head(length + 2)

# %% [markdown]
# ## Cross-entropy and perplexity
#
# The model outputs a probability for every token of the vocabulary. As in notebook 2, a target that
# it gives the probability $p$ has the loss $-\log p$: 0 if the prediction is certain and right,
# 0.69 at $p = 0.5$, 4.61 at $p = 0.01$.
#
# The mean over all target tokens is the
# [**cross-entropy**](https://en.wikipedia.org/wiki/Cross-entropy), the loss that training
# minimizes:
#
# $$\text{cross-entropy} = -\frac{1}{N} \sum_{i=1}^{N} \log p_i$$
#
# With the natural logarithm its unit is the **nat** (with the binary logarithm it would be the
# bit). Its exponential is the [**perplexity**](https://en.wikipedia.org/wiki/Perplexity): the
# number of equally likely tokens among which the prediction would be as hard. A model that knows
# nothing gives each token the same probability; its perplexity is the size of the vocabulary.

# %%
uniform_loss = np.log(vocab_size)
print(f"uniform: {uniform_loss:.2f} nats per token, perplexity {np.exp(uniform_loss):.0f}")

# %% [markdown]
# A model that only knows how frequent each token is does much better. **By hand**: count the
# targets, without padding; add 0.1 to each count, so that no token has probability 0 (**additive
# smoothing**). **With the library**: `token_frequencies`.

# %%
from utils.models.captioners import token_frequencies

all_targets = train_data.token_ids[:, :, 1:]
counts = np.bincount(all_targets[all_targets != PAD_ID], minlength=vocab_size) + 0.1
flat_token_ids = train_data.token_ids.reshape(-1, train_data.token_ids.shape[-1])
frequencies = token_frequencies(flat_token_ids, vocab_size)
assert np.allclose(frequencies, counts / counts.sum())
unigram_loss = -np.sum(frequencies * np.log(frequencies))
print(f"frequencies: {unigram_loss:.2f} nats per token, perplexity {np.exp(unigram_loss):.0f}")

# %% [markdown]
# Any captioner must beat this number. From here on it can use the tokens before the target, and the
# photo. A table after the training shows how far the captioner gets.
#
# ## The masked loss
#
# The captions of a batch are padded to one length, and [notebook 2](02_text.ipynb) has shown why
# padding must not count. So the loss of each position is multiplied by the mask, and the sum is
# divided by the number of real tokens. The model returns logits, one number for each token, which
# softmax turns into probabilities; so the first step is the logarithm of the softmax.

# %%
import tensorflow as tf


def masked_loss(logits, targets):
    """Mean cross-entropy per token in nats, padding left out.

    Logits are `(batch, time, vocab_size)`, targets `(batch, time)`.
    """
    # 1. The loss of each position, padding included: (batch, time).
    log_probs = tf.nn.log_softmax(tf.cast(logits, tf.float32))
    losses = -tf.gather(log_probs, targets, batch_dims=2)
    # 2. The mask: 1 for a token, 0 for padding.
    mask = tf.cast(targets != PAD_ID, tf.float32)
    # 3. The mean over the tokens.
    return tf.reduce_sum(losses * mask) / tf.reduce_sum(mask)


# %% [markdown]
# **With the library**: `utils.training.loss.masked_loss`, which can also smooth the targets
# (explained below). Both agree on the batch, for a model that predicts the token frequencies
# everywhere:

# %%
batch_targets = batch_captions[:, 1:]
frequency_logits = np.broadcast_to(np.log(frequencies), (*batch_targets.shape, vocab_size))
by_hand = masked_loss(frequency_logits, batch_targets)
print(f"{np.count_nonzero(batch_targets)} tokens in {batch_targets.size} positions")

# %%
from utils.training.loss import masked_loss  # from here on the library's

by_library = masked_loss(frequency_logits, batch_targets, label_smoothing=0.0)
assert np.isclose(by_library, by_hand)
print(f"both losses: {by_hand:.2f}")

# %% [markdown]
# ## The classic: a merge model in Keras
#
# In the classic captioner of many tutorials, text and image meet only near the end: an **LSTM**
# (long short-term memory) reads the tokens, a dense layer projects the image, and the two vectors
# are added. This is the **merge** architecture ([Tanti et al.
# 2017](https://arxiv.org/abs/1703.09137)). Its layers, with the shapes of one photo and one
# caption:

# %%
from utils.plotting.diagrams import plot_architecture

time = sequence.shape[1] - 1
units = config.units
embedding_dim = config.embedding_dim
boxes = {
    "feature grid": (0, 0, grid.shape[1:]),
    "mean of cells": (0, 1, [grid.shape[2]], "feature grid"),
    "dense (tanh)": (0, 2, [units], "mean of cells"),
    "token IDs": (1.2, 0, [time]),
    "embedding": (1.2, 1, [time, embedding_dim], "token IDs"),
    "LSTM": (1.2, 2, [time, units], "embedding"),
    "add": (0.6, 3, [time, units], "dense (tanh)", "LSTM"),
    "logits": (0.6, 4, [time, vocab_size], "add"),
}
_ = plot_architecture(boxes)

# %% [markdown]
# With the [functional API](https://keras.io/guides/functional_api/), a line creates a layer and
# connects it. Three small layers are not in the diagram: a layer normalization, a reshape, and a
# dense layer before the logits. An **embedding** is a matrix of weights with a row for each token;
# the layer selects the row of each ID. [Layer normalization](https://arxiv.org/abs/1607.06450)
# scales the image vector to mean 0 and variance 1, as the scale of features depends on the CNN.

# %%
import keras

# The image: (cells, channels) -> (1, units), to be added at every time step.
image_input = keras.Input(grid.shape[1:], name="features")
pooled = keras.layers.GlobalAveragePooling1D(name="mean_of_cells")(image_input)
normalized = keras.layers.LayerNormalization(name="layer_norm")(pooled)
image_vector = keras.layers.Dense(units, "tanh", name="image_projection")(normalized)
image_step = keras.layers.Reshape((1, units), name="one_step")(image_vector)

# The text: (time,) -> (time, units).
token_input = keras.Input((None,), dtype="int32", name="token_ids")
embedded = keras.layers.Embedding(vocab_size, embedding_dim, name="embedding")(token_input)
hidden_states = keras.layers.LSTM(units, return_sequences=True, name="lstm")(embedded)

# Both: (time, units) -> (time, vocab_size).
merged = keras.layers.Add(name="merge")([hidden_states, image_step])
projected = keras.layers.Dense(embedding_dim, name="output_projection")(merged)
logits = keras.layers.Dense(vocab_size, name="logits")(projected)
classic = keras.Model([image_input, token_input], logits, name="classic")

# %% [markdown]
# `summary()` lists the layers with the shapes of their outputs (`None` is the size of the batch, or
# a number of time steps) and their numbers of weights:

# %% tags=["nbval-ignore-output"]
classic.summary(line_length=72, print_fn=print)

# %% [markdown]
# ### The same model in the package
#
# `build_captioner` builds the same model as a class, which can also decode step by step (notebook
# 4) and runs on several GPUs. Copy its weights into `classic`: then both must give the same logits.
#
# There are two differences in how the weights are stored and initialized. The package's last layer
# uses the embedding matrix as its weights ([**weight tying**](https://arxiv.org/abs/1608.05859)):
# the logit of a token is the dot product with its embedding, plus a bias. This saves a matrix. And
# the bias starts at the logarithm of the token frequencies, so that no epoch is spent on learning
# that "a" is frequent.
#
# What is computed in which precision? Everything that this notebook writes by hand is computed in
# float32. The captioners that `build` makes train in half precision where the device is fast at it
# (with weights and loss in float32). A comparison of the two allows for the larger error of half
# precision. The loaded captioner at the end of the notebook computes in float32.

# %%
from dataclasses import replace

from utils.devices import dtype_policy
from utils.models.captioners import build_captioner

FLOAT32_TOLERANCE = 1e-3
policy = dtype_policy(config)
tolerance = FLOAT32_TOLERANCE if policy == "float32" else 0.05


def build(config):
    """An untrained captioner, on one device or replicated on several GPUs."""
    with strategy.scope():
        return build_captioner(grid.shape[2], vocab_size, config, frequencies)


merge_config = replace(config, decoder="merge")
merge = build(merge_config)
for name in ("layer_norm", "image_projection", "embedding", "lstm", "output_projection"):
    classic.get_layer(name).set_weights(getattr(merge, name).get_weights())
embedding_matrix = merge.embedding.get_weights()[0]
classic.get_layer("logits").set_weights([embedding_matrix.T, np.asarray(merge.bias)])

photo = grid[train_data.rows[:1]].astype("float32")
logits = merge([photo, inputs])
assert np.allclose(classic([photo, inputs]), logits, atol=tolerance)
print(f"logits {logits.shape}: (batch, time, vocab_size)")
print(f"{classic.count_params():,} weights; with weight tying {merge.count_params():,}")

# %% [markdown]
# ### Inside the LSTM
#
# An LSTM ([Hochreiter and Schmidhuber
# 1997](https://www.bioinf.jku.at/publications/older/2604.pdf)) carries two vectors from token to
# token: the **cell state** $c$, its long-term memory, and the **hidden state** $h$, its output. At
# each step it computes three **gates**, numbers between 0 and 1, from the embedding $x$ of the
# token and the last hidden state: the **forget gate** $f$ says how much of the old cell state to
# keep, the **input gate** $i$ how much of the new candidate values $g$ to add, and the **output
# gate** $o$ how much of the cell state to output.
#
# $$f, i, o = \sigma(W x + U h + b) \quad \text{(each with its own } W, U, b)$$
#
# $$g = \tanh(W_g x + U_g h + b_g)$$
#
# $$c \leftarrow f \odot c + i \odot g$$
#
# $$h \leftarrow o \odot \tanh(c)$$
#
# Here $\sigma$ is the sigmoid, and $\odot$ multiplies element by element. One step as a diagram:
#
# ```text
#  old c ───► × ─────────────► + ──────┬──────────► new c
#             ▲                ▲       ▼
#             f          i ──► ×      tanh
#          (forget)   (input)  ▲       ▼
#                              g       × ─────────► new h
#                         (candidate)  ▲
#                                      o
#                                  (output)
#
#  f, i, g, o: each computed from x and the old h
# ```
#
# As the cell state is only scaled and added to, it can carry information over many steps: that the
# subject is plural, say. As a function, with the weights of all four side by side in the order
# $i, f, g, o$, as Keras stores them. Before the sigmoid the numbers are no gates yet (they can be
# negative, or large): they are called **pre-activations**.


# %%
def sigmoid(x):
    """Values between 0 and 1."""
    return 1 / (1 + np.exp(-x))


def lstm_step(x, hidden_state, cell_state, lstm_weights):
    """One step of an LSTM; returns the new hidden state, the new cell state, and the gates."""
    kernel, recurrent_kernel, bias = lstm_weights
    # 1. The pre-activations: W x + U h + b.
    pre_activations = x @ kernel + hidden_state @ recurrent_kernel + bias
    pre_i, pre_f, pre_g, pre_o = np.split(pre_activations, 4)
    # 2. Three gates between 0 and 1, and the candidate values between -1 and 1.
    i, f, o = sigmoid(pre_i), sigmoid(pre_f), sigmoid(pre_o)
    g = np.tanh(pre_g)
    # 3. Forget, add, output.
    cell_state = f * cell_state + i * g
    hidden_state = o * np.tanh(cell_state)
    return hidden_state, cell_state, {"input": i, "forget": f, "candidate": g, "output": o}


# %% [markdown]
# **On one unit.** All vectors have one element, so each pre-activation is $w x + u h + b$. The cell
# state is 0.8: the LSTM has stored that the subject is plural. The next token comes, $x = 1$, with
# $h = 0.5$:

# %%
tiny_kernel = np.array([[-2.0, 1.0, 1.0, 1.0]])  # w of i, f, g, o
tiny_recurrent_kernel = np.array([[-2.0, 2.0, 0.0, -2.0]])  # u
tiny_bias = np.array([0.0, 1.0, 0.0, 0.0])  # b
tiny_weights = [tiny_kernel, tiny_recurrent_kernel, tiny_bias]
x, old_hidden, old_cell = np.array([1.0]), np.array([0.5]), np.array([0.8])

new_hidden, new_cell, gates = lstm_step(x, old_hidden, old_cell, tiny_weights)
pre_activations = tiny_kernel[0] * 1.0 + tiny_recurrent_kernel[0] * 0.5 + tiny_bias
for (name, gate), pre_activation in zip(gates.items(), pre_activations, strict=True):
    print(f"{name:9}  pre-activation {pre_activation:4.1f}  value {gate[0]:.2f}")
print(f"cell state:   {gates['forget'][0]:.2f} * {old_cell[0]} + ", end="")
print(f"{gates['input'][0]:.2f} * {gates['candidate'][0]:.2f} = {new_cell[0]:.2f}")
print(f"hidden state: {gates['output'][0]:.2f} * tanh({new_cell[0]:.2f}) = {new_hidden[0]:.2f}")

# %% [markdown]
# Read it gate by gate. The forget gate, 0.95, keeps 95 % of the old cell state. The input gate,
# 0.05, lets almost nothing of the candidate in. So this token hardly changes the memory: 0.8
# stays 0.8. The output gate, 0.5, passes half of tanh(0.80) = 0.66 on to the next layers.
# With the forget gate at 0 and the input gate at 1 the new cell state would be the candidate, and
# the old one lost.
#
# **On our caption.** The same function with the weights of `classic`, token by token; **with the
# library**, [Keras's LSTM](https://keras.io/api/layers/recurrent_layers/lstm/), which returns the
# hidden state after every token. Both agree:

# %%
lstm = classic.get_layer("lstm")
lstm_weights = [np.asarray(weight) for weight in lstm.get_weights()]
embeddings = np.asarray(classic.get_layer("embedding")(inputs))
hidden_state = np.zeros(units)
cell_state = np.zeros(units)
for x in embeddings[0]:
    hidden_state, cell_state, gates = lstm_step(x, hidden_state, cell_state, lstm_weights)

assert np.allclose(lstm(embeddings)[0, -1], hidden_state, atol=FLOAT32_TOLERANCE)
print(f"W {lstm_weights[0].shape}: (embedding_dim, 4 * units)")
print(f"U {lstm_weights[1].shape}: (units, 4 * units)")
print(f"hidden state {hidden_state.shape}, cell state {cell_state.shape}: (units,)")

# %% [markdown]
# The gates at the last position, averaged over the units, before any training:

# %% tags=["nbval-ignore-output"]
for name in ("input", "forget", "output"):
    print(f"{name:6} gate {gates[name].mean():.2f}")
print(f"sigmoid(0) = {sigmoid(0):.2f}, sigmoid(1) = {sigmoid(1):.2f}")

# %% [markdown]
# An untrained LSTM has small weights, so its gates are near $\sigma(b)$. Keras initializes $b$ with
# 0, and only that of the forget gate with 1: at first an LSTM keeps more than it forgets, which
# makes it easier to learn from early tokens. After the training of the merge model we look at the
# gates again.

# %% [markdown]
# ### Compile and fit
#
# `classic` is trained like any Keras model. `fit` passes targets and predictions to the loss in its
# own order, and the targets as floats; a small function adapts them. (Keras has masks of its own:
# `mask_zero=True` of its embedding layer propagates a mask from layer to layer, and `ignore_class`
# of `SparseCategoricalCrossentropy` leaves a class out. This project writes the mask out, as that
# loss has no argument `label_smoothing`. And it uses `tf.*` instead of `keras.ops`, as it runs on
# TensorFlow only.) The data are one caption of each of the first 300 photos:


# %% tags=["nbval-ignore-output"]
def keras_loss(targets, logits):
    """The masked loss with the arguments that Keras passes."""
    return masked_loss(logits, tf.cast(targets, tf.int32), label_smoothing=0.0)


few_features = grid[train_data.rows[:300]].astype("float32")
few_captions = train_data.token_ids[:300, 0]
classic.compile(optimizer=keras.optimizers.Adam(config.learning_rate), loss=keras_loss)
_ = classic.fit(
    [few_features, few_captions[:, :-1]], few_captions[:, 1:], batch_size=30, epochs=2, verbose=2
)

# %% [markdown]
# The loss starts from that of the token frequencies, as these are in the bias, and falls; the first
# number is already the mean of an epoch. `fit` would get there in the end. But in this form it says
# nothing about the captions that the model generates, and the arrays hold a copy of a photo for
# each of its captions. A callback and a
# [`PyDataset`](https://keras.io/api/utils/python_utils/#pydataset-class) can change both. The rest
# of this notebook builds a loop of its own instead, in which every step is visible.
#
# ## Teacher forcing: one pass instead of many
#
# Many tutorials train on prefixes: a generator yields `a`, then `a dog`, then `a dog runs`, each
# padded to a row of its own, with a copy of the image and the next token as the target. Here is our
# caption in this way, with the losses of all its prefixes, and how much is computed repeatedly:

# %%
full_precision_config = replace(merge_config, precision="float32")
untrained = build_captioner(grid.shape[2], vocab_size, full_precision_config, frequencies)
prefix_losses = []
for length in range(1, np.count_nonzero(sequence)):
    in_prefix = np.arange(sequence.size) < length
    prefix = np.where(in_prefix, sequence[0], PAD_ID)
    log_probs = tf.nn.log_softmax(untrained([photo, prefix[None]])[0, length - 1])
    prefix_losses.append(-float(log_probs[sequence[0, length]]))
num_prefixes = len(prefix_losses)
print(f"{num_prefixes} prefixes: {num_prefixes} image projections instead of 1")
print(f"{num_prefixes * sequence.size} LSTM steps instead of {sequence.size - 1}")

# %% [markdown]
# One pass over the caption gives the same losses. An LSTM is **causal**: its output after three
# tokens can't depend on the fourth, so all predictions can be made at once.

# %% tags=["nbval-ignore-output"]
logits = untrained([photo, inputs])
log_probs = tf.nn.log_softmax(logits)
token_losses = -tf.gather(log_probs, targets, batch_dims=2)[0, :num_prefixes].numpy()
assert np.allclose(prefix_losses, token_losses, atol=FLOAT32_TOLERANCE)
initial_loss = token_losses.mean()
print(f"{tokenizer.decode(sequence[0])}: {initial_loss:.2f} nats per token")

# %% [markdown]
# In both ways, the tokens before the target are those of the human caption, never the model's own
# predictions. This is [**teacher forcing**](https://en.wikipedia.org/wiki/Teacher_forcing). It
# makes training fast and stable. Its price is [**exposure
# bias**](https://arxiv.org/abs/1511.06732): the model never sees its own mistakes during training,
# but must continue after them when it generates.
#
# ## One training step
#
# Training is one small step, repeated. Each step has five parts:
#
# 1. **Forward pass**: compute the logits of a batch.
# 2. **Loss**: compare them with the targets.
# 3. **Gradient**: the derivative of the loss with respect to every weight, which says in which
#    direction and how steeply the loss rises. TensorFlow's
#    [`GradientTape`](https://www.tensorflow.org/guide/autodiff) records the forward pass and
#    computes it backwards, layer by layer (backpropagation).
# 4. [**Gradient clipping**](https://arxiv.org/abs/1211.5063): if the **global norm** of all
#    gradients, $\lVert g \rVert = \sqrt{\sum_k g_k^2}$, is larger than the setting `clip_norm`,
#    $\theta$, multiply them by $\theta / \lVert g \rVert$. One unusual batch then can't throw the
#    weights far off.
# 5. **Update**: change each weight a little, against its gradient.
#
# [**Adam**](https://arxiv.org/abs/1412.6980) does the update: it divides the moving average $m$ of
# a weight's gradient $g$ by the root of the moving average $v$ of its square, so that all weights
# move at a similar speed. In step $t$:
#
# $$m \leftarrow \beta_1 m + (1 - \beta_1) \, g, \qquad \hat{m} = m / (1 - \beta_1^t)$$
#
# $$v \leftarrow \beta_2 v + (1 - \beta_2) \, g^2, \qquad \hat{v} = v / (1 - \beta_2^t)$$
#
# $$w \leftarrow w - \eta \, \frac{\hat{m}}{\sqrt{\hat{v}} + \epsilon} - \eta \lambda w$$
#
# Here $\eta$ is the learning rate, $\beta_1 = 0.9$ and $\beta_2 = 0.999$. Both averages start at 0
# and are too small in the first steps; $\hat{m}$ and $\hat{v}$ correct this (**bias correction**).
# In the first step $\hat{m} = g$ and $\hat{v} = g^2$, so each weight moves by about $\eta$, however
# large its gradient. The last term is **weight decay**, and with it the optimizer is called
# [**AdamW**](https://arxiv.org/abs/1711.05101): it shrinks every weight a little in each step. In
# this project weight decay had no measurable effect, so $\lambda = 0$ here, which is Adam.
#
# **By hand**, the first step of Adam for two weights, whose gradients differ by a factor of 1,000:

# %%
gradient = np.array([0.01, 10.0])
m_hat = (1 - 0.9) * gradient / (1 - 0.9)
v_hat = (1 - 0.999) * gradient**2 / (1 - 0.999)
by_hand = np.array([1.0, 2.0]) - 0.001 * m_hat / (np.sqrt(v_hat) + 1e-7)
variable = keras.Variable([1.0, 2.0])
keras.optimizers.Adam(0.001).apply([tf.constant(gradient, tf.float32)], [variable])
assert np.allclose(variable, by_hand, atol=1e-6)
print("weights after the step", by_hand.round(4))

# %% [markdown]
# Both move by 0.001, the learning rate. Now the step as code:


# %%
def train_step(model, optimizer, image_batch, caption_batch, clip_norm):
    """One training step; returns the loss before it and the gradient's global norm."""
    input_ids, target_ids = caption_batch[:, :-1], caption_batch[:, 1:]
    model_weights = model.trainable_weights
    with tf.GradientTape() as tape:
        # 1. Forward pass, with dropout where the model has it.
        predicted = model([image_batch, input_ids], training=True)
        # 2. Loss.
        batch_loss = masked_loss(predicted, target_ids, label_smoothing=0.0)
    # 3. Gradient.
    gradients = tape.gradient(batch_loss, model_weights)
    # 4. Clipping by the global norm.
    gradients, global_norm = tf.clip_by_global_norm(gradients, clip_norm)
    # 5. Update.
    optimizer.apply(gradients, model_weights)
    return batch_loss, global_norm


# %% [markdown]
# One step on the batch of four photos from above. To see the clipping at work, `clip_norm` is
# smaller here than in the settings:

# %% tags=["nbval-ignore-output"]
step_config = replace(
    merge_config, precision="float32", dropout=0.0, label_smoothing=0.0, clip_norm=0.25
)
step_model = build_captioner(grid.shape[2], vocab_size, step_config, frequencies)
initial_weights = step_model.get_weights()
optimizer = keras.optimizers.AdamW(config.learning_rate, weight_decay=0.0)
loss, global_norm = train_step(
    step_model, optimizer, batch_features, batch_captions, step_config.clip_norm
)
new_logits = step_model([batch_features, batch_captions[:, :-1]])
loss_after = float(masked_loss(new_logits, batch_captions[:, 1:], label_smoothing=0.0))
changes = zip(initial_weights, step_model.get_weights(), strict=True)
largest_change = max(np.abs(after - before).max() for before, after in changes)
scale = min(1.0, step_config.clip_norm / float(global_norm))
print(f"gradient norm {global_norm:.2f}, clip_norm {step_config.clip_norm}: ", end="")
print(f"all gradients times {scale:.2f}")
settings_scale = min(1.0, config.clip_norm / float(global_norm))
print(f"with the setting's clip_norm {config.clip_norm}: times {settings_scale:.2f}")
print(f"largest change of a weight {largest_change:.4f}, learning rate {config.learning_rate}")
print(f"loss before the step {loss:.3f}, after it {loss_after:.3f}")

# %% [markdown]
# Did the loss fall? It is the loss of the same batch, so it should: the step went against its
# gradient. And no weight has moved further than the learning rate, as computed above. So with Adam
# the clipping hardly changes this first step; in later steps it limits how much one batch
# adds to $m$ and $v$.
#
# (Optimizers of Keras can clip on their own, with `global_clipnorm`; the step does it here to show
# it.)
#
# **With the library**: `make_train_step` compiles the same five parts, and divides a batch among
# several GPUs. Give a second model the same initial weights. Then the loss must be the same, before
# the step and after it:

# %%
from utils.training.step import make_train_step

library_model = build_captioner(grid.shape[2], vocab_size, step_config, frequencies)
library_model.set_weights(initial_weights)
optimizer = keras.optimizers.AdamW(config.learning_rate, weight_decay=0.0)
optimizer.build(library_model.trainable_weights)
library_step = make_train_step(library_model, optimizer, step_config)
library_loss = library_step(tf.constant(batch_features), tf.constant(train_data.token_ids[:4]))
assert np.isclose(library_loss, loss, atol=FLOAT32_TOLERANCE)

new_logits = library_model([batch_features, batch_captions[:, :-1]])
library_after = masked_loss(new_logits, batch_captions[:, 1:], label_smoothing=0.0)
assert np.isclose(library_after, loss_after, atol=0.01)

# %% [markdown]
# ## From the step to the loop
#
# `train` is this step in a loop, with four additions, which come one by one; then we write the
# loop. Here is where the package has it:
#
# ```text
#  utils/data         captions, tokenizer, photos
#       │
#  utils/training     TrainData, ValidationData: rows + token IDs
#       │             make_train_step: one step
#       │             train: epochs, EMA, validation
#       │             train_all: one stage after the other
#       │                 ▲
#       │             utils/models    captioners, encoders
#       ▼
#  utils/decoding     generate: greedy and beam search
#       │
#  utils/evaluation   CIDEr-D and the other metrics
# ```
#
# **Bucketing.** All captions of a batch are padded to the longest one. `bucketed_batches` puts
# photos with captions of similar length into one batch, and shuffles the batches. How much less
# padding is that?

# %%
from utils.training.batching import bucketed_batches

lengths = (train_data.token_ids != PAD_ID).sum(axis=-1)
batch_size = config.batch_size
shuffled = np.random.RandomState(0).permutation(len(lengths))
random_batches = []
for start in range(0, len(lengths), batch_size):
    random_batches.append(shuffled[start : start + batch_size])
bucketed = bucketed_batches(train_data.token_ids, batch_size, seed=0)

for label, batches in {"random batches": random_batches, "bucketed batches": bucketed}.items():
    num_tokens = sum(lengths[batch].sum() for batch in batches)
    num_computed = sum(lengths[batch].max() * lengths[batch].size for batch in batches)
    print(f"{label}: {1 - num_tokens / num_computed:.0%} padding")

# %% [markdown]
# **Regularization.** A model that memorizes the training captions instead of learning what they
# have in common is **overfitting**: its training loss falls, and its validation loss rises. Two
# methods reduce it. [**Dropout**](https://jmlr.org/papers/v15/srivastava14a.html) sets activations
# to 0 at random during training, so that no prediction can rely on a single one. [**Label
# smoothing**](https://arxiv.org/abs/1512.00567) moves a small part $\varepsilon$ of the target
# probability to all tokens alike, so that it doesn't pay to be overconfident:
#
# $$\text{loss} = (1 - \varepsilon) \cdot (-\log p_\text{target}) + \varepsilon \cdot
# \frac{1}{V} \sum_{v=1}^{V} -\log p_v$$

# %%
smoothing = 0.1
for target_prob in (0.5, 0.9, 0.999):  # of three possible tokens; the others share the rest
    other_prob = (1 - target_prob) / 2
    log_probs = np.log([other_prob, target_prob, other_prob])
    smoothed = (1 - smoothing) * -log_probs[1] + smoothing * -log_probs.mean()
    by_library = masked_loss(log_probs[None, None], np.array([[1]]), label_smoothing=smoothing)
    assert np.isclose(by_library, smoothed)
    print(f"p = {target_prob:5}: loss {-log_probs[1]:.3f}, with smoothing {smoothed:.3f}")

# %% [markdown]
# Without smoothing the loss rewards ever more confidence: 0.999 is better than 0.9. With smoothing
# it is worse, since the other tokens, which get a part of the target probability, are then far too
# improbable. So the training loss below includes label smoothing and dropout; the validation loss
# includes neither. It may well be the lower of the two.
#
# **A learning rate schedule.** Large steps are risky at first, when $m$ and $v$ of Adam rest on few
# gradients, and useless at the end, when only details are left. So the learning rate rises during a
# **warm-up**, and then falls to 0 along a
# [cosine](https://keras.io/api/optimizers/learning_rate_schedules/cosine_decay/):

# %%
import matplotlib.pyplot as plt


def make_schedule(config, num_steps):
    """The learning rate of each step: linear warm-up, then a cosine."""
    warmup_steps = max(1, int(num_steps * config.warmup_fraction))
    step = np.arange(num_steps)
    warmup = 0.1 + 0.9 * step / warmup_steps
    decay = (1 + np.cos(np.pi * (step - warmup_steps) / max(1, num_steps - warmup_steps))) / 2
    return config.learning_rate * np.where(step < warmup_steps, warmup, decay)


num_steps = config.epochs * (len(train_data.rows) // config.batch_size or 1)
figure, axis = plt.subplots(figsize=(6, 2.2))
axis.plot(make_schedule(config, num_steps))
_ = axis.set(xlabel="step", ylabel="learning rate")

# %% [markdown]
# **A smoother model.** What is validated and kept is the [**exponential moving average
# (EMA)**](https://keras.io/api/optimizers/) of the weights: after each step,
# $\bar{w} \leftarrow \beta \bar{w} + (1 - \beta) w$, with $\beta$ = `ema_momentum`. It averages
# over about $1 / (1 - \beta)$ steps, and changes less from step to step than $w$.
#
# **Validation.** After each epoch two numbers are measured on the validation photos. `val_loss` is
# the cross-entropy of the references, the captions that the photos came with, with teacher forcing.
# CIDEr-D compares the references with the captions that the model generates on its own, by taking
# the most likely token at each step (**greedy search**, `beam_width=1`). It counts the words and
# word sequences that they have in common; those that few other photos have count most. (0 is the
# worst and 10 the best, and humans score far below 10; [notebook 4](04_evaluate.ipynb) computes it
# step by step.) Two captions of one photo, with three correct words each:

# %%
from utils.evaluation.metrics import cider_d

toy_references = [["a brown dog sleeps on a blanket"]]  # that of the photo, then of other photos
toy_references += [["a man sits on a bench"], ["a girl plays on a beach"], ["a boy rides on a bus"]]
toy_captions = ["a man sits on a bench", "one brown dog sleeps right there"]
_, toy_scores = cider_d(toy_captions, toy_references, photos=[0, 0])
for toy_caption, score in zip(toy_captions, toy_scores, strict=True):
    print(f"{toy_caption:34} CIDEr-D {score:.2f}")

# %% [markdown]
# "a", "on" and "on a" are in all references and earn nothing; "brown dog sleeps" tells this photo
# from the others. The epoch with the best CIDEr-D is kept. After `patience` epochs without a better
# one training stops (**early stopping**).
#
# ### The loop
#
# All of it together: epochs of bucketed batches, the training step with the scheduled learning
# rate, the EMA after each step, and a validation after each epoch. `validate` is a function that
# measures a captioner.


# %%
def train_by_hand(model, data, validate, config):
    """Train a model; returns a row for each epoch, and leaves the EMA in the model."""
    plans = []
    for epoch in range(1, config.epochs + 1):
        plans.append(bucketed_batches(data.token_ids, config.batch_size, (config.seed, epoch)))
    learning_rates = iter(make_schedule(config, sum(len(plan) for plan in plans)))
    optimizer = keras.optimizers.Adam(config.learning_rate)
    average = None
    history = []
    for epoch, batches in enumerate(plans, start=1):
        losses = []
        for photos in batches:
            image_batch = grid[data.rows[photos]].astype("float32")
            caption_batch = data.token_ids[photos].reshape(-1, data.token_ids.shape[-1])
            longest = np.count_nonzero(caption_batch, axis=1).max()
            caption_batch = caption_batch[:, :longest]  # what bucketing is for
            optimizer.learning_rate = next(learning_rates)
            loss, _ = train_step(model, optimizer, image_batch, caption_batch, config.clip_norm)
            losses.append(float(loss))
            weights = model.get_weights()
            average = (
                weights
                if average is None
                else [
                    config.ema_momentum * old + (1 - config.ema_momentum) * new
                    for old, new in zip(average, weights, strict=True)
                ]
            )
        model.set_weights(average)  # the EMA is validated
        metrics = validate(model).metrics
        history.append({"epoch": epoch, "loss": float(np.mean(losses)), **metrics})
        model.set_weights(weights)  # and the training continues from the weights themselves
    model.set_weights(average)
    return history


# %% [markdown]
# **With the library**: `train` does the same, compiled, and reads the next batch while the current
# one is trained on. It also stops early, keeps the best epoch instead of the last one, and saves a
# **checkpoint** after each epoch: if training is interrupted, run this notebook again, and it
# resumes. On the same machine the result is the same. Two epochs on 60 photos, by hand and with the
# library:

# %% tags=["nbval-ignore-output"]
from utils.training.batching import TrainData, ValidationData
from utils.training.loop import Stage, train
from utils.training.validation import make_validator

loop_config = replace(
    merge_config, precision="float32", dropout=0.0, label_smoothing=0.0, epochs=2, batch_size=20
)
loop_data = TrainData(train_data.rows[:60], train_data.token_ids[:60])
loop_validation = ValidationData(
    validation_data.rows[:20], validation_data.references[:20], tokenizer
)
validate_loop = make_validator(grid, loop_validation, loop_config)
loop_model = build_captioner(grid.shape[2], vocab_size, loop_config, frequencies)
initial_weights = loop_model.get_weights()
by_hand = train_by_hand(loop_model, loop_data, validate_loop, loop_config)
loop_model.set_weights(initial_weights)
by_library = train(loop_model, loop_data, grid, validate_loop, loop_config)
for row in (*by_hand, *by_library):
    print({name: round(value, 3) for name, value in row.items()})
if strategy.num_replicas_in_sync == 1:  # several GPUs round the batch size up
    for name in ("loss", "val_loss"):
        assert np.isclose(by_hand[-1][name], by_library[-1][name], atol=0.01)

# %% [markdown]
# ### Train the merge model
#
# `train(captioner, data, grid, validate, config, stage)` returns the history, a row for each epoch.
# A `Stage` gives a training run a name, under which its checkpoints are saved, and a function that
# is called after each epoch.
#
# To watch the training, a callback prints a line after each epoch: the numbers, and the caption of
# the first validation photo. Which does the model learn first, grammar or image content?


# %% tags=["nbval-ignore-output"]
def print_epoch(row, captions):
    """The numbers of one epoch, and what the model generates for the first photo."""
    numbers = f"{row['loss']:5.2f}  {row['val_loss']:8.2f}  {row['CIDEr-D']:7.2f}"
    print(f"{row['epoch']:5}  {numbers}  {captions[0]}")


print("a reference:", validation_data.references[0][0])
print("epoch   loss  val_loss  CIDEr-D  generated caption")
stage = Stage("train", "merge", merge_config, on_epoch=print_epoch)
validate = make_validator(grid, validation_data, config)
merge_history = train(merge, train_data, grid, validate, merge_config, stage)
histories = {"merge": merge_history}

# %% [markdown]
# Read the captions from top to bottom. In our run on the drawn sample the model first repeats the
# most frequent token. Then words appear that fit the photo, such as *sleeping* and *blanket*, while
# the sentence is still broken. The grammar follows two epochs later, and the right animal comes
# last. (After a resumed training, only the epochs since the interruption are shown.)
#
# What has the LSTM learned to forget? Here are its gates at each token of our caption, averaged
# over the units. The last column is the product of the forget gates from the next token on: how
# much of what is stored at this token is still there at the end, again on average.

# %% tags=["nbval-ignore-output"]
lstm_weights = [np.asarray(weight) for weight in merge.lstm.get_weights()]
embeddings = np.asarray(merge.embedding(inputs[:, :length]), np.float32)
hidden_state, cell_state = np.zeros(units), np.zeros(units)
steps = []
for x in embeddings[0]:
    hidden_state, cell_state, gates = lstm_step(x, hidden_state, cell_state, lstm_weights)
    steps.append(gates)
forget_gates = np.array([gates["forget"] for gates in steps])  # (time, units)
table = pd.DataFrame({"token": [tokenizer.vocabulary[token_id] for token_id in inputs[0, :length]]})
for name in ("input", "forget", "output"):
    table[name] = [gates[name].mean() for gates in steps]
table["kept to the end"] = [
    forget_gates[step + 1 :].prod(axis=0).mean() for step in range(len(steps))
]
table.round(2)

# %% [markdown]
# Compare with the untrained gates: 0.50, 0.73 and 0.50. At which token does the LSTM forget most,
# and how much of the first word is left at the end?

# %% tags=["nbval-ignore-output"]
lowest = table.loc[table["forget"].idxmin()]
print(f"it forgets most at “{lowest['token']}”: forget gate {lowest['forget']:.2f} on average")
first_word = table.iloc[min(1, len(table) - 1)]
print(f"of “{first_word['token']}” {first_word['kept to the end']:.0%} is left at the end")
above, below = np.mean(forget_gates > 0.9), np.mean(forget_gates < 0.1)
print(f"of all forget gates {above:.0%} are above 0.9 and {below:.0%} below 0.1")

# %% [markdown]
# So the averages hide that units differ: where the gate is above 0.9 a unit keeps what it has,
# where it is below 0.1 it is overwritten. An exercise below forces all forget gates to 0.
#
# ## Attention
#
# The merge model sees the photo as *one* vector, the mean of all cells, and the same one for every
# word. But "dog" depends on other cells than "grass".
# [**Attention**](https://arxiv.org/abs/1502.03044) computes a new image vector for each word. It
# works like a soft lookup:
#
# - the LSTM's hidden state gives a **query** $q$: what is needed for the next word;
# - each grid cell gives a **key** $k_i$: what this cell has to offer, and a **value** $v_i$: what
#   it contributes if it is chosen;
# - the dot products of query and keys are scores, and softmax turns them into **attention weights**
#   $w_i$, which are positive and sum to 1;
# - the **context vector** is the weighted sum of the values.

# %%
boxes = {
    "LSTM": (0, 0, [time, units]),
    "feature grid": (1.6, 0, grid.shape[1:]),
    "queries Q": (0, 1, [time, units], "LSTM"),
    "keys K": (1.05, 1, [grid.shape[1], units], "feature grid"),
    "values V": (2.15, 1, [grid.shape[1], units], "feature grid"),
    "scores QKᵀ/√d": (0.5, 2, [time, grid.shape[1]], "queries Q", "keys K"),
    "weights (softmax)": (0.5, 3, [time, grid.shape[1]], "scores QKᵀ/√d"),
    "context": (1.3, 4, [time, units], "weights (softmax)", "values V"),
}
_ = plot_architecture(boxes)

# %% [markdown]
# For all words at once this is a matrix product, a softmax in each row, and another matrix product
# ([scaled dot-product attention](https://arxiv.org/abs/1706.03762)):
#
# $$\text{context} = \text{softmax}\left(\frac{Q K^\top}{\sqrt{d}}\right) V$$
#
# ### On three cells
#
# One query, three cells, $d = 2$. The numbers are small enough to follow on paper.
#
# **Step 1.** The scores: how well does the query match each key?

# %%
queries = np.array([[0.0, 3.0]])
keys = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
values = np.array([[10.0, 0.0], [0.0, 10.0], [5.0, 5.0]])

dot_products = queries @ keys.T
scores = dot_products / np.sqrt(queries.shape[-1])
print("dot products", dot_products, "scores", scores.round(2))

# %% [markdown]
# **Step 2.** The attention weights, by softmax:

# %%
attention_weights = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
print("weights", attention_weights.round(2), "sum", attention_weights.sum().round(2))

# %% [markdown]
# **Step 3.** The context vector: each value times its weight, added up.

# %%
context = attention_weights @ values
print("context", context.round(2))

# %% [markdown]
# The key of the second cell has the direction of the query. So this cell gets most of the weight,
# and the context vector is close to its value. The three steps as a function:


# %%
def attend(queries, keys, values):
    """Scaled dot-product attention.

    Queries are `(batch, time, d)`, keys and values `(batch, cells, d)`. Returns context vectors
    `(batch, time, d)` and attention weights `(batch, time, cells)`.
    """
    scores = tf.matmul(queries, keys, transpose_b=True) / queries.shape[-1] ** 0.5
    weights = tf.nn.softmax(scores)
    return tf.matmul(weights, values), weights


# %% [markdown]
# In the captioner below, the keys also serve as values, which saves a matrix. The package's
# function takes no values for this reason:

# %%
from utils.models import captioners

query_batch, key_batch = tf.constant(queries[None]), tf.constant(keys[None])
by_hand, _ = attend(query_batch, key_batch, key_batch)
by_library, library_weights = captioners.AttentionCaptioner.attend(query_batch, key_batch)
assert np.allclose(by_hand, by_library)
assert np.allclose(library_weights[0], attention_weights)

# %% [markdown]
# ### Why divide by √d?
#
# A dot product is a sum of $d$ products. If the components are independent, with mean 0 and
# variance 1, its variance is $d$: scores of long vectors are large. Softmax of large scores gives
# almost all weight to one cell. Measure both, with random queries and 49 random keys: the variance
# of the dot products, and the **entropy** of the weights, $-\sum_i w_i \log w_i$. The entropy of
# uniform weights is $\log 49$ = 3.89 nats, that of a single cell is 0. The derivative of a weight
# with respect to its own score is $w_i (1 - w_i)$; the sum of these over all cells says how much
# gradient gets through the softmax.

# %%
rng = np.random.RandomState(0)


def mean_entropy(scores):
    """The mean entropy of the softmax of each row, in nats."""
    weights = tf.nn.softmax(scores).numpy()
    return -(weights * np.log(weights + 1e-30)).sum(axis=-1).mean()


rows = []
for d in (4, 64, 512):
    products = rng.randn(200, d) @ rng.randn(49, d).T
    for label, scores in {"without √d": products, "with √d": products / np.sqrt(d)}.items():
        weights = tf.nn.softmax(scores).numpy()
        gradients = (weights * (1 - weights)).sum(axis=-1)  # of each query
        nearly_zero = np.mean(gradients < 0.01)
        rows.append([d, label, scores.var(), mean_entropy(scores), gradients.mean(), nearly_zero])
columns = ["d", "", "variance", "entropy", "gradient", "gradient < 0.01"]
pd.DataFrame(rows, columns=columns).round(2)

# %% [markdown]
# Without the division the weights collapse to a single cell as $d$ grows, before anything has been
# learned, and little gradient gets through the softmax: where it is nearly 0 or 1, a change of the
# scores changes nothing. With $d = 512$ this is so for more than half of the queries, as the last
# column counts: they receive almost no gradient. With the division, all these numbers hardly depend
# on $d$. This holds for components of variance 1. How long the queries and keys of a network
# are depends on its weights, so we measure it below, before and after training.
#
# ### On the cells of a photo
#
# Now the real thing: our example's grid, and its caption. The query comes from the hidden state of
# an LSTM, the keys from the cells. The weights are those of an untrained captioner.

# %% tags=["nbval-ignore-output"]
attention_config = replace(config, decoder="attention")
package_model = build(attention_config)
normalized = package_model.layer_norm(photo)
keys_of_photo = package_model.key_projection(normalized)
hidden_states, *_ = package_model.attention_lstm(package_model.embedding(inputs))
queries_of_caption = package_model.query_projection(hidden_states)
context_vectors, weights = attend(queries_of_caption, keys_of_photo, keys_of_photo)
print(f"queries {queries_of_caption.shape}: (batch, time, units)")
print(f"keys {keys_of_photo.shape}: (batch, cells, units)")
print(f"context vectors {context_vectors.shape}: (batch, time, units)")
print(f"attention weights {weights.shape}: (batch, time, cells)")
first = np.asarray(weights, np.float32)[0, 0]
print(f"first word: from {first.min():.4f} to {first.max():.4f}; 1/cells is {1 / len(first):.4f}")

# %% [markdown]
# An untrained captioner gives all cells nearly the same weight, so each context vector is nearly
# the mean of the cells. Its scores are small even without the division, because the initial weights
# are small:


# %% tags=["nbval-ignore-output"]
def entropy_without_and_with_scaling(model, features, token_ids):
    """The mean entropy of a captioner's attention weights, without and with the division by √d."""
    state = model.initial_state(features)
    hidden_states, *_ = model.attention_lstm(
        model.embedding(token_ids), initial_state=state["attention_lstm"]
    )
    queries = tf.cast(model.query_projection(hidden_states), tf.float32)
    products = tf.matmul(queries, tf.cast(state["keys"], tf.float32), transpose_b=True)
    return mean_entropy(products), mean_entropy(products / queries.shape[-1] ** 0.5)


unscaled, scaled = entropy_without_and_with_scaling(package_model, photo, inputs[:, :length])
print(f"untrained: entropy {unscaled:.2f} without √d, {scaled:.2f} with it")
print(f"uniform weights: {np.log(len(first)):.2f}")

# %% [markdown]
# So here √d is no help at the start. It matters later, if training makes queries and keys longer.
# We print the same two numbers once the captioner is trained, and draw its weights.
#
# ### The decoder
#
# The `attention` captioner is a variant of the [top-down
# architecture](https://arxiv.org/abs/1707.07998) with two LSTMs. The attention LSTM reads the
# tokens and gives the queries. The language LSTM reads the hidden state and the context vector of
# each step, and its output leads to the logits.

# %%
boxes = {
    "token IDs": (0, 0, [time]),
    "feature grid": (1.8, 0, grid.shape[1:]),
    "embedding": (0, 1, [time, embedding_dim], "token IDs"),
    "mean, dense": (1.1, 1, [units], "feature grid"),
    "keys": (2.1, 1, [grid.shape[1], units], "feature grid"),
    "attention LSTM": (0, 2, [time, units], "embedding", "mean, dense"),
    "attention": (1.5, 3, [time, units], "attention LSTM", "keys"),
    "language LSTM": (0, 4, [time, units], "attention LSTM", "attention"),
    "add, dense": (0.8, 5, [time, embedding_dim], "language LSTM", "attention"),
    "logits": (0.8, 6, [time, vocab_size], "add, dense"),
}
_ = plot_architecture(boxes)

# %% [markdown]
# Two details: the attention LSTM starts from the mean of the cells instead of zeros, so it knows
# the photo from the first token on. And the context vector is added to the output of the language
# LSTM, a [**residual connection**](https://arxiv.org/abs/1512.03385): a short path from the image
# to the logits. The whole decoder as a class:


# %%
class AttentionCaptioner(keras.Model):
    """An LSTM that gives queries, attention over the grid, an LSTM that gives the output."""

    def __init__(self, vocab_size, units, embedding_dim):
        super().__init__()
        self.embedding = keras.layers.Embedding(vocab_size, embedding_dim)
        self.layer_norm = keras.layers.LayerNormalization()
        self.image_projection = keras.layers.Dense(units, "tanh")
        self.key_projection = keras.layers.Dense(units)
        self.query_projection = keras.layers.Dense(units, use_bias=False)
        self.attention_lstm = keras.layers.LSTM(units, return_sequences=True)
        self.language_lstm = keras.layers.LSTM(units, return_sequences=True)
        self.output_projection = keras.layers.Dense(embedding_dim)
        self.bias = self.add_weight(shape=(vocab_size,), name="bias")

    def call(self, inputs):
        features, token_ids = inputs
        # 1. The image: keys, which also serve as values, and an initial hidden state.
        grid = self.layer_norm(features)
        keys = self.key_projection(grid)
        initial_hidden = self.image_projection(tf.reduce_mean(grid, axis=1))
        initial_cell = tf.zeros_like(initial_hidden)
        # 2. The attention LSTM over the tokens gives the queries.
        hidden_states = self.attention_lstm(
            self.embedding(token_ids), initial_state=[initial_hidden, initial_cell]
        )
        queries = self.query_projection(hidden_states)
        # 3. Attention: a context vector for each token.
        context, _ = attend(queries, keys, keys)
        # 4. The language LSTM over both, with a residual connection.
        outputs = self.language_lstm(tf.concat([hidden_states, context], axis=-1))
        projected = self.output_projection(outputs + context)
        # 5. Logits, with the embedding matrix as weights.
        return tf.matmul(projected, self.embedding.embeddings, transpose_b=True) + self.bias


# %% [markdown]
# **With the library**: `utils.models.captioners.AttentionCaptioner`, which adds dropout, half
# precision, and decoding step by step. It also multiplies fewer, larger matrices: the inputs of an
# LSTM at all time steps in one product (`utils.models.lstm`), and the logits of all captions in
# another. On a CPU, that makes a training step on photos about 1.5 times as fast. Copy its weights,
# layer by layer; both give the same logits:

# %%
model = AttentionCaptioner(vocab_size, units, embedding_dim)
model([photo, inputs])  # creates the weights
layer_names = ["embedding", "layer_norm", "image_projection", "key_projection", "query_projection"]
layer_names += ["attention_lstm", "language_lstm", "output_projection"]
for name in layer_names:
    getattr(model, name).set_weights(getattr(package_model, name).get_weights())
model.bias.assign(np.asarray(package_model.bias))
assert np.allclose(model([photo, inputs]), package_model([photo, inputs]), atol=tolerance)
print(f"{model.count_params():,} weights; the merge model has {merge.count_params():,}")

# %% [markdown]
# ## Train the captioner
#
# Now train it. `train_all` trains the decoder that the settings name (`attention`, unless you chose
# another one) in all its stages, with the callback from above, for the same validation photo.
# `Datasets` holds the training and the validation data. (With the settings of the sample there is
# one stage. With photos a second one trains the CNN, too.)

# %% tags=["nbval-ignore-output"]
from utils.training.batching import Datasets
from utils.training.stages import train_all

backbone_features = None
if config.fine_tune_epochs:
    backbone_features = artifacts.load("backbone_features", config)

print("a reference:", validation_data.references[0][0])
print("epoch   loss  val_loss  CIDEr-D  generated caption")
datasets = Datasets(train_data, validation_data)
captioner, stage_histories = train_all(
    build, features, backbone_features, datasets, config, print_epoch
)
histories.update(stage_histories)

# %% [markdown]
# Both training runs in one figure. A ring marks the epoch that is kept.

# %%
from utils.plotting.charts import plot_histories

_ = plot_histories(histories)

# %% [markdown]
# The best epoch of each, by CIDEr-D:


# %% tags=["nbval-ignore-output"]
def kept_epoch(history):
    """The epoch that is kept: of several with the best CIDEr-D, the last one."""
    return max(reversed(history), key=lambda row: row["CIDEr-D"])


best_epochs = {}
for name, history in histories.items():
    best_epochs[name] = kept_epoch(history)
table = pd.DataFrame(best_epochs).T[["epoch", "loss", "val_loss", "CIDEr-D"]]
table.astype({"epoch": int}).round(2)

# %% [markdown]
# And the perplexity? All models on the captions of the validation photos: the two from the
# beginning, the bigram model of notebook 2, which knows the token before, and the networks, which
# know all tokens before and the photo.

# %% tags=["nbval-ignore-output"]
from collections import Counter

from utils.training.batching import group_captions


def token_pairs(token_ids):
    """All (token, next token) of sequences `(..., time)`, without padding."""
    previous_ids, next_ids = token_ids[..., :-1].ravel(), token_ids[..., 1:].ravel()
    real = next_ids != PAD_ID
    return list(zip(previous_ids[real].tolist(), next_ids[real].tolist(), strict=True))


train_pairs = token_pairs(train_data.token_ids)
pair_counts = Counter(train_pairs)
previous_counts = Counter(previous for previous, _ in train_pairs)
validation_groups = group_captions(validation_data.rows, validation_data.references, tokenizer)
unigram_losses, bigram_losses = [], []
for previous, following in token_pairs(validation_groups.token_ids):
    unigram_losses.append(-np.log(frequencies[following]))
    count = pair_counts[previous, following] + 0.1
    bigram_losses.append(-np.log(count / (previous_counts[previous] + 0.1 * vocab_size)))

losses = {"uniform": uniform_loss}
losses["unigram"] = np.mean(unigram_losses)
losses["bigram"] = np.mean(bigram_losses)
for name, row in best_epochs.items():
    losses[name] = row["val_loss"]
table = pd.DataFrame({"nats per token": losses})
table["perplexity"] = np.exp(table["nats per token"])
table.round(2)

# %% [markdown]
# So this is the answer to the question at the end of notebook 2, how much lower the network's loss
# is. The last perplexity says: on average the captioner is as uncertain as if it had to choose
# among this many equally likely tokens, out of the whole vocabulary in the first row.
#
# ## Is it the attention? A fair comparison
#
# The attention captioner has more weights than the merge model. Is its score higher because of the
# attention, or only because of its size? A fair comparison changes one thing at a time. So compare
# the same captioner with all cells, and with the mean of all cells as its only cell, where it has
# nothing to choose from. Both have the same number of weights (although with a single cell softmax
# is always 1, so the query projection has no effect), the same initial weights, the same batches in
# the same order, and the same number of steps: `epochs` epochs on at most 1,500 photos. (A short
# training needs a short EMA: an average over more steps than there are would keep the initial
# weights.) If the captioner above was trained with exactly these settings and photos, as with the
# sample, it is used. Otherwise both are trained here, from scratch and without further stages.

# %%
short_ema = min(0.95, config.ema_momentum)
one_stage = {"fine_tune_epochs": 0, "scst_epochs": 0, "ensemble_size": 1, "start_from": ""}
comparison_config = replace(attention_config, ema_momentum=short_ema, **one_stage)
comparison_data = TrainData(train_data.rows[:1500], train_data.token_ids[:1500])


def train_on(grid_used):
    """The attention captioner, trained on a grid, and its history."""
    model = build(comparison_config)
    validate_used = make_validator(grid_used, validation_data, comparison_config)
    return model, train(model, comparison_data, grid_used, validate_used, comparison_config)


with_mean, mean_history = train_on(feature_grids.mean_of_cells(grid)[:, None])
if comparison_config == config and len(comparison_data.rows) == len(train_data.rows):
    all_cells, all_cells_history = captioner, histories["attention"]
else:
    all_cells, all_cells_history = train_on(grid)

# %% tags=["nbval-ignore-output"]
compared = {
    "merge model": (merge, train_data, merge_history),
    "mean of the cells": (with_mean, comparison_data, mean_history),
    "all cells": (all_cells, comparison_data, all_cells_history),
}
rows = {}
for name, (compared_model, data, history) in compared.items():
    rows[name] = {"weights": compared_model.count_params(), "photos": len(data.rows)}
    rows[name].update(kept_epoch(history))
table = pd.DataFrame(rows).T[["weights", "photos", "epoch", "loss", "val_loss", "CIDEr-D"]]
table.astype({"weights": int, "photos": int, "epoch": int}).round(2)

# %% [markdown]
# The merge model from above is in the first row. It sees the mean of the cells, too, but it differs
# in more than one way: it has fewer weights and one LSTM, and its LSTM never sees the image, which
# is only added to its output. (With more than 1,500 training photos it has also seen more of them.)
# How much does attention contribute, and how much does everything else?

# %% tags=["nbval-ignore-output"]
scores = table["CIDEr-D"]
architecture_gain = scores["mean of the cells"] - scores["merge model"]
attention_gain = scores["all cells"] - scores["mean of the cells"]
print(f"all other differences, with the same mean:     CIDEr-D {architecture_gain:+.2f}")
print(f"all cells instead of their mean, same weights: CIDEr-D {attention_gain:+.2f}")
loss_gain = table["val_loss"]["mean of the cells"] - table["val_loss"]["all cells"]
print(f"all cells instead of their mean, same weights: val_loss {-loss_gain:+.2f}")
for name, history in {"mean of the cells": mean_history, "all cells": all_cells_history}.items():
    half = history[(len(history) - 1) // 2]
    print(f"{name}, after epoch {half['epoch']}: CIDEr-D {half['CIDEr-D']:.2f}")

# %% [markdown]
# In our run on the drawn sample attention learns faster and ends with a lower loss and a higher
# CIDEr-D. But only a third of the gain over the merge model comes from attention. The rest comes
# from the other differences: the size, the second LSTM, and an LSTM that sees the image. This
# comparison can't separate those, and it is one run with one seed and 100 validation photos. After
# half of the epochs the gain from attention was more than three times as large. Had we stopped
# there, we would have compared how fast the two learn, not how good they get.
#
# On Flickr8k, CIDEr-D after six epochs was 0.33 for the merge model and 0.41 for the attention
# captioner ([RESULTS.md](../RESULTS.md)). But these two also differ in size, and six epochs are
# few: it is not the fair comparison either.
#
# ### What one word attends to
#
# The captioner with all cells has learned to attend. It generates a caption for the first
# validation photo. Of the words in it, take the one whose weights are most concentrated, that is,
# have the lowest entropy. The heatmap shows its weights over the photo: opaque where they are
# large, transparent where they are near 0. The line surrounds the cells with at least half of the
# largest weight.

# %% tags=["nbval-ignore-output"]
from utils.decoding.beam_search import generate
from utils.plotting.attention import draw_attention
from utils.plotting.style import load_thumbnail

rows = validation_data.rows[:1]
output = generate(all_cells, grid, comparison_config, beam_width=1, rows=rows, progress=False)
caption = tokenizer.decode(output.token_ids[0])
words = [tokenizer.vocabulary[token_id] for token_id in output.token_ids[0] if token_id]
weights = output.attention_weights[0][: len(words)]
entropies = -(weights * np.log(weights + 1e-30)).sum(axis=-1)
sharpest = int(np.argmin(entropies))

(path,) = recorded_paths(splits["validation"][:1], features, config)
figure, axis = plt.subplots(figsize=(3.6, 3.9))
draw_attention(axis, load_thumbnail(path, 320), weights[sharpest])
axis.set_title(f"attention weights of “{words[sharpest]}”")
axis.set_axis_off()

# %% [markdown]
# The caption, and how concentrated the weights of each word are. With uniform weights the entropy
# would be $\log$ of the number of cells:

# %% tags=["nbval-ignore-output"]
print(f"uniform weights: {np.log(weights.shape[-1]):.2f} nats")
for word, entropy, cell_weights in zip(words, entropies, weights, strict=True):
    print(f"{word:12} entropy {entropy:.2f}, largest weight {cell_weights.max():.2f}")

# %% [markdown]
# And the same measurement as before training: the weights as they are, and those that the same
# queries and keys would give without the division.

# %% tags=["nbval-ignore-output"]
photo_of_map = grid[rows].astype("float32")
tokens_of_map = np.array([[inputs[0, 0], *output.token_ids[0][: len(words) - 1]]])  # BOS first
unscaled, scaled = entropy_without_and_with_scaling(all_cells, photo_of_map, tokens_of_map)
print(f"trained: entropy {unscaled:.2f} without √d, {scaled:.2f} with it")

# %% [markdown]
# Queries and keys have become so long that their plain dot products would put nearly all of the
# weight on a few cells. (This does not compare two training runs: a captioner that is trained
# without the division could learn shorter ones.) With the division, how concentrated the weights
# are is left to the network, whatever $d$ is.
#
# No label says where anything is: the captioner was trained on captions alone. Which words have
# concentrated weights, and are these the words that name what the photo shows?
# [Notebook 5](05_visualize.ipynb) draws the heatmap of every word of a caption.
#
# ## Choosing the epoch
#
# Which epoch should be kept? The usual answer is the one with the lowest validation loss. Here it
# is the one with the best CIDEr-D. The figure shows both for the training of *Train the captioner*,
# and marks the best epoch by each. Do they agree?

# %%
from utils.plotting.charts import plot_epoch_choice

history = histories[config.decoder]
_ = plot_epoch_choice(history)


# %% tags=["nbval-ignore-output"]
def print_choices(history):
    """The best epoch by each of the two, with both of its numbers."""
    by_loss = min(reversed(history), key=lambda row: row["val_loss"])
    by_score = max(reversed(history), key=lambda row: row["CIDEr-D"])
    for label, row in {"lowest validation loss": by_loss, "highest CIDEr-D": by_score}.items():
        print(f"{label}: epoch {row['epoch']}, ", end="")
        print(f"val_loss {row['val_loss']:.2f}, CIDEr-D {row['CIDEr-D']:.2f}")
    gain = by_score["CIDEr-D"] - by_loss["CIDEr-D"]
    print(f"difference in CIDEr-D: {gain:.3f}")
    last_scores = [row["CIDEr-D"] for row in history[-5:]]
    if len(last_scores) > 1:
        change = np.abs(np.diff(last_scores)).mean()
        print(f"mean change from epoch to epoch in the last {len(last_scores)}: {change:.3f}")


print_choices(history)

# %% [markdown]
# A difference that is no larger than the usual change from one epoch to the next is noise: then
# both choices are equally good. In our run on the drawn sample both choose the same epoch, the last
# one.
#
# With enough data and regularization the two curves are nearly mirror images, and the two epochs
# are close to each other. To pull them apart, provoke overfitting: train the same captioner on 60
# photos, without dropout and label smoothing, for more epochs, and without early stopping. (With a
# lower learning rate, overfitting sets in slowly enough to watch.) What happens to the loss after
# its minimum, and what to CIDEr-D?

# %% tags=["nbval-ignore-output"]
many_epochs = 4 * config.epochs
overfit_config = replace(
    attention_config,
    dropout=0.0,
    label_smoothing=0.0,
    batch_size=6,
    learning_rate=min(4e-3, config.learning_rate),
    ema_momentum=min(0.8, config.ema_momentum),
    epochs=many_epochs,
    patience=many_epochs,
)
few_photos = TrainData(train_data.rows[:60], train_data.token_ids[:60])
few_validation = ValidationData(
    validation_data.rows[:100], validation_data.references[:100], tokenizer
)
overfit_validate = make_validator(grid, few_validation, overfit_config)
at_lowest_loss = {"val_loss": np.inf}  # its metrics and weights


def validate_and_keep(model):
    """Validate, and keep the weights with the lowest loss."""
    result = overfit_validate(model)
    if result.metrics["val_loss"] < at_lowest_loss["val_loss"]:
        at_lowest_loss.update(result.metrics, weights=model.get_weights())
    return result


overfit_model = build(overfit_config)
overfit_history = train(overfit_model, few_photos, grid, validate_and_keep, overfit_config)

# %%
_ = plot_epoch_choice(overfit_history)

# %% [markdown]
# The validation loss has a minimum and rises again, as the model becomes sure of what is true of
# the 60 photos only. Does CIDEr-D fall as much, and at the same time? With 100 photos it changes
# from epoch to epoch by chance, so take the mean of five epochs, two before and two after each one
# (at the end, of those that there are). Compare three epochs: the one with the lowest loss, the one
# with the highest CIDEr-D, which is marked in the figure, and the last one.

# %% tags=["nbval-ignore-output"]
curves = pd.DataFrame(overfit_history)[["epoch", "loss", "val_loss", "CIDEr-D"]]
curves["mean of 5"] = curves["CIDEr-D"].rolling(5, center=True, min_periods=1).mean()
last = len(curves) - 1
lowest = int(curves["val_loss"].argmin())
highest = int(curves["CIDEr-D"].argmax())
choices = {"lowest val_loss": lowest, "highest CIDEr-D": highest, "last": last}
table = curves.loc[list(choices.values())].set_axis(list(choices))
table.astype({"epoch": int}).round(2)

# %% tags=["nbval-ignore-output"]
means = curves["mean of 5"]
rise = curves["val_loss"][last] / curves["val_loss"][lowest] - 1
print(f"from the lowest loss to the last epoch: loss {rise:+.0%}, ", end="")
print(f"mean CIDEr-D {means[last] / max(means[lowest], 1e-9) - 1:+.0%}")
print("from the lowest loss to the highest CIDEr-D: ", end="")
print(f"mean CIDEr-D {means[highest] / max(means[lowest], 1e-9) - 1:+.0%}")

# Before its minimum the loss was once as high as at the end. And CIDEr-D?
loss_differences = (curves["val_loss"][: lowest + 1] - curves["val_loss"][last]).abs()
same_loss = int(loss_differences.argmin())
print(f"val_loss {curves['val_loss'][same_loss]:.2f} in epoch {same_loss + 1}: ", end="")
print(f"mean CIDEr-D {means[same_loss]:.2f}")
print(f"val_loss {curves['val_loss'][last]:.2f} in epoch {last + 1}: ", end="")
print(f"mean CIDEr-D {means[last]:.2f}")

# %% [markdown]
# In our run on the drawn sample the loss rises by a fifth after its minimum, while the mean of
# CIDEr-D rises by 4 % and then falls back to what it was at the lowest loss. And of two epochs with
# nearly the same loss, one before the minimum and the last one, the last one has far better
# captions. So the loss alone doesn't say how good they are.
#
# Does the epoch with the highest CIDEr-D also have better captions for *other* photos? It is the
# maximum of a noisy curve, so its own score is too optimistic. There are photos that neither the
# training nor the choice has seen: this model was trained on 60 training photos only. Let both
# models caption 300 of the others.

# %% tags=["nbval-ignore-output"]
other_rows = train_data.rows[60:360]
other_references = [captions["captions"][name] for name in splits["train"][60:360]]
scores_of_choice = {}
for label in ("highest CIDEr-D", "lowest val_loss"):  # first the weights that `train` has kept
    if label == "lowest val_loss":
        overfit_model.set_weights(at_lowest_loss["weights"])
    output = generate(overfit_model, grid, overfit_config, beam_width=1, rows=other_rows)
    texts = [tokenizer.decode(token_ids) for token_ids in output.token_ids]
    scores_of_choice[label] = cider_d(texts, other_references)[1]
    print(f"{label}: CIDEr-D {scores_of_choice[label].mean():.3f} on {len(texts)} other photos")
gain = scores_of_choice["highest CIDEr-D"] - scores_of_choice["lowest val_loss"]
error = gain.std() / max(1, len(gain)) ** 0.5
print(f"difference {gain.mean():+.3f}, standard error {error:.3f}")

# %% [markdown]
# In our run on the drawn sample 300 photos can't tell them apart: the difference is smaller than
# its **standard error**, the standard deviation divided by $\sqrt{n}$, which says how much a mean
# over $n$ photos varies by chance. And the lead of the highest CIDEr-D in the figure was luck: it
# was 0.06 on the photos that chose it, and is 0.005 on others. So there are two lessons:
#
# - **The loss doesn't measure the captions.** After its minimum the loss rises by a fifth, while
#   the captions hardly change. Two epochs with the same loss can have very different
#   captions. Near its minimum, though, the loss is as good a choice as the score.
# - **The score of the chosen epoch is too optimistic**, the more so the fewer validation photos
#   there are. This is why the test photos are used once, in notebook 4.
#
# And with photos? In one of this project's training runs on Flickr8k (sixteen epochs with a
# trainable CNN, next section; 1,000 validation photos; `tests/ablation/results.jsonl`), the two
# choices are two epochs apart, and 0.003 of CIDEr-D, which is as much as it changes from one epoch
# to the next:
#
# | epoch | validation loss | CIDEr-D, greedy |
# | --- | ---: | ---: |
# | 11, the lowest loss | 2.769 | 0.568 |
# | 13, the highest CIDEr-D | 2.771 | 0.571 |
# | 16, the last one | 2.776 | 0.561 |
#
# Why do loss and captions differ? They measure different things, and only one of them is what you
# want:
#
# - **The loss scores the next token, given the prefix of a reference.** It never sees a caption
#   that the model has generated. CIDEr-D scores the model's own sentence, with the mistakes that
#   follow from earlier mistakes.
# - **The loss scores all tokens alike.** CIDEr-D gives more weight to words that are rare in other
#   captions, such as *surfboard*, than to *a* and *the*.
# - **The loss penalizes overconfidence.** A generated caption takes the most likely token at each
#   step, be it at 40 % or at 90 %; only the ranking of the tokens
#   matters. When a model overfits, its probabilities go towards 0 and 1, and a few confident
#   mistakes raise the mean loss, while most of its choices stay as good as they were, or still get
#   better. Label smoothing moves the probabilities in the other direction, and hardly changes the
#   captions: on Flickr8k CIDEr-D was 0.411 with a label smoothing of 0.1 and 0.413 without
#   ([RESULTS.md](../RESULTS.md)).
#
# So the loss may rise while the captions hardly change, or fall while they get no better. What
# follows for your own training:
#
# - **With hundreds of validation photos, keep the epoch with the highest score**, as this project
#   does. On the data above it gained nothing over the lowest loss, but it is the measure that you
#   want, it can't be misled by overconfidence, and it tells you epoch by epoch how good the
#   captions are. The price: captions must be generated after every epoch.
# - **With a few dozen, the score is mostly noise.** Keep the epoch with the lowest loss. (The
#   hundred of our sample are between the two: as you have seen, both choices are equally good.)
# - **Don't stop at the first rise of the loss**, to be on the safe side: a noisy curve also rises
#   by chance. Early stopping here waits until the score has not improved for `patience` epochs.

# %% [markdown]
# ## Fine-tuning the CNN
#
# So far the CNN was frozen: its features were computed once, in notebook 1. They were trained for
# classification: which of a thousand classes is this? A caption needs more: how many, doing what,
# where? In **fine-tuning**, some of the pretrained weights are trained further, together with the
# decoder ([guide](https://www.tensorflow.org/tutorials/images/transfer_learning)). There are five
# decisions to make. Here they are with the answers of this project; the rest of the section shows
# the reasons:
#
# | decision | answer |
# | --- | --- |
# | 1. Which blocks? | the last ones; the features below them are computed once |
# | 2. What is trainable there? | every layer except batch normalization |
# | 3. Why not batch normalization? | its statistics would come from small batches of few photos |
# | 4. Which learning rate? | lower than the decoder's own, but not too low: one half |
# | 5. When? | after the decoder has been trained with a frozen CNN |
#
# In a Keras model of your own these are a few lines. `cnn` is the CNN inside `model`, and
# `cut_name` the name of the last layer that stays frozen; choose it in `cnn.summary()`. The loss is
# `keras_loss` from above. A change of `trainable` takes effect with the next `compile`:
#
# ```python
# is_above_cut = False
# for layer in cnn.layers:  # frozen up to the cut, and batch normalization everywhere
#     is_batch_norm = isinstance(layer, keras.layers.BatchNormalization)
#     layer.trainable = is_above_cut and not is_batch_norm
#     is_above_cut = is_above_cut or layer.name == cut_name
# model.compile(keras.optimizers.Adam(0.5 * learning_rate), loss=keras_loss)
# model.fit(...)
# ```
#
# **1. Which blocks?** The first blocks of a CNN detect edges and textures, which every task needs.
# The last ones are specific to the task. So only the last blocks are trained, and the features
# below them are computed once, which saves most of the work:
#
# ```text
#   pixels ──► backbone ──► top blocks ──► decoder ──► logits
#               frozen       trainable     trainable
#                  │
#                  └─ backbone_features.pkl, computed once
# ```
#
# The cut is at the end of a block, so that a whole block is trained or frozen; the table of
# [`encoders.py`](../utils/models/encoders.py) has its layer for each encoder (`split_layer`). A
# lower cut trains more weights, costs more time, and needs more photos.
#
# Here it is live, with the small CNN of this project, whatever encoder your settings name, so that
# it takes seconds. A model of the functional API can be cut at any layer: one `keras.Model` from
# the input to this layer, and another one from there to the output. They share the layers and
# weights of the whole.

# %%
from utils.errors import CaptionsError
from utils.models.encoders import build_encoder, find_encoder

with strategy.scope():
    try:
        encoder = build_encoder("sample_cnn", full_precision=True)
    except CaptionsError:  # a notebook that is packed for Kaggle does not contain the weights
        print("The small CNN has no weights here. Random ones show the steps, but gain nothing.")
        encoder = build_encoder("sample_cnn", pretrained=False, full_precision=True)
cnn = next(layer for layer in encoder.layers if isinstance(layer, keras.Model))
cut = cnn.get_layer(find_encoder("sample_cnn").split_layer).output
lower_layers = keras.Model(cnn.input, cut)
upper_layers = keras.Model(cut, cnn.output)
print(f"whole CNN    {cnn.input_shape} -> {cnn.output_shape}, {len(cnn.layers)} layers")
print(f"lower layers {lower_layers.input_shape} -> {lower_layers.output_shape}")
print(f"upper layers {upper_layers.input_shape} -> {upper_layers.output_shape}")

# %% [markdown]
# **With the library**: `split_encoder` does this, and turns the feature maps into grids of cells.
# Then the backbone's features of 400 photos are computed once: 300 to train on, 100 to validate
# with.

# %%
from utils.features import extract_features
from utils.models.fine_tuning import EndToEndCaptioner, split_encoder

backbone, top_blocks = split_encoder(encoder)
rows = [*train_data.rows[:300], *validation_data.rows[:100]]
names = [features["names"][row] for row in rows]
photos = [load_thumbnail(path) for path in recorded_paths(names, features, config)]
parts = extract_features(photos, backbone, "backbone features", progress=False)
backbone_grid = np.concatenate(list(parts)).astype("float32")
print(f"backbone features {backbone_grid.shape}: (photos, cells, channels)")
print(f"grid {top_blocks(backbone_grid[:1]).shape}: (photos, cells, channels)")

# %% [markdown]
# The top blocks come in front of a decoder. Together they are one model, from backbone features and
# tokens to logits, so that the gradient of the loss reaches the weights of both. By hand it is a
# class of a few lines; the library's `EndToEndCaptioner` can also decode step by step.


# %%
class EndToEnd(keras.Model):
    """A decoder behind the top blocks of a CNN."""

    def __init__(self, top_blocks, decoder):
        super().__init__()
        self.top_blocks = top_blocks
        self.decoder = decoder

    def call(self, inputs):
        backbone_features, token_ids = inputs
        grid = self.top_blocks(backbone_features, training=False)
        return self.decoder([grid, token_ids])


channels = top_blocks.output_shape[2]
decoder_config = replace(comparison_config, precision="float32")
with strategy.scope():
    decoder = build_captioner(channels, vocab_size, decoder_config, frequencies)
if channels == grid.shape[2]:  # the sample: fine-tuning begins with a decoder that is trained
    decoder.set_weights(all_cells.get_weights())
with strategy.scope():
    end_to_end = EndToEndCaptioner(top_blocks, decoder)
by_hand = EndToEnd(top_blocks, decoder)([backbone_grid[:1], inputs])
assert np.allclose(by_hand, end_to_end([backbone_grid[:1], inputs]), atol=1e-4)

# %% [markdown]
# **2. What is trainable?** A Keras layer with
# [`trainable = False`](https://keras.io/guides/transfer_learning/) keeps its weights: they are not
# in `trainable_weights`, so no gradient is computed for them. All layers of the top blocks are
# trained, except batch normalization (`EndToEndCaptioner.set_encoder_trainable` does the same):

# %%
layers = [layer for block in top_blocks.layers for layer in getattr(block, "layers", [block])]
for layer in layers:
    layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
trainable_by_hand = [layer.trainable for layer in layers]
end_to_end.set_encoder_trainable(True)
assert [layer.trainable for layer in layers] == trainable_by_hand
rows = []
for layer in layers:
    if layer.weights:
        rows.append((layer.name, f"{layer.count_params():,}", layer.trainable))
pd.DataFrame(rows, columns=["layer", "weights", "trainable"])

# %% [markdown]
# **3. Why is batch normalization frozen?** A [**batch
# normalization**](https://keras.io/api/layers/normalization_layers/batch_normalization/) layer
# ([Ioffe and Szegedy 2015](https://arxiv.org/abs/1502.03167)) scales each channel:
#
# $$y = \gamma \, \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta$$
#
# In inference, $\mu$ and $\sigma^2$ are **moving statistics**, averaged over the whole pretraining.
# In training mode they are those of the current batch, and the moving statistics follow them. A
# batch of a few photos gives poor estimates. Measure how far the mean of a batch is from the moving
# mean, in units of the moving standard deviation, for batches of 2, 8 and 32 photos:

# %% tags=["nbval-ignore-output"]
batch_norm = next(layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization))
convolution = layers[layers.index(batch_norm) - 1]
side = round(backbone_grid.shape[1] ** 0.5)
some_maps = backbone_grid[:32].reshape(-1, side, side, backbone_grid.shape[2])
activations = convolution(some_maps).numpy()
moving_mean = np.asarray(batch_norm.moving_mean)
moving_std = np.sqrt(np.asarray(batch_norm.moving_variance) + batch_norm.epsilon)
for size in (2, 8, 32):
    deviations = []
    for start in range(0, len(activations) - size + 1, size):
        batch_mean = activations[start : start + size].mean(axis=(0, 1, 2))
        deviations.append(np.abs(batch_mean - moving_mean) / moving_std)
    if deviations:
        print(f"{size:2} photos: off by {np.mean(deviations):.2f} standard deviations")

# %% [markdown]
# The smaller the batch, the larger the error, and it differs from step to step. So in training mode
# the features of a photo depend on the other photos in its batch. What does the decoder make of
# such features? Take a copy of the upper layers with a trainable batch normalization. Here is the
# loss of the first caption of 60 training photos, with the features of inference mode, and with
# those of training mode in batches. (This needs the trained decoder of the sample.)


# %% tags=["nbval-ignore-output"]
trainable_layers = keras.models.clone_model(upper_layers)
trainable_layers.set_weights(upper_layers.get_weights())
for layer in trainable_layers.layers:
    layer.trainable = True
maps = backbone_grid.reshape(-1, side, side, backbone_grid.shape[2])


def loss_of_features(compute_features, size):
    """The mean loss of the decoder, for features that are computed in batches."""
    batch_losses = []
    num_photos = min(60, len(train_data.rows))
    for start in range(0, num_photos - size + 1, size):
        batch = slice(start, start + size)
        token_ids = train_data.token_ids[batch, 0]
        feature_maps = compute_features(maps[batch])
        cells = tf.reshape(feature_maps, (size, -1, feature_maps.shape[-1]))
        predicted = decoder([cells, token_ids[:, :-1]])
        batch_losses.append(masked_loss(predicted, token_ids[:, 1:], label_smoothing=0.0))
    return np.mean(batch_losses)


def in_training_mode(feature_maps):
    """The features of a batch with the statistics of the batch."""
    return trainable_layers(feature_maps, training=True)


print(f"inference mode: loss {loss_of_features(upper_layers, 2):.2f}")
for size in (2, 5, 20):
    print(f"training mode, batches of {size:2}: {loss_of_features(in_training_mode, size):.2f}")

# %% [markdown]
# The smaller the batch, the more its statistics distort the features, and the higher the loss of a
# decoder that has learned from undistorted ones. In batches of 20 little is left of the effect
# within one step. But the moving statistics, which are used for every photo later, would follow 300
# photos instead of the many thousands of the pretraining. Freezing avoids both. (Below we fine-tune
# with and without it.)
#
# With `trainable = False` a batch normalization layer of Keras runs in inference mode, even where
# it is called with `training=True`. The features of a photo stay its own, and the moving statistics
# stay what they were.
#
# **4. Which learning rate?** One rate for the top blocks and the decoder, which is trained further
# with them, and a lower one than that of the decoder's own training: the pretrained weights are
# good already, and large steps destroy them. But not too low, or nothing changes. On Flickr8k,
# where the decoder was trained with 0.001, fine-tuning gave these scores
# (MobileNetV2 at 224 pixels, one seed, beam width 3; `tests/ablation/results.jsonl`):
#
# | learning rate of fine-tuning | relative to the decoder's | epochs | CIDEr-D |
# | --- | ---: | ---: | ---: |
# | not fine-tuned | | | 0.508 |
# | 0.0001 | 1/10 | 4 | 0.513 |
# | 0.0003 | 3/10 | 4 | 0.527 |
# | 0.0005 | 1/2 | 8 | 0.550 |
#
# The last row has the rate and the epochs of the preset `flickr8k`. It changes both at once, so it
# does not show which of them helps; and as seeds differ by about 0.02 (see the table in *What it
# gains*), only the last row is clearly better than no fine-tuning. No ratio is always right: the
# best rate depends on the number of steps, on the schedule and the EMA, and on how high the
# decoder's own rate is. Compare a few rates on validation photos.
#
# **5. When?** After the training of the decoder, as the gradients of an untrained decoder are large
# and say little about the image.
#
# ### Three epochs of fine-tuning
#
# Now do it, on 300 photos. The small CNN was pretrained on drawn scenes of the same kind, so there
# is nothing to gain by training it further on the drawn sample. To see fine-tuning work, give it a
# CNN that does not fit: permute the channels of the convolution in the last block, and those of the
# batch normalization behind it in the same order. The features are still as informative as before,
# but each channel means something else to the decoder, as if the CNN had been pretrained for
# another task.
#
# To see what the trainable CNN contributes, and not just three more epochs, train three times from
# the same weights: with the top blocks frozen; with all of them trainable, *with batch
# normalization* in training mode; and as above, trainable without batch normalization. The rate is
# only an eighth of the decoder's own, not one half: batches of 4 photos give noisy gradients, and
# the decoder's own rate is high here. `train` is called without a stage, so it leaves the
# checkpoints of the real training alone.

# %% tags=["nbval-ignore-output"]
fine_tune_config = replace(
    decoder_config,
    epochs=min(3, config.epochs),
    batch_size=min(4, config.batch_size),
    ema_momentum=min(0.8, config.ema_momentum),  # few steps: a short average
)
fine_tune_rate = config.learning_rate / 8
num_photos = len(train_data.rows[:300])
tune_data = TrainData(np.arange(num_photos), train_data.token_ids[:num_photos])
tune_validation = ValidationData(
    np.arange(num_photos, len(backbone_grid)), validation_data.references[:100], tokenizer
)
validate_tuned = make_validator(backbone_grid, tune_validation, fine_tune_config)
metrics = {"before": validate_tuned(end_to_end).metrics}

kernel, *bias = convolution.get_weights()
shuffled = np.random.RandomState(0).permutation(kernel.shape[-1])
convolution.set_weights([kernel[..., shuffled], *[weights[shuffled] for weights in bias]])
batch_norm.set_weights([weights[shuffled] for weights in batch_norm.get_weights()])
metrics["channels permuted"] = validate_tuned(end_to_end).metrics
pd.DataFrame(metrics).T[["val_loss", "CIDEr-D"]].round(3)

# %% [markdown]
# The same features in another order are of no use to the decoder. Now the three training runs:

# %% tags=["nbval-ignore-output"]
weights_before = end_to_end.get_weights()
kernel_before = np.asarray(convolution.kernel)
statistics_before = [np.asarray(weight) for weight in batch_norm.weights]


class WithBatchStatistics(EndToEndCaptioner):
    """In training, batch normalization uses the statistics of the batch."""

    def call(self, inputs, training=False):
        backbone_features, token_ids = inputs
        grid = self.top_blocks(backbone_features, training=training)
        return self.captioner([grid, token_ids], training=training)


def fine_tune(trainable, learning_rate, train_batch_norm=False):
    """Train from the weights before; the metrics of each epoch."""
    model = end_to_end
    if train_batch_norm:
        with strategy.scope():
            model = WithBatchStatistics(top_blocks, decoder)
    end_to_end.set_weights(weights_before)
    model.set_encoder_trainable(trainable)
    batch_norm.trainable = train_batch_norm
    rate_config = replace(fine_tune_config, learning_rate=learning_rate)
    return train(model, tune_data, backbone_grid, validate_tuned, rate_config)


runs = {}
runs["CNN frozen"] = fine_tune(False, fine_tune_rate)
runs["CNN and BN"] = fine_tune(True, fine_tune_rate, train_batch_norm=True)
runs["CNN, BN frozen"] = fine_tune(True, fine_tune_rate)
runs = {label: pd.DataFrame(history).set_index("epoch") for label, history in runs.items()}
table = pd.concat(runs, axis=1).swaplevel(axis=1)[["val_loss", "CIDEr-D"]]
table.round(3)

# %% [markdown]
# With a frozen CNN the decoder learns the new meaning of the channels. With a trainable CNN both
# adapt to each other, and the captioner gets further in the same number of steps. In our run on the
# drawn sample the captioner with a trainable CNN and frozen batch normalization (*CNN, BN frozen*)
# had a lower loss and a higher CIDEr-D than that with a frozen CNN after every epoch. With batch
# normalization in training mode (*CNN and BN*) more than half of this gain is lost. (With batches
# of 30 photos the two should hardly differ, as the loss of the decoder above suggests; try it.) A
# frozen batch normalization doesn't depend on the batch size that the memory allows.
#
# This is one run with 100 validation photos, and it compares how fast the three learn: with more
# epochs the frozen CNN may catch up, as the permuted channels have lost no information. Whether
# fine-tuning pays in the end is measured below, on Flickr8k, in four runs.
#
# (With photos, the decoder of this demonstration is untrained, as it is not the one of your
# encoder, so all numbers are bad.)
#
# What has changed in the CNN?

# %% tags=["nbval-ignore-output"]
for before, after in zip(statistics_before, batch_norm.weights, strict=True):
    assert np.array_equal(before, after)
change = np.abs(np.asarray(convolution.kernel) - kernel_before).mean()
print(f"{convolution.name}: weights changed by {change / np.abs(kernel_before).mean():.1%}")
print(f"{batch_norm.name}: moving mean, moving variance, γ and β unchanged")

# %% [markdown]
# The weights of the convolution have moved by nearly a fifth of their mean size (exercise 4 shows
# what a larger rate does), and the batch normalization not at all.
# `train_all` fine-tunes in the same way, and guards against getting worse: if a stage has lowered
# CIDEr-D, the weights before it are restored.
#
# ### What it gains
#
# With `fine_tune_epochs` greater than 0, as in the preset `flickr8k` (eight epochs at 0.0005),
# `train_all` does this after the training of the decoder: each photo is mirrored at random, which
# reduces overfitting (at a price: the captioner can't tell left from right). Of all stages it
# improves the score most. On Flickr8k, after twelve epochs with a frozen CNN and then eight of
# fine-tuning, this was CIDEr-D of the 1,000 validation photos with beam width 3, and the difference
# with its 95 % bootstrap interval ([RESULTS.md](../RESULTS.md); [notebook 4](04_evaluate.ipynb)
# explains beams and intervals). MobileNetV2 had larger photos than in the table above, 288 pixels:
#
# | encoder | frozen | fine-tuned | difference |
# | --- | ---: | ---: | ---: |
# | EfficientNet-Lite2 | 0.538 | 0.585 | +0.047 (0.025 to 0.069) |
# | MobileNetV2, seed 1 | 0.505 | 0.567 | +0.061 (0.039 to 0.084) |
# | MobileNetV2, seed 2 | 0.499 | 0.545 | +0.046 (0.025 to 0.067) |
# | MobileNetV2, seed 3 | 0.503 | 0.555 | +0.052 (0.028 to 0.078) |
#
# The difference includes the eight epochs that are trained in addition. There is an indirect
# control: with a frozen MobileNetV2 at 224 pixels, eighteen epochs score no higher than twelve
# (0.508 each, [RESULTS.md](../RESULTS.md)). So epochs alone seem to gain nothing. With MobileNetV2,
# CIDEr-D was best after five to seven of the eight epochs and fell after that: the model overfits.
#
# More views of each photo delay this: with `crops=3` in all notebooks, every epoch of fine-tuning
# shows the whole photo, one of three random crops, or one of these mirrored. With
# EfficientNet-Lite2 and one seed this gained another 0.027 (0.011 to 0.045).
#
# What changes in the captions? Here are three validation photos of Flickr8k, chosen by rule: those
# at the lower quartile, the median and the upper quartile of CIDEr-D with the frozen CNN
# (EfficientNet-Lite2, seed 1, beam width 3). Each link opens the photo on its photographer's page
# at Flickr.
#
# 1. [photo 3582685410](https://www.flickr.com/photo.gne?id=3582685410)
#    - frozen: *a woman in a red shirt is jumping on a rock*
#    - fine-tuned: *a woman is jumping on a rock*
# 2. [photo 3448490813](https://www.flickr.com/photo.gne?id=3448490813)
#    - frozen: *a boy wearing a hat and a hat is sitting on a railing*
#    - fine-tuned: *a young boy wearing a hat and a hat is holding a stick*
# 3. [photo 3314180199](https://www.flickr.com/photo.gne?id=3314180199)
#    - frozen: *a boy in a red shirt is playing with a ball*
#    - fine-tuned: the same
#
# A detail is gone, an action has changed, and one caption is the same: the gain of 0.05 is a
# mean over many small changes, and most mistakes remain.
#
# ## Going further
#
# Three more settings make `train_all` do more. The presets use none of them. On Flickr8k, the first
# two made no difference larger than chance (`RESULTS.md`):
#
# - `scst_epochs`: [**self-critical sequence training
#   (SCST)**](https://arxiv.org/abs/1612.00563) optimizes CIDEr-D itself. The model samples five
#   captions for each photo; their reward is CIDEr-D, and each becomes more or less likely in
#   proportion to its **advantage**, its reward minus the mean reward of the others.
# - `ensemble_size`: an [**ensemble**](https://en.wikipedia.org/wiki/Ensemble_learning). Captioners
#   with different initial weights make different errors. Several of them predict each token by the
#   mean of their probabilities.
# - `start_from`: a **warm start** from the weights of another run, on a larger data set. Tokens in
#   both vocabularies keep their embeddings. `start_from=pretrained` starts from the captioner that
#   is part of this project (`utils/pretrained`). Notebook 2 must have run with the same setting.
#   Beware of data leakage: Flickr30k extends Flickr8k, so it may contain your test photos.
#
# There is also a third decoder, `inject`, which uses the image as the initial hidden state of the
# LSTM; [Show and Tell](https://arxiv.org/abs/1411.4555) used it as the first input.
#
# ## Save
#
# The captioner is saved as plain arrays in one file. Its header records the settings that it
# depends on, and the fingerprint of each of its three parents
# ([notebook 1](01_features.ipynb) has computed one by hand).

# %%
from utils.models.serialization import from_dict, to_dict

path = artifacts.save("captioner", to_dict(captioner), config)
artifacts.save("history", histories, config)
print(f"{path.name} for 04_evaluate and 05_visualize")

# %% [markdown]
# Here is a part of the header, and what happens in two cases: a notebook has another setting than
# this one; and notebook 2 has been run again with another vocabulary (in a copy of the folder). In
# the second case the token IDs of the captioner would be other words, so it must be refused.

# %% tags=["nbval-ignore-output"]
import shutil
import tempfile

header = artifacts.read_header(path, "captioner")
for parent, recorded in header.parents.items():  # what `artifacts.load` compares
    assert recorded == artifacts.fingerprint(artifacts.artifact_path(parent, config))
print("settings:", {name: header.config[name] for name in ("decoder", "units", "epochs")}, "...")
print("made from:", header.parents)
try:
    artifacts.load("captioner", replace(config, units=config.units + 1))
except CaptionsError as error:
    print("CaptionsError:", str(error).replace(f"{path.parent}{os.sep}", ""))

with tempfile.TemporaryDirectory() as copy:
    copy_config = replace(config, working=copy)
    for kind in ("captioner", *header.parents):
        shutil.copy(artifacts.artifact_path(kind, config), copy)
    other_tokenizer = {**tokenizer.to_dict(), "vocabulary": tokenizer.vocabulary[:-1]}
    artifacts.save("tokenizer", other_tokenizer, copy_config)
    try:
        artifacts.load("captioner", copy_config)
    except CaptionsError as error:
        print("CaptionsError:", str(error).replace(f"{copy}{os.sep}", ""))

# %% [markdown]
# The loaded captioner has exactly the weights of the trained one. The loss is that of our example,
# a training photo; the untrained model is that of the section on teacher forcing. The caption is
# that of the validation photo of the log: is it correct?

# %% tags=["nbval-ignore-output"]
loaded = from_dict(artifacts.load("captioner", config), config)
restored = to_dict(loaded)["members"][0]["weights"]
for name, weight in to_dict(captioner)["members"][0]["weights"].items():
    assert np.array_equal(restored[name], weight)

input_grid = grid  # a fine-tuned captioner takes the backbone's features
if backbone_features:
    input_grid = feature_grids.load_grid(backbone_features, config)
photo = input_grid[train_data.rows[:1]].astype("float32")
logits = loaded([photo, inputs])
final_loss = masked_loss(logits, targets, label_smoothing=0.0).numpy()
print(f"loss of the example's caption: untrained {initial_loss:.2f}, trained {final_loss:.2f}")

rows = validation_data.rows[:1]
output = generate(loaded, input_grid, config, beam_width=1, rows=rows, progress=False)
caption = tokenizer.decode(output.token_ids[0])
title = f"generated: {caption}; reference: {validation_data.references[0][0]}"
paths = recorded_paths(splits["validation"][:1], features, config)
_ = show_photos(paths, [title], size=3.6)

# %% [markdown]
# ## What you learned
#
# - The loss of a prediction is the negative log-probability of the target; its masked mean is the
#   cross-entropy in nats per token, and the exponential of that is the perplexity.
# - The gates of an LSTM say how much of its memory is kept, how much is added, and how much is
#   output. A merge model adds the LSTM's hidden state and one image vector.
# - With teacher forcing, one pass over a caption gives the losses of all its prefixes.
# - A training step is forward pass, loss, gradient, clipping, update; training repeats it.
# - Attention computes a new image vector for every word: softmax(QKᵀ/√d)V.
# - A fair comparison changes one thing, and trains both models to the end.
# - The loss scores the next token of a reference, CIDEr-D a generated caption; the epoch is
#   chosen by CIDEr-D.
# - Fine-tuning trains the last blocks of the CNN at a lower learning rate, with batch normalization
#   frozen.
#
# ## Exercises
#
# **Try it.** *Vary*: change a value. *Modify*: edit a few lines. *Implement*: write a dozen lines.
# *Extend*: go beyond this series. Predict the result before you run anything. Put the code of an
# answer into a new cell below, after you have run all cells above. It is written for the drawn
# sample; on photos its numbers differ.
#
# 1. *Vary*: With three cells and the query `[0.0, 3.0]`, the second cell got most of the weight.
#    Before you run it: which weights do the queries `[0.0, 0.0]` and `[0.0, 30.0]` give?
#
# <details><summary>Hint</summary>
#
# Call `attend` in a loop. Its arguments need a batch axis: `tf.constant([[query]])`.
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# for query in ([0.0, 0.0], [0.0, 3.0], [0.0, 30.0]):
#     context, weights = attend(tf.constant([[query]], tf.float64), keys[None], values[None])
#     weights = weights[0, 0].numpy()
#     print(query, "weights", weights.round(2), "context", context[0, 0].numpy().round(2))
# assert weights.max() > 0.99
# ```
#
# A query of zeros gives uniform weights, so the context vector is the mean of all values, which is
# all that the merge captioner ever gets. A long query selects a single cell. So the network can
# also learn how concentrated its attention is.
# </details>
#
# 2. *Vary*: What is lost if an LSTM can't remember? Set the bias of all forget gates of the trained
#    merge model to -10, and validate it again. Before you run it: how far back can it still look,
#    and will the captions get shorter, or repeat themselves?
#
# <details><summary>Hint</summary>
#
# `merge.lstm.get_weights()` gives kernel, recurrent kernel and bias; the bias of the forget gates
# is `bias[units : 2 * units]`. `validate(merge)` gives metrics and captions. Put the weights back.
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# kernel, recurrent_kernel, bias = merge.lstm.get_weights()
# forgetful_bias = bias.copy()
# forgetful_bias[units : 2 * units] = -10.0
# remembering = validate(merge)
# merge.lstm.set_weights([kernel, recurrent_kernel, forgetful_bias])
# forgetting = validate(merge)
# merge.lstm.set_weights([kernel, recurrent_kernel, bias])
# for result in (remembering, forgetting):
#     print({name: round(value, 2) for name, value in result.metrics.items()})
#     print(result.captions[0])
# assert forgetting.metrics["val_loss"] > remembering.metrics["val_loss"]
# ```
#
# Sigmoid(-10) is 0.00005: the cell state is erased in every step and holds only the last token. The
# hidden state of the step before still reaches the gates by $U h$, so a little of the past gets
# through. The model forgets what it has said already. Training with such gates would do better than
# forgetting suddenly, as the weights would adapt; but you would have a simple recurrent network.
# </details>
#
# 3. *Modify*: What can be learned without the image? Train the merge captioner for two epochs on a
#    grid of zeros. Before you run it: will the loss fall? How many different captions will it
#    generate?
#
# <details><summary>Hint</summary>
#
# `np.zeros_like(grid)`, a new `make_validator` for it, and `train` without a stage. The validator's
# result has all generated captions.
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# short_config = replace(merge_config, epochs=2)
# zero_grid = np.zeros_like(grid)
# text_only = build(short_config)
# validate_zeros = make_validator(zero_grid, validation_data, short_config)
# history = train(text_only, train_data, zero_grid, validate_zeros, short_config)
# losses = [row["loss"] for row in history]
# distinct = set(validate_zeros(text_only).captions)
# print("losses", np.round(losses, 2), "distinct captions:", distinct)
# assert losses[1] < losses[0]
# assert len(distinct) == 1
# ```
#
# The loss falls, as a language model can be learned from text alone; but the same input gives the
# same caption for every photo. More epochs would give a better caption, and still only one.
# </details>
#
# 4. *Modify*: Can fine-tuning destroy a CNN? Fine-tune with 30 times the learning rate. Before you
#    run it: by how much will the weights of the convolution change, and what will CIDEr-D be?
#
# <details><summary>Hint</summary>
#
# `fine_tune(True, rate)` starts from the weights before, and returns the metrics of each epoch.
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# for factor in (1, 30):
#     last = fine_tune(True, factor * fine_tune_rate)[-1]
#     change = np.abs(np.asarray(convolution.kernel) - kernel_before).mean()
#     relative_change = change / np.abs(kernel_before).mean()
#     print(f"rate times {factor:2}: weights changed by {relative_change:.1%}, ", end="")
#     print(f"val_loss {last['val_loss']:.2f}, CIDEr-D {last['CIDEr-D']:.2f}")
#     assert np.array_equal(batch_norm.weights[0], statistics_before[0])
# ```
#
# With Adam each step moves a weight by up to the learning rate, whatever the gradient, so the
# change grows with the rate, and the features are no longer those that the decoder was trained on.
# Both have to be learned again, from 300 photos.
# </details>
#
# 5. *Implement*: Which tokens are hard to predict? Compute the loss of every target token in the
#    captions of 50 validation photos, and its mean for each token of the vocabulary. Before you run
#    it: will colors or articles have the higher loss?
#
# <details><summary>Hint</summary>
#
# `group_captions` from `utils.training.batching` encodes the references. As in `masked_loss`:
# `tf.nn.log_softmax`, `tf.gather`, a mask. `np.bincount` with `weights` sums by token.
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# data = group_captions(validation_data.rows[:50], validation_data.references[:50], tokenizer)
# token_ids = data.token_ids.reshape(-1, data.token_ids.shape[-1])
# targets_used = token_ids[:, 1:]
# grid_used = input_grid[data.rows].astype("float32")
# log_probs = tf.nn.log_softmax(loaded([grid_used, token_ids[:, :-1]]))
# losses = -tf.gather(log_probs, targets_used, batch_dims=2).numpy()
# mask = targets_used != PAD_ID
# sums = np.bincount(targets_used[mask], weights=losses[mask], minlength=vocab_size)
# counts_used = np.bincount(targets_used[mask], minlength=vocab_size)
# means = sums / np.maximum(counts_used, 1)
# frequent = np.flatnonzero(counts_used >= 10)
# by_loss = frequent[np.argsort(means[frequent])]
# for token_id in [*by_loss[:5], *by_loss[-5:]]:
#     token = tokenizer.vocabulary[token_id]
#     print(f"{token:12} {means[token_id]:.2f} nats, {counts_used[token_id]} times")
# assert np.isclose(sums.sum() / counts_used.sum(), losses[mask].mean())
# ```
#
# Tokens that follow from grammar cost almost nothing, for example an article after a preposition,
# or EOS. The expensive words are those where a human had a choice: which of several true things to
# mention, and what to call them. No model can predict that choice, so the loss does not reach 0.
# </details>
#
# 6. *Extend*: Write another decoder, one without a recurrent state: a `MergeCaptioner`
#    (`utils/models/captioners.py`) with a dense layer in place of its LSTM, so that it sees only
#    the last token. Before you run it: what will be wrong with its captions?
#
# <details><summary>Hint</summary>
#
# This is the method of the `MergeCaptioner` to override, without dropout. `state` is a dict with
# the projected image, `(batch, units)`, and the LSTM's state; `compute_logits` is the output
# projection and the product with the embedding matrix. A decoder without attention returns weights
# of no cells.
#
# ```python
# def decode_sequence(self, token_ids, state, training=False):
#     hidden, *lstm_state = self.lstm(self.embedding(token_ids), initial_state=state["lstm"])
#     logits = self.compute_logits(hidden + state["image_vector"][:, None], training)
#     no_attention = logits[..., :0]
#     return logits, {**state, "lstm": lstm_state}, no_attention
# ```
#
# A dense layer has no state, so return `state` unchanged. Add the class to the dict
# `captioners.CAPTIONERS`, so that `build` finds it.
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# class BigramCaptioner(captioners.MergeCaptioner):
#     def __init__(self, *args):
#         super().__init__(*args)
#         self.lstm = keras.layers.Dense(config.units, "tanh")  # not recurrent
#
#     def decode_sequence(self, token_ids, state, training=False):
#         hidden = self.lstm(self.embedding(token_ids)) + state["image_vector"][:, None]
#         logits = self.compute_logits(hidden, training)
#         no_attention = logits[..., :0]
#         return logits, state, no_attention
#
#
# captioners.CAPTIONERS["bigram"] = BigramCaptioner
# bigram_config = replace(config, decoder="bigram", epochs=4)
# bigram = build(bigram_config)
# history = train(bigram, train_data, grid, validate, bigram_config)
# print(*validate(bigram).captions[:5], sep="\n")
# assert max(row["CIDEr-D"] for row in history) < best_epochs["merge"]["CIDEr-D"]
# ```
#
# It is trained quickly, and its captions end too early or repeat themselves: after "in the snow" it
# doesn't know whether it has mentioned the subject. Its score stays below that of the merge
# captioner. To keep a decoder, add it to `CAPTIONERS` in `utils/models/captioners.py` and to the
# choices in `utils/config.py`. Or change the data: any folder with photos and a table of
# `image,caption` works, `python -m utils run --input your_folder`. With few photos use a warm start
# (`start_from`).
# </details>
#
# *Next*: [4 Generate and evaluate captions](04_evaluate.ipynb).
#
# ## Further reading
#
# - Vinyals et al., [Show and Tell](https://arxiv.org/abs/1411.4555) (2015), and Xu et al., [Show,
#   Attend and Tell](https://arxiv.org/abs/1502.03044) (2015): the two papers that this notebook
#   rebuilds in part.
# - Anderson et al., [Bottom-Up and Top-Down Attention](https://arxiv.org/abs/1707.07998) (2018):
#   two LSTMs, and attention over detected objects instead of grid cells.
# - Vaswani et al., [Attention Is All You Need](https://arxiv.org/abs/1706.03762) (2017): the
#   transformer, which has attention in place of recurrence.
# - [Dive into Deep
#   Learning](https://d2l.ai/chapter_attention-mechanisms-and-transformers/index.html): attention
#   step by step.
# - Keras: [training loops from
#   scratch](https://keras.io/guides/writing_a_custom_training_loop_in_tensorflow/), [transfer
#   learning and fine-tuning](https://keras.io/guides/transfer_learning/).
#
# ## Appendix: an estimate for Kaggle
#
# How long will it take to train both decoders on a Kaggle GPU, without fine-tuning? An
# estimate, not a measurement: six floating-point operations per weight and token, of which a GPU
# does 10^12 a second (1 TFLOPS), 20 ms to launch a step, and 15 ms to generate a validation
# caption.

# %%
num_weights = build(config).count_params()
num_tokens = config.epochs * np.count_nonzero(train_data.token_ids)
teraflops = 6 * num_tokens * (merge.count_params() + num_weights) / 1e12
validation_captions = len(validation_data.references)
overhead = 2 * config.epochs * (0.02 * len(bucketed) + 0.015 * validation_captions)
minutes = (teraflops + overhead) / 60
print(f"{config.decoder}: {num_weights:,} weights; to train both: {teraflops:,.1f} TFLOP")
print(f"minutes on a Kaggle GPU, estimated: {minutes:.1f}")
