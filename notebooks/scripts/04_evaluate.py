# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Measure what it writes
#
# *Notebook 4 of 5 · before: [3 Teach a network to write](03_train.ipynb) · after: [5 See what it
# sees](05_visualize.ipynb)*
#
# The captioner gives probabilities; somebody must choose words from them. Then the sentence must
# be compared with what people said. Both steps hide traps: many captioning notebooks print scores
# that can't be compared with anything. This one sets beside the captioner *one blind guess for
# every photo* and *one human against the others*.
#
# **You will**
# - write a caption word by word, greedily, then with several candidates side by side;
# - count BLEU and CIDEr-D by hand for one caption, and see how they differ;
# - put the score into its place: what does a blind guess get, what a human, how sure is it, and can
#   the captioner find a photo by a sentence?
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
# Two settings are used here: `beam_width`, the number of candidates that are kept side by side,
# and `length_penalty`, which decides how long sentences are compared with short ones.

# %% tags=["parameters"]
config = load_config(detect_preset())
print(summarize(config, "beam_width", "length_penalty"))

# %% [markdown]
# The captioner comes back as it was saved, with the vocabulary and the features that it knows. The
# photos to score are those of the test split, which no training has seen. Where a data set comes
# without test photos, validation is scored, and called so.

# %%
from utils.data.tokenizer import Tokenizer, tokenize
from utils.models.serialization import from_dict

features, captions = artifacts.load("features", config), artifacts.load("captions", config)
tokenizer = Tokenizer.from_dict(artifacts.load("tokenizer", config))
captioner = from_dict(artifacts.load("captioner", config), config)
seen = "backbone_features" if config.fine_tune_epochs else "features"  # what the captioner takes
grid = feature_grids.load_grid(artifacts.load(seen, config), config)
split = "test" if captions["splits"]["test"] else "validation"
names = [name for name in captions["splits"][split] if name not in features["skipped"]]

# %% [markdown]
# As in notebook 3, the photos' rows in the grid; and what people said of them.

# %%
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

# %% tags=["nbval-ignore-output"]
from utils.data.photos import image_paths
from utils.data.tokenizer import BOS_ID, EOS_ID, SUPPRESSED_IDS
from utils.plotting.figures import plot_bars, plot_beam_tree, show_photos

_ = show_photos(image_paths(names[:1], config), size=3)
example = grid[rows[:1]].astype("float32")
state = captioner.initial_state(example)
word, greedy, table = BOS_ID, [], []
while word != EOS_ID and len(greedy) < config.max_length:
    logits, state, _ = captioner.decode_step(np.array([word]), state)
    chances = np.exp(logits[0] - np.logaddexp.reduce(logits[0]))
    chances[list(SUPPRESSED_IDS)] = 0
    likeliest = np.argsort(chances)[::-1][:5]
    table.append([f"{tokenizer.vocabulary[n]} {chances[n]:.0%}" for n in likeliest])
    word = likeliest[0]
    greedy.append(word)
pd.DataFrame(table, columns=["chosen", "second", "third", "fourth", "fifth"])

# %% [markdown]
# The five likeliest words at each step, the chosen one first. Where it is far ahead, the network is
# sure; else several ways to go on fit, or it can't tell two things apart.
#
# **By name**: `write_captions` with `beam_width=1` does that for many photos at once. The loop over
# words is compiled together with the model, so nothing returns to Python between two words.

# %%
from utils.decoding.beam_search import generate

quick = generate(captioner, grid, config, beam_width=1, rows=rows)
greedily = [tokenizer.decode(words) for words in quick.token_ids]
assert greedily[0] == tokenizer.decode(greedy)

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
    logits, state, _ = captioner.decode_step(np.array(words[-1:]), state)
    logs = logits[0].numpy() - np.logaddexp.reduce(logits[0])
    logs[list(SUPPRESSED_IDS)] = -np.inf
    best = np.argsort(logs)[::-1][: config.beam_width]
    return [((*words, int(word)), score + logs[word], state) for word in best]


