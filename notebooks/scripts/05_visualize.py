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
# A table of scores says how good a captioner is on average. It does not say *what* it is good at.
# This notebook is a qualitative **error analysis**: the best and the worst captions, selected by a
# rule instead of by hand, the confidence of each caption, and the attention weights of each word.
# It writes a page, `gallery.html`, of all photos with their captions, and ends with captions for
# photos of your own and for real photographs.
#
# **You will**
# - read the best, the median and the worst captions beside their references, and see which words
#   are wrong;
# - check whether the captioner knows which of its captions are good;
# - see which regions of the image the model attends to, word by word;
# - caption photos that have no references, some of them unlike any photo that the captioner has
#   seen, and search photos by a sentence.
#
# **You need** the predictions of notebook 4. Minutes: less than 1. TensorFlow is only loaded for
# photos without references.
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
# Nothing is trained here; the settings only select the run.

# %% tags=["parameters"]
config = load_config(detect_preset())
print(summarize(config, "preset", "encoder", "decoder"))

# %% [markdown]
# Load the results of notebook 4: the captions, their scores, and their attention weights.

# %%
from utils.data.tokenizer import tokenize

predictions = artifacts.load("predictions", config)
captions = artifacts.load("captions", config)["captions"]
names = predictions["names"]
predicted = predictions["captions"]
scores = predictions["CIDEr-D"]
print(f"{len(names):,} captions for the {predictions['split']} split")

# %% [markdown]
# ## The best, the median, the worst
#
# Hand-picked examples are misleading (**cherry-picking**). So a rule selects them: sort by score,
# take both ends and the middle. **By hand**, the positions in the sorted list:

