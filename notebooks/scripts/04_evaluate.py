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
# The captioner outputs probabilities; a **decoding** algorithm chooses tokens from them. Then the
# generated captions are compared with the references. Both steps have pitfalls: many captioning
# notebooks print scores that can't be compared with anything. This one also scores **baselines**:
# *one constant caption for every photo* and *one human against the others*.
#
# **You will**
# - generate a caption token by token, with greedy search and with beam search;
# - compute BLEU and CIDEr-D by hand for one caption, and see how they differ;
# - put the scores into context: what do baselines and humans score, how large is the uncertainty,
#   and can the captioner retrieve a photo by a sentence?
#
# **You need** the captioner of notebook 3. Minutes on two cores: less than 1 for the drawn sample,
# about 1 for 1,000 photos.
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
# Two settings are used here: `beam_width`, the number of partial captions that beam search keeps,
# and `length_penalty`, which decides how long captions are compared with short ones.

# %% tags=["parameters"]
config = load_config(detect_preset())
print(summarize(config, "beam_width", "length_penalty"))

# %% [markdown]
# Load the captioner with its tokenizer and features. The photos to score are those of the test
# split, which training has not used. If a data set has no test photos, validation is scored, and
# the tables say so.

# %%
from utils import feature_grids
from utils.data.tokenizer import Tokenizer, tokenize
from utils.models.serialization import from_dict

features = artifacts.load("features", config)
captions = artifacts.load("captions", config)
tokenizer = Tokenizer.from_dict(artifacts.load("tokenizer", config))
captioner = from_dict(artifacts.load("captioner", config), config)
# A fine-tuned captioner takes the backbone's features.
grid_kind = "backbone_features" if config.fine_tune_epochs else "features"
grid = feature_grids.load_grid(artifacts.load(grid_kind, config), config)
for split in ("test", "validation"):
    names = [name for name in captions["splits"][split] if name not in features["skipped"]]
    if names:
        break

# %% [markdown]
# As in notebook 3, the photos' rows in the grid, and their references.

# %%
rows = np.array([features["names"].index(name) for name in names])
references = [captions["captions"][name] for name in names]
print(f"{len(names):,} photos of the {split} split; our example is now the first, {names[0]}")

# %% [markdown]
# ## Greedy search, by hand
#
# **Greedy search** starts with BOS, chooses the most likely next token, feeds it back as input, and
# repeats this until EOS is the most likely one. `initial_state` encodes the image; `decode_step`
# takes one token and returns logits, the new state, and attention weights. Some tokens are
# suppressed, i.e. never generated: `<pad>`, `<bos>` and `<unk>`.

# %% tags=["nbval-ignore-output"]
from utils.data.photo_files import recorded_paths
from utils.data.tokenizer import BOS_ID, EOS_ID, PAD_ID, SUPPRESSED_IDS
from utils.plotting.charts import plot_bars
from utils.plotting.diagrams import plot_beam_tree
from utils.plotting.figures import show_photos


def log_softmax(logits):
    """Log-probabilities of the tokens."""
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


_ = show_photos(recorded_paths(names[:1], features, config), size=3)
example = grid[rows[:1]].astype("float32")
state = captioner.initial_state(example)
token_id = BOS_ID
greedy_ids = []
table = []
while token_id != EOS_ID and len(greedy_ids) < config.max_length:
    logits, state, _ = captioner.decode_step(np.array([token_id]), state)
    probabilities = np.exp(log_softmax(np.asarray(logits)[0]))
    probabilities[list(SUPPRESSED_IDS)] = 0
    top_ids = np.argsort(probabilities)[::-1][:5]
    cells = []
    for candidate_id in top_ids:
        word = tokenizer.vocabulary[candidate_id]
        cells.append(f"{word} {probabilities[candidate_id]:.0%}")
    table.append(cells)
    token_id = top_ids[0]
    greedy_ids.append(token_id)
pd.DataFrame(table, columns=["chosen", "second", "third", "fourth", "fifth"])