def rank(beam):
    """What beams are compared by: log-probability per length."""
    return beam[1] / (len(beam[0]) - 1) ** config.length_penalty


# %% [markdown]
# **By name**, for all photos of the split. A caption that has not ended after `max_length` words is
# cut.

# %% tags=["nbval-ignore-output"]
written = generate(captioner, grid, config, rows=rows)
predicted = [tokenizer.decode(words) for words in written.token_ids]
changed = [n for n in range(len(names)) if predicted[n] != greedily[n]]
print(f"{len(changed)} of {len(names):,} captions are not greedy search's")

# %% [markdown]
# **By hand**, for one of these, the first that begins otherwise. A finished beam stays as it is and
# competes with the others. For a picture of it, `steps` remembers what was tried, the best on top,
# and what stayed.

# %% tags=["nbval-ignore-output"]
turned = [n for n in changed if predicted[n].split()[:4] != greedily[n].split()[:4]]
place = (turned + changed + [0])[0]
beams, steps = (
    [((BOS_ID,), 0.0, captioner.initial_state(grid[rows[[place]]].astype("float32")))],
    [],
)
for _ in range(config.max_length):
    done = [beam for beam in beams if beam[0][-1] == EOS_ID]
    more = [longer for beam in beams if beam[0][-1] != EOS_ID for longer in continued(beam)]
    beams = sorted(done + more, key=rank, reverse=True)[: config.beam_width]
    kept = [beam[0] for beam in beams]
    steps.append([(beam[0], beam[0] in kept) for beam in sorted(more, key=rank, reverse=True)])
assert tokenizer.decode(beams[0][0]) == predicted[place]
for how, found, texts in ("greedy", quick, greedily), ("beam", written, predicted):
    print(f"{how:6} log-probability {found.log_probs[place]:6.2f}: {texts[place]}")

# %% [markdown]
# Its first words as a tree: a column is a step, with the likeliest beginning on top; blue are the
# beginnings that stayed, grey those that were dropped. The thick line is the caption that won.
# Where it leaves the top row, others looked better for a while.

# %%
_ = plot_beam_tree(steps[:5], beams[0][0], tokenizer.vocabulary)

# %% [markdown]
# ## BLEU, by hand
#
# BLEU asks: how many of the caption's words, and of its runs of two, three and four words
# (*n-grams*), did some human use too? A word is counted at most as often as the reference that uses
# it most: if no reference says "a" twice, "a a a a" gets one hit. Back to our example:

# %%
from collections import Counter

from utils.evaluation.metrics import ngrams

ours, people = tokenize(predicted[0]), [tokenize(text) for text in references[0]]
assert ngrams(ours, 2) == Counter(zip(ours[:-1], ours[1:], strict=True))
counts = []
for n in (1, 2, 3, 4):
    mine, most = ngrams(ours, n), Counter()
    for words in people:
        most |= ngrams(words, n)  # the larger count of each
    counts.append(((mine & most).total(), mine.total()))  # the smaller count of each

# %% [markdown]
# The caption of the first photo, what people said of it, and the counts: how many of its words,
# pairs, threes and fours are hits.

# %% tags=["nbval-ignore-output"]
print(predicted[0], *references[0], sep="\n  ")
pd.DataFrame(counts, columns=["hits", "of"], index=["words", "pairs", "threes", "fours"])

# %% [markdown]
# The first share is BLEU-1's precision. BLEU-4 is the geometric mean of all four; BLEU-2 and 3 stop
# earlier. As a one-word caption would be right too easily, a caption shorter than the reference
# closest in length is marked down. **By name**, and with nltk, which many notebooks use: on a whole
# split the counts of all photos are added up before they are divided.

# %%
from nltk.translate.bleu_score import corpus_bleu

from utils.evaluation.metrics import bleu

closest = min(map(len, people), key=lambda length: (abs(length - len(ours)), length))
short = min(1, np.exp(1 - closest / max(1, len(ours))))
shares = np.cumprod([hits / max(1, total) for hits, total in counts])
corpus, each = bleu(predicted, references)
assert np.allclose(each[0], short * shares ** (1 / np.arange(1, 5)), atol=1e-3)
said = [[tokenize(text) for text in group] for group in references]
assert np.isclose(corpus[3], corpus_bleu(said, [tokenize(text) for text in predicted]), atol=1e-3)