# %%
order = np.argsort(-scores, kind="stable")
group_size = max(1, min(3, len(order) // 3))
middle = (len(order) - group_size) // 2
selected = {
    "best": order[:group_size],
    "median": order[middle : middle + group_size],
    "worst": order[-group_size:],
}
assert scores[selected["best"]].min() >= scores[selected["median"]].max()
assert scores[selected["median"]].min() >= scores[selected["worst"]].max()

# %% [markdown]
# How sure is the captioner of each caption? Notebook 4 has estimated the **confidence** of each,
# the probability that it is good; the section *Confidence* below checks it.

# %%
confidence = predictions["confidence"]
by_confidence = np.argsort(-confidence, kind="stable")
selected["most confident"] = by_confidence[:1]
selected["least confident"] = by_confidence[-1:]

# %% [markdown]
# The photos are those whose files notebook 1 has read and recorded.

# %%
from utils.data.photo_files import recorded_paths
from utils.paths import working_folder
from utils.plotting.figures import show_captioned

paths = recorded_paths(names, artifacts.load("features", config), config)
references = [captions[name] for name in names]
notes = []
for score, value in zip(scores, confidence, strict=True):
    notes.append(f"CIDEr-D {score:.2f}, confidence {value:.0%}")


# %% [markdown]
# ## Save a gallery
#
# One page with all photos of the split: it opens in any browser, from disk, without a network. Move
# the slider under a photo, or point at a word, to see its **attention map**, which is explained
# below.

# %%
from utils.plotting.gallery import write_gallery

lengths = np.array([len(tokenize(text)) for text in predicted])
page = working_folder(config) / "gallery.html"
cards = []
for row in range(len(names)):
    cards.append(
        {
            "path": paths[row],
            "caption": predicted[row],
            "references": references[row],
            "score": scores[row],
            "confidence": confidence[row],
            "attention_weights": predictions["attention_weights"][row][: lengths[row]],
        }
    )
write_gallery(page, cards, "Generated captions", predictions["protocol"])
print(f"{page.name}: {len(cards):,} photos")

# %% [markdown]
# Now the photos. Above each photo, in blue, the generated caption; below it references, two of them
# or all. The best: what do they have in common with the references?


# %%
def show(rows, notes=notes):
    """The photos of these rows with captions, references and notes."""
    return show_captioned(
        [paths[row] for row in rows],
        [predicted[row] for row in rows],
        [references[row] for row in rows],
        [notes[row] for row in rows],
    )


show(selected["best"]).savefig(working_folder(config) / "best.png", dpi=110)

# %% [markdown]
# Around the median. Which of these are correct but worded differently, which lowers the score, and
# which are wrong?

# %%
_ = show(selected["median"])

# %% [markdown]
# The worst, with all references: is the caption wrong, too vague, too short, or does it mention
# what no reference mentions? A low score can mean any of these: compare it with the photo.

# %%
_ = show(selected["worst"])

# %% [markdown]
# Finally, the most and the least confident caption. Are they among the best and the worst?

# %%
_ = show([*selected["most confident"], *selected["least confident"]])

# %% [markdown]
# Would another metric select other captions? Each point is a caption, by BLEU-2 (1-grams and
# 2-grams; a single caption often matches no 4-gram of any reference) and by CIDEr-D. **By hand**:
# rank all captions by both metrics, and mark the two whose ranks differ most.

# %%
from utils.evaluation.metrics import bleu
from utils.plotting.charts import plot_score_scatter

_, caption_bleu = bleu(predicted, references)
bleu_2 = caption_bleu[:, 1]
rank_difference = pd.Series(bleu_2).rank() - pd.Series(scores).rank()
marked = {
    "higher by BLEU-2": int(rank_difference.idxmax()),
    "higher by CIDEr-D": int(rank_difference.idxmin()),
}
_ = plot_score_scatter(bleu_2, scores, ("BLEU-2", "CIDEr-D"), marked)

# %% [markdown]
# If the metrics agreed, all points would be on one curve. At the right edge every 2-gram occurs in
# a reference: BLEU-2 can't distinguish these captions any more, CIDEr-D can. Below are the marked
# two, the one that BLEU-2 ranks higher first, with all references. For BLEU-2 a match in any one
# reference is enough, and all words count alike; CIDEr-D is the mean over all references, and
# rewards the informative words.

# %%
both_notes = []
for bleu_score, score in zip(bleu_2, scores, strict=True):
    both_notes.append(f"BLEU-2 {bleu_score:.2f}, CIDEr-D {score:.2f}")
_ = show(list(marked.values()), notes=both_notes)

# %% [markdown]
# ## Which words are missed
#
# Words in at least three references of a photo (or in all, if it has fewer) are hard to leave out.
# **By hand**: the **recall** of each such word, the share of photos whose generated caption has it.

# %%
from collections import Counter

generated = Counter()
missed = Counter()
for caption, group in zip(predicted, references, strict=True):
    reference_counts = Counter()
    for text in group:
        reference_counts.update(set(tokenize(text)))
    needed = min(3, len(group))
    agreed = {word for word, count in reference_counts.items() if count >= needed}
    caption_words = set(tokenize(caption))
    generated.update(agreed & caption_words)
    missed.update(agreed - caption_words)

# %% [markdown]
# Of the words that references of at least five photos agree on, those with the lowest recall and
# five of those with the highest:

# %% tags=["nbval-ignore-output"]
counts = {"generated": pd.Series(generated, dtype=int), "missed": pd.Series(missed, dtype=int)}
table = pd.DataFrame(counts).fillna(0).astype(int)
total = table["generated"] + table["missed"]
table["recall"] = (table["generated"] / total).round(2)
frequent = table[total >= 5].sort_values("recall", kind="stable")
pd.concat([frequent.head(5), frequent[5:].tail(5)])

# %% [markdown]
# Look at the upper rows together with the photos. Does the word have a synonym ("a pair of" for
# "two")? Was it omitted, as clothes often are, or confused with something else? (Notebook 4 scores
# word categories, and treats such synonyms as equal.)
#
# Does the score depend on the length of the caption? A longer one states more, right or wrong. The
# dark line is an approximate 95 % confidence interval: the mean ± 1.96 standard errors.

# %%
from utils.plotting.charts import plot_bars

shortest_in_group = lengths // 3 * 3  # groups of three lengths: 6 to 8 words, 9 to 11 words, ...
groups = pd.Series(scores).groupby(shortest_in_group)
standard_errors = groups.sem().fillna(0)
means = {}
intervals = {}
for shortest, mean in groups.mean().items():
    label = f"{shortest} to {shortest + 2} words, {groups.size()[shortest]} captions"
    margin = 1.96 * standard_errors[shortest]
    means[label] = mean
    intervals[label] = (mean - margin, mean + margin)
_ = plot_bars(means, "CIDEr-D by length of the caption", intervals)

# %% [markdown]
# ## Confidence
#
# For a screen reader, a wrong caption can be worse than none. So a captioner should know which of
# its captions are good, although it sees no reference. A caption counts as **good** if its CIDEr-D
# reaches a bound. Notebook 4 has computed the confidence from four signals:
#
# - the **log-probability** $\log p$, divided by the number of tokens $n$;
# - the **PMI**: how much more likely the caption is for this photo than for an average one;
# - the [**principal components**](https://en.wikipedia.org/wiki/Principal_component_analysis)
#   $\mathbf{z}$ of the photo's features: some subjects are described better than others;
# - the **distance** of the photo's features from those of the training photos: of a photo unlike
#   all of them the captioner knows nothing.
#
# [**Logistic regression**](https://en.wikipedia.org/wiki/Logistic_regression) on the validation
# photos, whose captions have been scored, combines the first three. The last one gives a factor
# $f$, the **familiarity**: 1 for a photo as near to the training photos as most validation photos
# are, and 0 for one that is farther away than all of them.
#
# $$c = f \cdot \sigma\left(w_0 + w_1 \frac{\log p}{n} + w_2 \frac{\text{PMI}}{n} +
# \mathbf{w}^\top \mathbf{z}\right)$$
#
# where $\sigma$ is the logistic function, whose values are between 0 and 1.
#
# For the figures below, each validation photo has the confidence of a regression that was fitted
# without it ([**cross-validation**](https://scikit-learn.org/stable/modules/cross_validation.html)):
# on the photos that it was fitted on, a regression looks better than it is.
#
# A confidence is [**calibrated**](https://arxiv.org/abs/1706.04599) if it can be taken at its word:
# of all captions with a confidence of 80 %, 80 % are good. **By hand**: group the captions into
# bins by confidence, and compare the mean confidence of each bin with the fraction of good
# captions. The **expected calibration error** is the mean difference between the two.

# %%
fitted = artifacts.load("confidence", config)
validation_confidence = fitted["validation_confidence"]
validation_good = fitted["validation_good"]
num_bins = 10
bin_table = []
for number in range(num_bins):
    in_bin = (validation_confidence >= number / num_bins) & (
        validation_confidence < (number + 1) / num_bins
    )
    if number == num_bins - 1:
        in_bin |= validation_confidence == 1
    if in_bin.any():
        mean_confidence = validation_confidence[in_bin].mean()
        fraction_good = validation_good[in_bin].mean()
        bin_table.append([in_bin.sum(), mean_confidence, fraction_good])
sizes, mean_confidences, fractions_good = np.array(bin_table).T
calibration_error = np.average(abs(mean_confidences - fractions_good), weights=sizes)

# %% [markdown]
# **With the library**, as a **reliability diagram**: one dot per bin, with a 95 % confidence
# interval, which is wide where a bin has few captions. Dots on the dashed diagonal are calibrated;
# below it the captioner is overconfident. The histogram shows how many captions each bin has: if
# nearly all captions are good, as on drawn scenes, most bins are empty. On the left the captioner
# may be underconfident: the familiarity lowers the confidence of the few most unusual photos, in
# case of photos that are still more unusual.

# %%
from utils.evaluation.calibration import expected_calibration_error, reliability_bins
from utils.plotting.charts import plot_reliability

bins = reliability_bins(validation_confidence, validation_good, num_bins)
assert np.allclose([[each.size, each.confidence, each.fraction_good] for each in bins], bin_table)
assert np.isclose(
    expected_calibration_error(validation_confidence, validation_good, num_bins), calibration_error
)
_ = plot_reliability(validation_confidence, validation_good, num_bins)

# %% [markdown]
# Calibration alone is not enough: a captioner that gives every caption the same confidence, the
# fraction of good captions, is perfectly calibrated, and useless. Do good captions have a *higher*
# confidence than others? The [**area under the ROC
# curve**](https://en.wikipedia.org/wiki/Receiver_operating_characteristic) (ROC AUC) is the
# probability that they do: 1 if every good caption has a higher confidence than every other one,
# 0.5 if confidence is random. **By hand**, for the captions of this notebook: the fraction of all
# pairs of a good and another caption that are in the right order; ties count as a half. **With the
# library**: `roc_auc` computes the same from ranks.

# %% tags=["nbval-ignore-output"]
from utils.evaluation.calibration import roc_auc

good = scores >= fitted["good_score"]
print(f"{good.mean():.0%} of the captions are good (CIDEr-D of {fitted['good_score']} or more)")
differences = confidence[good][:, None] - confidence[~good][None, :]
if differences.size:
    auc_by_hand = np.mean((differences > 0) + 0.5 * (differences == 0))
    assert np.isclose(roc_auc(confidence, good), auc_by_hand)
    print(f"ROC AUC {auc_by_hand:.2f}")
else:
    print("All captions are good, or none is: the ROC AUC is undefined.")

# %% [markdown]
# ## Attention maps
#
# Notebook 3 introduced **attention weights**: one weight per token and grid cell. **By hand**,
# for the best caption: the weights of each token sum to 1, and the cell with the largest weight is
# the one that the model attends to most. A captioner without attention has no weights.

# %% tags=["nbval-ignore-output"]
best = int(order[0])
words = tokenize(predicted[best])
attention_weights = predictions["attention_weights"][best, : len(words)].astype("float32")
num_cells = attention_weights.shape[1]
has_attention = num_cells > 0
if has_attention:
    side = int(num_cells**0.5)
    assert np.allclose(attention_weights.sum(axis=1), 1, atol=0.01)
    peak_cells = attention_weights.argmax(axis=1)
    peaks = {"row": peak_cells // side + 1, "column": peak_cells % side + 1}
    print(pd.DataFrame(peaks, index=words))

# %% [markdown]
# **With the library**: the image, then one **attention map** per word, in which regions with low
# weights are dark and gray. Each map is scaled to its own maximum, so that both diffuse and sharp
# attention are visible.

# %%
from utils.plotting.figures import show_attention
from utils.plotting.style import load_thumbnail

if has_attention:
    _ = show_attention(load_thumbnail(paths[best]), words, attention_weights)
else:
    print("This captioner uses the mean of all cells: it has no attention weights.")

# %% [markdown]
# Interpret attention maps with care ([Jain and Wallace
# 2019](https://arxiv.org/abs/1902.10186)). The receptive field of a cell is larger than the cell,
# so its features can also describe a ball in the cell beside it.
#
# ## Your own photos
#
# Put images into the folder `data/my_photos` of the repository and run this again. If there are
# none, three new scenes are drawn. A captioner generalizes only to images like those it was trained
# on: one that was trained on drawn scenes fails on photos, and the other way round.

# %%
from utils.data.photos import MY_PHOTOS_DIR, is_image
from utils.sample.painter import paint
from utils.sample.scenes import sample_scenes

my_photos = sorted(path for path in MY_PHOTOS_DIR.glob("*") if is_image(path))[:8]
if not my_photos:
    folder = working_folder(config) / "fresh"
    folder.mkdir(exist_ok=True)
    for number, scene in enumerate(sample_scenes(3, seed=20), start=1):
        paint(scene).save(folder / f"fresh_{number}.jpg")
    my_photos = sorted(folder.glob("fresh_*.jpg"))

# %% [markdown]
# `Captioner` is the whole pipeline as one object: encoder, tokenizer, decoder and beam search,
# loaded from the artifacts with the settings of that run, and with a check that they belong
# together. It takes paths, arrays and Pillow images. For the photos of notebook 4 it generates the
# same captions:

# %% tags=["nbval-ignore-output"]
from utils.inference import Captioner

captioner = Captioner.load(working_folder(config))
first_rows = [row for row in range(len(names)) if paths[row]][:8]
first_paths = [paths[row] for row in first_rows]
num_equal = 0
for row, result in zip(first_rows, captioner(first_paths), strict=True):
    num_equal += result["caption"] == predicted[row]
print(f"{num_equal} of {len(first_rows)} captions are those of notebook 4")

# %% [markdown]
# These photos have no references. A caption is a first draft of an [**alt
# text**](https://www.w3.org/WAI/tutorials/images/), the sentence that a screen reader reads aloud
# in place of an image. What `alt_text` returns depends on the confidence: the caption as a
# sentence; the same after *Possibly*; or *No confident description*. Below each photo, its alt text
# and confidence. Check an alt text before you publish it.

# %%
from utils.inference import alt_text
from utils.plotting.figures import show_photos

failures = {}
my_captions = captioner(my_photos, failures=failures)
for path, reason in failures.items():
    print(f"{path}: {reason}")
titles = []
for row in my_captions:
    assert 0 <= row["confidence"] <= 1
    titles.append(f"{alt_text(row)} ({row['confidence']:.0%})")
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
from utils.data.open_photos import find_open_photos
from utils.errors import CaptionsError

missing_photos = {}
open_photos = find_open_photos(missing_photos)
if missing_photos:
    print(f"Without {', '.join(missing_photos)}: pip install scikit-image scikit-learn")
pretrained = None
open_captions = []
try:
    pretrained = Captioner.pretrained()
except CaptionsError as error:
    print(f"This section is skipped: {error}")
if pretrained:
    open_paths = [photo.path for photo in open_photos]
    stream = pretrained.stream(open_paths, no_repetition=True, attention_weights=True)
    open_captions = list(stream)

# %% [markdown]
# First its reliability diagram, of the validation photos of Flickr8k:

# %% tags=["nbval-ignore-output"]
if pretrained:
    pretrained_fit = pretrained.confidence
    _ = plot_reliability(pretrained_fit["validation_confidence"], pretrained_fit["validation_good"])

# %% [markdown]
# Flickr8k shows people and dogs, mostly outdoors. A cup of coffee, a retina or a galaxy is
# **out-of-distribution**: unlike anything in training. The captioner has no word for most of it,
# and describes it with the words that it has. It should say so. **By hand**, the verdict on each
# caption; **with the library**, `describe_confidence`.

# %% tags=["nbval-ignore-output"]
from utils.evaluation.confidence import ASSERT_FROM, HEDGE_FROM, describe_confidence

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
# Below, each photograph with its verdict, its alt text (or what the captioner would have written),
# and the attention maps of two words of the caption, dark red where the weight is largest. The
# words are the rarest ones that name something visible. Does the attention fit the word? Is any
# assertion wrong? The captioner itself cannot know: its confidence is an estimate.

# %% tags=["nbval-ignore-output"]
from utils.plotting.alt_texts import AltTextCard, choose_words, show_alt_texts

alt_text_cards = []
for photo, row, verdict in zip(open_photos, open_captions, verdicts, strict=False):
    words = tokenize(row["caption"])
    shown_weights = {}
    if row["attention_weights"].size:
        for position in choose_words(words, pretrained.tokenizer.word_to_id):
            shown_weights[words[position]] = row["attention_weights"][position]
    text = alt_text(row)
    if verdict == "none":
        text = f"Not stated: “{row['caption']}”"
    alt_text_cards.append(
        AltTextCard(photo.path, text, verdict, row["confidence"], shown_weights, photo.credit)
    )
if alt_text_cards:
    _ = show_alt_texts(alt_text_cards)

# %% [markdown]
# ## Search photos by a sentence
#
# Text-to-image retrieval, as in notebook 4: photos are ranked by the probability of the sentence.
# The photos are the first ones of the split and your own; the sentence is a reference of the first
# photo, if the captioner knows one of its words.

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
# **By hand**, for the first photo: the geometric mean of the probabilities of the sentence's
# tokens, each given the tokens before it.

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
    score_by_hand = np.exp(np.mean(target_log_probs))
    print(f"mean probability per token {score_by_hand:.2%}")

# %% [markdown]
# **With the library**: `search` ranks all photos, the best first. It caches the features of the
# photos in the working folder, so that the next query is faster. Below, the two best photos. Try
# other queries.

# %% tags=["nbval-ignore-output"]
if query and search_photos:
    results = captioner.search(query, search_photos)
    scores_by_path = {path: score for score, path in results}
    assert np.isclose(scores_by_path[str(search_photos[0])], score_by_hand, rtol=0.02)
    best_results = results[:2]
    titles = [f"{score:.2%} per token" for score, _ in best_results]
    _ = show_photos([path for _, path in best_results], titles, size=1.7)

# %% [markdown]
# The same from the command line, for a folder of any size: `python -m utils caption FOLDER --alt`
# and `python -m utils search "a dog in the snow" FOLDER`.

# %% [markdown]
# ## What you learned
#
# - The best, the median and the worst captions, selected by a rule: low scores are not always wrong
#   captions, and some words have a lower recall than others.
# - A confidence is useful if it is calibrated, and higher for good captions than for others.
# - Attention maps show roughly which regions a word depends on.
# - A captioner can search photos by a sentence, and write alt text for new photos; of photos unlike
#   those of training it should say that it does not know.
#
# **Try it.** *Vary*: change a value. *Modify*: edit a few lines. *Implement*: write a dozen lines.
# *Extend*: go beyond this series. Predict the result before you run anything. Put the code
# of an answer into a new cell below, after you have run all cells above. It is written for the
# drawn sample; on photos its numbers differ.
#
# 1. *Vary*: What does the attention of the worst caption look like? Before you run it: guess
#    whether the model attended to the wrong region, or misclassified the right one.
#
# <details><summary>An answer</summary>
#
# ```python
# worst = int(order[-1])
# words = tokenize(predicted[worst])
# print(predicted[worst], *references[worst], sep="\n  ")
# assert scores[worst] == scores.min()
# if has_attention:
#     weights = predictions["attention_weights"][worst, : len(words)].astype("float32")
#     _ = show_attention(load_thumbnail(paths[worst]), words, weights)
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
# <details><summary>An answer</summary>
#
# ```python
# mean_probability = np.exp(predictions["log_probs"] / (lengths + 1))
# by_probability = np.argsort(-mean_probability, kind="stable")
# half = len(order) // 2
# probable_score = scores[by_probability[:half]].mean()
# other_score = scores[by_probability[half:]].mean()
# print(f"CIDEr-D: more probable half {probable_score:.2f}, other half {other_score:.2f}")
# errors = {}
# for label, values in {"mean probability": mean_probability, "confidence": confidence}.items():
#     errors[label] = expected_calibration_error(values, good)
#     print(f"{label}: mean {values.mean():.0%}, calibration error {errors[label]:.2f}")
# print(f"good captions: {good.mean():.0%}")
# assert probable_score > other_score
# assert errors["confidence"] < errors["mean probability"]
# ```
#
# It does predict the score: if captions with a low value are left to a human, fewer errors remain
# (**selective prediction**). But it is no probability of a good caption: many sentences describe a
# photo, so each of them has a low probability, even if all are good.
# </details>
#
# 3. *Implement*: Compute the mean row of the attention for each word, where 1 is the top row of the
#    grid. Before you run it: which words will be high in the image, and which low?
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
# The position of the sky was not annotated. On drawn scenes the model has learned from captions
# alone that *night* and *rain* depend on the upper rows, and *sleeping* or *ball* on the lower
# ones. Words such as *a* and *of* occur everywhere: their mean is near the middle.
# </details>
#
# 4. *Extend*: Write a web page of your own photos with alt text, for screen readers. Before you
#    look: for which of them will the confidence be low?
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
# *Next*: the README explains how to train on photos.
