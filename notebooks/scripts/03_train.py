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
# A captioner is a language model that is conditioned on an image: *given this image and these
# tokens, what is the next token?* Applied again and again, it generates a sentence
# (**autoregressive** generation):
#
# image + `a` → `dog` · image + `a dog` → `runs` · image + `a dog runs` → *EOS*
#
# **You will**
# - measure how wrong a prediction is, and compute this loss by hand for one caption;
# - build the classic captioner, in which the LSTM's output and the image are merged before the last
#   layer;
# - build a second one, which attends to regions of the image for every word, and compare the two.
#
# **You need** to have trained one Keras model, and to have run notebooks 1 and 2. Minutes on two
# cores: about 1 for the drawn sample; about two hours for 6,000 photos.
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
# The settings of this notebook: the size of the network (`units`, `embedding_dim`), its
# regularization (`dropout`, `label_smoothing`), how long and how fast it is trained, the momentum
# of the moving average of its weights (`ema_momentum`), after how many epochs without a better
# score training stops (`patience`), and further stages, which are explained near the end.

# %% tags=["parameters"]
config = load_config(detect_preset())
print(summarize(config, "decoder", "units", "embedding_dim", "dropout", "label_smoothing"))
print(summarize(config, "epochs", "batch_size", "learning_rate", "ema_momentum", "patience"))
print(summarize(config, "fine_tune_epochs", "scst_epochs", "ensemble_size"))

# %% [markdown]
# Load the artifacts of the notebooks before. If one of them was run with other settings, or not at
# all, the error says which to run again.

# %%
from utils import feature_grids
from utils.data.tokenizer import PAD_ID, Tokenizer

features = artifacts.load("features", config)
captions = artifacts.load("captions", config)
tokenizer = Tokenizer.from_dict(artifacts.load("tokenizer", config))
vocab_size = len(tokenizer)
grid = feature_grids.load_grid(features, config)
print(f"{len(grid):,} photos of {grid.shape[1]} cells × {grid.shape[2]} channels")

# %% [markdown]
# ## The loss
#
# The model outputs a probability for every token. If the target token has probability $p$, its loss
# is $-\log p$: 0 for a certain prediction, large for a surprise. The mean over all tokens is the
# [**cross-entropy**](https://en.wikipedia.org/wiki/Cross-entropy), the **loss** that training
# minimizes, in **nats** (natural logarithms) per token. Its exponential is the
# [**perplexity**](https://en.wikipedia.org/wiki/Perplexity), the number of equally likely tokens
# that would be as hard to predict. For a uniform distribution over the vocabulary:

# %%
uniform_loss = np.log(vocab_size)
print(f"uniform: {uniform_loss:.2f} nats per token, perplexity {np.exp(uniform_loss):.0f}")

# %% [markdown]
# Token frequencies alone give a much better prediction. First the training data: for each photo its
# row in the feature grid, and all its captions as token IDs. Photos that notebook 1 could not read
# are left out.

# %%
from utils.training.batching import make_training_data

positions = {name: row for row, name in enumerate(features["names"])}
splits = {}
for split, names in captions["splits"].items():
    splits[split] = [name for name in names if name not in features["skipped"]]
train_data = make_training_data(splits["train"], captions["captions"], positions, tokenizer)
print(f"rows {train_data.rows.shape}: (photos,)")
print(f"token IDs {train_data.token_ids.shape}: (photos, captions, time)")

# %% [markdown]
# **By hand**: count the targets, without padding, and compute the cross-entropy of a model that
# always predicts these frequencies; 0.1 is added to each count, so that no token has probability 0
# (**additive smoothing**). **With the library**: `token_frequencies`.

# %%
from utils.models.captioners import token_frequencies

targets = train_data.token_ids[:, :, 1:]
counts = np.bincount(targets[targets != PAD_ID], minlength=vocab_size) + 0.1
flat_token_ids = train_data.token_ids.reshape(-1, train_data.token_ids.shape[-1])
frequencies = token_frequencies(flat_token_ids, vocab_size)
assert np.allclose(frequencies, counts / counts.sum())
unigram_loss = -np.sum(frequencies * np.log(frequencies))
assert unigram_loss < uniform_loss
print(f"frequencies: {unigram_loss:.2f} nats per token, perplexity {np.exp(unigram_loss):.0f}")

