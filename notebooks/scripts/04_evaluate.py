# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Measure what it writes
#
# *Notebook 4 of 5 · before: [3 Teach a network to write](03_train.ipynb) · after:
# [5 See what it sees](05_visualize.ipynb)*
#
# The captioner gives probabilities; somebody must choose words from them. Then the sentence must
# be compared with what people said. Both steps hide traps: most captioning notebooks print scores
# that can't be compared with anything. This one ends with a table of
#
# *one blind guess for every photo* · *the captioner* · *one human against the others*.
#
# **You will**
# - write a caption word by word, greedily, then with several candidates side by side;
# - count BLEU-1 and CIDEr-D by hand for one caption, and see how they differ;
# - put the score into its place: what does a blind guess get, what a human?
#
# **You need** the captioner of notebook 3. Minutes on two cores: less than 1 for the drawn sample,
# about 1 for 1,000 photos.
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
# Two settings are used here: `beam_width`, the number of candidates that are kept side by side,
# and `length_power`, which decides how long sentences are compared with short ones.

# %% tags=["parameters"]
settings = load_settings()
print(describe(settings, "beam_width", "length_power"))

# %% [markdown]
# The captioner comes back as it was saved, with the vocabulary and the features that it knows.

# %%
from utils.captioners import from_dict
from utils.text import Tokenizer, words_of

features, captions = store.load("features", settings), store.load("captions", settings)
tokenizer = Tokenizer.from_dict(store.load("tokenizer", settings))
captioner = from_dict(store.load("captioner", settings), settings)
grid = store.load_grid(features, settings)

# %% [markdown]
# The photos to score are those of the test split, which nothing has seen so far. Where a data set
# comes without test photos, validation is scored, and called so.

# %%
split = "test" if captions["splits"]["test"] else "validation"
names = captions["splits"][split]
rows = np.array([features["names"].index(name) for name in names])
references = [captions["captions"][name] for name in names]
print(f"{len(names):,} photos of the {split} split; our example is now the first, {names[0]}")

# %% [markdown]
# ## Greedy, by hand
#
# Start with the start word. Ask for the next word's probabilities, take the likeliest, hand it
# back in, and so on until the likeliest word is the end. `start` looks at the picture; `step` takes
# one word and returns logits, the new state, and where it looked. `exp(logits - logaddexp)` is
# softmax. Some words are never written: padding, start and unknown.

# %%
from utils.captioners import NEVER_WRITTEN
from utils.text import END, START

state = captioner.start(grid[rows[:1]].astype("float32"))
word, greedy, table = START, [], []
while word != END and len(greedy) < settings.max_words:
    logits, state, _ = captioner.step(np.array([word]), state)
    chances = np.exp(logits[0] - np.logaddexp.reduce(logits[0]))
    chances[list(NEVER_WRITTEN)] = 0
    likeliest = np.argsort(chances)[::-1][:5]
    table.append([f"{tokenizer.words[n]} {chances[n]:.0%}" for n in likeliest])
    word = likeliest[0]
    greedy.append(word)

# %% [markdown]
# The five likeliest words at each step, the chosen one first. Where it is far ahead, the network is
# sure; else it hesitates, between words that mean the same or things that it can't tell apart.

# %% tags=["nbval-ignore-output"]
pd.DataFrame(table, columns=["chosen", "second", "third", "fourth", "fifth"])

# %% [markdown]
# **By name**: `write_captions` with `beam_width=1` does that for many photos at once. The loop over
# words is compiled together with the model, so nothing returns to Python between two words.

# %%
from utils.search import write_captions

by_name = write_captions(captioner, grid[rows[:1]], settings, beam_width=1, progress=False)
assert tokenizer.decode(by_name.words[0]) == tokenizer.decode(greedy)

# %% [markdown]
# ## Beam search, by hand
#
# Greedy can't go back: a likely first word may lead into an unlikely sentence. **Beam search**
# keeps a few beginnings. Each is continued with every word, and of all these the best few stay. A
# sentence's log-probability falls with each word, so it is divided by a power of its length.


# %%
def continued(beam):
    """The likeliest continuations of a beam (words, log-probability, state)."""
    words, score, state = beam
    logits, state, _ = captioner.step(np.array(words[-1:]), state)
    logs = logits[0].numpy() - np.logaddexp.reduce(logits[0])
    logs[list(NEVER_WRITTEN)] = -np.inf
    best = np.argsort(logs)[::-1][: settings.beam_width]
    return [([*words, int(word)], score + logs[word], state) for word in best]


def rank(beam):
    """What beams are compared by: log-probability per length."""
    return beam[1] / (len(beam[0]) - 1) ** settings.length_power


# %% [markdown]
# A finished beam stays as it is and competes with the others:

# %%
beams = [([START], 0.0, captioner.start(grid[rows[:1]].astype("float32")))]
for _ in range(settings.max_words):
    done = [beam for beam in beams if beam[0][-1] == END]
    more = [longer for beam in beams if beam[0][-1] != END for longer in continued(beam)]
    beams = sorted(done + more, key=rank, reverse=True)[: settings.beam_width]