# %% [markdown]
# ## CIDEr-D: words that tell
#
# For BLEU, "a" is worth as much as "kite". CIDEr-D weighs a word by how *few* photos it was used
# for: the logarithm of all photos over those whose references hold it. What somebody says of every
# photo weighs nothing. The weights of the words of one reference:

# %%
runs = [{g for w in group for n in (1, 2, 3, 4) for g in ngrams(w, n)} for group in said]
photos_with = Counter(gram for found in runs for gram in found)
weights = [(w, photos_with[(w,)], np.log(len(names) / photos_with[(w,)])) for w in people[0]]
pd.DataFrame(weights, columns=["word", "photos", "weight"]).round(2)

# %% [markdown]
# **By hand**: caption and reference are compared as two vectors are, by the cosine, for single
# words and runs of up to four; the score is ten times the mean of these and of all references. The
# D is for two guards against cheating: no weight counts beyond the reference's own, and another
# length is marked down. 10 would mean: word for word what *every* person said. Even a copy of one
# of them stays far below. (Papers often print it times 100: our 0.5 is their 50.)

# %% tags=["nbval-ignore-output"]
from utils.evaluation.metrics import cider_d

weight = {gram: np.log(len(names) / count) for gram, count in photos_with.items()}
nowhere, alike = np.log(len(names)), []  # what no reference holds, weighs as if one did
for theirs in people:
    penalty = np.exp(-((len(ours) - len(theirs)) ** 2) / (2 * 6**2))  # a bell, 6 words wide
    for n in (1, 2, 3, 4):
        our = {gram: times * weight.get(gram, nowhere) for gram, times in ngrams(ours, n).items()}
        their = {gram: times * weight[gram] for gram, times in ngrams(theirs, n).items()}
        shared = sum(min(our[gram], their[gram]) * their[gram] for gram in our if gram in their)
        sizes = np.linalg.norm(list(our.values())) * np.linalg.norm(list(their.values()))
        alike.append(penalty * shared / max(sizes, 1e-9))
own = cider_d(predicted, references)[1]
assert np.isclose(own[0], 10 * np.mean(alike))
print(f"our caption: BLEU-4 {each[0][3]:.2f} of 1, CIDEr-D {own[0]:.2f} of 10")

# %% [markdown]
# ## What is a number worth?
#
# Beside the captioner: one **constant** caption for all photos, itself shown **another photo**,
# itself with **greedy** search, and **one human** against the other four. A captioner that can't
# beat the first two has learnt to speak, not to see. Two more scores: ROUGE-L takes the longest
# sequence of words in common, gaps allowed. METEOR also matches stems and, with the dictionary
# WordNet, synonyms; its programs differ, so its name says which.

# %%
from utils.evaluation.baselines import constant_caption, human_baseline
from utils.evaluation.protocol import full_score, protocol

train_captions = [c for name in captions["splits"]["train"] for c in captions["captions"][name]]
texts = {"constant caption": [constant_caption(train_captions)] * len(names)}
texts["another photo"] = predicted[-1:] + predicted[:-1]  # what was written for the photo before
texts |= {"greedy": greedily, "captioner": predicted}
scores = {who: full_score(wrote, references) for who, wrote in texts.items()}
if min(len(group) for group in references) > 1:  # there must be others to compare one with
    scores["one human"] = human_baseline(references)
rules = protocol(split, captions["split_source"], references, config)

# %% [markdown]
# Beside a table of scores belongs what was counted, and how.

# %% tags=["nbval-ignore-output"]
looked = scores["captioner"]["CIDEr-D"] >= scores["another photo"]["CIDEr-D"]
print(rules, f"constant caption: {texts['constant caption'][0]}", sep="\n")
pd.DataFrame(scores).T.round(3)