# %% [markdown]
# ## The merge architecture
#
# Each token ID selects a row of a matrix of weights, its **embedding**. An **LSTM** (long
# short-term memory, [Hochreiter and Schmidhuber
# 1997](https://www.bioinf.jku.at/publications/older/2604.pdf)) processes these vectors one after
# the other and summarizes the prefix in its **hidden state**. The image features are projected to
# the same size. The two vectors are added, and a last layer outputs a score for every token, a
# **logit**; softmax turns logits into probabilities. This is the `merge` architecture of the well
# known VGG16 + LSTM tutorials ([Tanti et al. 2017](https://arxiv.org/abs/1703.09137)). (A third
# decoder, `inject`, uses the image as the initial hidden state of the LSTM; [Show and
# Tell](https://arxiv.org/abs/1411.4555) used it as the first input.)

# %%
from dataclasses import replace

from utils.devices import dtype_policy
from utils.models.captioners import build_captioner
from utils.training.distribution import choose_strategy

strategy = choose_strategy()
merge_config = replace(config, decoder="merge")
backbone_features = None
if config.fine_tune_epochs:
    backbone_features = artifacts.load("backbone_features", config)


def build(config):
    """An untrained captioner, on one device or replicated on several GPUs."""
    with strategy.scope():
        return build_captioner(grid.shape[2], vocab_size, config, frequencies)


merge = build(merge_config)
tolerance = 1e-4 if dtype_policy(config) == "float32" else 0.05  # half precision: larger errors
print(f"{merge.count_params():,} weights")

# %% [markdown]
# **By hand**, for our example and its first caption. Besides its hidden state, an LSTM has a **cell
# state**. From the next embedding and the hidden state it computes four vectors: the **input gate**
# (how much to add to the cell state), the **forget gate** (how much of it to keep), the candidate
# values to add, and the **output gate** (how much of it to output).

# %%
import tensorflow as tf


def sigmoid(x):
    """Values between 0 and 1."""
    return 1 / (1 + np.exp(-x))


photo = grid[train_data.rows[:1]].astype("float32")
sequence = train_data.token_ids[0][:1]
kernel, recurrent_kernel, bias = [np.asarray(weight) for weight in merge.lstm.get_weights()]
embeddings = np.asarray(merge.embedding(sequence[:, :-1]))[0]
hidden_state = np.zeros(config.units)
cell_state = np.zeros(config.units)
for embedding in embeddings:
    z = embedding @ kernel + hidden_state @ recurrent_kernel + bias
    input_gate, forget_gate, candidate, output_gate = np.split(z, 4)
    cell_state = sigmoid(forget_gate) * cell_state + sigmoid(input_gate) * np.tanh(candidate)
    hidden_state = sigmoid(output_gate) * np.tanh(cell_state)

# %% [markdown]
# **With the library**: [Keras's LSTM](https://keras.io/api/layers/recurrent_layers/lstm/), which
# returns the hidden state after every token. Then, **by hand** again, the layers after it. The
# pooled image vector is scaled to mean 0 and variance 1 ([**layer
# normalization**](https://arxiv.org/abs/1607.06450)), as the scale of features depends on the CNN.
# `output_projection` maps the sum to the size of an embedding, since the last layer uses the
# embedding matrix as its weights ([**weight tying**](https://arxiv.org/abs/1608.05859)): the logit
# of a token is the dot product with its embedding, plus a bias. The bias starts at the log
# frequencies, so that no epoch is spent on learning that "a" is frequent.

# %%
hidden_states = tf.cast(merge.lstm(merge.embedding(sequence[:, :-1]))[0], tf.float32)
assert np.allclose(hidden_states[0, -1], hidden_state, atol=tolerance)

pooled = photo.mean(axis=1)
normalized = (pooled - pooled.mean()) / np.sqrt(pooled.var() + 1e-3)
normalized = normalized * merge.layer_norm.gamma + merge.layer_norm.beta  # initially 1 and 0
projection = merge.image_projection
image_vector = tf.tanh(normalized @ projection.kernel + projection.bias)
merged = hidden_states + image_vector[:, None]
projected = tf.cast(merge.output_projection(merged), tf.float32)
logits = tf.einsum("btd,vd->btv", projected, merge.embedding.embeddings) + merge.bias

