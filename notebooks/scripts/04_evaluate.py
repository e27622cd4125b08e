# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Generate and evaluate captions
#
# [![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)][kaggle]
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)][colab]
#
# [kaggle]: https://kaggle.com/kernels/welcome?src=https://github.com/INSERT_OWNER_HERE/image-captioning/blob/main/notebooks/04_evaluate.ipynb
# [colab]: https://colab.research.google.com/github/INSERT_OWNER_HERE/image-captioning/blob/main/notebooks/04_evaluate.ipynb
#
# *Notebook 4 of 5 · prerequisites: [3 Train the captioner](03_train.ipynb) · next: [5 Visualize the
# results](05_visualize.ipynb)*
#
# Notebook 3 has trained a captioner. It outputs a probability for every token of the vocabulary,
# but no caption yet: a **decoding** algorithm has to choose tokens from these probabilities. Then
# the captions are compared with what people wrote, the **references**. Both steps have pitfalls,
# and many published notebooks print scores that can't be compared with anything. So here each
# algorithm and each metric is first written out, and only then taken from the library.
#
# ```text
#    photos                 captions
#      │                       │
#  01_features              02_text
#      │ features.pkl          │ captions.pkl, tokenizer.pkl
#      └──────────┬────────────┘
#                 │
#             03_train
#                 │ captioner.pkl, history.pkl
#          ▶ 04_evaluate ◀      (you are here)
#                 │ predictions.pkl, confidence.pkl, scores.json
#            05_visualize ──► gallery.html
# ```
#
# Not drawn: this notebook also loads `features.pkl`, `captions.pkl` and `tokenizer.pkl`, and, if
# the CNN was fine-tuned, `backbone_features.pkl`.
#
# **You will learn**
# - why the most likely token at every step can miss the most likely caption, how beam search keeps
#   alternatives, and when that helps;
# - how BLEU and CIDEr-D compare a caption with its references, and why BLEU-1 favors vague
#   captions;
# - how to read a score: against baselines and a human, with a confidence interval and a paired
#   test;
# - how a captioner finds the photo that a sentence describes.
#
# **You need** the captioner of notebook 3, and about 45 minutes to read. It runs in less than a
# minute on two cores with the drawn sample, and in about two with the 1,000 test photos of
# Flickr8k.
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
# Two settings are used here: `beam_width`, the number of partial captions that are kept while a
# caption is generated, and `length_penalty`, which sets how captions of different lengths are
# compared.

# %% tags=["parameters"]
config = load_config(detect_preset())
print(summarize(config, "beam_width", "length_penalty"))

# %% [markdown]
# Load the captioner with its tokenizer and features. The photos to score are those of the test
# split, which training has not used. If a data set has no test photos, the validation photos are
# scored, and the tables say so.

# %%
from utils import feature_grids
from utils.data.tokenizer import Tokenizer, tokenize
from utils.earlier_notebooks import run_earlier_notebooks
from utils.models.serialization import from_dict

run_earlier_notebooks("04_evaluate", config)  # only where a badge has opened this notebook alone
features = artifacts.load("features", config)
captions = artifacts.load("captions", config)
tokenizer = Tokenizer.from_dict(artifacts.load("tokenizer", config))
captioner = from_dict(artifacts.load("captioner", config), config)
# A fine-tuned captioner takes the backbone's features.
grid_kind = "backbone_features" if config.fine_tune_epochs else "features"
grid = feature_grids.load_grid(artifacts.load(grid_kind, config), config)
row_of = {name: row for row, name in enumerate(features["names"])}


def photos_of(split):
    """The names of a split's photos that could be read, and their rows in the grid."""
    names = [name for name in captions["splits"][split] if name not in features["skipped"]]
    return names, np.array([row_of[name] for name in names], int)


split = "test"
names, rows = photos_of(split)
if not names:
    split = "validation"
    names, rows = photos_of(split)
references = [captions["captions"][name] for name in names]
print(f"{len(names):,} photos of the {split} split, grid {grid.shape}")

# %% [markdown]
# ## From a photo to probabilities
#
# Our example is the first photo of this split. We follow it from its features to its score.

# %%
from utils.data.photo_files import recorded_paths
from utils.plotting.figures import show_photos

_ = show_photos(recorded_paths(names[:1], features, config), size=3)

# %% [markdown]
# A captioner has two functions that decoding needs. `initial_state` takes the features of the photo
# and returns the state of the decoder before the first token. `decode_step` takes one token and a
# state, and returns the logits of the next token, one for each token of the vocabulary, the new
# state, and the attention weights over the cells of the grid.

# %%
from utils.data.tokenizer import BOS_ID, EOS_ID, PAD_ID, SUPPRESSED_IDS

example = grid[rows[:1]].astype("float32")
initial_state = captioner.initial_state(example)
logits, _, attention_weights = captioner.decode_step(np.array([BOS_ID]), initial_state)
print("features          ", example.shape)
print("logits            ", tuple(logits.shape))
print("attention weights ", tuple(attention_weights.shape))

# %% [markdown]
# Softmax turns logits into probabilities. We work with their logarithms: the probability of a
# caption is the product of the probabilities of its tokens, so its log-probability is a sum. The
# special tokens `<pad>`, `<bos>` and `<unk>` are suppressed: they are never generated.


# %%
def log_softmax(logits):
    """Log-probabilities of the tokens."""
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


def decode_step(token_id, state):
    """Log-probabilities of the token after `token_id`, `(vocab_size,)`, and the new state."""
    logits, state, _ = captioner.decode_step(np.array([token_id]), state)
    log_probs = log_softmax(np.asarray(logits)[0])
    log_probs[list(SUPPRESSED_IDS)] = -np.inf
    return log_probs, state


# %% [markdown]
# The first word of our example's caption: which tokens does the captioner consider?

# %% tags=["nbval-ignore-output"]
log_probs, _ = decode_step(BOS_ID, initial_state)
most_likely = np.argsort(log_probs)[::-1][:5]
first_words = [
    [tokenizer.vocabulary[token_id], np.exp(log_probs[token_id])] for token_id in most_likely
]
pd.DataFrame(first_words, columns=["token", "probability"]).round(3)

# %% [markdown]
# ## Greedy search
#
# **Greedy search** takes the most likely token, feeds it back as the next input, and repeats this
# until EOS is the most likely token.


# %%
def greedy_search(decode_step, state, max_length):
    """The most likely token at every step; the token IDs from BOS on, and the log-probability."""
    token_ids = [BOS_ID]
    total = 0.0
    while token_ids[-1] != EOS_ID and len(token_ids) <= max_length:
        log_probs, state = decode_step(token_ids[-1], state)
        token_id = int(np.argmax(log_probs))
        token_ids.append(token_id)
        total += log_probs[token_id]
    return token_ids, total


# %% tags=["nbval-ignore-output"]
greedy_ids, greedy_log_prob = greedy_search(decode_step, initial_state, config.max_length)
print(tokenizer.decode(greedy_ids[1:]))
print(f"log-probability {greedy_log_prob:.2f}, probability {np.exp(greedy_log_prob):.2g}")

# %% [markdown]
# Even a good caption has a small probability, because many other captions describe the photo as
# well.
#
# **With the library**: `generate` with `beam_width=1` does the same for many photos at once. There
# the whole loop over tokens is one compiled graph
# ([`tf.function`](https://www.tensorflow.org/guide/function)), so no step goes through Python.

# %%
import tensorflow as tf

from utils.decoding.beam_search import generate

greedy_output = generate(captioner, grid, config, beam_width=1, rows=rows)
greedy_captions = [tokenizer.decode(token_ids) for token_ids in greedy_output.token_ids]
# A GPU rounds differently for one photo and for many, so it may order two close tokens differently.
is_exact = not tf.config.list_physical_devices("GPU")
if is_exact:
    assert greedy_captions[0] == tokenizer.decode(greedy_ids[1:])
    assert np.isclose(greedy_output.log_probs[0], greedy_log_prob, atol=1e-3)

# %% [markdown]
# ### Where greedy search fails
#
# Here is a language model that is small enough to be written down. It knows nine captions. Each row
# says with which probability a word follows the words before it; after three words comes EOS.

# %%
toy_table = {
    "": {"two": 0.55, "a": 0.45},
    "two": {"dogs": 0.4, "people": 0.3, "children": 0.3},
    "a": {"dog": 0.8, "child": 0.2},
    "two dogs": {"run": 0.6, "play": 0.4},
    "two people": {"run": 0.5, "play": 0.5},
    "two children": {"run": 0.5, "play": 0.5},
    "a dog": {"runs": 0.9, "plays": 0.1},
    "a child": {"plays": 1.0},
}


def all_captions(table, prefix="", probability=1.0):
    """All captions that begin with a prefix, and their probabilities."""
    if prefix not in table:
        return {prefix: probability}
    found = {}
    for word, word_probability in table[prefix].items():
        longer = f"{prefix} {word}".strip()
        found.update(all_captions(table, longer, probability * word_probability))
    return found


toy_probabilities = pd.Series(all_captions(toy_table)).sort_values(ascending=False)
assert np.isclose(toy_probabilities.sum(), 1)
toy_probabilities.round(3).to_frame("probability")

# %% [markdown]
# Now greedy search with this model. Its "state" is the text so far, which is all that it needs to
# look up the next row.

# %%
toy_words = sorted({word for row in toy_table.values() for word in row})
toy_tokenizer = Tokenizer(toy_words, max_length=4)


