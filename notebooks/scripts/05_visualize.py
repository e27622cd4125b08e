# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
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
# - read the best, the middle and the worst captions beside what people said;
# - see where in the picture the network looked, word by word;
# - search photos by a sentence, and caption photos that nobody has described.
#
# **You need** the predictions of notebook 4. Minutes: less than 1. TensorFlow is only started for
# the last section.
#
# ## Setup
#
# The same cell opens all five notebooks: it finds the package `utils` that they share.

# %%
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no C++ notes: errors come as exceptions
folders = [Path.cwd(), *Path.cwd().parents]
folders += [path.parents[1] for path in Path("/kaggle/input").rglob("utils/store.py")]
home = next((folder for folder in folders if (folder / "utils" / "store.py").is_file()), None)
if home is None:
    raise SystemExit("No folder utils here: clone the repository, or attach it on Kaggle.")
sys.path.insert(0, str(home))

import numpy as np
import pandas as pd

from utils import store
from utils.settings import describe, load_settings

# %% [markdown]
# Nothing is trained here; the settings only say which run to look at.

# %% tags=["parameters"]
settings = load_settings()
print(describe(settings, "preset", "encoder", "captioner"))

# %% [markdown]
# What notebook 4 wrote down: the captions, their scores, and where the network looked.

# %%
predictions = store.load("predictions", settings)
captions = store.load("captions", settings)["captions"]
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

# %% [markdown]
# Is that what it says?

# %%
assert scores[chosen["best"]].min() >= scores[chosen["middle"]].max()
assert scores[chosen["middle"]].min() >= scores[chosen["worst"]].max()
print(f"{each} best, {each} from the middle, {each} worst of {len(order):,}")

# %% [markdown]
# Now the photos, with what people said of them.

# %%
from utils.photos import find_photos
from utils.settings import working_folder
from utils.visualize import show_captioned, show_photos

photos = find_photos(settings)
paths = [photos.paths[name] for name in names]
references = [captions[name] for name in names]

# %% [markdown]
# Above each photo, in blue, what the captioner wrote; below it what two of the people said.


# %%
def show(rows):
    """The photos of these rows with their captions, references and scores."""
    columns = [[column[row] for row in rows] for column in (paths, predicted, references, scores)]
    return show_captioned(*columns)


show(chosen["best"]).savefig(working_folder(settings) / "best.png", dpi=110)

# %% [markdown]
# Compare: what do the best ones share with what people said?

# %%
_ = show(chosen["middle"])

# %% [markdown]
# Now the middle. Which of these are right, but in words of their own, which costs points, and which
# are wrong?

# %%
_ = show(chosen["worst"])

# %% [markdown]
# The worst ones: is the caption wrong, or did it only choose what nobody mentioned? A low score
# can mean either, and only looking tells.
#
# ## What it says and what it misses
#
# Words that at least three of the five people used for a photo can hardly be left out. **By hand**:
# how often did the captioner say them, too?

# %%
from collections import Counter

from utils.text import words_of

said, missed = Counter(), Counter()
for caption, group in zip(predicted, references, strict=True):
    people = Counter(word for text in group for word in set(words_of(text)))
    agreed = {word for word, count in people.items() if count >= 3}
    said.update(agreed & set(caption.split()))
    missed.update(agreed - set(caption.split()))

# %% [markdown]
# Of words agreed on for at least five photos, those that it is worst at, and those it is best at:

# %% tags=["nbval-ignore-output"]
table = pd.DataFrame({"said": said, "missed": missed}).fillna(0).astype(int)
table["share said"] = (table["said"] / (table["said"] + table["missed"])).round(2)
table = table[table["said"] + table["missed"] >= 5].sort_values("share said", kind="stable")
pd.concat([table.head(5), table.tail(5)])

# %% [markdown]
# Read the upper rows with the photos in mind. Is it a word that has an equal ("a pair of" for
# "two")? Something hard to count? Something too small for the cells of the grid?
#
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
# **By name**: the picture once a word, dark where the network did not look. Each one is as bright
# as its own largest share, so a vague look and a sharp one are both lit.

# %%
from utils.visualize import open_square, show_attention

if attends:
    _ = show_attention(open_square(paths[best]), words, attention)
else:
    print("This captioner looks at the mean of all cells: there is nothing to draw.")