# %% [markdown]
# **With the library**, the whole model: called with features and token IDs, it returns the logits
# after *every* token at once.

# %%
assert np.allclose(merge([photo, sequence[:, :-1]]), logits, atol=tolerance)
print(f"logits {logits.shape}: (batch, time, vocab_size)")

# %% [markdown]
# Its loss, **by hand**: apply softmax, select the probability of each target, take the negative
# logarithm, and ignore padding. Ignoring positions is called **masking**.

# %% tags=["nbval-ignore-output"]
targets = sequence[0, 1:]
probabilities = tf.nn.softmax(logits[0]).numpy()
token_losses = []
for step, target in enumerate(targets):
    if target != PAD_ID:
        token_losses.append(-np.log(probabilities[step, target]))
initial_loss = np.mean(token_losses)
print(f"{tokenizer.decode(sequence[0])}: {initial_loss:.2f} nats, {len(token_losses)} tokens")

# %% [markdown]
# The model is untrained: all it has is the token frequencies in its bias. **With the library**:
# `masked_loss`, for whole batches.

# %%
from utils.training.loss import masked_loss

batch_loss = masked_loss(logits, sequence[:, 1:], label_smoothing=0.0).numpy()
assert np.isclose(batch_loss, initial_loss, atol=1e-4)

# %% [markdown]
# Many tutorials do this one prefix at a time: a generator yields `a`, then `a dog`, then
# `a dog runs`, each padded to a row of its own, with a copy of the image and the next token as the
# target. The same caption in this way, and how much is computed repeatedly:

# %%
prefix_losses = []
for length in range(1, np.count_nonzero(sequence)):
    in_prefix = np.arange(sequence.size) < length
    prefix = np.where(in_prefix, sequence[0], PAD_ID)
    log_probs = tf.nn.log_softmax(merge([photo, prefix[None]])[0, length - 1])
    prefix_losses.append(-float(log_probs[sequence[0, length]]))
assert np.allclose(prefix_losses, token_losses, atol=10 * tolerance)
num_prefixes = len(prefix_losses)
print(f"{num_prefixes} prefixes: {num_prefixes} image projections instead of 1")
print(f"{num_prefixes * sequence.size} LSTM steps instead of {sequence.size - 1}")

# %% [markdown]
# The losses are the same for every prefix. An LSTM is **causal**: its output after three tokens
# can't depend on the fourth, so one pass makes all predictions, and computes nothing twice. During
# training the previous tokens are those of the reference, never the model's own predictions:
# [**teacher forcing**](https://en.wikipedia.org/wiki/Teacher_forcing).
#
# ## Train the merge captioner
#
# A batch consists of photos with *all* their captions: so each photo is read and projected
# once, not five times. All captions of a batch are padded to the longest one. **By hand**: the
# share of padding in random batches. **With the library**: `bucketed_batches` groups photos whose
# longest captions have similar lengths (**bucketing**), and shuffles the batches.

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
# `train` is like Keras's `fit`, with three additions. After each epoch the model generates captions
# for the validation photos, which are scored with **CIDEr-D** ([notebook 4](04_evaluate.ipynb)
# explains it; 0 is the worst and 10 the best, and humans score far below 10). The epoch with the
# best score is kept, not the one with the lowest loss; after `patience` epochs without a better one
# training stops (**early stopping**). What is scored and kept is the [**exponential moving average
# (EMA)**](https://keras.io/api/optimizers/) of the weights, which changes less from step to step
# than the weights. And after each epoch a **checkpoint** is saved: if training is interrupted, run
# this notebook again, and it resumes. On the same machine the result is the same.
#
# To watch the progress, `validate_and_log` also generates a caption for the first validation photo
# after every epoch, with the most likely token at each step (see the next notebook).

# %%
from utils.decoding.beam_search import generate
from utils.training.batching import make_validation_data
from utils.training.loop import Stage, make_validator, train