# %% [markdown]
# The five most likely tokens at each step, the chosen one first. A high probability means that the
# model is certain; otherwise several continuations fit, or it can't distinguish two things.
#
# **With the library**: `generate` with `beam_width=1` does this for many photos at once. The loop
# over tokens is compiled together with the model (`tf.function`), so it runs without Python. (In
# half precision two tokens can have the same probability: then the two may choose differently.)

# %%
from utils.decoding.beam_search import generate
from utils.devices import dtype_policy

is_exact = dtype_policy(config) == "float32"

greedy_output = generate(captioner, grid, config, beam_width=1, rows=rows)
greedy_captions = [tokenizer.decode(token_ids) for token_ids in greedy_output.token_ids]
if is_exact:
    assert greedy_captions[0] == tokenizer.decode(greedy_ids)

# %% [markdown]
# ## Beam search, by hand
#
# Greedy search can't revise a choice: a likely first word may lead to an unlikely sentence. **Beam
# search** keeps several partial captions, the **beams**. Each step extends every beam with every
# token, and keeps the best `beam_width` of all extensions. The log-probability of a sequence
# decreases with every token, so beams are ranked by log-probability / length^`length_penalty`.

# %%
from typing import Any, NamedTuple


class Beam(NamedTuple):
    """A partial caption."""

    token_ids: tuple
    log_prob: float
    state: Any


def extend(beam):
    """The most likely extensions of a beam by one token."""
    logits, state, _ = captioner.decode_step(np.array(beam.token_ids[-1:]), beam.state)
    log_probs = log_softmax(np.asarray(logits)[0])
    log_probs[list(SUPPRESSED_IDS)] = -np.inf
    extended = []
    for token_id in np.argsort(log_probs)[::-1][: config.beam_width]:
        token_ids = (*beam.token_ids, int(token_id))
        extended.append(Beam(token_ids, beam.log_prob + log_probs[token_id], state))
    return extended


def rank(beam):
    """The log-probability, normalized by length."""
    length = len(beam.token_ids) - 1  # without BOS
    return beam.log_prob / length**config.length_penalty


# %% [markdown]
# **With the library**, for all photos of the split. A caption without EOS after `max_length` tokens
# is truncated.

# %% tags=["nbval-ignore-output"]
output = generate(captioner, grid, config, rows=rows)
predicted = [tokenizer.decode(token_ids) for token_ids in output.token_ids]
changed = [n for n in range(len(names)) if predicted[n] != greedy_captions[n]]
print(f"{len(changed)} of {len(names):,} captions differ from greedy search")

# %% [markdown]
# **By hand**, for the first caption that differs within its first four words. A finished beam stays
# unchanged and competes with the others. For the figure below, `steps` records all extensions, the
# best one first, and whether each was kept.

# %% tags=["nbval-ignore-output"]
differ_early = [
    n for n in changed if tokenize(predicted[n])[:4] != tokenize(greedy_captions[n])[:4]
]
if differ_early:
    chosen = differ_early[0]
elif changed:
    chosen = changed[0]
else:
    chosen = 0
initial_state = captioner.initial_state(grid[rows[[chosen]]].astype("float32"))
beams = [Beam((BOS_ID,), 0.0, initial_state)]
steps = []
for _ in range(config.max_length):
    finished = [beam for beam in beams if beam.token_ids[-1] == EOS_ID]
    extended = []
    for beam in beams:
        if beam.token_ids[-1] != EOS_ID:
            extended.extend(extend(beam))
    beams = sorted(finished + extended, key=rank, reverse=True)[: config.beam_width]
    kept = [beam.token_ids for beam in beams]
    ranked = sorted(extended, key=rank, reverse=True)
    steps.append([(beam.token_ids, beam.token_ids in kept) for beam in ranked])
if is_exact:
    assert tokenizer.decode(beams[0].token_ids) == predicted[chosen]