def toy_step(token_id, prefix):
    """Log-probabilities of the token after `token_id`, and the longer prefix."""
    if token_id != BOS_ID:
        prefix = f"{prefix} {toy_tokenizer.vocabulary[token_id]}".strip()
    log_probs = np.full(len(toy_tokenizer.vocabulary), -np.inf)
    for word, probability in toy_table.get(prefix, {"<eos>": 1.0}).items():
        log_probs[toy_tokenizer.word_to_id[word]] = np.log(probability)
    return log_probs, prefix


toy_ids, toy_log_prob = greedy_search(toy_step, "", max_length=4)
print(f"{toy_tokenizer.decode(toy_ids[1:])}: {np.exp(toy_log_prob):.3f}")

# %% [markdown]
# Greedy search returns *two dogs run* with probability 0.55 · 0.4 · 0.6 = 0.132. *A dog runs* has
# 0.45 · 0.8 · 0.9 = 0.324, more than twice as much. "two" was the likelier first word, but then the
# probability is divided among dogs, people and children, whereas "a" is almost always followed by
# "dog". Greedy search decides on the first word before it sees this, and can't revise the decision.
#
# Trying all captions, as in the table, is out of the question with a real vocabulary: from 3,000
# words one can make 3,000¹⁰ sequences of ten words.
#
# ## Beam search
#
# **Beam search** ([d2l.ai](https://d2l.ai/chapter_recurrent-modern/beam-search.html)) lies in
# between. It keeps the best few partial captions, the **beams**, instead of a single one. With one
# beam it is greedy search; with as many beams as there are captions it tries them all.
#
# ```text
#  [BOS] ─► 1. expand ─► 2. score ─► 3. prune ─► 4. finish: all beams end ─► best caption
#              ▲                         │         with EOS?
#              └────────── no ───────────┘
# ```
#
# 1. **Expand**: continue each beam with every token. (Only its `beam_width` likeliest continuations
#    can survive step 3, so the code makes no others.) A beam that ends with EOS stays as it is.
# 2. **Score**: every token lowers the log-probability of a beam, which favors short captions.
#    Therefore it is divided by a power of the length $n$, EOS included; the exponent $\alpha$ is
#    called the **length penalty**
#    ([d2l.ai](https://d2l.ai/chapter_recurrent-modern/beam-search.html#beam-search) has the same
#    formula): $s = \log p\,/\,n^{\alpha}$ with $\alpha$ = `length_penalty`. With $\alpha = 0$ there
#    is no correction; with $\alpha = 1$ the score is the mean log-probability per token.
# 3. **Prune**: keep the `beam_width` best, of all continuations of all beams.
# 4. **Finish** when all beams end with EOS, or at `max_length`.

# %%
from typing import Any, NamedTuple


class Beam(NamedTuple):
    """A partial caption: its tokens from BOS on, its log-probability, the state after it."""

    token_ids: tuple
    log_prob: float
    state: Any


def is_finished(beam):
    """Whether a beam ends with EOS."""
    return beam.token_ids[-1] == EOS_ID


def expand(beam, decode_step, beam_width):
    """The continuations of a beam by one token; only the best `beam_width` can survive pruning."""
    if is_finished(beam):
        return [beam]
    log_probs, state = decode_step(beam.token_ids[-1], beam.state)
    continuations = []
    for token_id in np.argsort(log_probs)[::-1][:beam_width]:
        if log_probs[token_id] > -np.inf:
            token_ids = (*beam.token_ids, int(token_id))
            continuations.append(Beam(token_ids, beam.log_prob + log_probs[token_id], state))
    return continuations


def score(beam, length_penalty):
    """The log-probability, normalized by length; BOS does not count."""
    return beam.log_prob / (len(beam.token_ids) - 1) ** length_penalty


def prune(beams, beam_width, length_penalty):
    """The best beams, the best one first."""
    return sorted(beams, key=lambda beam: score(beam, length_penalty), reverse=True)[:beam_width]


# %% [markdown]
# The loop over these steps. It also records all beams of each step before and after pruning, for
# the figure below.


# %%
def beam_search(decode_step, state, beam_width, length_penalty, max_length):
    """The best beam, and for each step the expanded beams and those that were kept."""
    beams = [Beam((BOS_ID,), 0.0, state)]
    steps = []
    for _ in range(max_length):
        expanded = []
        for beam in beams:
            expanded.extend(expand(beam, decode_step, beam_width))
        beams = prune(expanded, beam_width, length_penalty)
        steps.append((prune(expanded, len(expanded), length_penalty), beams))
        if all(is_finished(beam) for beam in beams):
            break
    return beams[0], steps


toy_best, toy_steps = beam_search(toy_step, "", beam_width=2, length_penalty=0, max_length=4)
print(f"{toy_tokenizer.decode(toy_best.token_ids[1:])}: {np.exp(toy_best.log_prob):.3f}")
assert np.isclose(np.exp(toy_best.log_prob), toy_probabilities.max())

# %% [markdown]
# Two beams are enough to find the best caption of the small model. Below, its search as a tree:
# each column is a step. The number on a line is the probability of the token, given the tokens
# before it. Blue beams were kept, gray ones were pruned, and the thick line is the result.
#
# After the first step "two" is ahead, with 0.55 against 0.45. After the second step "a dog" is,
# with 0.45 · 0.8 = 0.36 against 0.55 · 0.4 = 0.22. Greedy search had pruned "a" by then.

# %%
from utils.plotting.diagrams import plot_beam_tree

_ = plot_beam_tree(toy_steps[:3], toy_best.token_ids, toy_tokenizer.vocabulary)

# %% [markdown]
# ### Beam search with the captioner
#
# The same function with the captioner's `decode_step`, for our example:

# %% tags=["nbval-ignore-output"]
best_beam, _ = beam_search(
    decode_step, initial_state, config.beam_width, config.length_penalty, config.max_length
)
print(f"greedy {greedy_log_prob:6.2f}  {greedy_captions[0]}")
print(f"beam   {best_beam.log_prob:6.2f}  {tokenizer.decode(best_beam.token_ids[1:])}")

# %% [markdown]
# **With the library**, for all photos of the split. A caption without EOS after `max_length` tokens
# is cut off.

# %%
output = generate(captioner, grid, config, rows=rows)
predicted = [tokenizer.decode(token_ids) for token_ids in output.token_ids]
if is_exact:
    for row in range(min(5, len(names))):
        state = captioner.initial_state(grid[rows[[row]]].astype("float32"))
        beam, _ = beam_search(
            decode_step, state, config.beam_width, config.length_penalty, config.max_length
        )
        assert tokenizer.decode(beam.token_ids[1:]) == predicted[row]
        assert np.isclose(beam.log_prob, output.log_probs[row], atol=1e-3)

# %% [markdown]
# How often does beam search find a likelier caption than greedy search? It is not guaranteed to: a
# beam that begins like the greedy caption can be pruned on the way. And it ranks by the normalized
# score, so it may prefer a longer caption of lower probability.

# %% tags=["nbval-ignore-output"]
gain = output.log_probs - greedy_output.log_probs
is_changed = np.array(predicted) != np.array(greedy_captions)
print(f"same caption         {np.mean(~is_changed):.0%}")
print(f"likelier caption     {np.mean(is_changed & (gain > 0)):.0%}")
print(f"less likely caption  {np.mean(is_changed & (gain <= 0)):.0%}")


def normalized_scores(output):
    """The score s of each caption: its log-probability, normalized by the length."""
    lengths = np.maximum(1, (output.token_ids != PAD_ID).sum(axis=1))
    return output.log_probs / lengths**config.length_penalty


higher = normalized_scores(output) > normalized_scores(greedy_output)
print(f"higher score s       {np.mean(higher[is_changed]):.0%} of the changed captions")

# %% [markdown]
# The first photo for which the two differ within three tokens, and these three steps of its beam
# search. Where the thick line is not the most likely branch, greedy search goes another way.

# %% tags=["nbval-ignore-output"]
differs_early = (output.token_ids[:, :3] != greedy_output.token_ids[:, :3]).any(axis=1)
differing = int(differs_early.argmax())  # the first one; our example if there is none
state = captioner.initial_state(grid[rows[[differing]]].astype("float32"))
best_beam, beam_steps = beam_search(
    decode_step, state, config.beam_width, config.length_penalty, config.max_length
)
print(f"greedy {greedy_output.log_probs[differing]:6.2f}  {greedy_captions[differing]}")
print(f"beam   {best_beam.log_prob:6.2f}  {tokenizer.decode(best_beam.token_ids[1:])}")
_ = plot_beam_tree(beam_steps[:3], best_beam.token_ids, tokenizer.vocabulary)

# %% [markdown]
# The length penalty $\alpha$ decides between short and long captions: without it, every further
# token lowers a caption's score. Here are the mean numbers of words with three values, on the
# validation photos: they serve to try out settings, and the test photos don't.

# %% tags=["nbval-ignore-output"]
from dataclasses import replace

validation_names, validation_rows = photos_of("validation")
for length_penalty in sorted({0.0, config.length_penalty, 1.0}):
    changed = replace(config, length_penalty=length_penalty)
    trial = generate(captioner, grid, changed, rows=validation_rows, progress=False)
    texts = [tokenizer.decode(token_ids) for token_ids in trial.token_ids]
    mean_words = np.mean([len(tokenize(text)) for text in texts])
    print(f"length penalty {length_penalty}: {mean_words:.2f} words")