validation_data = make_validation_data(
    splits["validation"], captions["captions"], positions, tokenizer
)
references = validation_data.references
validate = make_validator(grid, validation_data, config)
caption_log = []


def validate_and_log(captioner):
    """The validation score; a caption of one photo is appended to the log."""
    rows = validation_data.rows[:1]
    output = generate(captioner, grid, config, beam_width=1, rows=rows, progress=False)
    caption_log.append(tokenizer.decode(output.token_ids[0]))
    return validate(captioner)


# %% [markdown]
# The optimizer is [**Adam**](https://arxiv.org/abs/1412.6980). The learning rate rises linearly
# during the **warm-up**, then falls to 0 along a cosine. Two regularizers reduce **overfitting**
# (memorizing the training captions): [**dropout**](https://jmlr.org/papers/v15/srivastava14a.html)
# sets activations to 0 at random, and [**label smoothing**](https://arxiv.org/abs/1512.00567) moves
# a small part of the target probability to all other tokens, so that predictions don't become
# overconfident. So the training loss can't reach 0, and can't be compared with the losses above.

# %% tags=["nbval-ignore-output"]
stage = Stage("train", "merge", merge_config)
caption_log.clear()
histories = {}
histories["merge"] = train(merge, train_data, grid, validate_and_log, merge_config, stage)
print("a reference:", references[0][0])
logged_epochs = histories["merge"][-len(caption_log) :]
for epoch, caption in zip(logged_epochs, caption_log, strict=False):
    print(f"epoch {epoch['epoch']:2}, CIDEr-D {epoch['CIDEr-D']:.2f}: {caption}")

# %% [markdown]
# One photo, epoch by epoch: which does the model learn first, grammar or image content? The score
# is that of all validation photos. (After a resumed training, only the epochs since the
# interruption are shown.)
#
# ## Attention
#
# The merge captioner sees the image as *one* vector, the mean of all cells. But different words
# depend on different regions. [**Attention**](https://arxiv.org/abs/1502.03044) computes one image
# vector for each word: the hidden state gives a **query**, each grid cell a **key** and a
# **value**. The dot product of query and key is the cell's score; softmax turns the scores into
# **attention weights**, which are positive and sum to 1; the **context vector** is the weighted sum
# of the values:
#
# $$\text{context} = \sum_i w_i v_i, \qquad w = \text{softmax}\left(\frac{K q}{\sqrt{d}}\right)$$
#
# The division by $\sqrt{d}$ ([scaled dot-product attention](https://arxiv.org/abs/1706.03762))
# keeps the scores of long vectors from growing so large that one cell gets all the weight. Here the
# keys also serve as values. **By hand**, for three cells and one query of two components. **With
# the library**: `AttentionCaptioner.attend`.

# %%
from utils.models.captioners import AttentionCaptioner

keys = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
query = np.array([0.0, 3.0])
scores = keys @ query / np.sqrt(len(query))
attention_weights = np.exp(scores) / np.exp(scores).sum()
context = np.zeros(2)
for weight, value in zip(attention_weights, keys, strict=True):
    context += weight * value
print("attention weights", attention_weights.round(2), "context vector", context.round(2))

query_batch = tf.constant(query[None, None])  # (batch, time, units)
key_batch = tf.constant(keys[None])  # (batch, cells, units)
context_batch, weights_batch = AttentionCaptioner.attend(query_batch, key_batch)
assert np.allclose(weights_batch[0, 0], attention_weights)
assert np.allclose(context_batch[0, 0], context)

# %% [markdown]
# The key of the second cell has the direction of the query, so this cell gets most of the weight.
#
# The `attention` captioner is a variant of the [top-down
# architecture](https://arxiv.org/abs/1707.07998): an attention LSTM processes the tokens, attention
# computes a context vector for each, and a language LSTM processes both. The attention LSTM starts
# from the mean of the image features instead of zeros. It doesn't depend on context vectors, so
# that whole sequences run through it in one pass. **By hand**, layer by layer; **with the
# library**, the model itself:

# %%
model = build(replace(config, decoder="attention"))
normalized = model.layer_norm(photo)
embedded = model.embedding(sequence[:, :-1])
initial_hidden = model.image_projection(tf.reduce_mean(normalized, axis=1))
zeros = tf.zeros_like(initial_hidden)
hidden_states = model.attention_lstm(embedded, initial_state=[initial_hidden, zeros])[0]