print(f"greedy log-prob {greedy_output.log_probs[chosen]:6.2f}: {greedy_captions[chosen]}")
print(f"beam   log-prob {output.log_probs[chosen]:6.2f}: {predicted[chosen]}")

# %% [markdown]
# The first steps as a tree: each column is a step, with the best extension on top; blue extensions
# were kept, gray ones were dropped. The thick line is the final caption. Where it leaves the top
# row, another beam ranked higher at that step.

# %%
_ = plot_beam_tree(steps[:5], beams[0].token_ids, tokenizer.vocabulary)

# %% [markdown]
# ## BLEU, by hand
#
# [**BLEU**](https://aclanthology.org/P02-1040/) measures the **precision** of **n-grams**
# (sequences of n adjacent tokens): the share of the caption's n-grams that occur in a reference.
# Counts are **clipped** to the largest count in any reference: if no reference has "a" twice,
# "a a a a" gets one match. For our example:

# %%
from collections import Counter

from utils.evaluation.ngrams import ngrams

candidate = tokenize(predicted[0])
reference_tokens = [tokenize(text) for text in references[0]]
assert ngrams(candidate, 2) == Counter(zip(candidate[:-1], candidate[1:], strict=True))
counts = []
for n in (1, 2, 3, 4):
    candidate_counts = ngrams(candidate, n)
    largest_counts = Counter()
    for tokens in reference_tokens:
        largest_counts = largest_counts | ngrams(tokens, n)  # the larger count of each n-gram
    matches = candidate_counts & largest_counts  # the smaller count of each n-gram
    counts.append([matches.total(), candidate_counts.total()])

# %% [markdown]
# The caption of the first photo, its references, and the counts: how many of its unigrams, bigrams,
# trigrams and 4-grams match.

# %% tags=["nbval-ignore-output"]
print(predicted[0], *references[0], sep="\n  ")
pd.DataFrame(counts, columns=["matches", "of"], index=["1-grams", "2-grams", "3-grams", "4-grams"])

# %% [markdown]
# BLEU-n is the geometric mean of the precisions of 1-grams to n-grams. Very short captions would
# easily reach a high precision, so a caption that is shorter than the reference closest in length
# gets a **brevity penalty**. **With the library**, and with
# [NLTK](https://www.nltk.org/api/nltk.translate.bleu_score.html), which many notebooks use: for a
# whole split, the counts of all photos are added up before the division. (The usual tool adds tiny
# numbers to all counts, to avoid a division by zero. NLTK treats captions of fewer than four tokens
# in another way.)

# %%
from nltk.translate.bleu_score import corpus_bleu

from utils.evaluation.metrics import bleu


def length_difference(tokens):
    """How far a reference is from the caption in length; the shorter one is preferred."""
    return abs(len(tokens) - len(candidate)), len(tokens)


closest_length = len(min(reference_tokens, key=length_difference))
brevity_penalty = min(1, np.exp(1 - closest_length / max(1, len(candidate))))
precisions = np.array([(matches + 1e-15) / (total + 1e-9) for matches, total in counts])
orders = np.arange(1, 5)
bleu_by_hand = brevity_penalty * np.cumprod(precisions) ** (1 / orders)

corpus_scores, caption_scores = bleu(predicted, references)
assert np.allclose(caption_scores[0], bleu_by_hand, atol=1e-3)

predicted_tokens = [tokenize(text) for text in predicted]
all_reference_tokens = []
for group in references:
    all_reference_tokens.append([tokenize(text) for text in group])
if min(len(tokens) for tokens in predicted_tokens) >= 4:
    nltk_bleu = corpus_bleu(all_reference_tokens, predicted_tokens)
    assert np.isclose(corpus_scores[3], nltk_bleu, atol=1e-3)

# %% [markdown]
# ## CIDEr-D: TF-IDF-weighted n-grams
#
# For BLEU, "a" counts as much as "kite". [**CIDEr-D**](https://arxiv.org/abs/1411.5726) uses
# [**TF-IDF**](https://en.wikipedia.org/wiki/Tf%E2%80%93idf) weights: the count of an n-gram (term
# frequency) times its **inverse document frequency**, the logarithm of the number of photos divided
# by the number of photos whose references contain it. An n-gram that occurs for every photo has
# weight 0. The weights of the words of one reference:

# %%
photo_counts = Counter()  # document frequencies
for group in all_reference_tokens:
    ngrams_of_photo = set()
    for tokens in group:
        for n in (1, 2, 3, 4):
            ngrams_of_photo.update(ngrams(tokens, n))
    photo_counts.update(ngrams_of_photo)
idf = {ngram: np.log(len(names) / count) for ngram, count in photo_counts.items()}

word_weights = []
for word in reference_tokens[0]:
    word_weights.append([word, photo_counts[(word,)], idf[(word,)]])
pd.DataFrame(word_weights, columns=["word", "photos", "IDF"]).round(2)

# %% [markdown]
# **By hand**: the similarity of caption and reference is the cosine similarity of their TF-IDF
# vectors, for 1-grams to 4-grams; the score is ten times the mean over these and over all
# references. The D stands for two changes that make the metric harder to game: the weight of an
# n-gram is clipped to the reference's, and a **Gaussian length penalty** (σ = 6) applies. A score
# of 10 would require the caption to equal *every* reference; a copy of one reference scores far
# less. (Papers often report it times 100: our 0.5 is their 50.)

# %% tags=["nbval-ignore-output"]
from utils.evaluation.metrics import cider_d


def tf_idf(tokens, n):
    """The TF-IDF vector of the n-grams, as a dict."""
    unseen = np.log(len(names))  # as if one photo had the n-gram
    vector = {}
    for ngram, count in ngrams(tokens, n).items():
        vector[ngram] = count * idf.get(ngram, unseen)
    return vector


similarities = []
for tokens in reference_tokens:
    length_penalty = np.exp(-((len(candidate) - len(tokens)) ** 2) / (2 * 6**2))
    for n in (1, 2, 3, 4):
        candidate_vector = tf_idf(candidate, n)
        reference_vector = tf_idf(tokens, n)
        dot_product = 0.0
        for ngram, weight in candidate_vector.items():
            reference_weight = reference_vector.get(ngram, 0.0)
            dot_product += min(weight, reference_weight) * reference_weight
        candidate_norm = np.linalg.norm(list(candidate_vector.values()))
        reference_norm = np.linalg.norm(list(reference_vector.values()))
        norms = candidate_norm * reference_norm
        cosine = dot_product / norms if norms else 0.0
        similarities.append(length_penalty * cosine)
cider_d_scores = cider_d(predicted, references)[1]
assert np.isclose(cider_d_scores[0], 10 * np.mean(similarities))
print(f"our caption: BLEU-4 {caption_scores[0][3]:.2f} of 1, CIDEr-D {cider_d_scores[0]:.2f} of 10")

# %% [markdown]
# ## Baselines
#
# We compare the captioner with baselines: one **constant caption** for all photos, the captioner's
# caption for **another photo**, its captions by **greedy search**, and **one human** against the
# other references. A captioner that doesn't beat the first two ignores the image. Two more metrics:
# [**ROUGE-L**](https://aclanthology.org/W04-1013/) is based on the longest common subsequence of
# tokens. [**METEOR**](https://aclanthology.org/W05-0909/) also matches stems and, with the WordNet
# database, synonyms; its implementations differ, so the table names the one used.

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
if min(len(group) for group in references) > 1:  # a human needs others to be compared with
    scores["one human"] = human_baseline(references)
evaluation_protocol = protocol(split, captions["split_source"], references, config)

# %% [markdown]
# A table of scores needs the **protocol**: what was compared, and how.

# %% tags=["nbval-ignore-output"]
uses_image = scores["captioner"]["CIDEr-D"] >= scores["another photo"]["CIDEr-D"]
print(evaluation_protocol)
print("constant caption:", systems["constant caption"][0])
pd.DataFrame(scores).T.round(3)

