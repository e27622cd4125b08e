# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Visualize the results
#
# [![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)][kaggle]
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)][colab]
#
# [kaggle]: https://kaggle.com/kernels/welcome?src=https://github.com/INSERT_OWNER_HERE/image-captioning/blob/main/notebooks/05_visualize.ipynb
# [colab]: https://colab.research.google.com/github/INSERT_OWNER_HERE/image-captioning/blob/main/notebooks/05_visualize.ipynb
#
# *Notebook 5 of 5 · prerequisites: [4 Generate and evaluate captions](04_evaluate.ipynb) · next:
# your own photos*
#
# A table of scores says how good a captioner is on average. It does not say *what* it is good at,
# or when to believe it. This notebook looks at single captions: which words are wrong, which part
# of the image each word attends to, and how sure the captioner is. Then the captioner is used: for
# alt text, for photos that it has never seen, and for search.
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
#            04_evaluate
#                 │ predictions.pkl, confidence.pkl, scores.json
#          ▶ 05_visualize ◀ ──► gallery.html    (you are here)
# ```
#
# Not drawn: this notebook also loads `features.pkl`, `captions.pkl`, `tokenizer.pkl` and
# `captioner.pkl` (the last two by `Captioner.load`, to caption new photos).
#
# **You will learn**
# - how to do an error analysis: the best, the median and the worst captions, and what went wrong;
# - how to draw attention weights over a photo, and how far to believe them;
# - how to estimate which captions are good, by logistic regression, and how to check the estimate;
# - how to get alt text and search results for your own photos.
#
# **You need** the predictions of notebook 4, NumPy and pandas. It takes less than a minute on two
# cores for the drawn sample, and about two minutes for Flickr8k.
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
# No network is trained here; the settings only select the run.

# %% tags=["parameters"]
config = load_config(detect_preset())
print(summarize(config, "preset", "encoder", "decoder"))

# %% [markdown]
# Load what notebook 4 has saved: for each photo of the split the generated caption, its CIDEr-D and
# its attention weights. The references come from notebook 2, the paths of the photos from
# notebook 1.

# %%
from utils.data.photo_files import recorded_paths
from utils.data.tokenizer import tokenize
from utils.earlier_notebooks import run_earlier_notebooks

run_earlier_notebooks("05_visualize", config)  # only where a badge has opened this notebook alone
predictions = artifacts.load("predictions", config)
captions = artifacts.load("captions", config)["captions"]
names = predictions["names"]
predicted = predictions["captions"]
scores = predictions["CIDEr-D"]
references = [captions[name] for name in names]
features = artifacts.load("features", config)
paths = recorded_paths(names, features, config)
split_rows = [features["names"].index(name) for name in names]
print(f"{len(names):,} captions for the {predictions['split']} split")

# %% [markdown]
# ## The best, the median, the worst
#
# Examples that were picked by hand mislead (**cherry-picking**): anyone can find three good
# captions among thousands. So a rule selects them: sort all captions by score, and take both ends
# and the middle.