queries = model.query_projection(hidden_states)
keys_of_photo = model.key_projection(normalized)
scores_of_photo = tf.matmul(queries, keys_of_photo, transpose_b=True) / config.units**0.5
context_vectors = tf.nn.softmax(scores_of_photo) @ keys_of_photo

language_inputs = tf.concat([hidden_states, context_vectors], axis=-1)
outputs = model.language_lstm(language_inputs)[0]
logits = model.compute_logits(outputs + context_vectors)
assert np.allclose(model([photo, sequence[:, :-1]]), logits, atol=tolerance)

# %% [markdown]
# The input of the language LSTM is the hidden state and the context vector. The context vector is
# also added to its output, a **residual connection**: a short path from the image to the logits.
# The same as a diagram, with the shapes of one photo and one caption: above, the tokens; below, the
# image.

# %%
from utils.plotting.diagrams import plot_architecture

time = sequence.shape[1] - 1
units = config.units
embedding_dim = config.embedding_dim
boxes = {
    "token IDs": (0, 0, [time]),
    "embedding": (1, 0, [time, embedding_dim], "token IDs"),
    "feature grid": (0, 1.5, grid.shape[1:]),
    "mean": (1, 1, [units], "feature grid"),
    "keys": (1, 2, [grid.shape[1], units], "feature grid"),
    "attention LSTM": (2, 0, [time, units], "embedding", "mean"),
    "attention": (2.6, 2, [time, units], "attention LSTM", "keys"),
    "language LSTM": (3.6, 0, [time, units], "attention LSTM", "attention"),
    "sum, projection": (4.6, 1, [time, embedding_dim], "language LSTM", "attention"),
    "logits": (5.6, 1, [time, vocab_size], "sum, projection"),
}
_ = plot_architecture(boxes)

# %% [markdown]
# In the merge captioner, tokens and image are combined only in the sum: it has no *keys*, no
# *attention* and no second LSTM, and *mean* leads straight to *sum*.
#
# How long will both trainings take on Kaggle, without fine-tuning? An estimate, not a measurement:
# six floating-point operations per weight and token, of which a GPU does 10^12 a second (1 TFLOPS),
# 20 ms to launch a step, and 15 ms to generate a validation caption.

# %%
num_weights = build(config).count_params()
print(f"{config.decoder}: {num_weights:,} weights")

num_tokens = config.epochs * np.count_nonzero(train_data.token_ids)
teraflops = 6 * num_tokens * (merge.count_params() + num_weights) / 1e12
overhead = 2 * config.epochs * (0.02 * len(bucketed) + 0.015 * len(references))
minutes = (teraflops + overhead) / 60
print(f"both: {teraflops:,.1f} TFLOP; minutes on a Kaggle GPU, estimated: {minutes:.1f}")

# %% [markdown]
# `train_all` trains the decoder that the settings name: `attention`, unless you chose another.

# %%
from utils.training.stages import train_all

captioner, stage_histories = train_all(
    build, features, backbone_features, train_data, validation_data, config
)
histories.update(stage_histories)

# %% [markdown]
# ## Compare
#
# Left, the training loss (with `label_smoothing`, so it can't be compared with the losses above);
# right, the CIDEr-D of the validation captions. A ring marks the epoch that is kept. The two models
# differ in more than attention: the second one also has more weights.

# %%
from utils.plotting.charts import plot_histories

_ = plot_histories(histories)

# %% [markdown]
# The best epoch of each and its score:

# %% tags=["nbval-ignore-output"]
from utils.config import Config

merge_losses = [epoch["loss"] for epoch in histories["merge"]]
if config == Config():
    assert merge_losses[-1] <= merge_losses[0]
best_epochs = {}
for name, history in histories.items():
    # Of several epochs with the best score, the last one is kept.
    best_epochs[name] = max(reversed(history), key=lambda epoch: epoch["CIDEr-D"])
table = pd.DataFrame(best_epochs).T[["CIDEr-D", "epoch"]]
table.astype({"epoch": int}).round(2)