# %% [markdown]
# The larger $\alpha$, the longer the captions.
#
# Beam search does what it is made for: as counted above, most of the captions that it changes have
# a higher score $s$. Are they also *better*? To answer this, we need to compare captions with what
# people wrote. The next two sections build such measures, BLEU and CIDEr-D; then the section *When
# does beam search help?* comes back to the question.
#
# ## BLEU
#
# How good is a caption? We compare it with the references, the captions that people wrote for the
# photo. Most metrics compare **n-grams**, sequences of $n$ adjacent tokens: words (1-grams), pairs
# (2-grams or bigrams), triples (3-grams or **trigrams**), and so on.
# [**BLEU**](https://aclanthology.org/P02-1040/) asks: which share of the caption's n-grams occurs
# in a reference? This is the **precision** $p_n$. To see it work, take an imperfect caption with a
# typical error, a repetition:

# %%
from collections import Counter

from utils.evaluation.ngrams import ngrams

beach_references = [
    "A brown dog runs along the beach.",
    "A dog is running on the sand by the water.",
    "The brown dog runs on sand.",
]
beach_caption = "a brown dog runs with a brown dog on the beach"
beach_tokens = tokenize(beach_caption)
beach_reference_tokens = [tokenize(text) for text in beach_references]
assert ngrams(beach_tokens, 2) == Counter(zip(beach_tokens[:-1], beach_tokens[1:], strict=True))

# %% [markdown]
# An n-gram counts at most as often as in the reference that has it most. Without this **clipping**,
# "dog dog dog dog" would have precision 1. For the words of our caption:


# %%
def clipped_counts(tokens, reference_tokens, n):
    """The caption's n-grams, the most that a reference has of each, and the smaller of the two."""
    in_caption = ngrams(tokens, n)
    most_in_reference = Counter()
    for reference in reference_tokens:
        most_in_reference = most_in_reference | ngrams(reference, n)  # the larger count of each
    return in_caption, most_in_reference, in_caption & most_in_reference  # the smaller of each


in_caption, most_in_reference, matches = clipped_counts(beach_tokens, beach_reference_tokens, 1)
table = []
for ngram, count in in_caption.items():
    table.append([*ngram, count, most_in_reference[ngram], matches[ngram]])
pd.DataFrame(table, columns=["word", "in the caption", "most in a reference", "clipped"])

# %% [markdown]
# The second "a", "brown" and "dog" don't count, and neither does "with", which is in no reference:
# 7 of 11 words match. Now the same for 1-grams to 4-grams:


# %%
def count_matches(tokens, reference_tokens):
    """The clipped matches and the number of n-grams for n = 1 to 4, `(4, 2)`."""
    counts = []
    for n in (1, 2, 3, 4):
        in_caption, _, matches = clipped_counts(tokens, reference_tokens, n)
        counts.append([matches.total(), in_caption.total()])
    return np.array(counts)


beach_counts = count_matches(beach_tokens, beach_reference_tokens)
table = pd.DataFrame(beach_counts, columns=["matches", "n-grams"], index=[1, 2, 3, 4])
table["precision"] = (table["matches"] / table["n-grams"]).round(3)
table.rename_axis("n")

# %% [markdown]
# The longer the n-gram, the lower the precision: single words say whether the right things are
# mentioned, longer n-grams whether they are in a natural order. BLEU-N is the geometric mean of the
# precisions $p_1$ to $p_N$:
#
# $$\text{BLEU-}N = b \cdot \left(p_1\, p_2 \cdots p_N\right)^{1/N}$$
#
# The factor $b$ is the **brevity penalty**. Precision alone favors captions that say little: each
# n-gram of "a brown dog runs" is in a reference, but it says nothing about the place. So a caption
# of length $c$ that is shorter than the reference closest in length, $r$, is scaled down:
#
# $$b = \begin{cases} 1 & \text{if } c \ge r \\ e^{1 - r/c} & \text{otherwise}\end{cases}$$


# %%
def closest_reference_length(tokens, reference_tokens):
    """The length of the reference closest in length; in a tie, the shorter one."""

    def distance(length):
        return abs(length - len(tokens)), length

    return min((len(reference) for reference in reference_tokens), key=distance)


def brevity_penalty(tokens, reference_tokens):
    """1 for a caption as long as the closest reference, less for a shorter one."""
    closest = closest_reference_length(tokens, reference_tokens)
    return min(1.0, np.exp(1 - closest / max(1, len(tokens))))


def bleu_scores(tokens, reference_tokens):
    """BLEU-1 to BLEU-4 of one caption."""
    matches, totals = count_matches(tokens, reference_tokens).T
    precisions = matches / np.maximum(1, totals)
    penalty = brevity_penalty(tokens, reference_tokens)
    return [penalty * np.prod(precisions[:n]) ** (1 / n) for n in (1, 2, 3, 4)]


short_tokens = tokenize("a brown dog runs")
table = []
for tokens in (beach_tokens, short_tokens):
    penalty = brevity_penalty(tokens, beach_reference_tokens)
    table.append([" ".join(tokens), penalty, *bleu_scores(tokens, beach_reference_tokens)])
bleu_names = ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"]
pd.DataFrame(table, columns=["caption", "brevity penalty", *bleu_names]).round(3)

# %% [markdown]
# The short caption has precision 1 for all n. Its 4 words against the closest reference's 6 give
# $b = e^{1 - 6/4} = 0.607$, which is its score. By BLEU-1 the long caption is slightly ahead, with
# 0.636. From BLEU-2 on it is lower, because the repetition and *with* break its longer n-grams: the
# penalty lowers the score of a caption that is too short, but doesn't make a wrong one better.
#
# **With the library**, and with [NLTK](https://www.nltk.org/api/nltk.translate.bleu_score.html),
# which many notebooks use. For a whole split, BLEU adds up the counts and lengths of all captions
# before it divides; it is not the mean over the captions. (The library adds tiny numbers to all
# counts, as the evaluation toolkit of COCO does, to avoid divisions by zero. NLTK treats captions
# of fewer than four tokens in another way.)

# %% tags=["nbval-ignore-output"]
from nltk.translate.bleu_score import corpus_bleu

from utils.evaluation.metrics import bleu

predicted_tokens = [tokenize(text) for text in predicted]
reference_tokens = []
for group in references:
    reference_tokens.append([tokenize(text) for text in group])
corpus_scores, caption_scores = bleu(predicted, references)
corpus_counts = np.zeros((4, 2))
corpus_length = closest_length = 0
for tokens, group in zip(predicted_tokens, reference_tokens, strict=True):
    corpus_counts += count_matches(tokens, group)
    corpus_length += len(tokens)
    closest_length += closest_reference_length(tokens, group)
precisions = corpus_counts[:, 0] / np.maximum(1, corpus_counts[:, 1])
corpus_penalty = min(1.0, np.exp(1 - closest_length / max(1, corpus_length)))
assert np.isclose(corpus_scores[3], corpus_penalty * np.prod(precisions) ** 0.25, atol=1e-3)
print(f"BLEU-4 of the split {corpus_scores[3]:.3f}, ", end="")
print(f"mean of the captions {caption_scores[:, 3].mean():.3f}")
if len(predicted_tokens[0]) >= 4:  # a shorter caption has no 4-grams: the tiny numbers decide
    by_hand = bleu_scores(predicted_tokens[0], reference_tokens[0])
    assert np.allclose(caption_scores[0], by_hand, atol=0.01)
_, toy_scores = bleu([beach_caption, "a brown dog runs"], [beach_references] * 2)
assert np.allclose(toy_scores[0], bleu_scores(beach_tokens, beach_reference_tokens), atol=1e-6)
assert np.allclose(toy_scores[1], bleu_scores(short_tokens, beach_reference_tokens), atol=1e-6)
if min(len(tokens) for tokens in predicted_tokens) >= 4:
    nltk_bleu = corpus_bleu(reference_tokens, predicted_tokens)
    assert np.isclose(corpus_scores[3], nltk_bleu, atol=1e-3)

# %% [markdown]
# ### Why BLEU-1 misleads
#
# Compare two captions for the same dog. One is vague: it would fit half of all photos of dogs. The
# other is specific and correct, but chooses other words than the references.

# %%
vague = tokenize("a dog is on the ground")
specific = tokenize("a brown labrador sprints along the beach")
for tokens in (vague, specific):
    bleu_1 = bleu_scores(tokens, beach_reference_tokens)[0]
    print(f"BLEU-1 {bleu_1:.3f}  {' '.join(tokens)}")

# %% [markdown]
# BLEU-1 prefers the vague caption. For BLEU all words count alike, so "a", "is", "on" and "the"
# earn as much as "brown" or "beach", and every caption can have them. A specific word, on the other
# hand, is a risk: if no reference has it, precision falls. A metric for captions should reward
# words that tell this photo from others. BLEU doesn't know which words do; for this it would have
# to look at the references of the other photos.
#
# ## CIDEr-D
#
# [**CIDEr-D**](https://arxiv.org/abs/1411.5726) does look at them. Here is a small data set: the
# dog, and four other photos with three references each.

# %%
toy_references = [
    beach_references,
    [
        "A man is riding a bike on the street.",
        "A cyclist rides down the road.",
        "The man on the bike is in the street.",
    ],
    [
        "Two children are playing in the snow.",
        "A boy and a girl play in the snow.",
        "The kids are on a snowy hill.",
    ],
    [
        "A woman is sitting on a bench in the park.",
        "A woman in a red coat sits on the bench.",
        "The woman is reading on a bench.",
    ],
    [
        "A black dog is jumping over a log.",
        "The dog jumps over a log in the woods.",
        "A dog is leaping in the forest.",
    ],
]
toy_reference_tokens = []
for group in toy_references:
    toy_reference_tokens.append([tokenize(text) for text in group])