# %% [markdown]
# Look at BLEU-1: the constant caption gets a good part of it. That is why CIDEr-D leads here. And a
# human is not at 10, as people disagree. (The human is compared with four references instead of
# five. That lowers every score except CIDEr-D, which is a mean over them.) It is a yardstick, not a
# ceiling: a captioner that says what most would say can pass one person. And of drawn scenes, the
# human is a voice of the program.
#
# How sure is it? Other photos would have given another number. The **bootstrap** asks how much: it
# draws photos from these, with replacement, a thousand times, and scores each draw. Black lines
# span 95 of 100 draws; the human, a mean of several, has none.

# %%
from utils.evaluation.bootstrap import bootstrap_scores, paired_bootstrap

draws = {who: bootstrap_scores(wrote, references)["CIDEr-D"] for who, wrote in texts.items()}
ends = {who: np.percentile(found, [2.5, 97.5]) for who, found in draws.items()}
_ = plot_bars({who: row["CIDEr-D"] for who, row in scores.items()}, "CIDEr-D", ends)

# %% [markdown]
# Overlapping lines don't yet say that two captioners are alike: both met the same photos, hard ones
# and easy ones. The **paired test** compares them on the same draws; p is twice the share of draws
# that say the opposite. Is the beam worth it?

# %% tags=["nbval-ignore-output"]
low, high, p = paired_bootstrap(draws["captioner"], draws["greedy"])
verdict = "the beam is better" if low > 0 else "greedy is better" if high < 0 else "not certain"
print(f"beam minus greedy: CIDEr-D {low:+.3f} to {high:+.3f} (95 %), p = {p:.3f}: {verdict}")

# %% [markdown]
# A likelier sentence need not be a better one: of drawn scenes greedy search may well win. On
# photos the beam does (`RESULTS.md`), so 3 is the default. To choose a width of your own ask the
# *validation* photos; what the test photos have chosen, they can no longer judge.
#
# ## What is it good at?
#
# By kind of word, synonyms as one. Precision: of the words that it says (*said*), the share that
# anybody said of the photo. Recall: of those that two people said (*to be found*), the share that
# it says. Below, how varied it is.

# %% tags=["nbval-ignore-output"]
from utils.evaluation.diversity import diversity
from utils.evaluation.word_categories import word_category_scores

print(pd.DataFrame(word_category_scores(predicted, references)).T.round(2), "\n")
count, different, copied, _ = diversity(predicted, train_captions).values()
print(f"{count} different words; captions: {different:.1%} different, {copied:.1%} from training")

# %% [markdown]
# ## Captions as search
#
# Flickr8k was made for ranking: photos for a sentence, sentences for a photo. The captioner can: by
# how likely it would have written that sentence for each photo. The other way round, for a photo, a
# short sentence of usual words would often win; so `telling` subtracts how likely the sentence is
# anyway. One sentence a photo; R@5 is the share whose right one is among the first five. Every
# photo meets every sentence, so without a GPU at most 200 photos are ranked. **By hand**, the first
# pair is a sum over words.

# %%
import tensorflow as tf

from utils.evaluation.retrieval import pmi_scores, retrieval_metrics, sequence_log_probs

part = len(names) if tf.config.list_physical_devices("GPU") else min(200, len(names))
sentences = tokenizer.encode([group[0] for group in references[:part]])
found = sequence_log_probs(captioner, grid[rows[:part]], sentences)
logits = captioner([example, sentences[:1, :-1]])[0].numpy()
chances = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
by_hand = sum(chances[step, word] for step, word in enumerate(sentences[0, 1:]) if word)
assert np.isclose(found[0, 0], by_hand, atol=0.05)

# %% tags=["nbval-ignore-output"]
table, raw = (
    pd.DataFrame(retrieval_metrics(each, np.arange(part))) for each in (pmi_scores(found), found)
)
table.loc["the same without telling"] = raw.loc["sentence for a photo"]
print(f"chance of R@5 among {part} photos: {5 / part:.3f}")
table.round(3)