# %% [markdown]
# ## Going further
#
# Four settings make `train_all` do more. The drawn sample needs none of them; `flickr8k` uses the
# first, which improves the score most. The second and third did not improve it significantly there
# (`RESULTS.md`):
#
# - `fine_tune_epochs`: **fine-tune the CNN**. Its features were trained for classification: which
#   of a thousand classes is this? A caption needs more: how many, doing what, where? So its last
#   blocks are trained together with the decoder. This comes last, as the gradients of an untrained
#   decoder would damage the pretrained features, and with a low learning rate for the same reason.
#   Each photo is flipped horizontally at random, which reduces overfitting (at a price: the
#   captioner can't tell left from right).
# - `scst_epochs`: [**self-critical sequence training
#   (SCST)**](https://arxiv.org/abs/1612.00563). So far the model was trained to predict the tokens
#   of the references. Now it samples five captions for each photo; their reward is CIDEr-D, and
#   each becomes more or less likely in proportion to its **advantage**, its reward minus the mean
#   reward of the others.
# - `ensemble_size`: an **ensemble**. Captioners with different random initializations make
#   different errors. Several of them predict each token by the mean of their probabilities.
# - `start_from`: a **warm start** from the weights of another run, on a larger data set. Tokens in
#   both vocabularies keep their embeddings. `start_from=pretrained` starts from the captioner that
#   is part of this project (`utils/pretrained`). Notebook 2 must have run with the same setting.
#   Beware of data leakage: Flickr30k extends Flickr8k, so it may contain your test photos.

# %% [markdown]
# ## Save
#
# The captioner is saved as plain arrays together with the settings that it was built with, in one
# file. Its header names the features and the tokenizer that it was trained on; it is refused with
# others.

# %%
from utils.models.serialization import from_dict, to_dict

path = artifacts.save("captioner", to_dict(captioner), config)
artifacts.save("history", histories, config)
print(f"{path.name} for 04_evaluate and 05_visualize")

# %% [markdown]
# The loaded captioner gives the same logits as the trained one. The example below is a training
# photo. The caption is that of a validation photo, the one of the log: is it correct?

# %% tags=["nbval-ignore-output"]
from utils.data.photo_files import recorded_paths
from utils.plotting.figures import show_photos

loaded = from_dict(artifacts.load("captioner", config), config)
input_grid = grid  # a fine-tuned captioner takes the backbone's features
if backbone_features:
    input_grid = feature_grids.load_grid(backbone_features, config)
photo = input_grid[train_data.rows[:1]].astype("float32")
assert np.allclose(loaded([photo, sequence]), captioner([photo, sequence]), atol=tolerance)
logits = loaded([photo, sequence[:, :-1]])
final_loss = masked_loss(logits, sequence[:, 1:], label_smoothing=0.0).numpy()
print(f"loss of the example's caption: untrained {initial_loss:.2f}, trained {final_loss:.2f}")

rows = validation_data.rows[:1]
output = generate(loaded, input_grid, config, beam_width=1, rows=rows, progress=False)
title = f"generated: {tokenizer.decode(output.token_ids[0])}; reference: {references[0][0]}"
paths = recorded_paths(splits["validation"][:1], features, config)
_ = show_photos(paths, [title], size=3)

