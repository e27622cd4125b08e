# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # See what it sees
#
# *Notebook 5 of 5 · before: [4 Measure what it writes](04_evaluate.ipynb) · after: your own photos*
#
# A table of scores says how good a captioner is on the whole. It does not say what it is good
# *at*. Here we look: at its best and its worst captions, chosen by a rule and not by taste, and at
# the places in the picture where it looked when it wrote each word. It ends with a page,
# `gallery.html`, of all photos with their captions, and with captions for photos of your own.
#
# **You will**
# - read the best, the middle and the worst captions beside what people said, and see which words
#   go wrong;
# - see where in the picture the network looked, word by word;
# - find photos by a sentence, and caption photos that nobody has described.
#
# **You need** the predictions of notebook 4. Minutes: less than 1. TensorFlow is only started for
# your own photos.
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
# Nothing is trained here; the settings only say which run to look at.

# %% tags=["parameters"]
config = load_config(detect_preset())
print(summarize(config, "preset", "encoder", "captioner"))

# %% [markdown]
# What notebook 4 wrote down: the captions, their scores, and where the network looked.

# %%
predictions = artifacts.load("predictions", config)
captions = artifacts.load("captions", config)["captions"]
names, predicted, scores = (predictions[key] for key in ("names", "captions", "CIDEr-D"))
print(f"{len(names):,} captions for the {predictions['split']} split")

# %% [markdown]
# ## The best, the middle, the worst
#
# It is easy to fool oneself with nice examples. So a rule chooses: sort by score, take both ends
# and the middle. **By hand**, the places in the sorted list:

# %%
order = np.argsort(-scores, kind="stable")
each = max(1, min(3, len(order) // 3))
middle = (len(order) - each) // 2
chosen = {"best": order[:each], "worst": order[-each:]}
chosen["middle"] = order[middle : middle + each]
assert scores[chosen["best"]].min() >= scores[chosen["middle"]].max()
assert scores[chosen["middle"]].min() >= scores[chosen["worst"]].max()

# %% [markdown]
# How sure was the captioner of each? The probability of a whole caption falls with every word, so
# we take the mean per word (the geometric one); the end of the caption counts as a word.

# %%
lengths = np.array([len(text.split()) for text in predicted])
sure = np.exp(predictions["log_probability"] / (lengths + 1))
by_sureness = np.argsort(-sure, kind="stable")
chosen |= {"surest": by_sureness[:1], "least sure": by_sureness[-1:]}

# %% [markdown]
# Now the photos, with what people said of them. Above each photo, in blue, what the captioner
# wrote; below it what people said, two of them or all.

# %%
from utils.data.photos import find_photos
from utils.paths import working_folder
from utils.plotting.figures import show_captioned

photos = find_photos(config)
paths = [photos.paths[name] for name in names]
references = [captions[name] for name in names]
notes = [
    f"CIDEr-D {score:.2f}, {share:.0%} sure" for score, share in zip(scores, sure, strict=True)
]


# %% [markdown]
# The best: what do they share with what people said?


# %%
def show(rows, people=2, notes=notes):
    """The photos of these rows in one line, with their captions, references and notes."""
    columns = [[column[row] for row in rows] for column in (paths, predicted, references, notes)]
    return show_captioned(*columns, columns=len(rows), people=people)


show(chosen["best"]).savefig(working_folder(config) / "best.png", dpi=110)

# %% [markdown]
# Now the middle. Which of these are right, but in words of their own, which costs points, and which
# are wrong?

# %%
_ = show(chosen["middle"])

# %% [markdown]
# The worst, with all that people said: is the caption wrong, too vague, too short, or did it only
# choose what nobody mentioned? A low score can mean any of these, and only looking tells.

# %%
_ = show(chosen["worst"], people=None)

# %% [markdown]
# Last the rule that asks the captioner itself: the one that it is surest of, then the one that it
# is least sure of. Does it know when it does not know?

# %%
_ = show(np.concatenate([chosen["surest"], chosen["least sure"]]))

# %% [markdown]
# Would another score than CIDEr-D have chosen others? Each dot is a photo's caption, by BLEU-2
# (words and pairs: a single caption often shares no run of four words with anybody) and by CIDEr-D.
# **By hand**: rank all by both, and mark the two whose ranks are furthest apart.

# %%
from utils.evaluation.metrics import bleu
from utils.plotting.figures import plot_score_scatter

bleu_2 = bleu(predicted, references)[1][:, 1]
apart = pd.Series(bleu_2).rank() - pd.Series(scores).rank()
subsets = {"ahead by BLEU-2": int(apart.idxmax()), "ahead by CIDEr-D": int(apart.idxmin())}
_ = plot_score_scatter(bleu_2, scores, ("BLEU-2", "CIDEr-D"), subsets)

# %% [markdown]
# Dots along one line would mean that it does not matter whom you ask. At the right edge every pair
# of words was said by somebody: BLEU-2 can't tell those captions apart any more, CIDEr-D can. Here
# are the marked two, the one that BLEU-2 puts higher first, with all that people said. For BLEU-2 a
# hit in any one reference is enough, and all words count alike; CIDEr-D is the mean over all
# references, and counts mostly the telling words.

# %%
both = [f"BLEU-2 {two:.2f}, CIDEr-D {score:.2f}" for two, score in zip(bleu_2, scores, strict=True)]
_ = show(list(subsets.values()), people=None, notes=both)

# %% [markdown]
# ## What it says and what it misses
#
# Words that at least three of the five people used for a photo can hardly be left out. **By hand**:
# how often did the captioner say them, too?

# %%
from collections import Counter

from utils.data.tokenizer import tokenize

said, missed = Counter(), Counter()
for caption, group in zip(predicted, references, strict=True):
    people = Counter(word for text in group for word in set(tokenize(text)))
    agreed = {word for word, count in people.items() if count >= 3}
    said.update(agreed & set(caption.split()))
    missed.update(agreed - set(caption.split()))

# %% [markdown]
# Of words agreed on for at least five photos, those that it is worst at, and five of the best:

# %% tags=["nbval-ignore-output"]
table = pd.DataFrame({"said": said, "missed": missed}).fillna(0).astype(int)
table["share said"] = (table["said"] / (table["said"] + table["missed"])).round(2)
often = table[table["said"] + table["missed"] >= 5].sort_values("share said", kind="stable")
pd.concat([often.head(5), often[5:].tail(5)])

# %% [markdown]
# Read the upper rows with the photos in mind. Has the word an equal ("a pair of" for "two")? Was it
# left out, as clothes often are, or taken for something else? (Notebook 4 counts by kind of word,
# and lets such equals count.)
#
# Does a caption's length matter? A longer one says more, right or wrong. The dark line is a 95 %
# interval, rough where captions are few: the mean, and 1.96 of its standard errors to either side.

# %%
from utils.plotting.figures import plot_bars

groups = pd.Series(scores).groupby(lengths // 3 * 3)
low, high = (groups.mean() + side * groups.sem().fillna(0) for side in (-1.96, 1.96))
title = {n: f"{n} to {n + 2} words, {many} captions" for n, many in groups.size().items()}
spread = {title[start]: (low[start], high[start]) for start in low.index}
_ = plot_bars(groups.mean().rename(title).to_dict(), "CIDEr-D by length of the caption", spread)

# %% [markdown]
# ## Where it looked
#
# The attention of notebook 3 is a share for every cell of the grid, one row a word. **By hand**
# for the best caption: each row sums to 1, and the largest share says where the network looked
# most. A captioner without attention has no such rows.

# %% tags=["nbval-ignore-output"]
best = int(order[0])
words = predicted[best].split()
attention = predictions["attention"][best, : len(words)].astype("float32")
attends = attention.shape[1] > 0
if attends:
    side = int(attention.shape[1] ** 0.5)
    assert np.allclose(attention.sum(axis=1), 1, atol=0.01)
    places = np.stack(np.divmod(attention.argmax(axis=1), side), axis=1) + 1
    print(pd.DataFrame(places, index=words, columns=["row", "column"]))

# %% [markdown]
# **By name**: the picture, then once a word, dark and grey where the network did not look. Each one
# is as clear as its own largest share, so a vague look and a sharp one both show.

# %%
from utils.plotting.figures import load_thumbnail, show_attention

if attends:
    _ = show_attention(load_thumbnail(paths[best]), words, attention)
else:
    print("This captioner looks at the mean of all cells: there is nothing to draw.")

# %% [markdown]
# Don't read more into it than there is. A cell's description comes from a CNN that has mixed in its
# surroundings, so the network can learn about a ball from the cell beside it.
#
# ## Your own photos
#
# Put pictures into the folder `data/my_photos` of the repository and run this again. If there are
# none, three fresh scenes are drawn that nothing has seen. A captioner knows only what it was
# trained on: one of drawn scenes sees cartoons in your photos, one of photos is lost before a
# cartoon.

# %%
from utils.data.photos import MY_PHOTOS_DIR, is_image
from utils.sample.painter import paint
from utils.sample.scenes import sample_scenes

mine = sorted(filter(is_image, MY_PHOTOS_DIR.glob("*")))[:8]
if not mine:
    fresh = working_folder(config) / "fresh"
    fresh.mkdir(exist_ok=True)
    for number, scene in enumerate(sample_scenes(3, seed=20), 1):
        paint(scene).save(fresh / f"fresh_{number}.jpg")
    mine = sorted(fresh.glob("fresh_*.jpg"))

# %% [markdown]
# `Captioner` is the whole chain as one thing: CNN, vocabulary, network and search, read from the
# artifacts with the settings that they were made with, and with a check that they belong together.
# It takes paths, arrays and Pillow images. Of photos that it has captioned before it says the same
# again:

# %% tags=["nbval-ignore-output"]
from utils.inference import Captioner

captioner = Captioner.load(working_folder(config))
again = [row["caption"] for row in captioner(paths[:8])]
same = sum(one == other for one, other in zip(again, predicted[:8], strict=True))
print(f"{same} of {len(again)} captions are those of notebook 4")

# %% [markdown]
# Nobody has described these. A caption makes a good first draft of an *alt text*, the sentence that
# a screen reader speaks in place of a picture: `alt_text` makes a sentence of it, which begins with
# *Possibly* where the captioner gave its words less than 25 % each in the mean, which in drawn
# scenes hardly happens. Below, its sureness of each. A person should read it before it is
# published, as a wrong one can be worse than none.

# %%
from utils.inference import alt_text
from utils.plotting.figures import show_photos

own = captioner(mine)
assert all(0 < row["probability"] <= 1 for row in own)
counted = [len(row["caption"].split()) + 1 for row in own]
certain = [row["probability"] ** (1 / count) for row, count in zip(own, counted, strict=True)]
titles = [f"{alt_text(row)} ({share:.0%})" for row, share in zip(own, certain, strict=True)]
_ = show_photos(mine, titles)

# %% [markdown]
# ## Find a photo by a sentence
#
# As in notebook 4: the photo for which the sentence is likeliest is the answer. **By hand**, for
# the first photo: the probability of each word of the wish, given the words before it, and their
# mean.

# %% tags=["nbval-ignore-output"]
wish = "three ducks are running on the beach"
numbers = captioner.tokenizer.encode([wish])
(cells,) = captioner.extract_features(mine[:1])
logits = np.asarray(captioner.model([cells, numbers[:, :-1]]))[0]
logs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
by_hand = np.exp(np.mean([logs[step, word] for step, word in enumerate(numbers[0, 1:]) if word]))
print(f"{by_hand:.2%} a word")

# %% [markdown]
# **By name**: `find`, for all of them, the best first. It keeps what the CNN has seen in the
# working folder, so the next wish is answered sooner. Change the wish, and see what it finds.

# %% tags=["nbval-ignore-output"]
found = captioner.search(wish, mine)
assert np.isclose(dict(map(reversed, found))[str(mine[0])], by_hand, rtol=0.02)
for score, path in found:
    print(f"{score:.2%} a word for {Path(path).name}")
_ = show_photos([found[0][1]], [wish])

# %% [markdown]
# The same from a terminal, for a folder of any size: `python -m utils caption FOLDER --alt` and
# `python -m utils find "a dog in the snow" FOLDER`.
#
# ## Save
#
# One page with all photos of the split: it opens in any browser, from disk, and asks nothing of
# the network. Move the slider under a photo, or point at a word, to see where the network looked.

# %%
from utils.plotting.gallery import write_gallery

page = working_folder(config) / "gallery.html"
looks = [rows[:length] for rows, length in zip(predictions["attention"], lengths, strict=True)]
columns = zip(paths, predicted, references, scores, sure, looks, strict=True)
keys = ("path", "caption", "references", "score", "sure", "attention")
cards = [dict(zip(keys, row, strict=True)) for row in columns]
write_gallery(page, cards, "What the captioner wrote", predictions["protocol"])
print(f"{page.name}: {len(cards):,} photos")

# %% [markdown]
# ## What you have seen
#
# - The best, the middle and the worst captions, chosen by a rule: low scores are not always wrong
#   captions, and some words go wrong more often than others.
# - Attention shows roughly where the network looked, word by word.
# - A captioner finds photos by a sentence, and describes photos that nobody has described.
#
# **Try it.** A *Look* changes a number, a *Change* needs a few lines, a *Build* a dozen, and
# *Beyond* leads out of this series. Say what you expect before you run anything. An answer's code
# goes into a new cell below, once all cells above have run. It is written for the drawn sample; on
# photos its numbers differ.
#
# 1. *Look*: Where did it look when it wrote its worst caption? Before you run it: guess whether it
#    looked at the wrong place, or named the right place wrongly.
#
# <details><summary>An answer</summary>
#
# ```python
# worst = int(order[-1])
# words = predicted[worst].split()
# print(predicted[worst], *references[worst], sep="\n  ")
# assert scores[worst] == scores.min()
# if attends:
#     looked = predictions["attention"][worst, : len(words)].astype("float32")
#     _ = show_attention(small_photo(paths[worst]), words, looked)
# ```
#
# Take `order[-2]`, `order[-3]` and so on, or open the gallery and sort it by the worst score. A low
# score is not always a wrong caption: it can be true but short, or tell what nobody mentioned.
# </details>
#
# 2. *Change*: Does it know when it does not know? Score the half of the captions that it is surest
#    of, and the other half. Before you run it: how large will the difference be?
#
# <details><summary>An answer</summary>
#
# ```python
# half = len(order) // 2
# surer, others = scores[by_sureness[:half]].mean(), scores[by_sureness[half:]].mean()
# print(f"CIDEr-D {surer:.2f} where it is sure, {others:.2f} where it is not")
# print(f"correlation {np.corrcoef(sure, scores)[0, 1]:.2f}")
# assert surer > others
# ```
#
# It knows, roughly. That is worth something in use: a captioner that leaves its least sure captions
# to a person makes fewer mistakes. `alt_text` says *Possibly* for that reason.
# </details>
#
# 3. *Build*: Measure how high it looks for each word: the mean row of its attention, 1 at the top.
#    Before you run it: which words will it look up for, and which down?
#
# <details><summary>An answer</summary>
#
# ```python
# heights = {}
# for text, look in zip(predicted, predictions["attention"] if attends else (), strict=False):
#     by_row = look.astype("float32").reshape(-1, side, side).sum(axis=2)
#     for word, height in zip(text.split(), by_row @ np.arange(1, side + 1), strict=False):
#         heights.setdefault(word, []).append(height)
# usual = {word: np.mean(found) for word, found in heights.items() if len(found) >= 10}
# usual = pd.Series(usual, dtype=float).sort_values().round(1)
# print(pd.concat([usual.head(6), usual.tail(6)]).to_string())
# assert settings.preset != "sample" or not attends or usual["night"] < usual["sleeping"]
# ```
#
# Nobody told it where the sky is. In drawn scenes it found out that *night* and *rain* are decided
# in the upper rows, and *sleeping* or *ball* in the lower ones, from sentences alone. Words such as
# *a* and *of* come from anywhere: their mean lies near the middle.
# </details>
#
# 4. *Beyond*: Give your own photos alt text: a page on which a screen reader has something to say.
#    Before you look: which of them will it be unsure of?
#
# <details><summary>An answer</summary>
#
# ```python
# from html import escape
#
# tags = []
# for path, row in zip(mine, own, strict=True):
#     alt = escape(alt_text(row))
#     source = path.resolve().as_uri()
#     tags.append(f'<p><img src="{source}" alt="{alt}" width="300"><br>{alt}</p>')
# page_of_mine = working_folder(settings) / "my_photos.html"
# page_of_mine.write_text("<meta charset='utf-8'>\n" + "\n".join(tags), encoding="utf-8")
# print(f"open {page_of_mine}", *[alt_text(row) for row in own], sep="\n")
# assert page_of_mine.read_text(encoding="utf-8").count("alt=") == len(mine)
# ```
#
# For real photos the captioner must have learnt from photos: train it on Flickr8k (`make run
# DATA=folder`, or on Kaggle), put your pictures into `data/my_photos`, and run this notebook again.
# Read what it says before you publish it.
# </details>
#
# *Next*: the README tells how to train on photos.