# %% [markdown]
# Compare BLEU-1: the constant caption gets a large part of the captioner's score. So CIDEr-D is the
# main metric here. And a human does not score 10, as humans disagree. (The human is compared with
# one reference less than the others. This lowers every score except CIDEr-D, which is a mean over
# references.) It is not an upper bound: a captioner that generates what most humans would write can
# score higher than one human. And on drawn scenes, the human is a template of the program.
#
# How uncertain is the score? Other test photos would have given another value. The
# [**bootstrap**](https://aclanthology.org/W04-3250/) estimates by how much: it draws photos from
# these, with replacement, a thousand times, and scores each sample. Black lines are 95 % confidence
# intervals; the human baseline, a mean of several, has none.

# %%
from utils.evaluation.bootstrap import bootstrap_scores, paired_bootstrap

bootstrap = {}
intervals = {}
for system, texts in systems.items():
    bootstrap[system] = bootstrap_scores(texts, references)["CIDEr-D"]
    intervals[system] = np.percentile(bootstrap[system], [2.5, 97.5])
cider_d_by_system = {system: row["CIDEr-D"] for system, row in scores.items()}
_ = plot_bars(cider_d_by_system, "CIDEr-D", intervals)

# %% [markdown]
# Overlapping intervals don't imply that two systems are equally good: both are scored on the same
# photos, easy and hard ones. The **paired bootstrap** compares them on the same samples; the
# **p-value** is twice the share of samples with a difference of the other sign. Is beam search
# better?

# %% tags=["nbval-ignore-output"]
low, high, p_value = paired_bootstrap(bootstrap["captioner"], bootstrap["greedy"])
verdict = "not significant"
if low > 0:
    verdict = "beam search is better"
if high < 0:
    verdict = "greedy search is better"
print(f"beam - greedy: CIDEr-D {low:+.3f} to {high:+.3f} (95 %), p = {p_value:.3f}: {verdict}")

# %% [markdown]
# A more likely caption need not be a better one: on drawn scenes, greedy search may well score
# higher. On photos beam search does (`RESULTS.md`), so 3 is the default. Choose your own beam width
# on the *validation* photos: scores on photos that were used for a choice are biased.
#
# ## Scores by word category
#
# Synonyms count as one. **Precision**: the share of the *predicted* words of a category that occur
# in any reference of the photo. **Recall**: of the words of a category that at least two references
# contain, the share that the caption contains. Below, the **diversity** of the captions: how many
# different tokens and captions are generated, how many are copied from training, and
# [distinct-2](https://arxiv.org/abs/1510.03055), the share of distinct bigrams.

# %% tags=["nbval-ignore-output"]
from utils.evaluation.diversity import diversity
from utils.evaluation.word_categories import word_category_scores

print(pd.DataFrame(word_category_scores(predicted, references)).T.round(2), "\n")
print(pd.Series(diversity(predicted, train_captions)).round(3).to_string())

# %% [markdown]
# ## Retrieval
#
# [Flickr8k](https://www.jair.org/index.php/jair/article/view/10833) was made for **retrieval**:
# rank photos by a sentence (**text-to-image**) or sentences by a photo (**image-to-text**). A
# captioner can do both with the log-probability of the sentence given the photo. For image-to-text,
# short sentences of frequent words would always win; so `pmi_scores` subtracts the log-probability
# of the sentence without a photo (its mean probability over all photos): an estimate of the
# [**pointwise mutual information
# (PMI)**](https://en.wikipedia.org/wiki/Pointwise_mutual_information). Each photo has one sentence;
# **R@5** (recall at 5) is the share of queries with the correct result among the first five. All
# pairs are scored, so without a GPU at most 200 photos are used. **By hand**, the first pair: a sum
# over tokens.

# %%
import tensorflow as tf

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