# %% tags=["nbval-ignore-output"]
order = np.argsort(-scores, kind="stable")
group_size = max(1, min(3, len(order) // 3))
middle = (len(order) - group_size) // 2
selected = {
    "best": order[:group_size],
    "median": order[middle : middle + group_size],
    "worst": order[-group_size:],
}
for group, rows in selected.items():
    print(f"{group:6}  CIDEr-D {scores[rows].min():.2f} to {scores[rows].max():.2f}")

# %% [markdown]
# Before you look: a score compares words, not meanings. Which captions with a low score do you
# expect to be wrong, and which only worded differently?
#
# In each figure, the generated caption is blue; all references of the photo are below it. First the
# best. What do they have in common with most of their references?

# %%
from utils.plotting.figures import show_captioned


def show(rows, notes):
    """The photos of these rows with captions, references and notes."""
    return show_captioned(
        [paths[row] for row in rows],
        [predicted[row] for row in rows],
        [references[row] for row in rows],
        [notes[row] for row in rows],
    )


score_notes = [f"CIDEr-D {score:.2f}" for score in scores]
_ = show(selected["best"], score_notes)

# %% [markdown]
# CIDEr-D rewards phrases that several references share, above all if they are rare (notebook 4). So
# the best captions are often those of photos that people describe in the same way. Now the captions
# around the median:

# %%
_ = show(selected["median"], score_notes)

# %% [markdown]
# Compare each caption with its photo first, and then with its references. A caption can be right
# and still score only half as much as the best, because the references use other words, mention
# what it leaves out, or leave out what it mentions. So how much of a low score is the captioner's
# fault?
#
# ## What went wrong
#
# To answer this for every caption, compare its **content words**, the words that name something,
# with those of its references. There are two kinds of errors:
#
# - a word is **wrong** if no reference has a word of the same meaning;
# - a word is **missing** if two references have it (or the only one), and the caption does not.
#
# The package has a list of words of equal meaning, such as *man* and *guy*, by category: people,
# animals, colors, numbers, actions, places. All other content words form one more category. The
# lists are English. In other languages the code runs, but every word counts as a content word of
# *other words* with a meaning of its own, so synonyms count as errors: read those numbers as an
# upper bound. In English the same holds for words that the list does not have, such as *sunset* and
# *evening*. Step 1 maps a text to the meanings in it:

# %% tags=["nbval-ignore-output"]
from collections import Counter

from utils.evaluation.word_categories import FUNCTION_WORDS
from utils.evaluation.word_errors import MEANINGS, OTHER, singular


def find_meanings(text):
    """The meanings in a text, each with the first word that has it."""
    meanings = {}
    for token in tokenize(text):
        if token in FUNCTION_WORDS:
            continue
        if token in MEANINGS:
            meanings.setdefault(MEANINGS[token], token)
        else:
            meanings.setdefault((OTHER, singular(token)), token)
    return meanings


for (category, meaning), word in find_meanings(predicted[0]).items():
    print(f"{word:12} {category}: {meaning}")

# %% [markdown]
# Step 2 counts how many references mention each meaning, and compares, here for the worst caption:

# %% tags=["nbval-ignore-output"]
worst = int(order[-1])
generated = find_meanings(predicted[worst])
mentions = Counter()
for reference in references[worst]:
    mentions.update(find_meanings(reference).keys())
needed = min(2, len(references[worst]))

print(f"caption: {predicted[worst]}")
for meaning, word in generated.items():
    print(f"  {word!r} is in {mentions[meaning]} of {len(references[worst])} references")
for meaning, count in mentions.items():
    if count >= needed and meaning not in generated:
        print(f"  {meaning[1].split()[0]!r} is in {count} references, and not in the caption")

# %% [markdown]
# **With the library**: `word_errors` does the same for any caption, and knows general words.
# *person* is not wrong where the references say *man* (but *man* is missing, as the caption says
# less), and it is not missing where the caption says *man*. It answers for each of the worst
# captions what went wrong. A word *instead of* another is of the same category, so it may be a
# confusion (but *other words* have nothing in common). Does it contradict the photo, too? Or have
# people described something else?

# %%
from utils.evaluation import word_errors as library
from utils.evaluation.word_errors import describe_errors, word_errors

assert all(library.find_meanings(text) == find_meanings(text) for text in predicted)
errors = [word_errors(text, group) for text, group in zip(predicted, references, strict=True)]
error_notes = []
for row in range(len(names)):
    error_notes.append(f"{score_notes[row]}\n{describe_errors(errors[row])}")
_ = show(selected["worst"], error_notes)

# %% [markdown]
# Three captions are anecdotes, so count over all captions: in what percentage of them does a
# category have a wrong word, and a missing one? The last column compares the halves of the captions
# with lower and higher scores: by how many points is the sum of both numbers larger in the lower
# half?


# %% tags=["nbval-ignore-output"]
def error_rates(rows):
    """Percent of these captions with a wrong and with a missing word, by category."""
    counts = {"wrong": Counter(), "missing": Counter()}
    for row in rows:
        for category, words in errors[row].items():
            counts["wrong"][category] += bool(words.wrong)
            counts["missing"][category] += bool(words.missing)
    return pd.DataFrame(counts, dtype=float) * 100 / max(1, len(rows))


half = len(order) // 2
table = error_rates(order)
higher = error_rates(order[:half]).sum(axis=1)
lower = error_rates(order[half:]).sum(axis=1)
table["difference"] = lower.sub(higher, fill_value=0)
table = table.round().astype(int).sort_values("difference", ascending=False)
table

# %% [markdown]
# If *missing* is much larger than *wrong*, the captioner is vague rather than mistaken. The
# categories at the top of the last column differ most between low and high scores. Which words are
# these? For each category, the three most frequent ones, with counts:


# %% tags=["nbval-ignore-output"]
def name_meaning(word):
    """One word for all words of its meaning."""
    return MEANINGS[word][1].split()[0] if word in MEANINGS else singular(word)


words_by_kind = {"wrong": Counter(), "missing": Counter()}
for caption_errors in errors:
    for category, found_words in caption_errors.items():
        for kind, counter in words_by_kind.items():
            counter.update((category, name_meaning(word)) for word in getattr(found_words, kind))
rows = []
for category in table.index:
    row = {"category": category}
    for kind, counter in words_by_kind.items():
        frequent = [(w, n) for (c, w), n in counter.most_common() if c == category][:3]
        row[kind] = ", ".join(f"{word} {count}" for word, count in frequent)
    rows.append(row)
with pd.option_context("display.max_colwidth", None):
    print(pd.DataFrame(rows, columns=["category", "wrong", "missing"]).to_string(index=False))

# %% [markdown]
# So what went wrong? The counts of all words together say whether the captioner is mistaken or
# vague, and the pairs of a wrong and a missing word of the same category are its confusions:

# %% tags=["nbval-ignore-output"]
num_wrong, num_missing = (counter.total() for counter in words_by_kind.values())
verdict = "omits more than it gets wrong" if num_missing > num_wrong else "is mistaken more often"
print(f"{num_missing} missing and {num_wrong} wrong words: the captioner {verdict}.")
if len(table):
    first = table.index[0]
    print(f"Its captions with low scores differ from the others most in the category {first!r}:")
    print(f"{table.loc[first, 'missing']} % of all captions lack a word of it.")
confusions = Counter()
for caption_errors in errors:
    for category, words in caption_errors.items():
        if category != OTHER and len(words.wrong) == len(words.missing) == 1:
            wrong, missing = map(name_meaning, (words.wrong[0], words.missing[0]))
            confusions[f"{wrong} instead of {missing}"] += 1
for confusion, count in confusions.most_common(5):
    print(f"{confusion}: {count}")

# %% [markdown]
# (For drawn scenes, notebook 4 found that captions state as many facts as a single reference. That
# is no contradiction: here a caption is compared with five references together.)
#
# A list like this tells you what to do next. (Before you change a captioner because of it, make it
# for the validation photos: test photos that have had a say in a captioner give it too good a
# score.) Confused animals or actions call for a better encoder, or for more photos of them. Wrong
# numbers are a known weakness of encoders: features say *what* is in a cell better than *how many*
# there are. And missing colors? They may be the fault of the search: notebook 4 has shown that on
# the drawn sample the likelier captions are those without a color. Compare the captions of greedy
# search and of beam search:

# %% tags=["nbval-ignore-output"]
for label, texts in {"greedy": predictions["greedy_captions"], "beam": predicted}.items():
    lacking = []
    for text, group in zip(texts, references, strict=True):
        colors = word_errors(text, group).get("colors")
        lacking.append(bool(colors and colors.missing))
    print(f"{label:6} {np.mean(lacking):.0%} of the captions lack a color that the references name")

# %% [markdown]
# Where the difference is large, a smaller beam is the cheapest repair. (Clothes and their colors in
# photos are another matter: five people rarely agree on which ones to mention.)
#
# ## Where the model attends
#
# Notebook 3 has computed attention weights: before each token, the decoder gives every cell of
# the grid a weight, and the context vector is the weighted mean of the cells. The weights of one
# token sum to 1. Notebook 4 has saved them for the captions that it generated.
#
# ```text
# weights of "dog"      .01 .02 … .31 …
#    │  one per cell, sum 1
# grid of the cells     ░░▒█▓░░
#    │  upsampled to the size of the photo
# heatmap over the photo
# ```
#
# The example is the first photo of the split. What is the shape of its weights?

# %% tags=["nbval-ignore-output"]
example = 0
words = tokenize(predicted[example])
attention_weights = predictions["attention_weights"][example, : len(words)].astype("float32")
num_cells = attention_weights.shape[1]
has_attention = num_cells > 0
if has_attention:
    side = round(num_cells**0.5)
    assert np.allclose(attention_weights.sum(axis=1), 1, atol=0.01)
    print(f"{attention_weights.shape}: {len(words)} words × {side} × {side} cells")
else:
    print("This captioner uses the mean of all cells: it has no attention weights.")

# %% [markdown]
# Before any picture, walk through the caption by numbers. For each word, the table shows the cell
# with the largest weight (row 1 is at the top, column 1 on the left), that weight in percent, and
# the spread: the smallest number of cells that together have half of all weight. If all cells had
# the same weight, the spread would be half of the cells. A small spread means that the word attends
# to one place; a large one, that no place is special.
#
# Before you look at the table, go through the caption and predict the place and the spread of each
# word. Words for things tend to have a place, words such as *a*, *is* and *the* follow from the
# words before them, and a word such as *rain* or *night* could be anywhere.

# %% tags=["nbval-ignore-output"]
table = None
if has_attention:
    peak_cells = attention_weights.argmax(axis=1)
    descending = -np.sort(-attention_weights, axis=1)
    spread = (descending.cumsum(axis=1) < 0.5).sum(axis=1) + 1
    walk = {
        "row": peak_cells // side + 1,
        "column": peak_cells % side + 1,
        "weight": (100 * attention_weights.max(axis=1)).round().astype(int),
        "spread": spread,
    }
    table = pd.DataFrame(walk, index=words)
table

# %% [markdown]
# Were you right? It is a tendency only: for *night*, one part of the sky may be enough. Here are
# the extremes:

# %% tags=["nbval-ignore-output"]
if has_attention and words:
    sharpest = int(spread.argmin())
    most_diffuse = int(spread.argmax())
    print(f"uniform weights: {(num_cells + 1) // 2} of {num_cells} cells")
    for label, position in {"sharpest": sharpest, "most diffuse": most_diffuse}.items():
        peak = f"row {walk['row'][position]}, column {walk['column'][position]}"
        print(f"{label}: {words[position]!r}, {spread[position]} cells, peak at {peak}")

# %% [markdown]
# Now draw the weights over the photo. A heatmap must not hide what it explains, so the photo keeps
# its colors where the weight is 0, and the heatmap becomes more opaque as the weight grows:

# %%
import matplotlib.pyplot as plt
from PIL import Image

from utils.plotting.attention import overlay_attention
from utils.plotting.style import load_thumbnail

pixels = load_thumbnail(paths[example], 300)
if has_attention and words:
    height, width = pixels.shape[:2]
    weights = attention_weights[sharpest]
    # 1. The grid, scaled so that the largest weight is 1.
    grid = (weights / weights.max()).reshape(side, side)
    # 2. Upsampled to the size of the photo.
    smooth = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
    heat = np.clip(np.asarray(smooth), 0, 1)
    # 3. A color for each weight, without the dark ones, and an opacity proportional to the weight.
    colors = 255 * plt.get_cmap("plasma")(0.4 + 0.6 * heat)[..., :3]
    opacity = 0.75 * heat[..., None]
    overlay = (pixels * (1 - opacity) + colors * opacity).astype(np.uint8)
    assert np.array_equal(overlay, overlay_attention(pixels, weights))
    print(f"{weights.shape} -> {grid.shape} -> {heat.shape} -> {overlay.shape}")

# %% [markdown]
# `plasma` is a [perceptually
# uniform](https://matplotlib.org/stable/users/explain/colors/colormaps.html) colormap. Drawn over a
# photo, small weights can still be hard to see: the figure shows *where*, the table above *how
# much*. Yellow is the largest weight of each word. The line surrounds the region, or the regions,
# where the weight is at least half of the largest; a ring inside such a region surrounds a hole,
# where the weight is lower. Words whose spread is more than a quarter of the cells are called
# *diffuse* and have no line: it would surround most of the photo and point at nothing.

# %%
from utils.plotting.figures import show_attention

if has_attention:
    _ = show_attention(pixels, words, attention_weights)

# %% [markdown]
# Compare the figure with the table: the yellow spot of a word with a small spread is in the cell
# that the table names; a diffuse word may have several. Is the thing that the word names inside the
# line? Often the peak lies beside it. That need not be an error: the receptive field of a cell is
# far larger than the cell (notebook 1), so the features of a cell can describe what is in the cells
# around it.
#
# Interpret attention maps with care. Each one is scaled to its own maximum, so a diffuse map may
# look as important as a sharp one. And the word also depends on the words before it: other weights
# can lead to the same word ([Jain and Wallace 2019](https://arxiv.org/abs/1902.10186)). A map is a
# hint at what the model used, not a proof.
#
# ## Confidence
#
# For a screen reader, a wrong caption can be worse than none. So a captioner should know which of
# its captions are good, although it sees no reference. As in [notebook 4](04_evaluate.ipynb), a
# caption is good if its CIDEr-D is at least the setting `good_score`. The **confidence** of a
# caption is the estimated probability $p$ that it is good, reduced on purpose by a factor $f$ for
# photos unlike those of training, where the estimate can't be trusted. We build it in three steps:
#
# ```text
#   log-probability, PMI ──► logistic regression ──► p ──┐
#                                                        × ──► confidence
#   features ──► distance ──► familiarity ──► f ─────────┘
# ```
#
# Where the threshold `good_score` lies is our choice. For photos it is 0.2, a little above the
# score of one constant caption for all of Flickr8k (0.139; a human caption scores 0.840). A caption
# below it agrees with its references hardly more than a sentence written without looking at the
# photo. 72 % of the pretrained captioner's validation captions reach it. On drawn scenes scores are
# far higher, and all captions would be good; there the threshold is 2.0, so that again about two
# thirds are.

# %% tags=["nbval-ignore-output"]
fitted = artifacts.load("confidence", config)
validation_good = fitted["validation_good"]
good = scores >= fitted["good_score"]
print(f"good: a CIDEr-D of at least {fitted['good_score']}")
print(f"{validation_good.mean():.0%} of the {len(validation_good):,} validation captions are good")
print(f"{good.mean():.0%} of the {len(good):,} captions of the {predictions['split']} split")
if fitted["problem"]:
    print(f"The confidence below is not used for new photos: {fitted['problem']}.")

# %% [markdown]
# ### Step 1: signals
#
# What tells good captions from others, without a reference? [Notebook 4](04_evaluate.ipynb) has
# computed two numbers for each validation caption, for one of them by hand:
#
# - the **log-probability** of the caption, divided by its number of tokens;
# - the PMI per token: how much more likely the caption is for this photo than for the mean of the
#   training photos.
#
# Is the mean of the good captions higher?

# %% tags=["nbval-ignore-output"]
signals = fitted["validation_signals"]
means = {}
for label, group in {"good": validation_good, "not good": ~validation_good}.items():
    if group.any():
        means[label] = signals[group].mean(axis=0)
pd.DataFrame(means, index=["log-probability per token", "PMI per token"]).T.round(3)

# %% [markdown]
# ### Step 2: logistic regression
#
# [**Logistic regression**](https://en.wikipedia.org/wiki/Logistic_regression) turns signals
# $x_1, x_2, \dots$ into a probability: a weighted sum, like one unit of a dense layer, through the
# logistic function $\sigma(t) = 1 / (1 + e^{-t})$, whose values are between 0 and 1.
#
# $$p = \sigma(w_0 + w_1 x_1 + w_2 x_2)$$
#
# It is fitted on the validation captions, whose labels are known. The loss is the cross-entropy of
# notebook 3 with two classes, good and not good, here as a sum over the captions, and a small
# penalty on the weights, $\frac{1}{2} (w_1^2 + w_2^2)$, as in weight decay. **By hand**:
# standardize the signals to mean 0 and standard deviation 1, and clip what is more than 3 standard
# deviations away. Then minimize the loss by gradient descent, as in notebook 3, in many small
# steps. (`fit_confidence` gets to the same weights in fewer steps.)

# %% tags=["nbval-ignore-output"]
standardized = (signals - signals.mean(axis=0)) / (signals.std(axis=0) + 1e-6)
standardized = np.clip(standardized, -3, 3)
inputs = np.column_stack([np.ones(len(signals)), standardized])  # 1 for the bias


def fit_by_gradient_descent(inputs, labels):
    """The bias and the two weights with the smallest loss."""
    penalty = np.array([0, 1, 1])  # none on the bias
    weights = np.zeros(3)
    for _ in range(10_000):
        probability = 1 / (1 + np.exp(-inputs @ weights))
        gradient = inputs.T @ (probability - labels) + penalty * weights
        weights -= gradient / len(inputs)
    return weights


weights = fitted["coefficients"]  # what `fit_confidence` has found in notebook 4
if 0 < validation_good.mean() < 1:  # otherwise there is nothing to tell apart
    assert np.allclose(weights, fit_by_gradient_descent(inputs, validation_good), atol=0.001)
probabilities = 1 / (1 + np.exp(-inputs @ weights))
print("bias {:.2f}, log-probability {:.2f}, PMI {:.2f}".format(*weights))
terms = " + ".join(f"{w:.2f} · {x:.2f}" for w, x in zip(weights, inputs[0], strict=True))
print(f"first caption: σ({terms}) = {probabilities[0]:.2f}")

# %% [markdown]
# Read the numbers: the bias alone gives the probability of a caption with average signals, and each
# weight says how much one standard deviation more of its signal adds before the logistic function.
#
# ### Step 3: familiarity
#
# All validation photos are like the training photos, so the regression can't learn what happens to
# others. But the captioner knows nothing about a photo unlike all of them, however probable its
# caption is. How far away is a photo? Its **distance** is 1 minus the cosine similarity (notebook
# 1) of its pooled features and those of a training photo, as a mean over the five nearest of (at
# most) 1,000 training photos. **By hand** for the first photos of the split:

# %% tags=["nbval-ignore-output"]
from utils.evaluation.confidence import feature_distance

training_features = np.asarray(fitted["reference_features"], "float32")  # (photos, channels)


def distance_by_hand(photo_features):
    """The mean cosine distance of a photo from its five nearest training photos."""
    photo_features = photo_features / np.linalg.norm(photo_features)
    similarities = training_features @ photo_features  # the training features have norm 1
    return 1 - np.sort(similarities)[-5:].mean()


# A fine-tuned CNN has other features than those of notebook 1, so take training photos there.
pooled = features["pooled"][split_rows[:3]].astype("float32")
if config.fine_tune_epochs:
    pooled = training_features[:3]
by_hand = [distance_by_hand(photo_features) for photo_features in pooled]
normalized = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
assert np.allclose(by_hand, feature_distance(normalized, fitted), atol=1e-5)
print("distances:", np.round(by_hand, 3))

# %% [markdown]
#
# Compare this distance $d$ with those of the validation photos. Up to $d_{95}$, which 95 % of them
# don't exceed, a photo is as familiar as they are: its **familiarity** $f$ is 1. Beyond that, $f$
# is the fraction of the remaining 5 % that is still farther away. These are few photos, so we don't
# count them, but assume that their excess distances $d - d_{95}$ are exponentially distributed;
# $s$ is the mean excess:
#
# $$f = e^{-\max(0,\; d - d_{95})\,/\,s}$$

# %% tags=["nbval-ignore-output"]
from utils.evaluation.confidence import familiarity

distances = fitted["validation_distances"]
near = np.quantile(distances, 0.95)
mean_excess = max((distances[distances >= near] - near).mean(), 1e-6)
trial_distances = np.linspace(distances.min(), near + 5 * mean_excess, 200)
by_hand = np.exp(-np.maximum(0, trial_distances - near) / mean_excess)
assert np.allclose(by_hand, familiarity(trial_distances, distances))

figure, axis = plt.subplots(figsize=(6, 2.6))
axis.hist(distances, bins=20, color="lightgray")
axis.set(xlabel="distance from the nearest training photos", ylabel="validation photos")
right_axis = axis.twinx()
right_axis.plot(trial_distances, by_hand)
right_axis.set(ylabel="familiarity", ylim=(0, 1.05))
right_axis.grid(visible=False)

# %% [markdown]
# The bars are the validation photos; the line is the familiarity of a photo at that distance. It is
# cautious by design: one photo in twenty has a lower confidence than it deserves, even if its
# caption is good. That is the price for a captioner that doesn't call an X-ray image "a dog" as
# firmly as a real dog.
#
# The confidence is the product $p \cdot f$. Which captions of the split have the highest and the
# lowest one?

# %%
confidence = predictions["confidence"]
by_confidence = np.argsort(-confidence, kind="stable")
confidence_notes = []
for row in range(len(names)):
    confidence_notes.append(f"confidence {confidence[row]:.0%}\n{error_notes[row]}")
_ = show([by_confidence[0], by_confidence[-1]], confidence_notes)

# %% tags=["nbval-ignore-output"]
fifth = max(1, len(order) // 5)
for label, rows in {"highest": by_confidence[:fifth], "lowest": by_confidence[-fifth:]}.items():
    print(
        f"the {fifth} captions of {label} confidence: {good[rows].mean():.0%} good, "
        f"mean CIDEr-D {scores[rows].mean():.2f}"
    )

# %% [markdown]
# Two captions prove nothing: of two other photos the lower one may be the better one. The fifths of
# all captions say more: how large is the difference? A confidence is a statement about many
# captions, not about one. So check all of them, with two questions.
#
# ### Is it calibrated?
#
# [**Calibration**](https://arxiv.org/abs/1706.04599) means that a confidence agrees with the
# frequency: of all captions with a confidence of 80 %, 80 % are good. We check this on the
# validation captions. But on the captions that it was fitted on, a regression looks better than it
# is. [**Cross-validation**](https://scikit-learn.org/stable/modules/cross_validation.html) avoids
# this: split the captions into ten parts, fit on nine of them, compute the probability of the
# tenth, and do this for each part. So every probability comes from a regression that has not seen
# the label of its caption. (Mean and standard deviation of the signals are those of all captions.)
# **By hand**, and as `fit_confidence` has recorded it:

# %% tags=["nbval-ignore-output"]
from utils.evaluation.calibration import roc_auc
from utils.evaluation.confidence import fit_logistic_regression


def cross_validate(standardized, is_good):
    """The probability of each caption, from a regression without its tenth of the captions."""
    probabilities = np.zeros(len(standardized))
    part = np.arange(len(standardized)) % 10
    for number in np.unique(part):
        held_out = part == number
        bias, *weights = fit_logistic_regression(standardized[~held_out], is_good[~held_out])
        logits = bias + standardized[held_out] @ np.array(weights)
        probabilities[held_out] = 1 / (1 + np.exp(-logits))
    return probabilities


validation_confidence = fitted["validation_confidence"]
cross_validated = cross_validate(standardized, validation_good)
if len(signals) > 1:
    by_hand = cross_validated * familiarity(distances, distances)
    assert np.allclose(by_hand, validation_confidence)
changes = abs(cross_validated - probabilities)
print(
    f"cross-validation changes a probability by {changes.mean():.3f}, at most {changes.max():.3f}"
)

# %% [markdown]
# To compare confidence with frequency, group the captions into bins by confidence, and compare in
# each bin the mean confidence with the fraction of good captions. The **expected calibration
# error** (ECE) is the mean absolute difference between the two, weighted by the number of captions.

# %% tags=["nbval-ignore-output"]
num_bins = 10
bin_numbers = np.minimum((validation_confidence * num_bins).astype(int), num_bins - 1)
bin_table = []
for number in np.unique(bin_numbers):
    in_bin = bin_numbers == number
    mean_confidence = validation_confidence[in_bin].mean()
    bin_table.append([in_bin.sum(), mean_confidence, validation_good[in_bin].mean()])
sizes, mean_confidences, fractions_good = np.array(bin_table).T
calibration_error = np.average(abs(mean_confidences - fractions_good), weights=sizes)
print(f"expected calibration error {calibration_error:.3f}")
columns = ["captions", "confidence", "good"]
pd.DataFrame(bin_table, columns=columns).astype({"captions": int}).round(2)

# %% [markdown]
# A [**reliability diagram**](https://scikit-learn.org/stable/modules/calibration.html) draws this
# table: a dot per bin, with a 95 % confidence interval of the fraction ([Wilson's
# formula](https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval)), which is wide
# where a bin has few captions.
# On the dashed diagonal the confidence is calibrated. Below the diagonal the captioner is
# overconfident, above it underconfident. How many captions are in each bin? The histogram tells.

# %%
from utils.evaluation.calibration import expected_calibration_error
from utils.plotting.charts import plot_reliability

library_error = expected_calibration_error(validation_confidence, validation_good, num_bins)
assert np.isclose(library_error, calibration_error)
if not fitted["problem"]:
    _ = plot_reliability(validation_confidence, validation_good, num_bins)

# %% [markdown]
# Look at the histogram first: a dot of a few captions says little. Where its interval crosses the
# diagonal, the difference may be chance. Chance also makes the ECE larger, the more so the fewer
# captions are in a bin. How large would it be if this confidence were *perfectly* calibrated? Then
# each label would be the toss of a coin with exactly this probability. So toss, 200 times:


# %% tags=["nbval-ignore-output"]
def errors_if_calibrated(confidence):
    """The ECE of 200 samples of labels that fit the confidence perfectly."""
    rng = np.random.RandomState(0)
    errors = []
    for _ in range(200):
        labels = rng.random_sample(len(confidence)) < confidence
        errors.append(expected_calibration_error(confidence, labels))
    return np.array(errors)


chance_errors = errors_if_calibrated(validation_confidence)
print(f"measured ECE {calibration_error:.3f}")
print(f"if perfectly calibrated {chance_errors.mean():.3f}, ", end="")
print(f"95 % below {np.quantile(chance_errors, 0.95):.3f}")

# %% [markdown]
# An ECE within the range of chance doesn't prove calibration: these captions may be too few to show
# an error. A thousand captions show more, see below.
#
# ### Does it tell good captions from others?
#
# Calibration alone is not enough. A captioner that gives every caption the same confidence, the
# fraction of good captions, is perfectly calibrated, and useless. The second question is: do good
# captions have a *higher* confidence? The [**area under the ROC
# curve**](https://en.wikipedia.org/wiki/Receiver_operating_characteristic) (**AUC**) is the
# probability that a random good caption has a higher confidence than a random one that is not good.
# It is 1 if that is always so, and 0.5 if confidence is random. To compute it, take every pair of a
# good caption and another one, and count those in the right order; ties count as a half.


# %% tags=["nbval-ignore-output"]
def auc_by_pairs(values, is_good):
    """The fraction of pairs in the right order; NaN without pairs."""
    differences = values[is_good][:, None] - values[~is_good][None, :]
    if differences.size == 0:
        return float("nan")
    return float(np.mean((differences > 0) + 0.5 * (differences == 0)))


auc = auc_by_pairs(confidence, good)
assert np.isclose(auc, roc_auc(confidence, good), equal_nan=True)
print(f"{good.sum()} · {(~good).sum()} pairs, AUC {auc:.2f}")

# %% [markdown]
# All in one table: the validation captions, as fitted, cross-validated, and multiplied by the
# familiarity; then the captions of the split. The last row is the **pretrained captioner** of this
# project, measured in the same way on the 1,000 validation photos of Flickr8k. (If all captions are
# good, or none is, there are no pairs, and the AUC is undefined.)

# %% tags=["nbval-ignore-output"]
from utils.errors import CaptionsError
from utils.inference import Captioner

measured = {
    "p, as fitted": (probabilities, validation_good),
    "p, cross-validated": (cross_validated, validation_good),
    "p cross-validated, times f": (validation_confidence, validation_good),
    f"p · f, {predictions['split']} split": (confidence, good),
}
pretrained = None
try:
    pretrained = Captioner.pretrained()
    pretrained_fit = pretrained.confidence
    measured["p · f, pretrained captioner, Flickr8k"] = (
        pretrained_fit["validation_confidence"],
        pretrained_fit["validation_good"],
    )
except CaptionsError as error:
    print(f"Without the pretrained captioner: {error}")

rows = []
for values, is_good in measured.values():
    error = expected_calibration_error(values, is_good)
    chance = np.quantile(errors_if_calibrated(values), 0.95)
    rows.append([len(values), is_good.mean(), roc_auc(values, is_good), error, chance])
columns = ["captions", "good", "AUC", "ECE", "ECE by chance, 95 %"]
pd.DataFrame(rows, index=list(measured), columns=columns).round(3)

# %% [markdown]
# Read it row by row. In our run on the drawn sample:
#
# - **Rows 1 and 2**: cross-validation lowers the AUC: what came from fitting its own captions is
#   gone. Their ECEs are both within the range of chance, so their order says nothing.
# - **Row 3**: familiarity makes hardly any difference for photos like those of training. It is
#   meant for other photos, of which validation has none; the section *Real photographs* shows some.
# - **Row 4** is the answer for this captioner, on photos that had no part in the fit. In three out
#   of four pairs the good caption has the higher confidence, and the ECE is within the range of
#   chance. (The AUC is higher than that of row 3. This doesn't mean that new photos are easier:
#   with one or two hundred captions, such a difference can be chance.)
# - **Row 5**: the pretrained captioner was fitted on ten times as many captions, of photographs.
#   Its AUC is about as high. Its ECE is smaller, but a little above the range of chance: with a
#   thousand captions, even so small an error can be detected.
#
# The reliability diagram of the pretrained captioner:

# %% tags=["nbval-ignore-output"]
if pretrained:
    _ = plot_reliability(pretrained_fit["validation_confidence"], pretrained_fit["validation_good"])

# %% [markdown]
# Where there are many captions, the dots are near the diagonal. The one that is farthest off: of
# the captions with a confidence between 60 % and 70 %, only 55 % are good. And the few captions
# with the lowest confidence are good more often than it says; they are those of unfamiliar photos,
# and the familiarity is cautious by design. So the ECE, 0.049, is a little above the range of
# chance (95 % of the simulated ones are below 0.044): this confidence is useful, and not perfectly
# calibrated.
#
# What is a confidence good for? You can publish the captions above a threshold, and leave the
# others to a person (**selective prediction**). What does a threshold cost, and what does it gain?

# %% tags=["nbval-ignore-output"]
rows = []
for threshold in (0, 0.5, 0.6, 0.7, 0.8):
    for label in ("this captioner", "pretrained"):
        values, is_good = (confidence, good)
        if label == "pretrained":
            if not pretrained:
                continue
            values, is_good = measured["p · f, pretrained captioner, Flickr8k"]
        published = values >= threshold
        if published.any():
            rows.append([label, threshold, published.mean(), is_good[published].mean()])
selective = pd.DataFrame(rows, columns=["captioner", "from", "published", "good among them"])
selective.sort_values("captioner", kind="stable").round(2)

# %% [markdown]
# For the pretrained captioner the answer is clear: from a threshold of 0.8 on, 38 % of the captions
# are published, and 90 % of these are good, instead of 72 % of all. For the captioner of the drawn
# sample it is similar: in our run 28 % of the captions are published, and 89 % of these are good,
# instead of 68 % of all.
#
# Where does such a confidence fail? It holds for photos like those that it was fitted on; the
# section *Real photographs* shows others. It means a CIDEr-D above a threshold, and a caption can
# reach it with a wrong detail. And it says nothing certain about a single caption.
#
# ## A gallery
#
# Figures show a few photos. To browse all of them, `write_gallery` writes one page with all photos
# of the split, their captions, references, scores and confidences. It opens in any browser, from
# disk, without a network. Sort it by score or by confidence; move the slider under a photo, or
# point at a word, to see its attention map.

# %%
from utils.paths import working_folder
from utils.plotting.gallery import write_gallery

page = working_folder(config) / "gallery.html"
cards = []
for row in range(len(names)):
    num_words = len(tokenize(predicted[row]))
    cards.append(
        {
            "path": paths[row],
            "caption": predicted[row],
            "references": references[row],
            "score": scores[row],
            "confidence": None if fitted["problem"] else confidence[row],
            "attention_weights": predictions["attention_weights"][row][:num_words],
        }
    )
write_gallery(page, cards, "Generated captions", predictions["protocol"])
print(f"{page.name}: {len(cards):,} photos")

# %% [markdown]
# ## Alt text for your own photos
#
# From here on, the photos have no references. Put images into the folder `data/my_photos` of the
# repository, or name another folder (on Kaggle that of an attached dataset), and run this again. If
# there are none, three new scenes are drawn for a captioner of drawn scenes, and three photographs
# with open licenses are taken for any other: a captioner generalizes only to images like those that
# it was trained on.

# %%
from utils.data.open_photos import find_open_photos
from utils.data.photos import MY_PHOTOS_DIR, is_image
from utils.sample.painter import paint
from utils.sample.scenes import sample_scenes

my_folder = MY_PHOTOS_DIR  # or another one, such as Path("/kaggle/input/my-photos")
my_photos = sorted(path for path in my_folder.glob("*") if is_image(path))[:8]
missing_photos = {}
if not my_photos and config.preset != "sample":
    my_photos = [photo.path for photo in find_open_photos(missing_photos)][:3]
if not my_photos:
    folder = working_folder(config) / "fresh"
    folder.mkdir(exist_ok=True)
    for number, scene in enumerate(sample_scenes(3, seed=20), start=1):
        paint(scene).save(folder / f"fresh_{number}.jpg")
    my_photos = sorted(folder.glob("fresh_*.jpg"))
print(*[path.name for path in my_photos], sep="\n")

# %% [markdown]
# `Captioner` is the whole pipeline as one object: encoder, tokenizer, decoder and beam search,
# loaded from the artifacts, with a check that they belong together. It takes paths, arrays and
# Pillow images. Does it give the captions of notebook 4 for the photos of notebook 4?

# %% tags=["nbval-ignore-output"]
captioner = Captioner.load(working_folder(config))
first_rows = [row for row in range(len(names)) if paths[row]][:8]
first_paths = [paths[row] for row in first_rows]
num_equal = 0
for row, result in zip(first_rows, captioner(first_paths), strict=True):
    num_equal += result["caption"] == predicted[row]
print(f"{num_equal} of {len(first_rows)} captions are those of notebook 4")

# %% [markdown]
# An [**alt text**](https://www.w3.org/WAI/tutorials/images/) is the sentence that a screen reader
# reads aloud in place of an image. A caption is a first draft of it. `alt_text` returns the caption
# as a sentence if the confidence is high; the same after *Possibly* if it is lower; and *No
# confident description* if it is low. From 50 % on a caption is more probably good than not; lower
# thresholds state more captions, and more wrong ones. The two thresholds are these:

# %%
from utils.evaluation.confidence import ASSERT_FROM, HEDGE_FROM
from utils.inference import alt_text

print(f"stated from a confidence of {ASSERT_FROM:.0%} on, with Possibly from {HEDGE_FROM:.0%} on")

# %% [markdown]
# Below each photo, its alt text and its confidence. (A captioner without a confidence writes
# *Possibly* everywhere.) Check an alt text before you publish it.

# %%
from utils.plotting.figures import show_photos

failures = {}
my_captions = captioner(my_photos, failures=failures)
for path, reason in failures.items():
    print(f"{path}: {reason}")
titles = []
for row in my_captions:
    level = "no confidence" if row["confidence"] is None else f"{row['confidence']:.0%}"
    titles.append(f"{alt_text(row)} ({level})")
my_photos = [Path(row["photo"]) for row in my_captions]
_ = show_photos(my_photos, titles)

# %% [markdown]
# ## Real photographs
#
# The captioner above may have been trained on drawn scenes. This project also contains a
# **pretrained captioner**, which was trained on the photos of Flickr8k (its [model
# card](../utils/pretrained/MODEL_CARD.md) says how). And the packages scikit-image, scikit-learn
# and Matplotlib contain photographs with open licenses. Again a rule selects them: all color
# photographs in these packages ([`open_photos.py`](../utils/data/open_photos.py)).

# %% tags=["nbval-ignore-output"]
open_photos = find_open_photos(missing_photos)
if missing_photos:
    print(f"Without {', '.join(missing_photos)}: pip install scikit-image scikit-learn")
open_captions = []
if pretrained:
    open_paths = [photo.path for photo in open_photos]
    stream = pretrained.stream(open_paths, no_repetition=True, attention_weights=True)
    open_captions = list(stream)

# %% [markdown]
# (`no_repetition` keeps beam search from writing a word twice in a row, or a trigram twice, as the
# command `caption` does. The confidence of the pretrained captioner was fitted on captions that
# were generated in the same way.)
#
# Flickr8k shows people and dogs, mostly outdoors. A cup of coffee, a retina or a galaxy is
# **out-of-distribution**: unlike anything in training. The captioner has no word for most of it,
# and describes it with the words that it has. It should say so. For how many photographs does it?

# %% tags=["nbval-ignore-output"]
from utils.evaluation.confidence import describe_confidence

verdicts = []
for row in open_captions:
    if row["confidence"] >= ASSERT_FROM:
        verdicts.append("assert")
    elif row["confidence"] >= HEDGE_FROM:
        verdicts.append("hedge")
    else:
        verdicts.append("none")
assert verdicts == [describe_confidence(row["confidence"]) for row in open_captions]
for verdict, count in sorted(Counter(verdicts).items()):
    print(f"{verdict}: {count} of {len(verdicts)} photographs")

# %% [markdown]
# How familiar are these photographs? The table shows the factor $f$ beside the confidence:

# %% tags=["nbval-ignore-output"]
from utils.evaluation.confidence import pooled_features

if open_captions:
    encoder, model, for_captions = pretrained.parts_for_captions()
    open_paths = [row["photo"] for row in open_captions]
    parts = pretrained.extract_features(open_paths, progress=False, encoder=encoder)
    open_features = np.concatenate(list(parts))
    pooled = pooled_features(model, open_features, np.arange(len(open_features)))
    open_distances = feature_distance(pooled, for_captions)
    table = pd.DataFrame({"photograph": [Path(path).stem for path in open_paths]})
    table["familiarity"] = familiarity(open_distances, for_captions["validation_distances"])
    table["confidence"] = [row["confidence"] for row in open_captions]
    print(table.round(2).to_string(index=False))

# %% [markdown]
# Now look at them. Above each photograph are the verdict and the alt text, or what the captioner
# would have written; beside it are the attention maps of the two rarest content words of the
# caption, without actions and numbers, which have no place in the image. Does the attention fit the
# word? Is a stated caption wrong?

# %% tags=["nbval-ignore-output"]
from utils.plotting.alt_texts import AltTextCard, choose_words, show_alt_texts


def attention_of_words(row, tokenizer, count):
    """The attention weights of the rarest words for things and colors of a caption, by word."""
    words = tokenize(row["caption"])
    chosen = {}
    if row["attention_weights"].size:
        for position in choose_words(words, tokenizer.word_to_id, count):
            chosen[words[position]] = row["attention_weights"][position]
    return chosen


alt_text_cards = []
for photo, row, verdict in zip(open_photos, open_captions, verdicts, strict=False):
    text = f"Not stated: “{row['caption']}”" if verdict == "none" else alt_text(row)
    shown = attention_of_words(row, pretrained.tokenizer, 2)
    alt_text_cards.append(
        AltTextCard(photo.path, text, verdict, row["confidence"], shown, photo.credit)
    )
if alt_text_cards:
    _ = show_alt_texts(alt_text_cards)

# %% [markdown]
# The answer is sobering. The pretrained captioner is always the same, so this can be said of it in
# advance: *both* captions that it states are wrong. The astronaut does not stand in front of a red
# car (confidence 63 %), and nobody rides the motorcycle (50 %). The one after *Possibly* is wrong
# as well. What the confidence achieves is that the other seven photographs get no description.
#
# And two women, the astronaut Eileen Collins and the computer scientist Grace Hopper, are called a
# man. Three of the ten captions begin with *a man in a red shirt*. *A man in a* is the most
# frequent beginning of Flickr8k's captions, and *man* is in 17 % of them, *woman* in 8 %. This is a
# **bias** of the data, and the [model card](../utils/pretrained/MODEL_CARD.md) names it.
#
# Does that contradict the reliability diagram? No, but it shows its limits:
#
# - **Calibration holds for photos like those of training.** On Flickr8k, 77 % of the stated
#   captions are good, as the table of thresholds shows. For other photos, nothing was measured, and
#   familiarity only sees a part of the difference: in the table above it is 1 for three of these
#   photographs, both stated ones among them.
# - **Good means a CIDEr-D of 0.2 or more; it doesn't mean true.** A caption with the right person
#   and a wrong car shares n-grams with its references, and can count as good.
# - **The thresholds are a choice.** From 50 % on, 84 % of Flickr8k's validation captions are
#   stated. A higher threshold states fewer captions, and fewer wrong ones.
#
# So check an alt text before you publish it, a stated one, too.
#
# ## Search photos by a sentence
#
# The same model can search. In text-to-image retrieval (notebook 4) a sentence is given, and photos
# are ranked by its probability. The photos are the first ones of the split and your own; the
# sentence is a reference of the first photo, if the captioner knows one of its words.

# %%
search_photos = [*first_paths, *my_photos]
sentences = []
for row in first_rows:
    sentences.extend(references[row])
sentences.extend(predicted)
vocabulary = captioner.tokenizer.word_to_id
known = [text for text in sentences if any(word in vocabulary for word in tokenize(text))]
query = known[0] if known else ""
print(f"{query!r} among {len(search_photos)} photos")

# %% [markdown]
# The score of a photo is the geometric mean of the probabilities of the sentence's tokens, each
# given the photo and the tokens before it. For the first photo, from the logits:

# %% tags=["nbval-ignore-output"]
from utils.data.tokenizer import PAD_ID

if query and search_photos:
    token_ids = captioner.tokenizer.encode([query])
    first_batch = next(captioner.extract_features(search_photos[:1]))
    logits = np.asarray(captioner.model([first_batch, token_ids[:, :-1]]))[0]
    log_probs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    target_log_probs = []
    for step, token_id in enumerate(token_ids[0, 1:]):
        if token_id != PAD_ID:
            target_log_probs.append(log_probs[step, token_id])
    first_score = np.exp(np.mean(target_log_probs))
    print(f"logits {logits.shape}, mean probability per token {first_score:.2%}")

# %% [markdown]
# `search` does this for all photos, and ranks them. It caches the features of the photos in the
# working folder, so that the next query is faster. Below are the two best photos. Is the first one
# the photo that the sentence describes? Try other queries.

# %% tags=["nbval-ignore-output"]
if query and search_photos:
    results = captioner.search(query, search_photos)
    scores_by_path = {path: score for score, path in results}
    assert np.isclose(scores_by_path[str(search_photos[0])], first_score, rtol=0.02)
    best_results = results[:2]
    titles = [f"{score:.2%} per token" for score, _ in best_results]
    _ = show_photos([path for _, path in best_results], titles)

# %% [markdown]
# The same works from the command line, for a folder of any size:
# `python -m utils caption FOLDER --alt` and `python -m utils search "a dog in the snow" FOLDER`.
#
# ## The whole pipeline in one figure
#
# All five notebooks in one figure, with a column for each photo: the encoder turns the photo into
# feature maps; the decoder attends to a part of them for each word; the words form the caption. On
# the left is the first photo of the split with the captioner of these notebooks, on the right, if
# it is available, a real photograph with the pretrained one.

# %% tags=["nbval-ignore-output"]
from utils.plotting.overview import OverviewExample, show_overview


def make_example(captioner, path, title, credit):
    """Caption one photo, and keep what the encoder and the decoder compute on the way."""
    stream = captioner.stream([path], no_repetition=True, progress=False, attention_weights=True)
    row = next(stream)
    encoder, _, _ = captioner.parts_for_captions()
    features = next(captioner.extract_features([path], progress=False, encoder=encoder))[0]
    words = attention_of_words(row, captioner.tokenizer, 4)
    pixels = load_thumbnail(path, 400)
    return OverviewExample(title, pixels, np.asarray(features), words, row["caption"], credit)


examples = []
if first_paths:
    examples.append(make_example(captioner, first_paths[0], "From these notebooks", ""))
if pretrained:
    for photo in open_photos:
        if photo.name == "motorcycle_left":
            examples.append(
                make_example(pretrained, photo.path, "Pretrained captioner", photo.credit)
            )
if examples:
    show_overview(examples).savefig(working_folder(config) / "overview.png")

# %% [markdown]
# The three feature maps are those that vary most over the photo and differ most from each other.
# They show what the decoder is given: many coarse maps, each of which marks something different. No
# single map belongs to a word. The attention weights are computed from all of them.
#
# ## What you learned
#
# - An error analysis begins with a rule, not with favorite examples. Low scores are not always
#   wrong captions: words can be wrong, missing, or only chosen differently.
# - Attention weights, upsampled and drawn over the photo, show roughly which region a word depends
#   on. They are a hint, not a proof.
# - A confidence is the estimated probability that a caption is good, here from a logistic
#   regression. It is useful if it is calibrated, and higher for good captions than for others. Both
#   must be measured on captions that it was not fitted on. A hundred captions are few for that, and
#   the result holds for photos like these only.
# - One captioner writes alt text for new photos, and searches photos by a sentence. It describes
#   photos unlike those of training with the words that it has, and often wrongly.
#
# ## Exercises
#
# **Try it.** *Vary*: change a value. *Modify*: edit a few lines. *Implement*: write a dozen lines.
# *Extend*: go beyond this series. Predict the result before you run anything. Put the code
# of an answer into a new cell below, after you have run all cells above. It is written for the
# drawn sample; on photos its numbers differ.
#
# 1. *Vary*: What does the attention of the worst caption look like? Before you run it: which of its
#    words name a thing that has a place, and should have a small spread?
#
# <details><summary>Hint</summary>
#
# The section *Where the model attends* uses the row `example`. Which row has the worst caption?
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# worst_words = tokenize(predicted[worst])
# print(predicted[worst], *references[worst], sep="\n  ")
# assert scores[worst] == scores.min()
# if has_attention:
#     weights = predictions["attention_weights"][worst, : len(worst_words)].astype("float32")
#     _ = show_attention(load_thumbnail(paths[worst], 300), worst_words, weights)
# ```
#
# Try `order[-2]`, `order[-3]` and so on, or open the gallery and sort it by score. A caption with a
# low score is not always wrong: it can be correct but short, or mention what no reference mentions.
# </details>
#
# 2. *Modify*: A common confidence is the first signal alone: the geometric mean of the
#    probabilities of the caption's tokens, where EOS counts as one. Does it predict the score, and
#    is it calibrated? Before you run it: is it too high or too low?
#
# <details><summary>Hint</summary>
#
# `predictions["log_probs"]` has the log-probability of each caption, EOS included. The geometric
# mean of $n$ probabilities is $\exp(\frac{1}{n} \log p)$.
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# lengths = np.array([len(tokenize(text)) for text in predicted])
# mean_probability = np.exp(predictions["log_probs"] / (lengths + 1))
# by_probability = np.argsort(-mean_probability, kind="stable")
# half = len(order) // 2
# probable_score = scores[by_probability[:half]].mean()
# other_score = scores[by_probability[half:]].mean()
# print(f"CIDEr-D: more probable half {probable_score:.2f}, other half {other_score:.2f}")
# both = {"this captioner": (mean_probability, good)}
# if pretrained:
#     log_prob_per_token = pretrained_fit["validation_signals"][:, 0]
#     both["pretrained"] = (np.exp(log_prob_per_token), pretrained_fit["validation_good"])
# for label, (values, is_good) in both.items():
#     error = expected_calibration_error(values, is_good)
#     print(f"{label}: mean {values.mean():.0%}, good {is_good.mean():.0%}")
#     print(f"  ECE {error:.2f}, AUC {roc_auc(values, is_good):.2f}")
# assert probable_score > other_score
# ```
#
# It does predict the score: if captions with a low value are left to a person, fewer errors remain.
# But it is no probability of a good caption. On the drawn sample it happens to be near the fraction
# of good ones. For the pretrained captioner it is 39 % on average, where 72 % are good: many
# sentences describe a photo, so each of them has tokens of low probability, even if all are good.
# Logistic regression turns signals into a probability of a good caption. With this signal alone it
# would not change the order of the captions; with PMI as a second one it does.
# </details>
#
# 3. *Implement*: Compute the mean row of the attention for each word, where 1 is the top row of the
#    grid. Before you run it: which words will be high in the image, and which low?
#
# <details><summary>Hint</summary>
#
# Reshape the weights of a word to `(side, side)` and sum over the columns: that gives the weight of
# each row. The mean row is the sum of weight times row number.
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# heights = {}
# if has_attention:
#     row_numbers = np.arange(1, side + 1)
#     for text, weights in zip(predicted, predictions["attention_weights"], strict=True):
#         row_weights = weights.astype("float32").reshape(-1, side, side).sum(axis=2)
#         for word, height in zip(tokenize(text), row_weights @ row_numbers, strict=False):
#             heights.setdefault(word, []).append(height)
# mean_heights = {word: np.mean(values) for word, values in heights.items() if len(values) >= 10}
# mean_heights = pd.Series(mean_heights, dtype=float).sort_values().round(1)
# print(pd.concat([mean_heights.head(6), mean_heights.tail(6)]).to_string())
# if config.preset == "sample" and has_attention:
#     assert mean_heights["night"] < mean_heights["sleeping"]
# ```
#
# Nobody has annotated where the sky is. On drawn scenes the model has learned from captions alone
# that *night* and *rain* depend on the upper rows, and *sleeping* or *ball* on the lower ones.
# Words such as *a* and *the* occur everywhere: their mean is near the middle.
# </details>
#
# 4. *Extend*: Write a web page of your own photos with alt text, for screen readers. Before you
#    look: for which of them will the confidence be low?
#
# <details><summary>Hint</summary>
#
# An image in HTML is `<img src="..." alt="...">`. Captions are data: escape them with
# `html.escape`, so that no character of them becomes markup.
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# from html import escape
#
# tags = []
# for path, row in zip(my_photos, my_captions, strict=True):
#     alt = escape(alt_text(row))
#     source = path.resolve().as_uri()
#     tags.append(f'<p><img src="{source}" alt="{alt}" width="300"><br>{alt}</p>')
# my_page = working_folder(config) / "my_photos.html"
# my_page.write_text("<meta charset='utf-8'>\n" + "\n".join(tags), encoding="utf-8")
# print(f"open {my_page}", *[alt_text(row) for row in my_captions], sep="\n")
# assert my_page.read_text(encoding="utf-8").count("alt=") == len(my_photos)
# ```
#
# For real photos, put your images into `data/my_photos`, run this notebook again, and use the
# captions of `Captioner.pretrained()`, or train on photos like yours (`make run DATA=folder`, or on
# Kaggle). Check the captions before you publish them.
# </details>
#
# *Next*: the [README](../README.md) explains how to train on photos.
#
# ## Where to go from here
#
# The captioner of this series is small, so that you could build all of it. Larger ones keep its
# parts, an encoder, a decoder with attention, and cross-entropy, and change how they are made.
#
# - **Transformers.** [Attention Is All You Need](https://arxiv.org/abs/1706.03762) replaces the
#   LSTM: each token attends to all previous tokens with the same
#   $\text{softmax}(QK^\top / \sqrt{d})\,V$ that attends to the cells here.
#   Keras has a [captioner with a transformer](https://keras.io/examples/vision/image_captioning/),
#   TensorFlow [another one](https://www.tensorflow.org/text/tutorials/image_captioning).
# - **CLIP.** [Radford et al. 2021](https://arxiv.org/abs/2103.00020) train an image encoder and a
#   text encoder on 400 million pairs, such that matching pairs have a high cosine similarity.
#   Search needs no decoder then, and the encoder knows far more than the classes of ImageNet.
# - **BLIP.** [Li et al. 2022](https://arxiv.org/abs/2201.12086) train captioning and retrieval
#   together, and clean the training captions with their own model.
#   [BLIP-2](https://arxiv.org/abs/2301.12597) connects a frozen encoder to a frozen language model.
#   Both are in [transformers](https://huggingface.co/docs/transformers/tasks/image_captioning).
# - **keras-hub.** [KerasHub](https://keras.io/keras_hub/) has pretrained models for Keras, among
#   them [PaliGemma](https://keras.io/keras_hub/api/models/pali_gemma/), which captions photos and
#   answers questions about them.
# - **Better scores.** [SPICE](https://arxiv.org/abs/1607.08822) compares objects, attributes and
#   relations, as *What went wrong* does with words; [CLIPScore](https://arxiv.org/abs/2104.08718)
#   needs no references.
#
# ## Further reading
#
# - [Show, Attend and Tell](https://arxiv.org/abs/1502.03044) (Xu et al. 2015): the first attention
#   maps of captions, and where they fail.
# - [Attention is not Explanation](https://arxiv.org/abs/1902.10186) (Jain and Wallace 2019), and
#   the answer, [Attention is not not Explanation](https://arxiv.org/abs/1908.04626) (Wiegreffe
#   et al. 2019).
# - [On Calibration of Modern Neural Networks](https://arxiv.org/abs/1706.04599) (Guo et al. 2017).
# - [Object Hallucination in Image Captioning](https://arxiv.org/abs/1809.02156) (Rohrbach et al.
#   2018): captions that mention what is not there.

# %% [markdown]
# ## Glossary
#
# The main terms of the five notebooks, with the number of the notebook that introduces each.
#
# - **AdamW** (3): an optimizer that adapts the step of each weight, with weight decay apart from
#   the gradient.
# - **alt text** (5): the sentence that a screen reader reads aloud in place of an image.
# - **artifact** (1): a file that one notebook saves and another one loads, with a record of the
#   settings and the parents that it was made from.
# - **attention** (3): computing, for each token, a weight for every grid cell, and the weighted sum
#   of the cells' values.
# - **attention weights** (3): for one token, a weight per grid cell; they sum to 1 over the cells.
# - **AUC** (5): the area under the ROC curve, the probability that a random good caption has a
#   higher confidence than a random one that is not good.
# - **autoregressive** (3): generating each token from all tokens before it.
# - **batch** (2): several examples that a network processes at once, as one array.
# - **batch normalization** (3): a layer that scales each channel by its mean and variance; frozen
#   while fine-tuning.
# - **beam search** (4): decoding that keeps the few most probable prefixes at each step.
# - **BLEU** (4): the geometric mean of the n-gram precisions of a caption, times the brevity
#   penalty.
# - **bootstrap** (4): resampling the photos many times to see how much a score varies.
# - **BOS** (2): the token that begins each sequence.
# - **brevity penalty** (4): the factor by which BLEU lowers captions shorter than their references.
# - **bucketing** (3): batches of captions of similar length, so that there is little padding.
# - **calibration** (5): agreement of confidence and frequency; of all captions with a confidence of
#   80 %, 80 % are good.
# - **cell state** (3): the long-term memory of an LSTM, which its gates erase and write.
# - **channel** (1): one component of the feature vector of each grid cell.
# - **CIDEr-D** (4): the similarity of the TF-IDF-weighted n-grams of a caption and its references,
#   from 0 to 10.
# - **classification head** (1): the last layers of a CNN, from features to class scores; a
#   captioner removes them.
# - **confidence** (5): the estimated probability that a caption is good.
# - **confidence interval** (4): here the range of the middle 95 % of the scores of resampled
#   photos; how much a score depends on which photos were drawn.
# - **context vector** (3): the mean of the values, weighted by the attention weights.
# - **convolution** (1): sliding a kernel over an image; each output is a weighted sum of a small
#   region.
# - **cosine similarity** (1): the dot product of two vectors divided by their lengths.
# - **cross-entropy** (3): the mean negative log-probability of the correct tokens; the training
#   loss.
# - **cross-validation** (5): fitting on some parts of the data, measuring on the part left out, for
#   each part in turn.
# - **data leakage** (2): information from validation or test data that reaches the training.
# - **decoder** (1): the network that generates a caption from features, token by token.
# - **document frequency** (4): the number of photos whose references contain an n-gram.
# - **dropout** (3): sets activations to zero at random during training, against overfitting.
# - **early stopping** (3): ends training when the validation score no longer improves.
# - **embedding** (3): a learned vector for each token of the vocabulary.
# - **encoder** (1): the network that turns an image into features.
# - **ensemble** (3): several models whose probabilities are averaged.
# - **EOS** (2): the token that ends each sequence.
# - **expected calibration error** (5): the mean absolute difference between confidence and fraction
#   of good captions.
# - **exponential moving average** (3): EMA, a running mean of the weights during training;
#   evaluated in their place.
# - **exposure bias** (3): in training the decoder only sees references, in decoding its own tokens
#   and errors.
# - **familiarity** (5): 1 for a photo as near to training photos as most validation photos are, and
#   less for a farther one.
# - **feature map** (1): one channel of all grid cells, seen as an image.
# - **fine-tuning** (3): training the last blocks of a pretrained encoder further, at a low learning
#   rate.
# - **fingerprint** (1): a hash of the contents of an artifact, which changes if they do.
# - **float16** (1): half precision, numbers of 16 bits; half the memory of float32.
# - **forget gate** (3): how much of the cell state an LSTM keeps, from 0 to 1.
# - **global average pooling** (1): the mean of each feature map, one vector for the whole image.
# - **gradient** (3): the derivative of the loss with respect to each weight; training steps against
#   it.
# - **gradient clipping** (3): scales a gradient down whose norm exceeds a limit.
# - **greedy search** (3): decoding that takes the most probable token at each step.
# - **grid cell** (1): one position of the feature maps; it describes a region of the image by a
#   feature vector.
# - **hidden state** (3): the output of an LSTM at one step, from which the next token is predicted.
# - **input gate** (3): how much of the new candidate an LSTM writes into the cell state.
# - **kernel** (1): the small array of weights of a convolution.
# - **key** (3): the vector of a grid cell that is compared with the query.
# - **label smoothing** (3): a target of slightly less than 1 for the correct token; the rest is
#   spread evenly over all tokens of the vocabulary.
# - **language model** (2): a model of the probability of the next token, given those before it.
# - **length penalty** (4): the exponent of the length by which beam search divides
#   log-probabilities, so that it does not favor short captions.
# - **logistic regression** (5): a weighted sum of inputs through the logistic function, as the
#   estimate of a probability.
# - **logits** (1): the scores before the softmax.
# - **LSTM** (3): a recurrent network whose gates decide what it keeps.
# - **mask** (2): ones for tokens and zeros for padding, so that padding doesn't count.
# - **METEOR** (4): a score that also matches word stems and, with WordNet, synonyms.
# - **n-gram** (4): n tokens in a row.
# - **nat** (3): the unit of cross-entropy with natural logarithms.
# - **out-of-distribution** (5): unlike anything in training.
# - **out-of-vocabulary rate** (2): the fraction of tokens that the vocabulary lacks.
# - **output gate** (3): how much of the cell state an LSTM shows as its hidden state.
# - **overfitting** (3): a training loss that falls while validation gets worse.
# - **p-value** (4): small if a difference as large as this would rarely occur by chance.
# - **padding** (2): PAD tokens after short captions, so that all rows of a batch have equal
#   lengths.
# - **paired test** (4): compares two systems photo by photo, on the same photos.
# - **perplexity** (3): the exponential of the cross-entropy; as if choosing among that many tokens
#   at random.
# - **pointwise mutual information** (4): PMI, the logarithm of how many times more probable a
#   sentence is with this photo than without it.
# - **prefix** (2): the first tokens of a sequence.
# - **query** (3): what the decoder looks for; it is compared with all keys.
# - **receptive field** (1): the region of the image that an activation depends on.
# - **reliability diagram** (5): the fraction of good captions against the confidence, bin by bin.
# - **ReLU** (1): rectified linear unit, which sets negative values to 0.
# - **retrieval** (4): finding the photo for a sentence, or the sentence for a photo.
# - **ROUGE-L** (4): a score from the longest common subsequence of tokens.
# - **SCST** (3): self-critical sequence training, which maximizes CIDEr-D; sampled captions with a
#   higher score than the mean of the photo's other samples become more likely.
# - **selective prediction** (5): publishing confident captions only, and leaving the others to a
#   person.
# - **softmax** (1): turns logits into probabilities that sum to 1.
# - **special tokens** (2): PAD, BOS, EOS and UNK, which are not words.
# - **stride** (1): by how many positions a kernel moves from one output to the next.
# - **target** (2): the token that the decoder should predict, which is the next one.
# - **teacher forcing** (3): in training, the decoder's input is the reference, not what it has
#   generated.
# - **TF-IDF** (4): the frequency of an n-gram in a caption, times a weight that is high for rare
#   n-grams.
# - **token** (2): a word or character, the unit that a captioner generates.
# - **transfer learning** (1): reusing a network that was trained for another task.
# - **trigram** (4): three tokens in a row.
# - **UNK** (2): the token for all words that the vocabulary lacks.
# - **value** (3): the vector of a grid cell that goes into the context vector.
# - **vocabulary** (2): all tokens that a captioner knows.
# - **warm-up** (3): the first training steps, in which the learning rate rises from a tenth
#   of its maximum to the maximum.
# - **weight decay** (3): pulling all weights slightly toward 0 in each step, against overfitting.
# - **weight tying** (3): one matrix for the embedding and for the output layer.
# - **Zipf's law** (2): the frequency of a word is roughly inversely proportional to its rank.