# %% [markdown]
# **By name**, for the same photo, the winner is the same. Below it what else was in the race.

# %% tags=["nbval-ignore-output"]
for beam in beams:
    print(f"{rank(beam):6.2f}  {tokenizer.decode(beam[0])}")
by_name = write_captions(captioner, grid[rows[:1]], settings, progress=False)
assert tokenizer.decode(by_name.words[0]) == tokenizer.decode(beams[0][0])

# %% [markdown]
# Now for all photos of the split. A caption that has not ended after `max_words` words is cut.

# %%
written = write_captions(captioner, grid[rows], settings)
predicted = [tokenizer.decode(words) for words in written.words]
assert len(predicted) == len(names)
print(f"{len(predicted):,} captions")

# %% [markdown]
# ## BLEU, by hand
#
# BLEU asks: how many of the caption's words, and pairs of words, did some human use too? No word
# counts more often than in the reference that has it most: "a a a a" gets one hit, not four.

# %%
from collections import Counter

mine = Counter(words_of(predicted[0]))
most = Counter()
for reference in references[0]:
    most |= Counter(words_of(reference))  # the larger count of each word
hits = mine & most  # the smaller count of each word

# %% [markdown]
# The caption of the first photo, and what people said of it:

# %% tags=["nbval-ignore-output"]
print(f"{predicted[0]!r}: {hits.total()} of {mine.total()} words", *references[0], sep="\n  ")

# %% [markdown]
# That share is BLEU-1's precision. As a one-word caption would be right too easily, a caption
# shorter than the reference closest in length is marked down. BLEU-4 takes such shares for runs of
# one, two, three and four words and their geometric mean; BLEU-2 and 3 stop earlier. **By name**:

# %%
from utils.metrics import bleu

lengths = [len(words_of(reference)) for reference in references[0]]
closest = min(lengths, key=lambda length: (abs(length - mine.total()), length))
short = min(1, np.exp(1 - closest / max(1, mine.total())))
corpus, each = bleu(predicted, references)
assert np.isclose(each[0, 0], short * hits.total() / mine.total())

# %% [markdown]
# On a whole split the counts of all photos are added up before they are divided. nltk, which many
# notebooks use, must say the same of the same words.

# %%
from nltk.translate.bleu_score import corpus_bleu

said = [[words_of(reference) for reference in group] for group in references]
assert np.isclose(corpus[3], corpus_bleu(said, [words_of(text) for text in predicted]), atol=1e-3)
print("BLEU-1 by hand and by name agree, BLEU-4 with nltk's")

# %% [markdown]
# ## CIDEr-D: words that tell
#
# For BLEU, "a" is worth as much as "kite". CIDEr-D weighs a word by how *few* photos it was used
# for: the logarithm of all photos over those whose references hold it. What everybody says of
# every photo weighs nothing. The weights of the words of one reference:

# %%
from utils.metrics import cider_d, document_frequencies

frequencies, total = document_frequencies(references)
weights = {w: np.log(total / frequencies[(w,)]) for w in words_of(references[0][0])}
pd.DataFrame(weights.items(), columns=["word", "weight"]).round(2)

# %% [markdown]
# **By hand**: caption and reference are compared as two vectors are, by the cosine, for single
# words and runs of up to four, and the mean is taken times ten. The D is for two guards against
# cheating: no weight counts beyond the reference's own, and another length is marked down. 10 would
# mean: word for word what *every* person said. Even a copy of one of them stays far below. (Papers
# often print it times 100: our 0.5 is their 50.) **By name**: the last two lines.

# %%
from utils.metrics import ngrams

alike = []
for text in references[0]:
    gap = len(words_of(predicted[0])) - len(words_of(text))
    for order in (1, 2, 3, 4):
        ours, theirs = (
            {gram: n * np.log(total / max(1, frequencies[gram])) for gram, n in found.items()}
            for found in (ngrams(words_of(each), order) for each in (predicted[0], text))
        )
        shared = sum(min(ours[g], theirs[g]) * theirs[g] for g in ours.keys() & theirs.keys())
        sizes = np.linalg.norm(list(ours.values())) * np.linalg.norm(list(theirs.values()))
        alike.append(np.exp(-(gap**2) / 72) * shared / max(sizes, 1e-9))
own = cider_d(predicted, references)[1]
assert np.isclose(own[0], 10 * np.mean(alike))

# %% [markdown]
# ## What is a number worth?
#
# Beside the captioner: one **constant** caption for all photos (knowing the language, not the
# photo), the captioner shown **another photo**, and **one human** against the other four. A
# captioner that can't beat the first two has learnt to speak, not to see.

# %%
from utils.evaluate import constant_caption, one_human, protocol
from utils.metrics import score