# %% tags=["nbval-ignore-output"]
photo_of_sentence = np.arange(num_ranked)
table = pd.DataFrame(retrieval_metrics(pmi_scores(sentence_log_probs), photo_of_sentence))
without_pmi = pd.DataFrame(retrieval_metrics(sentence_log_probs, photo_of_sentence))
table.loc["image-to-text, without PMI"] = without_pmi.loc["image-to-text"]
print(f"R@5 of a random ranking of {num_ranked} photos: {min(1, 5 / num_ranked):.3f}")
table.round(3)

# %% [markdown]
# ## Factual accuracy
#
# Metrics compare words with words. For drawn scenes the facts are known, so captions can be parsed
# and checked: subject, count, color, action, object, place. None of these photos were used for
# training; the **unseen** ones have a combination of subject, color and action that does not occur
# in training at all. Does the model generalize to new combinations, or has it memorized scenes?
# `fact_accuracy` parses each caption and compares it with the scene. Photos have no such
# annotations, so this section is skipped for them.

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
# A caption that states little is rarely wrong, so we also require that captions state as many facts
# as the references. With other settings than the default ones the scores may be lower, and the cell
# only prints.

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
# ## Confidence
#
# For a new photo there are no references, so no score. Can the captioner itself say whether its
# caption is good? Two signals need no reference: the mean **log-probability** of the caption's
# tokens, and its **PMI** with the photo, here with the captioner's opinion of an average photo: "a
# man in a shirt" is likely for any photo, and says little. **By hand**, for our example:

# %% tags=["nbval-ignore-output"]
train_names = [name for name in captions["splits"]["train"] if name not in features["skipped"]]
train_rows = np.array([features["names"].index(name) for name in train_names])
mean_photo = np.zeros(grid.shape[1:], "float32")
for row in train_rows:
    mean_photo += grid[row].astype("float32") / len(train_rows)

caption_ids = output.token_ids[:1]
is_token = caption_ids[0] != PAD_ID
inputs = np.concatenate([[[BOS_ID]], caption_ids[:, :-1]], axis=1)
target_log_probs = {}
for label, photo in (("this photo", example), ("average photo", mean_photo[None])):
    log_probs = log_softmax(np.asarray(captioner([photo, inputs]))[0])
    target_log_probs[label] = np.take_along_axis(log_probs, caption_ids.T, axis=1)[is_token, 0]
log_prob_per_token = target_log_probs["this photo"].mean()
pmi_per_token = log_prob_per_token - target_log_probs["average photo"].mean()
print(predicted[0])
print(f"log-probability per token {log_prob_per_token:.2f}, PMI per token {pmi_per_token:.2f}")

# %% [markdown]
# **Logistic regression** turns the signals into one number from 0 to 1: the probability that the
# caption is good, which is defined as a CIDEr-D of at least 0.2. It is fitted on the *validation*
# photos, where the score is known. Two more signals come from the photo's features: their principal
# components say what kind of photo it is, and their distance from those of the training photos how
# unusual it is; for a photo unlike all of them the confidence falls to 0. `fit_confidence` does
# this; notebook 5 checks it with a **reliability diagram**.

# %% tags=["nbval-ignore-output"]
from utils.evaluation.confidence import caption_confidence, caption_signals, fit_confidence

validation_names = [
    name for name in captions["splits"]["validation"] if name not in features["skipped"]
]
validation_rows = np.array([features["names"].index(name) for name in validation_names])
validation_output = generate(captioner, grid, config, rows=validation_rows)
validation_captions = [tokenizer.decode(token_ids) for token_ids in validation_output.token_ids]
validation_references = [captions["captions"][name] for name in validation_names]
_, validation_scores = cider_d(validation_captions, validation_references)
confidence = fit_confidence(
    captioner, grid, train_rows, validation_rows, validation_output, validation_scores
)
signals = caption_signals(captioner, output, confidence)
assert np.allclose(signals[0], [log_prob_per_token, pmi_per_token], atol=0.02)
predicted_confidence = caption_confidence(captioner, confidence, grid, output, rows)
assert ((predicted_confidence >= 0) & (predicted_confidence <= 1)).all()
good = cider_d_scores >= confidence["good_score"]
print(f"good captions: {good.mean():.0%}; mean confidence: {predicted_confidence.mean():.0%}")