# %% [markdown]
# **Step 1: count.** The **document frequency** of an n-gram is the number of photos whose
# references contain it; how often they contain it doesn't matter.


# %%
def document_frequencies(all_reference_tokens):
    """For each n-gram, n = 1 to 4, the number of photos with a reference that has it."""
    frequencies = Counter()
    for group in all_reference_tokens:
        ngrams_of_photo = set()
        for tokens in group:
            for n in (1, 2, 3, 4):
                ngrams_of_photo.update(ngrams(tokens, n))
        frequencies.update(ngrams_of_photo)
    return frequencies


toy_frequencies = document_frequencies(toy_reference_tokens)
for ngram in [("a",), ("dog",), ("brown",), ("beach",), ("along", "the", "beach")]:
    print(f"{' '.join(ngram):16} {toy_frequencies[ngram]} of {len(toy_references)} photos")

# %% [markdown]
# **Step 2: weight.** [**TF-IDF**](https://en.wikipedia.org/wiki/Tf%E2%80%93idf) weights each n-gram
# by its count in the caption (term frequency) times its inverse document frequency:
#
# $$w = \text{count} \cdot \log\frac{\text{number of photos}}{\text{document frequency}}$$
#
# An n-gram that all photos have gets weight 0, a rare one a large weight. An n-gram that no
# reference has is treated as if one photo had it. A caption becomes one vector for each $n$.


# %%
def tf_idf(tokens, n, frequencies, num_photos):
    """The TF-IDF vector of a caption's n-grams, as a dict."""
    vector = {}
    for ngram, count in ngrams(tokens, n).items():
        vector[ngram] = count * np.log(num_photos / max(1, frequencies[ngram]))
    return vector


table = []
for word in dict.fromkeys([*vague, *specific]):
    captions_with_word = [
        label for label, tokens in (("vague", vague), ("specific", specific)) if word in tokens
    ]
    vector = tf_idf([word], 1, toy_frequencies, len(toy_references))
    table.append(
        [word, " and ".join(captions_with_word), toy_frequencies[(word,)], *vector.values()]
    )
pd.DataFrame(table, columns=["word", "caption", "photos", "weight"]).round(2)

# %% [markdown]
# **Step 3: compare.** The similarity of caption and reference is the cosine similarity of their
# vectors (notebook 1). The D in the name stands for two changes that make the metric harder to
# game. Each weight of the caption, $c_i$, is clipped to the reference's, $r_i$, so repeating a
# good word gains nothing. And a **Gaussian length penalty** with $\sigma = 6$ lowers the score of a
# caption whose length differs from the reference's by $\Delta$ words. (It has nothing to do with
# the length penalty of beam search.)
#
# $$\text{similarity}_n = e^{-\Delta^2 / (2\sigma^2)} \cdot
# \frac{\sum_i \min(c_i, r_i)\, r_i}{\lVert\mathbf{c}\rVert \, \lVert\mathbf{r}\rVert}$$
#
# CIDEr-D is ten times the mean over $n$ = 1 to 4 and over all references. So 10 would require the
# caption to equal *every* reference, and to have four words or more: a shorter one has no 4-grams.
# (Papers often print it times 100: 0.5 here is 50 there.)


# %%
def similarity(tokens, reference, n, frequencies, num_photos):
    """The clipped cosine similarity of caption and reference, with the length penalty."""
    vector = tf_idf(tokens, n, frequencies, num_photos)
    reference_vector = tf_idf(reference, n, frequencies, num_photos)
    dot_product = 0.0
    for ngram, weight in vector.items():
        reference_weight = reference_vector.get(ngram, 0.0)
        dot_product += min(weight, reference_weight) * reference_weight
    norm = np.linalg.norm(list(vector.values()))
    reference_norm = np.linalg.norm(list(reference_vector.values()))
    if norm == 0 or reference_norm == 0:
        return 0.0
    length_difference = len(tokens) - len(reference)
    return np.exp(-(length_difference**2) / (2 * 6**2)) * dot_product / (norm * reference_norm)


def cider_d_score(tokens, photo_reference_tokens, frequencies, num_photos):
    """CIDEr-D of one caption."""
    similarities = []
    for reference in photo_reference_tokens:
        for n in (1, 2, 3, 4):
            similarities.append(similarity(tokens, reference, n, frequencies, num_photos))
    return 10 * np.mean(similarities)


table = {}
for tokens in (vague, specific):
    toy_cider_d = cider_d_score(
        tokens, beach_reference_tokens, toy_frequencies, len(toy_references)
    )
    bleu_1 = bleu_scores(tokens, beach_reference_tokens)[0]
    table[" ".join(tokens)] = {"BLEU-1": bleu_1, "CIDEr-D": toy_cider_d}
pd.DataFrame(table).T.round(2)

# %% [markdown]
# CIDEr-D reverses the order. "brown", "along" and "beach" are rare in this data set, so they weigh
# more than the words that fit any photo; "labrador" and "sprints" still cost something, because
# they lengthen the vector without a match.
#
# Now for the real captions. The document frequencies come from all references of the split. By hand
# and **with the library**:

# %%
from utils.evaluation.metrics import cider_d

frequencies = document_frequencies(reference_tokens)
cider_d_scores = cider_d(predicted, references)[1]
for row in range(min(50, len(names))):
    by_hand = cider_d_score(predicted_tokens[row], reference_tokens[row], frequencies, len(names))
    assert np.isclose(cider_d_scores[row], by_hand)

# %% [markdown]
# ### The score of our example
#
# Its caption, its references, and its scores, beside those of a copy of the first reference. What
# does the copy score? BLEU takes the best match, so a copy is perfect. CIDEr-D is a mean over all
# references, so a copy of one of them reaches 10 only if all the others say the same.

# %% tags=["nbval-ignore-output"]
print("caption   ", predicted[0])
print("references", *references[0], sep="\n           ")
copy = reference_tokens[0][0]
table = {}
for label, tokens in (("caption", predicted_tokens[0]), ("copy of the first reference", copy)):
    table[label] = dict(zip(bleu_names, bleu_scores(tokens, reference_tokens[0]), strict=True))
    table[label]["CIDEr-D"] = cider_d_score(tokens, reference_tokens[0], frequencies, len(names))
pd.DataFrame(table).T.round(2)

# %% [markdown]
# ## Baselines
#
# Is that a good score? A number alone doesn't say. We compare the captioner with
#
# - one **constant caption** for all photos, taken from the training captions;
# - the captioner's caption for **another photo**;
# - its captions by **greedy search**;
# - **one human**: a reference is scored against the other references of its photo.
#
# A captioner that doesn't beat the first two ignores the image.
#
# Two more metrics are common. [**ROUGE-L**](https://aclanthology.org/W04-1013/) looks for the
# longest common subsequence, the words that caption and reference have in the same order, with
# gaps. Its length divided by that of the caption is a precision $P$, divided by that of the
# reference a recall $R$. With $\beta = 1.2$ recall counts a little more:
#
# $$\text{ROUGE-L} = \frac{(1 + \beta^2)\, P R}{R + \beta^2 P}$$
#
# [**METEOR**](https://aclanthology.org/W05-0909/) aligns words, also by their stems and,
# where the WordNet database is installed, synonyms. Implementations of METEOR differ, so the table
# names the one that is used.

# %%
from utils.evaluation.baselines import constant_caption, human_baseline
from utils.evaluation.protocol import protocol, score_with_meteor

train_captions = []
for name in captions["splits"]["train"]:
    train_captions.extend(captions["captions"][name])
systems = {
    "constant caption": [constant_caption(train_captions)] * len(names),
    "another photo": predicted[-1:] + predicted[:-1],  # the caption of the previous photo
    "greedy": greedy_captions,
    "captioner": predicted,
}
scores = {system: score_with_meteor(texts, references) for system, texts in systems.items()}
has_human = min(len(group) for group in references) > 1  # a human needs others to be compared with
if has_human:
    scores["one human"] = human_baseline(references)
evaluation_protocol = protocol(split, captions["split_source"], references, config)

# %% [markdown]
# Scores can only be compared if they were computed in the same way. So the **protocol** belongs to
# the table: which photos and references, how captions were decoded, and how they were scored.

# %% tags=["nbval-ignore-output"]
uses_image = scores["captioner"]["CIDEr-D"] >= scores["another photo"]["CIDEr-D"]
print(evaluation_protocol)
print("constant caption:", systems["constant caption"][0])
pd.DataFrame(scores).T.round(3)

# %% [markdown]
# What share of the captioner's score does the constant caption get, without having seen a photo?

# %% tags=["nbval-ignore-output"]
for metric in ("BLEU-1", "BLEU-4", "CIDEr-D"):
    captioner_score = scores["captioner"][metric]
    share = "-"  # where the captioner's score is about 0
    if captioner_score >= 0.001:
        share = f"{scores['constant caption'][metric] / captioner_score:.0%}"
    print(f"{metric:8} {share}")