# %% [markdown]
# ## What you learned
#
# - The loss of a prediction is the negative log-probability of the target token; one pass over a
#   caption gives the losses of all its prefixes.
# - The merge architecture adds the LSTM's hidden state and the image vector.
# - Attention computes a new image vector for every word; the curves compare the two.
#
# **Try it.** *Vary*: change a value. *Modify*: edit a few lines. *Implement*: write a dozen lines.
# *Extend*: go beyond this series. Predict the result before you run anything. Put the code
# of an answer into a new cell below, after you have run all cells above. It is written for the
# drawn sample; on photos its numbers differ.
#
# 1. *Vary*: With three cells and the query `[0.0, 3.0]`, the second cell got most of the weight.
#    Before you run it: which weights do the queries `[0.0, 0.0]` and `[0.0, 30.0]` give?
#
# <details><summary>An answer</summary>
#
# ```python
# for query in ([0.0, 0.0], [0.0, 3.0], [0.0, 30.0]):
#     weights = tf.nn.softmax(keys @ query / np.sqrt(len(query))).numpy()
#     print(query, "weights", weights.round(2), "context vector", (weights @ keys).round(2))
# assert weights.max() > 0.99
# ```
#
# A query of zeros gives uniform weights, so the context vector is the mean of all cells, which is
# all that the merge captioner ever gets. A long query selects a single cell. So the network can
# also learn how sharp its attention is.
# </details>
#
# 2. *Modify*: What can be learned without the image? Train the merge captioner for two epochs on a
#    grid of zeros. Before you run it: will the loss fall? How many different captions will it
#    generate?
#
# <details><summary>An answer</summary>
#
# ```python
# short_config = replace(merge_config, epochs=2)
# zero_grid = np.zeros_like(grid)
# text_only = build(short_config)
# validate_zeros = make_validator(zero_grid, validation_data, config)
# history = train(text_only, train_data, zero_grid, validate_zeros, short_config)
# losses = [epoch["loss"] for epoch in history]
# output = generate(
#     text_only, zero_grid, config, beam_width=1, rows=validation_data.rows, progress=False
# )
# distinct = {tokenizer.decode(token_ids) for token_ids in output.token_ids}
# print("losses", np.round(losses, 2), "distinct captions:", distinct)
# assert losses[1] < losses[0]
# assert len(distinct) == 1
# ```
#
# The loss falls, as a language model can be learned from text alone; but the same input gives the
# same caption for every photo. More epochs would give a better caption, and still only one.
# </details>
#
# 3. *Implement*: Is it the attention, or only the larger network? Write a controlled experiment:
#    train the attention captioner with the mean of all cells as its only cell, and another one with
#    all cells, two epochs each. Before you run it: which one will have the lower loss?
#
# <details><summary>An answer</summary>
#
# ```python
# short_config = replace(config, decoder="attention", epochs=2)
# mean_grid = np.asarray(grid).mean(axis=1, keepdims=True)
# results = {}
# for label, features_used in {"mean only": mean_grid, "all cells": grid}.items():
#     validate_grid = make_validator(features_used, validation_data, short_config)
#     captioner_used = build(short_config)
#     history = train(captioner_used, train_data, features_used, validate_grid, short_config)
#     results[label] = history[-1]
# print(pd.DataFrame(results).T.round(2))
# assert results["all cells"]["loss"] < results["mean only"]["loss"]
# ```
#
# Both have the same number of weights, the same data and the same number of steps; the first one
# has no regions to choose from. Two epochs only show which one learns faster; on drawn scenes the
# gap grows with more epochs.
# </details>
#
# 4. *Extend*: Write another decoder, one without a recurrent state: a `MergeCaptioner`
#    (`utils/models/captioners.py`) with a dense layer in place of its LSTM, so that it sees only
#    the last token. Before you run it: what will be wrong with its captions?
#
# <details><summary>An answer</summary>
#
# ```python
# from utils.models.captioners import CAPTIONERS, MergeCaptioner
#
#
# class BigramCaptioner(MergeCaptioner):
#     def __init__(self, *args):
#         super().__init__(*args)
#         self.lstm = tf.keras.layers.Dense(config.units, "tanh")  # not recurrent
#
#     def decode_sequence(self, token_ids, state, training=False):
#         hidden = self.lstm(self.embedding(token_ids)) + state["image_vector"][:, None]
#         logits = self.compute_logits(hidden, training)
#         no_attention = logits[..., :0]
#         return logits, state, no_attention
#
#
# CAPTIONERS["bigram"] = BigramCaptioner
# bigram_config = replace(config, decoder="bigram", epochs=4)
# bigram = build(bigram_config)
# history = train(bigram, train_data, grid, validate, bigram_config)
# rows = validation_data.rows[:5]
# output = generate(bigram, grid, bigram_config, beam_width=1, rows=rows, progress=False)
# print(*[tokenizer.decode(token_ids) for token_ids in output.token_ids], sep="\n")
# assert max(epoch["CIDEr-D"] for epoch in history) < best_epochs["merge"]["CIDEr-D"]
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