# %% [markdown]
# ## Save
#
# The captions with their attention weights, scores and confidence, the data that the confidence is
# computed from, and the table of scores, for the next notebook; the table also as JSON, to compare
# runs.

# %%
import json

from utils.io import write_text

longest = int((output.token_ids != PAD_ID).sum(axis=1).max())
predictions = {
    "split": split,
    "names": names,
    "captions": predicted,
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
# - Greedy search takes the most likely token; beam search keeps several partial captions, which
#   need not give a better caption.
# - BLEU counts matching n-grams; CIDEr-D weights them by TF-IDF.
# - A score needs baselines (a constant caption, a caption of another photo, a human) and a
#   confidence interval. And a captioner can be used for retrieval.
# - The probability of a caption, its PMI with the photo, and the distance of the photo from the
#   training photos say how likely it is that the caption is good.
#
# **Try it.** *Vary*: change a value. *Modify*: edit a few lines. *Implement*: write a dozen lines.
# *Extend*: go beyond this series. Predict the result before you run anything. Put the code
# of an answer into a new cell below, after you have run all cells above. It is written for the
# drawn sample; on photos its numbers differ.
#
# 1. *Vary*: How much does beam search gain? Call `generate` with 1, 3 and 8 beams, and compare its
#    `log_probs`, too. Before you run it: which captions are more likely, and which score higher?
#
# <details><summary>An answer</summary>
#
# ```python
# for beam_width in (1, 3, 8):
#     wide_output = generate(captioner, grid, config, beam_width, rows=rows, progress=False)
#     texts = [tokenizer.decode(token_ids) for token_ids in wide_output.token_ids]
#     wide_bootstrap = bootstrap_scores(texts, references)["CIDEr-D"]
#     low, high, _ = paired_bootstrap(wide_bootstrap, bootstrap["greedy"])
#     mean_log_prob = wide_output.log_probs.mean()
#     score = cider_d(texts, references)[0]
#     print(f"beam width {beam_width}: log-probability {mean_log_prob:.2f}, CIDEr-D {score:.2f},")
#     print(f"    difference to greedy search {low:+.2f} to {high:+.2f}")
#     if beam_width == config.beam_width:
#         assert texts == predicted
# ```
#
# As a rule, more beams find more likely captions. Whether these are better is another question: on
# photos they mostly are (`RESULTS.md`), on drawn scenes they may be worse. If both ends of the
# interval have the same sign, the difference is significant.
# </details>
#
# 2. *Modify*: Count BOS and EOS, as many notebooks do: put `startseq` and `endseq` around every
#    caption and reference. Before you run it: which system's BLEU-1 increases most?
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
# 3. *Implement*: Sample ten captions for each photo (`sample`), and choose the one that is most
#    similar to the other nine by CIDEr-D (the third argument of `cider_d` says whose references are
#    used). This is [**minimum Bayes risk decoding**](https://aclanthology.org/N04-1022/). Before
#    you run it: can it find a good caption among ten random ones?
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
# 4. *Extend*: Score the captions of another system, e.g. a large vision-language model (on your own
#    machine: the command does not run on Kaggle). Write references and candidates into two files,
#    and pass them to `python -m utils score`. For a test, rephrase your captions as such a model
#    would: "The image shows ...". Before you run it: how much do these three words cost?
#
# <details><summary>An answer</summary>
#
# ```python
# import subprocess
#
# folder = working_folder(config).resolve()
# candidates = [f"The image shows {text}" for text in predicted]
# command = [sys.executable, "-m", "utils", "score", "--json"]
# for option, texts in {"references": references, "candidates": candidates}.items():
#     file = folder / f"{option}.json"
#     write_text(file, json.dumps(dict(zip(names, texts, strict=True)), indent=1))
#     command.extend([f"--{option}", str(file)])
# result = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
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