# %% [markdown]
# ## Is it true?
#
# Scores compare words with words. Of drawn scenes we know the facts, so captions can be read back
# and checked: who, how many, which colour, doing what, with what, where. All of these photos are
# unseen; but *new* are those whose combination of subject, colour and action was never shown in
# training, either: has it learnt whole scenes by heart, or their parts? `truth` reads each caption
# back and compares it with the scene. Photos have no such list; for them this section only says so.

# %% tags=["nbval-ignore-output"]
from utils.config import Config
from utils.paths import working_folder
from utils.sample.dataset import read_scenes
from utils.sample.facts import fact_accuracy, parse_facts

world = working_folder(config) / "sample"
scenes = read_scenes(world) if config.preset == "sample" else {}
unseen = set(captions["marked"].get("unseen", []))
parts = {"known": [n for n in names if n not in unseen], "new": [n for n in names if n in unseen]}
said_by_one = np.mean([len(parse_facts(text)) for group in references for text in group])
truths = {}
for kind, members in parts.items() if scenes else ():
    wrote = [predicted[names.index(name)] for name in members]
    truths[kind] = fact_accuracy(wrote, [scenes[name] for name in members])
print(pd.DataFrame(truths).T.round(3) if scenes else "Real photos: nobody listed their facts.")

# %% [markdown]
# A caption that says little is rarely wrong, so we also ask that it states as much as a person.
# With other settings than the sample's own it may do worse, and the cell only prints.

# %%
if scenes:
    print(f"One human voice states {said_by_one:.1f} facts.")
if config == Config():
    assert looked and truths["known"]["right"] >= 0.95 and truths["new"]["right"] >= 0.85
    assert min(each["facts each"] for each in truths.values()) >= said_by_one

# %% [markdown]
# ## Save
#
# The captions with their attention and their own scores, and the table, for the next notebook; the
# table also as text, to compare runs with.

# %%
import json

from utils.io import write_text

length = int((written.token_ids != 0).sum(axis=1).max())
predictions = {"split": split, "names": names, "captions": predicted, "CIDEr-D": own}
predictions |= {"log_probability": written.log_probs, "words": written.token_ids[:, :length]}
predictions["attention"] = written.attention_weights[:, :length].astype("float16")
predictions |= {"scores": scores, "protocol": rules}
path = artifacts.save("predictions", predictions, config)
write_text(path.with_name("scores.json"), json.dumps(scores, indent=1))
print("predictions.pkl for 05_visualize, scores.json for you")