# %% [markdown]
# The larger the share, the more of the score is due to words that fit any photo. On the validation
# photos of Flickr8k (`RESULTS.md`) a constant caption gets 75 % of the BLEU-1 of this project's
# default captioner, 0.480 of 0.643, but 24 % of its CIDEr-D, 0.139 of 0.585. This is why CIDEr-D is
# the main metric of this series.
#
# ### Can a captioner beat a human?
#
# The human baseline takes the first reference of each photo as a caption and scores it against the
# others, then the second, and so on, and averages. It measures how much people agree. It is *not*
# an upper bound: one person mentions the hat, another one the weather, and each of them chooses
# other words. A captioner is trained on the captions of many people, and generates what most of
# them would say. This is close to all references at once, so it may score higher than a single
# human without being better.
#
# Compare the last two rows of the table above. On Flickr8k the default captioner and one human have
# nearly the same BLEU-1 (0.643 and 0.644). By BLEU-4 the captioner is ahead (0.226 and 0.218), by
# CIDEr-D the human is far ahead (0.840 and 0.585). In the drawn sample the references are written
# by a program, so "one human" is one of its sentences.
#
# (The human has one fewer reference to match than the captioner. This lowers every metric that
# takes the best match of several references, but not CIDEr-D, which is a mean over references.)
#
# ## How certain is a score?
#
# Other photos would have given another score. By how much? The
# [**bootstrap**](https://aclanthology.org/W04-3250/) estimates it from the photos that we have:
# draw as many photos from them, with replacement, so that some occur twice and others not at all;
# compute the score; repeat this a thousand times. The range of the middle 95 % of these scores is a
# **confidence interval**. (The document frequencies are not drawn again: they stay those
# of all photos. So each photo keeps its CIDEr-D, and a sample's score is the mean of these.)

# %% tags=["nbval-ignore-output"]
from utils.evaluation.bootstrap import bootstrap_scores


def draw_photos(seed, num_samples=1000):
    """How often each photo is in each bootstrap sample, `(samples, photos)`."""
    rng = np.random.RandomState(seed)
    return rng.multinomial(len(names), np.full(len(names), 1 / len(names)), num_samples)


times_drawn = draw_photos(seed=1)
bootstrap_by_hand = times_drawn @ cider_d_scores / len(names)
low, high = np.percentile(bootstrap_by_hand, [2.5, 97.5])
print(f"CIDEr-D {cider_d_scores.mean():.3f}, 95 % confidence interval {low:.3f} to {high:.3f}")

# %% [markdown]
# **With the library**, for all systems and all metrics:

# %%
intervals = {}
for system, texts in systems.items():
    bootstrap = bootstrap_scores(texts, references, seed=1)
    intervals[system] = np.percentile(bootstrap["CIDEr-D"], [2.5, 97.5])
    if system == "captioner":
        assert np.allclose(bootstrap["CIDEr-D"], bootstrap_by_hand)

# %% [markdown]
# The scores with their intervals as black lines. (None is computed for the human baseline, which is
# a mean of several scores of each photo.)

# %%
from utils.plotting.charts import plot_bars

cider_d_by_system = {system: row["CIDEr-D"] for system, row in scores.items()}
_ = plot_bars(cider_d_by_system, "CIDEr-D", intervals)

# %% [markdown]
# ### Is one system better than another?
#
# The intervals of beam search and greedy search may overlap. Does that mean that the difference is
# due to chance? Not necessarily: both systems were scored on the *same* photos, and most of the
# uncertainty is about which photos we have, easy or difficult ones. This part is the same for both,
# and cancels in the difference. A **paired test** uses this: it draws photos, and computes the
# difference of both systems on the same draw.
#
# Below are 1,000 samples of the same difference: unpaired, as if each system had been scored on
# photos of its own, and paired. Look at the seeds: the same seed draws the same photos.

# %%
from utils.plotting.charts import plot_differences

greedy_scores = cider_d(greedy_captions, references)[1]
beam_samples = draw_photos(seed=1) @ cider_d_scores / len(names)
greedy_samples = draw_photos(seed=1) @ greedy_scores / len(names)  # the same photos
other_greedy_samples = draw_photos(seed=2) @ greedy_scores / len(names)  # other photos
differences = {
    "unpaired": beam_samples - other_greedy_samples,
    "paired": beam_samples - greedy_samples,
}
_ = plot_differences(differences, "CIDEr-D of beam search minus greedy search")

# %% [markdown]
# As the photos are the same, the paired samples need nothing but the difference of the two scores
# of each photo. It is exactly 0 where both systems write the same caption.

# %% tags=["nbval-ignore-output"]
score_differences = cider_d_scores - greedy_scores
assert np.allclose(differences["paired"], times_drawn @ score_differences / len(names))
print(f"photos with a difference of 0: {np.mean(score_differences == 0):.0%}")
print(f"standard deviation of the scores {cider_d_scores.std():.2f}")
print(f"standard deviation of the differences {score_differences.std():.2f}")

# %% [markdown]
# The intervals of the difference, and the **p-value**: twice the share of samples in which the
# difference is 0 or has the other sign. The samples say how much the difference varies with the
# choice of the photos. If there were no true difference, it would vary as much, but around 0. So if
# 0 lies far in the tail of the samples, a difference as large as ours would rarely occur by chance,
# and the share of the tail approximates how rarely; twice, since it could have occurred in both
# directions. (One is added to both counts, so that it is never 0.)

# %% tags=["nbval-ignore-output"]
from utils.evaluation.bootstrap import paired_bootstrap

table = {}
for label, samples in differences.items():
    low, high = np.percentile(samples, [2.5, 97.5])
    opposite = min((samples <= 0).sum(), (samples >= 0).sum())
    p_value = min(1, 2 * (1 + opposite) / (1 + len(samples)))
    table[label] = {"low": low, "high": high, "width": high - low, "p": p_value}
paired = table["paired"]
by_hand = [paired["low"], paired["high"], paired["p"]]
assert np.allclose(by_hand, paired_bootstrap(beam_samples, greedy_samples))
pd.DataFrame(table).T.round(3)

# %% [markdown]
# If an interval doesn't contain 0, the difference is significant at the 5 % level. In words:

# %% tags=["nbval-ignore-output"]
difference = score_differences.mean()
print(
    f"Beam search minus greedy search: {difference:+.3f}, "
    f"95 % interval {paired['low']:+.3f} to {paired['high']:+.3f}"
)
if paired["low"] > 0:
    print(f"Beam search scores significantly higher on these photos (p = {paired['p']:.3f}).")
elif paired["high"] < 0:
    print(f"Beam search scores significantly lower on these photos (p = {paired['p']:.3f}).")
else:
    print(f"The interval contains 0: the difference may be due to chance (p = {paired['p']:.3f}).")
narrower = table["unpaired"]["width"] / max(1e-9, paired["width"])
print(f"The unpaired interval is {narrower:.1f} times as wide.")

# %% [markdown]
# The two systems may share many captions, so even a small difference may be significant.
# Significant does not mean large, and it covers only the choice of the photos: another training
# with another seed would give another captioner.
#
# ## When does beam search help?
#
# Now we can answer it. The beam width is a choice, like the epoch in notebook 3, so it is made on
# the *validation* photos: a width that is chosen on the test photos makes their score look better
# than that of new photos. One row for each width; the first one is greedy search:

# %% tags=["nbval-ignore-output"]
validation_references = [captions["captions"][name] for name in validation_names]
trials = {}
table = {}
for beam_width in sorted({1, 2, 3, 5, config.beam_width}):
    trial = generate(captioner, grid, config, beam_width, rows=validation_rows, progress=False)
    texts = [tokenizer.decode(token_ids) for token_ids in trial.token_ids]
    trials[beam_width] = (trial, texts)
    greedy_trial, greedy_texts = trials[1]
    table[beam_width] = {
        "log-probability": trial.log_probs.mean(),
        "likelier than greedy": np.mean(trial.log_probs > greedy_trial.log_probs + 1e-3),
        "words": np.mean([len(tokenize(text)) for text in texts]),
        "CIDEr-D": cider_d(texts, validation_references)[0],
    }
table = pd.DataFrame(table).T.rename_axis("beam width")
table.round(3)

# %% [markdown]
# Do wider beams find likelier captions? And do these score higher?

# %% tags=["nbval-ignore-output"]
gain = table["CIDEr-D"] - table["CIDEr-D"][1]
print(f"likeliest captions: beam width {table['log-probability'].idxmax()}")
print(f"highest CIDEr-D:    beam width {gain.idxmax()}")
if gain.max() > 0:
    print(f"Beam search helps: {gain.max():+.3f} with width {gain.idxmax()}.")
else:
    print(
        f"Beam search does not help: {gain[config.beam_width]:+.3f} with {config.beam_width} beams."
    )

# %% [markdown]
# On the drawn sample beam search scores *lower* than greedy search, on the validation photos with
# every width, and in the paired test above. (The difference is larger here. Notebook 3 has chosen
# the epoch by the score of greedy search on these very photos, which favors greedy search; the rest
# may be chance, as there are only 100 of them.) To see why, look at the three captions whose score
# falls most by beam search, and the two whose score rises most:

# %% tags=["nbval-ignore-output"]
beam_trial, beam_texts = trials[config.beam_width]
change = cider_d(beam_texts, validation_references)[1]
change = change - cider_d(greedy_texts, validation_references)[1]
is_changed = np.array(greedy_texts) != np.array(beam_texts)
changed_rows = np.flatnonzero(is_changed)
by_change = changed_rows[np.argsort(change[changed_rows], kind="stable")]
for row in dict.fromkeys([*by_change[:3], *by_change[-2:]]):
    print(f"CIDEr-D {change[row]:+.2f}")
    print(f"  greedy {greedy_trial.log_probs[row]:6.2f}  {greedy_texts[row]}")
    print(f"  beam   {beam_trial.log_probs[row]:6.2f}  {beam_texts[row]}")

# %% [markdown]
# ### What do the likelier captions say?
#
# Is there a pattern in how they begin? The share of the captions by each first word:


# %% tags=["nbval-ignore-output"]
def first_word(text):
    """The first word of a caption, or an empty string."""
    return next(iter(tokenize(text)), "")


all_references = [text for group in validation_references for text in group]
shares = {}
for label, texts in {
    "greedy": greedy_texts,
    "beam": beam_texts,
    "references": all_references,
}.items():
    shares[label] = pd.Series([first_word(text) for text in texts]).value_counts(normalize=True)
shares = pd.DataFrame(shares).fillna(0).sort_values("beam", ascending=False)
shares.head(5).round(2)

# %% [markdown]
# Take the word whose share grows most, and the photos whose caption begins with it only in beam
# search. For these photos, compare both captions: the log-probability of the first token, that of
# all tokens after it, and how often a color is named, a detail that a caption may mention or omit
# (English only).

# %% tags=["nbval-ignore-output"]
from utils.evaluation.word_categories import WORD_CATEGORIES, word_category_scores

preferred = (shares["beam"] - shares["greedy"]).idxmax()
color_words = {word for group in WORD_CATEGORIES["colors"] for word in group.split()}


def color_share(texts):
    """The share of the captions that name a color."""
    return np.mean([not color_words.isdisjoint(tokenize(text)) for text in texts] or [0])


new_rows = []
for row in changed_rows:
    if first_word(beam_texts[row]) == preferred != first_word(greedy_texts[row]):
        new_rows.append(row)
table = {}
if new_rows:
    state = captioner.initial_state(grid[validation_rows[new_rows]].astype("float32"))
    logits, *_ = captioner.decode_step(np.full(len(new_rows), BOS_ID), state)
    log_probs = log_softmax(np.asarray(logits, np.float64))
    for label, (trial, texts) in {"greedy": trials[1], "beam": trials[config.beam_width]}.items():
        first = log_probs[np.arange(len(new_rows)), trial.token_ids[new_rows, 0]].mean()
        table[label] = {
            "log p of the first token": first,
            "log p of all others": trial.log_probs[new_rows].mean() - first,
            "names a color": color_share([texts[row] for row in new_rows]),
        }
with_word = [text for text in all_references if first_word(text) == preferred]
without_word = [text for text in all_references if first_word(text) != preferred]
print(f"“{preferred}”: {len(new_rows)} of {len(changed_rows)} changed captions")
print(f"{color_share(with_word):.0%} of the references that begin with it name a color, ", end="")
print(f"{color_share(without_word):.0%} of all others")
pd.DataFrame(table).T.round(2)

# %% [markdown]
# On the drawn sample the word is *there*, and the same happens as in the small model with nine
# captions. As a first token *there* is less likely than the word that it replaces. But references
# that begin with it name a color less often, so the tokens after it leave less to decide, and are
# likelier by more than *there* has cost. For these photos greedy search has already discarded that
# branch; beam search keeps it, and finds the likelier caption. It even exaggerates: these captions
# name a color far less often than the references do, because for most photos the caption without it
# is the likelier one. CIDEr-D lowers most of their scores for that. (There are exceptions. Some
# changes are not omissions but name another thing, such as a horse instead of a dog. And the
# caption whose score rises most begins with *there*, too: few of its references name the color, and
# most of them say *trio*.)
#
# ### On photographs
#
# On Flickr8k the likelier captions are the better ones. On the 1,000 validation photos this
# project's default, a fine-tuned EfficientNet-Lite2 with attention, scores CIDEr-D 0.560 with
# greedy search, 0.585 with three beams and 0.580 with five. All other training runs gain as well,
# 0.01 to 0.06 from one beam to three; two more beams change the score by -0.005 to +0.018 (see
# `RESULTS.md`).
#
# So beam search helps where a likelier caption is a better one, and hurts where the likeliest
# captions are those that say least. In [translation](https://aclanthology.org/W17-3204/), too, very
# wide beams make many models worse. No rule predicts which case you have. Therefore:
#
# - try a few widths on the validation photos, as in the table, and take the best one;
# - confirm it by a paired test on the test photos, once.
#
# The default, three beams, was chosen on Flickr8k. By this rule the drawn sample would use greedy
# search; it keeps three beams so that this notebook can show what they do. For data of your own,
# set the width in the cell at the top: `load_config(detect_preset(), beam_width=1)`.
#
# ## Scores by word category
#
# A single score doesn't say *what* the captioner is good at. So we count words by category: people,
# animals, colors, numbers, actions, places (English only), with synonyms as one word.
#
# - *Precision*: of the words that the captions contain, the share that any reference of the photo
#   contains. Low precision means that the captioner states what no reference mentions: it may be
#   wrong, or only unmentioned.
# - *Recall*: of the words that at least two references of a photo contain, the share that the
#   caption contains. Low recall means that it omits what people mention.
#
# The columns *predicted* and *in references* are the denominators of precision and recall.

# %% tags=["nbval-ignore-output"]
pd.DataFrame(word_category_scores(predicted, references)).T.round(2)

# %% [markdown]
# In which category are the captions least reliable, and what do they omit most often? A caption of
# ten words can't mention everything that five people mention, so recall is usually lower.
#
# **Diversity** is another aspect that no score above shows: how many different tokens and captions
# are generated, how many captions are copies of training captions, and
# [distinct-2](https://arxiv.org/abs/1510.03055), the share of bigrams that are distinct.

# %% tags=["nbval-ignore-output"]
from utils.evaluation.diversity import diversity

print(pd.Series(diversity(predicted, train_captions)).round(3).to_string())

# %% [markdown]
# ## Retrieval
#
# **Retrieval** means ranking photos by a sentence (**text-to-image**) or sentences by a photo
# (**image-to-text**). [Flickr8k](https://www.jair.org/index.php/jair/article/view/10833) was made
# for it. A captioner can do both without further training: it gives the log-probability
# $\log p(c \mid x)$ of a sentence $c$ for a photo $x$, the sum over its tokens. All photos are
# scored with the first reference of all photos; without a GPU at most 200 photos are used. By hand
# for the first pair:

# %%
from utils.evaluation.retrieval import pmi_scores, retrieval_metrics, sequence_log_probs

num_ranked = len(names) if tf.config.list_physical_devices("GPU") else min(200, len(names))
sentences = tokenizer.encode([group[0] for group in references[:num_ranked]])
sentence_log_probs = sequence_log_probs(captioner, grid[rows[:num_ranked]], sentences)

log_probs = log_softmax(captioner([example, sentences[:1, :-1]])[0].numpy())
log_prob_by_hand = 0.0
for step, token_id in enumerate(sentences[0, 1:]):
    if token_id != PAD_ID:
        log_prob_by_hand += log_probs[step, token_id]
assert np.isclose(sentence_log_probs[0, 0], log_prob_by_hand, rtol=0.01, atol=0.05)
print("photos × sentences:", sentence_log_probs.shape)

# %% [markdown]
# For one sentence this ranks the photos. But for one photo it doesn't rank the sentences well: a
# short sentence of frequent words is likely for *every* photo, and can win over a longer one that
# fits better. So we divide by how likely the sentence is without a photo, its **prior** $p(c)$, and
# get the [**pointwise mutual
# information** (**PMI**)](https://en.wikipedia.org/wiki/Pointwise_mutual_information):
#
# $$\text{PMI}(x, c) = \log \frac{p(c \mid x)}{p(c)}, \qquad
# p(c) = \frac{1}{N} \sum_{x'} p(c \mid x')$$
#
# It asks how many times *more* likely the photo makes the sentence. If it is 0, the photo makes no
# difference. As $p(c)$ is a mean over $N$ photos, this one among them, PMI is at most $\log N$:
# then no other photo makes the sentence likely at all. For one sentence $p(c)$ is the same for all
# photos, so text-to-image doesn't change.

# %%
log_prior = np.logaddexp.reduce(sentence_log_probs, axis=0) - np.log(num_ranked)
pmi = sentence_log_probs - log_prior
assert np.allclose(pmi, pmi_scores(sentence_log_probs), atol=1e-3)

# %% [markdown]
# Does this change the ranking? We take the first photo whose own sentence is the best by PMI, but
# not by log-probability (our example if there is none), and show the three best sentences by each.

# %% tags=["nbval-ignore-output"]
own = np.arange(num_ranked)
is_best_by_log_prob = sentence_log_probs.argmax(axis=1) == own
is_best_by_pmi = pmi.argmax(axis=1) == own
query = int((is_best_by_pmi & ~is_best_by_log_prob).argmax())  # the first one, or our example
table = []
for label, values in (("log p(c|x)", sentence_log_probs[query]), ("PMI", pmi[query])):
    for best in np.argsort(-values, kind="stable")[:3]:
        numbers = [sentence_log_probs[query, best], log_prior[best], pmi[query, best]]
        numbers = [f"{number:.2f}" for number in numbers]
        table.append([label, references[best][0], *numbers])
print(f"own sentence is the best by log p(c|x): {is_best_by_log_prob.mean():.0%} of the photos")
print(f"own sentence is the best by PMI:        {is_best_by_pmi.mean():.0%} of the photos")
print(f"this photo's own sentence: {references[query][0]}")
pd.DataFrame(table, columns=["ranked by", "sentence", "log p(c|x)", "log p(c)", "PMI"])

# %% [markdown]
# A sentence with a high $\log p(c)$ is likely for many photos. PMI subtracts this, so a sentence
# that is likely for this photo and for few others moves up.
#
# **R@5** (recall at 5) is the share of queries with the correct result among the first five; the
# median rank is that of the correct result, 1 at best.