train_captions = [c for name in captions["splits"]["train"] for c in captions["captions"][name]]
wrong = predicted[-1:] + predicted[:-1]  # what was written for the photo before
scores = {
    "constant caption": score([constant_caption(train_captions)] * len(names), references),
    "another photo": score(wrong, references),
    "captioner": score(predicted, references),
}
if min(len(group) for group in references) > 1:  # there must be others to compare one with
    scores["one human"] = one_human(references)

# %% [markdown]
# Under a table of scores belongs what was counted, and how.

# %% tags=["nbval-ignore-output"]
pd.DataFrame(scores).T.round(3)

# %%
rules = protocol(split, captions["split_source"], references, settings)
print(rules)

# %% [markdown]
# The same as a picture, for the score that leads:

# %%
from utils.visualize import plot_scores

cider = {who: row["CIDEr-D"] for who, row in scores.items()}
assert cider["captioner"] >= cider["another photo"]  # it has looked
_ = plot_scores(scores)

# %% [markdown]
# Look at BLEU-1 in the table: the constant caption gets a good part of it without seeing anything.
# That is why CIDEr-D leads here. And a human is not at 10, as people disagree. That is a yardstick,
# not a ceiling: a captioner that says what most would say can pass one person, who also has one
# reference fewer to agree with.
#
# ## Is it true?
#
# Scores compare words with words. Of drawn scenes we know the facts, so captions can be read back
# and checked: who, how many, which colour, doing what, with what, where. *Unseen* are photos whose
# combination of subject, colour and action was never shown in training. Photos have no such list;
# for them this section only says so.

# %%
from utils.settings import working_folder
from world.scenes import read_scenes
from world.voices import read, truth

world = working_folder(settings) / "world"
scenes = read_scenes(world) if settings.preset == "sample" else {}
unseen = set(captions["marked"].get("unseen", []))
parts = {"seen": [n for n in names if n not in unseen], "unseen": [n for n in names if n in unseen]}

# %% [markdown]
# `truth` reads each caption back and compares it with the scene.

# %% tags=["nbval-ignore-output"]
truths = {}
for part, members in parts.items() if scenes else ():
    texts = [predicted[names.index(name)] for name in members]
    truths[part] = truth(texts, [scenes[name] for name in members])
print(pd.DataFrame(truths).T.round(3) if scenes else "Real photos: nobody listed their facts.")

# %% [markdown]
# A caption that says little is rarely wrong, so we also ask that it states as much as a person.
# With other settings than the sample's own it may do worse, and the cell only prints.

# %%
from utils.settings import Settings

if scenes:
    said_by_one = np.mean([len(read(text)) for group in references for text in group])
    print(f"One human voice states {said_by_one:.1f} facts.")
if settings == Settings():
    assert truths["seen"]["right"] >= 0.95 and truths["unseen"]["right"] >= 0.85
    assert min(part["facts each"] for part in truths.values()) >= said_by_one

# %% [markdown]
# ## Save
#
# The captions with their attention and their own scores, and the table, for the next notebook; the
# table also as text, to compare runs with.

# %%
import json

length = int((written.words != 0).sum(axis=1).max())
predictions = {"split": split, "names": names, "captions": predicted, "CIDEr-D": own}
predictions |= {"log_probability": written.log_probability, "words": written.words[:, :length]}
predictions["attention"] = written.attention[:, :length].astype("float16")
predictions |= {"scores": scores, "protocol": rules}
path = store.save("predictions", predictions, settings)
store.write_text(path.with_name("scores.json"), json.dumps(scores, indent=1))
print("predictions.pkl for 05_visualize, scores.json for you")

# %% [markdown]
# ## What you have seen
#
# - Greedy search takes the likeliest word; beam search keeps several beginnings and often finds a
#   likelier sentence.
# - BLEU counts shared words and runs of words; CIDEr-D weighs them by how much they tell.
# - A score means something beside others: a blind guess, a captioner shown the wrong photo, a
#   human.
#
# **Try it**
#
# 1. How much does the beam bring? Score `beam_width` 1, 3 and 8.
# <details><summary>An answer</summary>
#
# `found = write_captions(captioner, grid[rows], settings, beam_width=8)`, then
# `score([tokenizer.decode(words) for words in found.words], references)["CIDEr-D"]`.
# </details>
#
# 2. Count the start and end words as many notebooks do: put `startseq` and `endseq` around every
#    caption and reference. What happens to the blind guess?
# <details><summary>An answer</summary>
#
# `wrap = "startseq {} endseq".format` and `score([wrap(constant_caption(train_captions))] *
# len(names), [[wrap(r) for r in group] for group in references])`. BLEU rises for everybody and
# most for the blind guess: two words are always right.
# </details>
#
# 3. Find the photo with the largest difference between BLEU-4 and CIDEr-D. Who is right?
# <details><summary>An answer</summary>
#
# Sort by `bleu(predicted, references)[1][:, 3]` minus a tenth of `own`. Often BLEU likes a
# fluent caption of ordinary words that misses the point of the photo.
# </details>
#
# *Next*: [5 See what it sees](05_visualize.ipynb).