# %% [markdown]
# ## What you have seen
#
# - Greedy search takes the likeliest word; beam search keeps several beginnings, which need not
#   make a better caption.
# - BLEU counts shared words and runs of words; CIDEr-D weighs them by how much they tell.
# - A score means something beside others (a blind guess, a captioner shown the wrong photo, a
#   human) and with an interval. And what can write can search.
#
# **Try it.** A *Look* changes a number, a *Change* needs a few lines, a *Build* a dozen, and
# *Beyond* leads out of this series. Say what you expect before you run anything. An answer's code
# goes into a new cell below, once all cells above have run. It is written for the drawn sample; on
# photos its numbers differ.
#
# 1. *Look*: How much does the beam bring? Let `write_captions` search with 1, 3 and 8 beams, and
#    look at its `log_probability`, too. Before you run it: which captions are likelier, and which
#    score higher?
#
# <details><summary>An answer</summary>
#
# ```python
# for width in (1, 3, 8):
#     wide = write_captions(captioner, grid, settings, width, rows=rows, progress=False)
#     wrote = [tokenizer.decode(words) for words in wide.words]
#     low, high, _ = compare(resampled(wrote, references)["CIDEr-D"], draws["greedy"])
#     likely, score = wide.log_probability.mean(), cider_d(wrote, references)[0]
#     print(f"{width}: log-probability {likely:.2f}, CIDEr-D {score:.2f},", end=" ")
#     print(f"over greedy {low:+.2f} to {high:+.2f}")
#     assert width != settings.beam_width or wrote == predicted
# ```
#
# As a rule a wider beam finds likelier captions. Whether they are better is another question: on
# photos they mostly are (`RESULTS.md`), on drawn scenes they may well be worse. Where the last two
# numbers have one sign, it is hardly chance.
# </details>
#
# 2. *Change*: Count the start and end words, as many notebooks do: put `startseq` and `endseq`
#    around every caption and reference. Before you run it: whose BLEU-1 gains most?
#
# <details><summary>An answer</summary>
#
# ```python
# wrap, gains = "startseq {} endseq".format, {}
# wrapped = [[wrap(text) for text in group] for group in references]
# for who, wrote in texts.items():
#     before, after = bleu(wrote, references)[0], bleu([*map(wrap, wrote)], wrapped)[0]
#     gains[who] = after[0] - before[0]
#     print(f"{who:18} BLEU-1 {before[0]:.3f} becomes {after[0]:.3f}")
# assert min(gains.values()) > 0 and gains["constant caption"] > gains["captioner"]
# ```
#
# Everybody gains, as two words are always right, and most do those that have not seen the photo. So
# a table with such words in it makes every captioner look better, and the useless ones look useful.
# </details>
#
# 3. *Build*: Let the captioner be bold, then let it vote. Draw ten captions for each photo by their
#    probability (`sample_captions`), and keep the one most like the other nine (`cider_d`, whose
#    third argument says whose references are meant). Before you run it: can a vote among bad ones
#    find a good one?
#
# <details><summary>An answer</summary>
#
# ```python
# from utils.search import sample_captions
#
# drawn = sample_captions(captioner, grid, settings, samples=10, rows=rows, progress=False)
# crowds = [[tokenizer.decode(words) for words in group] for group in drawn.words]
# flat = [text for crowd in crowds for text in crowd]
# votes = cider_d(flat, crowds, np.repeat(np.arange(len(crowds)), 10))[1].reshape(-1, 10)
# elected = [crowd[vote.argmax()] for crowd, vote in zip(crowds, votes, strict=True)]
# for who, wrote in {"first": flat[::10], "elected": elected, "beam": predicted}.items():
#     score, used = cider_d(wrote, references)[0], variety(wrote, train_captions)["words used"]
#     print(f"{who:8} CIDEr-D {score:.2f}, {used} different words")
# assert cider_d(elected, references)[0] > cider_d(flat[::10], references)[0]
# ```
#
# Errors differ and truths repeat, so the vote is far better than the first draw, without a look at
# any reference. (Each caption also votes for itself; that adds much the same to all ten.) Boldness
# uses more words; on this sample caution scores higher.
# </details>
#
# 4. *Beyond*: Score somebody else's captions, e.g. those of a large vision-language model (on your
#    own machine: the command does not travel to Kaggle). Write what people said and what it said
#    into two files, and hand them to `python -m utils score`. As a rehearsal take your captioner's,
#    in the words of such a model: "The image shows ...". Before you run it: what do three words
#    cost?
#
# <details><summary>An answer</summary>
#
# ```python
# import subprocess
#
# command = [sys.executable, "-m", "utils", "score", "--json"]
# theirs = [f"The image shows {text}" for text in predicted]
# for role, content in {"references": references, "candidates": theirs}.items():
#     file = working_folder(settings).resolve() / f"{role}.json"
#     write_text(file, json.dumps(dict(zip(names, content, strict=True)), indent=1))
#     command += [f"--{role}", str(file)]
# done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=True)
# both = {"captioner": scores["captioner"], "the image shows": json.loads(done.stdout)}
# print(pd.DataFrame(both).round(3))
# assert both["the image shows"]["CIDEr-D"] < both["captioner"]["CIDEr-D"]
# ```
#
# The captions are as true as before. A score by words measures the manner, too: ask a large model
# for "one plain sentence of about ten words", and show it some captions of training photos, before
# you compare. Its file is `{"photo.jpg": "caption", ...}`, one for each photo of the split, or a
# table of `image,caption`. That command may use another program for METEOR; its name says which.
# </details>
#
# *Next*: [5 See what it sees](05_visualize.ipynb).