# %% tags=["nbval-ignore-output"]
photo_of_sentence = np.arange(num_ranked)
table = pd.DataFrame(retrieval_metrics(pmi, photo_of_sentence))
without_pmi = pd.DataFrame(retrieval_metrics(sentence_log_probs, photo_of_sentence))
table.loc["image-to-text, without PMI"] = without_pmi.loc["image-to-text"]
print(f"R@5 of a random ranking of {num_ranked} photos: {min(1, 5 / num_ranked):.3f}")
table.round(3)

# %% [markdown]
# What does the division by the prior gain? Compare the last two rows: the log-probabilities are the
# same, and only the ranking differs.
#
# ## Factual accuracy
#
# Metrics compare words with words. For drawn scenes the facts are known, so captions can be parsed
# and checked: subject, count, color, action, object, place. None of these photos were used for
# training; the **unseen** ones have a combination of subject, color and action that does not occur
# in training at all. Does the model generalize to new combinations, or has it memorized scenes?
# Photographs have no such annotations, so the section is skipped for them.

# %% tags=["nbval-ignore-output"]
from utils.config import Config
from utils.paths import working_folder
from utils.sample.dataset import read_scenes
from utils.sample.facts import fact_accuracy, parse_facts

scenes = {}
if config.preset == "sample":
    scenes = read_scenes(working_folder(config) / "sample")
unseen = set(captions["subsets"].get("unseen", []))
subsets = {
    "seen": [name for name in names if name not in unseen],
    "unseen": [name for name in names if name in unseen],
}
accuracies = {}
if scenes:
    fact_counts = []
    for photo_references in references:
        for reference in photo_references:
            fact_counts.append(len(parse_facts(reference)))
    facts_per_reference = np.mean(fact_counts)
    for subset, subset_names in subsets.items():
        subset_captions = [predicted[names.index(name)] for name in subset_names]
        subset_scenes = [scenes[name] for name in subset_names]
        accuracies[subset] = fact_accuracy(subset_captions, subset_scenes)
    print(pd.DataFrame(accuracies).T.round(3))
else:
    print("Photos have no annotated facts.")

# %% [markdown]
# In our run the captions of unseen combinations are nearly as accurate as the others. If the model
# had memorized scenes, they would be far worse, so it has learned subject, color and action
# separately. (The small difference between the two rows may be chance.) A caption that
# states little is rarely wrong, so we also require that captions state as many facts as a single
# reference does. (This does not contradict the section on beam search: some captions lack a color
# that others have, and a single reference lacks many facts, too.) With other settings than the
# default ones the scores may be lower, and the cell only prints.

# %%
if scenes:
    print(f"A reference states {facts_per_reference:.1f} facts.")
if config == Config():
    assert uses_image
    assert accuracies["seen"]["accuracy"] >= 0.95
    assert accuracies["unseen"]["accuracy"] >= 0.85
    for accuracy in accuracies.values():
        assert accuracy["facts per caption"] >= facts_per_reference

# %% [markdown]
# ## Data for the confidence
#
# For a new photo there are no references, so there is no score. Still, a user wants to know whether
# to trust its caption. [Notebook 5](05_visualize.ipynb) shows how this can be *learned*, by a small
# classifier, from captions whose score is known, those of the validation photos. Here we collect
# what it needs while the captioner is at hand: a label and two numbers for each of these captions.
# The label is **good** if CIDEr-D is at least the setting `good_score`, and not good otherwise. On
# drawn scenes this threshold is higher than on photos (2.0 instead of 0.2), because scores are
# higher: in both cases about two thirds of the validation captions are good, and many are not, so
# that there is something to predict.

# %% tags=["nbval-ignore-output"]
validation_output, validation_captions = trials[config.beam_width]
_, validation_scores = cider_d(validation_captions, validation_references)
is_good = validation_scores >= config.good_score
for row in range(min(3, len(is_good))):
    print(f"CIDEr-D {validation_scores[row]:.2f}, good: {is_good[row]}  {validation_captions[row]}")
print(f"{is_good.mean():.0%} of {len(is_good):,} validation captions are good")

# %% [markdown]
# The two numbers need no reference:
#
# - its log-probability, divided by its number of tokens;
# - its PMI per token: $\log p(c \mid x) - \log p(c \mid \bar{x})$. Here the prior is approximated
#   by a single pass, for the mean photo $\bar{x}$, whose features are the mean of those of all
#   training photos. "a man in a shirt" is likely for any photo, so its PMI is low.
#
# **By hand** for the first validation caption:

# %% tags=["nbval-ignore-output"]
_, train_rows = photos_of("train")
mean_photo = np.zeros(grid.shape[1:], "float32")
for row in train_rows:
    mean_photo += grid[row].astype("float32") / len(train_rows)
token_ids = validation_output.token_ids[0]
token_ids = token_ids[token_ids != PAD_ID]


def caption_log_prob(photo, token_ids):
    """The log-probability of a caption for a photo, `(cells, channels)`."""
    state = captioner.initial_state(photo[None])
    total = 0.0
    for previous_id, token_id in zip([BOS_ID, *token_ids], token_ids, strict=False):
        logits, state, _ = captioner.decode_step(np.array([previous_id]), state)
        total += log_softmax(np.asarray(logits, np.float64)[0])[token_id]
    return total


log_prob = caption_log_prob(grid[validation_rows[0]].astype("float32"), token_ids)
log_prob_of_mean = caption_log_prob(mean_photo, token_ids)
log_prob_per_token = log_prob / len(token_ids)
pmi_per_token = (log_prob - log_prob_of_mean) / len(token_ids)
print(validation_captions[0])
print(f"log-probability {log_prob:.2f}, for the mean photo {log_prob_of_mean:.2f}")
print(f"per token: log-probability {log_prob_per_token:.3f}, PMI {pmi_per_token:.3f}")

# %% [markdown]
# ## Save
#
# For notebook 5: the captions with their attention weights and scores. **With the library**,
# `fit_confidence` computes the two numbers for all validation captions, and everything that
# notebook 5 derives from them. (If this says nothing about new photos, as with fewer than 100
# validation photos, the cell says so.)

# %%
from utils.evaluation.confidence import caption_confidence, fit_confidence

confidence = fit_confidence(
    captioner, grid, train_rows, validation_rows, validation_output, is_good
)
confidence["good_score"] = config.good_score
predicted_confidence = caption_confidence(captioner, confidence, grid, output, rows)
by_library = confidence["validation_signals"][0]
assert np.allclose(by_library, [log_prob_per_token, pmi_per_token], rtol=0.01, atol=0.01)
if confidence["problem"]:
    print(f"Captions of new photos will have no confidence: {confidence['problem']}.")

# %% [markdown]
# The table of scores is saved as JSON, too, to compare runs.


# %%
import json

from utils.io import write_text

longest = int((output.token_ids != PAD_ID).sum(axis=1).max())
predictions = {
    "split": split,
    "names": names,
    "captions": predicted,
    "greedy_captions": greedy_captions,
    "CIDEr-D": cider_d_scores,
    "log_probs": output.log_probs,
    "confidence": predicted_confidence,
    "token_ids": output.token_ids[:, :longest],
    "attention_weights": output.attention_weights[:, :longest].astype("float16"),
    "scores": scores,
    "protocol": evaluation_protocol,
}
path = artifacts.save("predictions", predictions, config)
artifacts.save("confidence", confidence, config)
write_text(path.with_name("scores.json"), json.dumps(scores, indent=1))
print("predictions.pkl and confidence.pkl for 05_visualize, scores.json for you")