# %% [markdown]
# Don't read more into it than there is. A cell's description comes from a CNN that has mixed in its
# surroundings, so the network can learn about a ball from the cell beside it.
#
# ## Find a photo by a sentence
#
# Captions make photos searchable, also photos that nobody has described. **By hand**: count the
# words that a wish and a caption share, each weighed by how few captions hold it.

# %%
held_by = Counter(word for caption in predicted for word in set(caption.split()))
rarity = {word: np.log(len(predicted) / count) for word, count in held_by.items()}


def fit(wish, caption):
    """How much of what the wish says the caption says, too."""
    return sum(rarity.get(word, 0) for word in set(words_of(wish)) & set(words_of(caption)))


# %% [markdown]
# The wish is what a person said of the middle photo; the search only sees the *written* captions.

# %%
target = int(order[middle])
wish = references[target][-1]
hits = sorted(range(len(names)), key=lambda row: -fit(wish, predicted[row]))
print(f"{wish!r}: its own photo is number {hits.index(target) + 1} of {len(hits)}")
hits = hits[:4]
_ = show_photos([paths[row] for row in hits], [predicted[row] for row in hits])

# %% [markdown]
# ## Your own photos
#
# Put pictures into the folder `data/my_photos` of the repository and run this again. If there are
# none, four fresh scenes are drawn that nothing has seen. A captioner knows only what it was
# trained on: one of drawn scenes sees cartoons in your photos, one of photos is lost before a
# cartoon.

# %%
from utils.photos import PICTURES
from world.paint import paint
from world.scenes import imagine

mine = sorted((home / "data" / "my_photos").glob("*"))
mine = [path for path in mine if path.suffix.lower() in PICTURES][:8]
if not mine:
    fresh = working_folder(settings) / "fresh"
    fresh.mkdir(exist_ok=True)
    for scene in imagine(4, seed=20):
        paint(scene).save(fresh / scene.name)
    mine = sorted(fresh.glob("*.jpg"))

# %% [markdown]
# `Captioner` is the whole chain as one thing: CNN, vocabulary, network and search, read from the
# artifacts, with a check that they belong together.

# %%
from utils.caption import Captioner

captioner = Captioner(settings)
own = captioner(mine)
assert all(0 < row["probability"] <= 1 and row["caption"] for row in own)

# %% [markdown]
# Nobody has described these. Judge for yourself:

# %%
_ = show_photos(mine, [row["caption"] for row in own])

# %% [markdown]
# A caption makes a good first draft of an *alt text*, the sentence that a screen reader speaks in
# place of a picture. A person should read it before it is published: a wrong one is worse than
# none.
#
# ## Save
#
# One page with all photos of the split: it opens in any browser, from disk, and asks nothing of
# the network.

# %%
from utils.visualize import write_gallery

page = working_folder(settings) / "gallery.html"
columns = zip(paths, predicted, references, scores, strict=True)
keys = ("path", "caption", "references", "score")
cards = [dict(zip(keys, row, strict=True)) for row in columns]
ranked = [cards[row] for row in order]
write_gallery(page, ranked, "What the captioner wrote", predictions["protocol"])
print(f"{page.name}: {len(cards):,} photos, best first")

# %% [markdown]
# ## What you have seen
#
# - The best, the middle and the worst captions, chosen by a rule: low scores are not always wrong
#   captions.
# - Attention shows roughly where the network looked, word by word.
# - Written captions make photos findable, and describe photos that nobody has described.
#
# **Try it**
#
# 1. Which captions is the captioner itself least sure of? Are they worse?
# <details><summary>An answer</summary>
#
# `sure = predictions["log_probability"] / np.array([len(text.split()) + 1 for text in predicted])`,
# per word, else the longest captions lead. Then `show(np.argsort(sure)[:3])`, and
# `np.corrcoef(sure, scores)` for all of them.
# </details>
#
# 2. Draw the attention of the worst caption. Did it look at the wrong place?
# <details><summary>An answer</summary>
#
# Set `best = int(order[-1])` in the attention cell and run it and the next.
# </details>
#
# 3. Caption a photo of your own with a captioner that knows photos.
# <details><summary>An answer</summary>
#
# Train on Flickr8k (`make run DATA=folder`, or on Kaggle), put your pictures into
# `data/my_photos`, and run this notebook again.
# </details>
#
# *Next*: the README tells how to train on photos.