# %% [markdown]
# ## What you learned
#
# - Greedy search takes the most likely token at every step and can miss the most likely caption.
#   Beam search expands, scores and prunes several beams, and often finds likelier captions. Whether
#   these are better has to be measured, on validation photos: on Flickr8k they are; on the drawn
#   sample they name colors less often, and score lower.
# - BLEU is the geometric mean of clipped n-gram precisions times a brevity penalty. BLEU-1 favors
#   vague captions, because all words count alike.
# - CIDEr-D compares TF-IDF vectors of n-grams, so the words that tell photos apart count most.
# - A score needs baselines, a protocol and a confidence interval. Two systems that were scored on
#   the same photos are compared by a paired test, the bootstrap of the differences per photo.
# - A captioner can rank photos and sentences by PMI, which divides the probability of a sentence by
#   its prior.
#
# ## Exercises
#
# **Try it.** *Vary*: change a value. *Modify*: edit a few lines. *Implement*: write a dozen lines.
# *Extend*: go beyond this series. Predict the result before you run anything. Put the code
# of an answer into a new cell below, after you have run all cells above. It is written for the
# drawn sample; on photos its numbers differ.
#
# 1. *Vary*: Two beams find the best caption of the small model. Change its probabilities so that
#    two beams miss it, and three find it. What has to happen at the first step?
#
# <details><summary>Hint</summary>
#
# The best caption is lost if its first word is pruned after the first step. Let two other first
# words be more likely.
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# toy_table = {
#     **toy_table,
#     "": {"two": 0.4, "three": 0.35, "a": 0.25},
#     "three": {"dogs": 0.4, "people": 0.3, "children": 0.3},
# }
# toy_tokenizer = Tokenizer([*toy_words, "three"], max_length=4)
# found = {}
# for beam_width in (1, 2, 3):
#     best, _ = beam_search(toy_step, "", beam_width, length_penalty=0, max_length=4)
#     found[beam_width] = np.exp(best.log_prob)
#     text = toy_tokenizer.decode(best.token_ids[1:])
#     print(f"beam width {beam_width}: {text} ({found[beam_width]:.3f})")
# most_likely = max(all_captions(toy_table).values())
# assert found[1] < most_likely and found[2] < most_likely
# assert np.isclose(found[3], most_likely)
# ```
#
# *a dog runs* has 0.25 · 0.8 · 0.9 = 0.18. But "a" is only the third of the first words, so two
# beams prune it. Every beam width can be misled in this way, by more first words.
# </details>
#
# 2. *Vary*: Compute CIDEr-D on paper. There are two photos with one reference each: "a dog runs"
#    and "a cat sleeps". Score three captions of the first photo: "a dog sleeps", "a dog", and a
#    copy of its reference. Before you begin: which one is best, and does the copy get 10?
#
# <details><summary>Hint</summary>
#
# Only "a" is in both photos: its weight is $\log(2/2) = 0$, and that of every other n-gram is
# $\log 2$. So the cosine similarity is the number of n-grams in both (other than "a"), divided by
# the square root of the product of their numbers. Don't forget $n = 4$, and the penalty
# $e^{-\Delta^2/72}$.
# </details>
#
# <details><summary>An answer</summary>
#
# With the n-grams 1 to 4, and "dog sleeps" as an n-gram that no reference has:
#
# | caption | n = 1 | n = 2 | n = 3 | n = 4 | penalty | CIDEr-D |
# | --- | --- | --- | --- | --- | --- | --- |
# | a dog sleeps | 1/2 | 1/2 | 0 | 0 | 1 | 10 · 1/4 · 1 = 2.5 |
# | a dog | 1/√2 | 1/√2 | 0 | 0 | $e^{-1/72}$ | 10 · 1/4 · 1.414 · 0.986 = 3.49 |
# | a dog runs | 1 | 1 | 1 | 0 | 1 | 10 · 3/4 = 7.5 |
#
# ```python
# texts = ["a dog sleeps", "a dog", "a dog runs"]
# two_references = [["a dog runs"], ["a cat sleeps"]]
# two_tokens = [[tokenize(text) for text in group] for group in two_references]
# counts = document_frequencies(two_tokens)
# by_hand = [cider_d_score(tokenize(text), two_tokens[0], counts, 2) for text in texts]
# for text, value in zip(texts, by_hand, strict=True):
#     print(f"{text:13} {value:.2f}")
# assert np.allclose(by_hand, [2.5, 10 / 4 * 2**0.5 * np.exp(-1 / 72), 7.5])
# assert np.allclose(cider_d(texts, two_references, [0, 0, 0])[1], by_hand)
# ```
#
# A wrong word costs more than a missing one: "sleeps" lengthens the vector without a match. And
# the copy gets 7.5 only, because a caption of three words has no 4-grams.
# </details>
#
# 3. *Modify*: Count BOS and EOS, as many notebooks do: put `startseq` and `endseq` around every
#    caption and reference. Before you run it: which system's BLEU-1 increases most?
#
# <details><summary>Hint</summary>
#
# Two tokens of every caption match for certain. How much does that change a precision that is
# already high, and one that is low?
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# def wrap(text):
#     return f"startseq {text} endseq"
#
#
# wrapped_references = []
# for group in references:
#     wrapped_references.append([wrap(text) for text in group])
# increase = {}
# for system, texts in systems.items():
#     before = bleu(texts, references)[0][0]
#     after = bleu([wrap(text) for text in texts], wrapped_references)[0][0]
#     increase[system] = after - before
#     print(f"{system:18} BLEU-1 {before:.3f} becomes {after:.3f}")
# assert min(increase.values()) > 0
# assert increase["constant caption"] > increase["captioner"]
# ```
#
# All scores increase, as two tokens always match, and those of the baselines that ignore the image
# increase most. So counting BOS and EOS makes every captioner look better, and useless ones look
# useful.
# </details>
#
# 4. *Implement*: How does the confidence interval depend on the number of photos? Compute it from
#    the scores of a quarter of the photos, of half of them, and of all. Before you run it: how
#    many times as many photos halve its width?
#
# <details><summary>Hint</summary>
#
# `cider_d_scores[:quarter]` has the scores of the first photos. Draw from them with
# `rng.multinomial`, as in `draw_photos`. Compare the width with $2 \cdot 1.96\, s / \sqrt{n}$; $s$
# is the standard deviation of the scores.
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# rng = np.random.RandomState(1)
# for num_photos in (len(names) // 4, len(names) // 2, len(names)):
#     values = cider_d_scores[:num_photos]
#     drawn = rng.multinomial(num_photos, np.full(num_photos, 1 / num_photos), 1000)
#     low, high = np.percentile(drawn @ values / num_photos, [2.5, 97.5])
#     formula = 2 * 1.96 * values.std() / np.sqrt(num_photos)
#     print(f"{num_photos:5} photos: width {high - low:.3f}, by the formula {formula:.3f}")
#     assert np.isclose(high - low, formula, rtol=0.2)
# ```
#
# Four times as many: the width falls with the square root of the number of photos. CIDEr-D is a
# mean over photos, so the formula of the standard error gives nearly the same interval. The
# bootstrap also works where there is no formula, as for BLEU.
# </details>
#
# 5. *Implement*: Sample ten captions for each photo (`sample`), and choose the one that is most
#    similar to the other nine by CIDEr-D. This is [**minimum Bayes risk
#    decoding**](https://aclanthology.org/N04-1022/). Before you run it: can it find a good caption
#    among ten random ones?
#
# <details><summary>Hint</summary>
#
# Let the ten captions of a photo be its references. The third argument of `cider_d` says which
# photo each caption belongs to.
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# from utils.decoding.sampling import sample
#
# sampled = sample(captioner, grid, config, samples=10, rows=rows, progress=False)
# groups = []
# flat = []
# for photo_token_ids in sampled.token_ids:
#     texts = [tokenizer.decode(token_ids) for token_ids in photo_token_ids]
#     groups.append(texts)
#     flat.extend(texts)
# group_index = np.repeat(np.arange(len(groups)), 10)
# agreement = cider_d(flat, groups, group_index)[1].reshape(-1, 10)
# chosen_texts = []
# for texts, values in zip(groups, agreement, strict=True):
#     chosen_texts.append(texts[values.argmax()])
# for label, texts in {"first": flat[::10], "MBR": chosen_texts, "beam": predicted}.items():
#     num_words = len(set(tokenize(" ".join(texts))))
#     print(f"{label:6} CIDEr-D {cider_d(texts, references)[0]:.2f}, {num_words} distinct words")
# assert cider_d(chosen_texts, references)[0] > cider_d(flat[::10], references)[0]
# ```
#
# Errors differ between samples while correct facts repeat, so the chosen caption is far better than
# the first one, without any reference. (Each caption is also compared with itself; this adds about
# the same to all ten.) Sampling uses more different words; on this sample, search scores higher.
# </details>
#
# 6. *Extend*: Score the captions of another system, e.g. a large vision-language model (on your own
#    machine: the command does not run on Kaggle). Write references and candidates into two files,
#    and pass them to `python -m utils score`. For a test, rephrase your captions as such a model
#    would: "The image shows ...". Before you run it: how much do these three words cost?
#
# <details><summary>Hint</summary>
#
# Both files are JSON objects with an entry for each photo: `{"photo.jpg": "caption", ...}`, and for
# the references a list of captions. `python -m utils score --help` shows the options.
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# import subprocess
#
# from utils.paths import REPOSITORY
#
# folder = working_folder(config).resolve()
# candidates = [f"The image shows {text}" for text in predicted]
# command = [sys.executable, "-m", "utils", "score", "--json"]
# for option, texts in {"references": references, "candidates": candidates}.items():
#     file = folder / f"{option}.json"
#     write_text(file, json.dumps(dict(zip(names, texts, strict=True)), indent=1))
#     command.extend([f"--{option}", str(file)])
# result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
# both = {"captioner": scores["captioner"], "the image shows": json.loads(result.stdout)}
# print(pd.DataFrame(both).round(3))
# assert both["the image shows"]["CIDEr-D"] < both["captioner"]["CIDEr-D"]
# ```
#
# The captions are as correct as before. Word-based metrics also measure style: ask a large model
# for "one plain sentence of about ten words", and give it some training captions as examples,
# before you compare. Its file is `{"photo.jpg": "caption", ...}`, one entry for each photo of the
# split, or a table of `image,caption`. The command may use another implementation of METEOR; its
# name says which.
# </details>
#
# *Next*: [5 Visualize the results](05_visualize.ipynb).
#
# ## Further reading
#
# - Beam search and length penalty:
#   [d2l.ai](https://d2l.ai/chapter_recurrent-modern/beam-search.html), [Google's translation
#   system](https://arxiv.org/abs/1609.08144); why too many beams can hurt: [Koehn and
#   Knowles](https://aclanthology.org/W17-3204/), [Stahlberg and
#   Byrne](https://aclanthology.org/D19-1331/).
# - Metrics: [BLEU](https://aclanthology.org/P02-1040/), [CIDEr](https://arxiv.org/abs/1411.5726),
#   [ROUGE](https://aclanthology.org/W04-1013/), [METEOR](https://aclanthology.org/W05-0909/); the
#   evaluation of [COCO](https://arxiv.org/abs/1504.00325), whose toolkit the scores here agree
#   with; [SPICE](https://arxiv.org/abs/1607.08822) compares facts instead of words, and
#   [CLIPScore](https://arxiv.org/abs/2104.08718) needs no references.
# - Significance: [the bootstrap for BLEU](https://aclanthology.org/W04-3250/).
# - Retrieval on [Flickr8k](https://www.jair.org/index.php/jair/article/view/10833).
