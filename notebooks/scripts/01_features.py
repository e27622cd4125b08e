# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Turn pictures into numbers
#
# *Notebook 1 of 5 · before: nothing · after: [2 Turn captions into numbers](02_text.ipynb)*
#
# A network that writes sentences wants numbers, and good ones: not "this pixel is brown" but "here
# is something with four legs". A CNN (convolutional neural network) that learnt to name what is in
# a picture has such numbers in its last layers. Here we cut off the part that names, and keep what
# it knew just before:
#
# a photo (three numbers a pixel: red, green, blue) → dozens of places × hundreds of *traits* each
#
# **You will**
# - look at the photos and the captions that five people wrote for each of them;
# - cut the head off a pretrained CNN and see what the rest answers to;
# - run it once over every photo and write the answers down.
#
# **You need** Python and NumPy. Minutes on two cores: less than 1 for the drawn sample; about 2 for
# 8,000 photos with MobileNetV2. For a Kaggle GPU, which gets a larger CNN, see the estimate below.
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
# All numbers of a run live in one object. A preset (`sample` for the drawn world, `flickr8k` for
# photos) sets them; to try another value, name it in the brackets: `load_settings(seed=2)`.

# %% tags=["parameters"]
config = load_config(detect_preset())
print(summarize(config, "preset", "encoder", "fine_tune_epochs"))

# %% [markdown]
# ## The photos
#
# If you attached or put down captioned photos (Flickr8k, Flickr30k, COCO, or a table of your own
# with the columns image and caption), they are found by the name of their captions file. If not, a
# little world is drawn: people and animals outdoors, each picture with five captions. It lets you
# run everything in minutes; the same cells run on Flickr8k. Its five "people" are five voices of a
# program, and its CNN was trained to name the facts of other scenes like these. So on drawn scenes
# scores are far higher than on photos: compare them with each other, not with papers.

# %%
from utils.data.photos import find_photos

photos = find_photos(config)
print(f"{len(photos.names):,} photos: {photos.source}; split: {photos.split_source}")
skipped = [f"{name}: {why}" for name, why in photos.skipped.items()]
print(f"{len(skipped)} left out", *skipped, sep="\n")

# %% [markdown]
# Each photo belongs to one of three parts, called splits. **Train** is what the model learns from,
# **validation** is what we look at while we choose, and **test** is scored once, at the end. A
# photo is in one of them only, and so are its copies under other names: whoever has seen the answer
# is not tested by the question.

# %%
pd.DataFrame({split: [len(names)] for split, names in photos.splits.items()}, index=["photos"])

# %% [markdown]
# The first eight photos of the training part that can be read, each with one of its captions:

# %%
from utils.data.images import image_error
from utils.plotting.figures import show_photos

readable = [name for name in photos.splits["train"][:50] if not image_error(photos.paths[name])]
first = readable[:8]
_ = show_photos(
    [photos.paths[name] for name in first], [photos.captions[name][0] for name in first]
)

# %% [markdown]
# We take the first of them along through the first three notebooks; the last two need photos that
# nothing was trained on. Each of its captions is put differently. That is the problem in a
# nutshell: there is no *one* right caption.

# %%
example = first[0]
print(example, *photos.captions[example], sep="\n")

# %% [markdown]
# ## A picture is an array
#
# The CNN that will look at it, the *encoder*, decides how large it must be. Where the setting is
# `auto`, it is decided here, once, and recorded for the later notebooks.

# %%
from utils.models.encoders import choose_encoder, find_encoder

config = choose_encoder(config)
side = find_encoder(config.encoder).image_size
print(f"{config.encoder}, which wants {side} × {side} pixels")

# %% [markdown]
# **By hand**: open the file, turn it upright if the camera noted that it was held sideways, and
# squeeze it into that size. That makes people in a wide photo thin. But the middle square of a
# photo of 4 to 3 lacks a quarter of it, perhaps what the captions tell of. To NumPy the result is
# an array of three axes.

# %%
from PIL import Image, ImageOps

upright = ImageOps.exif_transpose(Image.open(photos.paths[example]))
square = upright.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
by_hand = np.asarray(square).astype("float32")
print(f"shape {by_hand.shape}: height, width, and red, green, blue from 0 to 255")

# %% [markdown]
# **By name**: `read_pixels` does the same, and more for what people's folders hold: transparent
# pictures, 16 bits, a photo of 50 megapixels (decoded at an eighth of its size, which is faster and
# changes pixels a little, so we ask for *nearly* the same).

# %%
from utils.data.images import read_pixels

pixels = read_pixels(photos.paths[example], side)
assert np.abs(by_hand - pixels).mean() < 3 or upright.mode not in ("RGB", "L")  # of 255

# %% [markdown]
# ## What a convolution is
#
# A CNN is built of one idea: slide a small window over the picture, multiply what is under it with
# a *kernel* of the same size, and add up. **By hand**, with a kernel that subtracts what is left
# from what is right, so it answers where the picture changes from left to right.

# %%
grey = pixels.mean(axis=2)
kernel = np.array([[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]]) / 3
edges = np.zeros((side - 2, side - 2))
for row in range(side - 2):
    for column in range(side - 2):
        window = grey[row : row + 3, column : column + 3]
        edges[row, column] = np.sum(window * kernel)

# %% [markdown]
# **By name**: TensorFlow's `conv2d`, which does this for many pictures and many kernels at once.

# %%
import tensorflow as tf

by_name = tf.nn.conv2d(grey[None, :, :, None], kernel[:, :, None, None], 1, "VALID")
assert np.allclose(by_name[0, :, :, 0], edges)

# %% [markdown]
# Bright is where left and right differ, whichever of the two is lighter.

# %%
from utils.plotting.figures import show_feature_maps

_ = show_feature_maps(pixels, [np.abs(edges)], ["where left differs from right"])

# %% [markdown]
# In a CNN nobody chooses the kernels: they are learnt. What is negative becomes 0 (ReLU), else two
# layers would do no more than one; then the next layer slides its kernels over all answers of the
# one before. So edges become corners, corners become wheels and ears, and in the end something
# answers to dogs. Some layers step over two pixels at a time: so the picture shrinks, and what is
# left tells of larger and larger places.
#
# ## A CNN without its head
#
# Training a CNN takes more photos and days than we have, so we take one that is trained already
# (*transfer learning*). These are one setting away, each with the size that we hand it. `auto`
# means, **on a GPU**, `convnext_base`: its makers showed it 21,000 kinds of things before the 1,000
# of ImageNet, of whose photos it names 85 in 100 right. **Without a GPU** it means `mobilenet_v2`
# (71 in 100), which takes two cores minutes for 8,000 photos and not an hour. (Accuracies: the
# table of Keras Applications.) `tiny` is part of this project and knows only drawn scenes.
#
# The weights of the photo CNNs come from Keras, or without a network from its cache or a data set
# that holds their file. They were trained on ImageNet, whose photos are for research: mind that
# before you sell what you build.

# %%
from utils.models.encoders import ENCODERS

sizes = {name: f"{encoder.image_size} × {encoder.image_size}" for name, encoder in ENCODERS.items()}
pd.DataFrame(sizes.items(), columns=["encoder", "pixels"])

# %% [markdown]
# It was trained to name what is in a picture. Its last layer, the *head*, turns what it has seen
# into names. We want what it has seen, so the head is left out. Its preprocessing is part of the
# model, where it can't be forgotten or be done twice.

# %%
from utils.models.encoders import build_encoder

encoder = build_encoder(config.encoder)
_, cells, channels = encoder.output_shape
print(f"{config.encoder}: {encoder.count_params():,} weights, none of them trained here")

# %% [markdown]
# Give it one picture. What comes back is a *grid* of cells: each tells of one place in the picture
# and what is around it, by the same number of traits, called channels.

# %%
traits = encoder(pixels[None].astype("float32"))[0].numpy()
print(f"{cells} cells × {channels} channels")

# %% [markdown]
# That is one row of channels for each of these cells:

# %%
from utils.plotting.figures import show_grid_cells

cells_a_side = int(cells**0.5)
_ = show_grid_cells(pixels, cells_a_side)

# %% [markdown]
# The white lines show the cells. Nobody told a channel what to stand for; it became whatever
# helped to name what is in pictures. Below are five channels that differ much between the cells of
# this picture, and are brightest in five different ones. Each square is a cell, and bright is a
# strong answer: what is there?

# %%
busy = np.argsort(traits.var(axis=0))[::-1]  # the liveliest first
places, liveliest = np.unique(traits[:, busy].argmax(axis=0), return_index=True)
busy = busy[np.sort(liveliest)[:5]]
maps = [traits[:, channel].reshape(cells_a_side, -1) for channel in busy]
_ = show_feature_maps(pixels, maps, [f"channel {channel}" for channel in busy])

# %% [markdown]
# What if the pixels are prepared twice, once by us and once by the model? For the CNN the pictures
# are then all but black, and look the same to it. Here is how alike (1 is equal) it finds two
# photos, with pixels as it wants them and with pixels divided by 255 first:

# %% tags=["nbval-ignore-output"]
two = np.stack([read_pixels(photos.paths[name], side) for name in first[:2]])
alike = {}
for how, values in {"as it should be": two, "scaled twice": two / 255}.items():
    one, other = encoder(values).numpy().mean(axis=1)
    alike[how] = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    print(f"{how:16} {alike[how]:.3f}")
assert alike["scaled twice"] > alike["as it should be"]

# %% [markdown]
# ## Every picture, once
#
# The encoder stays frozen: its answer for a photo is the same today and tomorrow. So each photo is
# looked at *once*, and training later reads numbers instead of pixels, which is why it takes
# minutes and not days. Other threads decode the next photos while the CNN works on these. If this
# is interrupted, run it again: it goes on where it was. A photo that can't be read is left out and
# named; if that befalls more than one in a hundred, it stops, as then something is wrong. The
# minutes for Kaggle are an estimate, measured nowhere yet: we assume that four cores decode 25
# photos a second each, and that the GPU waits for them.

# %%
from utils.features import extract_dataset

count = len(photos.names)
megabytes = count * cells * channels * 2 / 1e6  # two bytes a number
print(f"{count:,} photos × {cells} cells × {channels} channels: {megabytes:,.0f} MB")
print(f"minutes on Kaggle, estimated: {max(0.1, count / 100 / 60):.1f}")
features = extract_dataset(photos, encoder, config)
print(f"{len(features['skipped'])} could not be read", *features["skipped"].items(), sep="\n")

# %% [markdown]
# The grid can be larger than memory, so it lies in a file of its own and is *mapped*: a row is
# read when it is asked for. Our example is row 0, and what we computed above, except that on disk a
# number has 16 bits.

# %%
grids = feature_grids.load_grid(features, config)
paths = [photos.paths[name] for name in features["names"]]
assert np.abs(grids[0] - traits).mean() < 0.02 * np.abs(traits).mean()

# %% [markdown]
# ## One vector a picture
#
# To compare photos we want one vector each; the first network of notebook 3 sees no more than that,
# either. **By hand**: the mean over the cells.

# %%
pooled = np.zeros(channels)
for cell in range(cells):
    pooled += grids[0, cell].astype("float32") / cells
print(f"{cells} vectors became one of {pooled.shape[0]} numbers")

# %% [markdown]
# **By name**: NumPy's `mean`, for all photos.

# %%
features["pooled"] = np.stack([np.mean(row, axis=0, dtype="float32") for row in grids])
assert np.allclose(features["pooled"][0], pooled, atol=1e-3)

# %% [markdown]
# Do these vectors know anything? Vectors that point the same way belong to pictures that the CNN
# finds alike. The cosine of the angle between them is a dot product, once their lengths are 1.

# %%
unit = features["pooled"] / np.linalg.norm(features["pooled"], axis=1, keepdims=True)
here = 0
cosines = unit @ unit[here]
nearest = np.argsort(-cosines)[:4]
assert cosines[here] >= cosines[nearest[0]] - 1e-5  # nothing is more like it than itself
_ = show_photos([paths[row] for row in nearest], [f"cosine {cosines[row]:.2f}" for row in nearest])

# %% [markdown]
# The first is the example itself, then come the three photos most like it among all. Where they
# agree is what counts for the CNN, which has not read a word.
#
# And what does one channel look for? Below are the four photos that the most changeable channel
# answers to most. What do they share?

# %%
channel = features["pooled"].std(axis=0).argmax()
answers = features["pooled"][:, channel]
most = np.argsort(-answers)[:4]
_ = show_photos([paths[row] for row in most], [f"answer {answers[row]:.1f}" for row in most])

# %% [markdown]
# ## Save
#
# `features.pkl` holds the names and one vector a photo; the grid lies beside it. It is written to
# a temporary name first: whoever reads it finds all of it or none.
#
# With `fine_tune_epochs`, the CNN's last layers will learn in [notebook 3](03_train.ipynb), too. Then
# `backbone_features.pkl` and a second grid are saved: what comes before these layers, for each photo and for
# the photo mirrored, since a dog seen from its other side is a dog.

# %%
from utils.features import extract_backbone_features

path = artifacts.save("features", features, config)
if config.fine_tune_epochs:
    artifacts.save(
        "backbone_features", extract_backbone_features(features, photos, encoder, config), config
    )
print("for 03_train and 04_evaluate: features.pkl", artifacts.format_size(path))
print("its grid", artifacts.format_size(path.parent / features["grid"]))

# %% [markdown]
# ## What you have seen
#
# - Photos and captions: five people say five different things of one picture.
# - A pretrained CNN without its head describes each part of a picture by traits that it found
#   useful itself.
# - As the CNN is frozen, every photo was looked at once; from now on we read numbers.
#
# **Try it.** A *Look* changes a number, a *Change* needs a few lines, a *Build* a dozen, and
# *Beyond* leads out of this series. Say what you expect before you run anything. An answer's code
# goes into a new cell below, once all cells above have run. It is written for the drawn sample; on
# photos its numbers differ.
#
# 1. *Look*: Which pictures does the CNN find alike for another example? Change `here` to 5. Before
#    you run it: will they share the place, the weather, or who is there?
#
# <details><summary>An answer</summary>
#
# ```python
# here = 5
# nearest = np.argsort(-(unit @ unit[here]))[:4]
# said = [photos.captions[features["names"][row]][0] for row in nearest]
# assert here in nearest  # nothing is more like it than itself
# _ = show_photos([paths[row] for row in nearest], said)
# ```
#
# Look at what repeats, then try other numbers. Over all drawn scenes the nearest photo has mostly
# the same sky, often the same number and place, and in little more than half of all cases the same
# subject: what fills much of the picture weighs most.
# </details>
#
# 2. *Change*: What makes the example another picture to the CNN? Mirror it, turn it upside down,
#    take its colours away. Before you run it: which of these does it mind least?
#
# <details><summary>An answer</summary>
#
# ```python
# views = {"mirrored": pixels[:, ::-1], "upside down": pixels[::-1]}
# views["grey"] = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
# views["another photo"] = read_pixels(paths[1], side)
# batch = np.stack([pixels, *views.values()]).astype("float32")
# vectors = encoder(batch).numpy().mean(axis=1)
# vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
# alike = dict(zip(views, vectors[1:] @ vectors[0], strict=True))
# print(pd.Series(alike).round(3).to_string())
# assert alike["mirrored"] == max(alike.values())
# ```
#
# The mirror matters least. CNNs are usually trained with mirrored photos as well, `tiny` too; and
# the mean over the cells has forgotten where each of them was. Another photo is the yardstick for
# what is far.
# </details>
#
# 3. *Build*: Does the vector know of snow, without having read a word? Build a guesser: a weighted
#    sum of the traits (`np.linalg.lstsq`) that says whether anybody used the word *snow*, fitted on
#    the training photos, tried on those for validation. Before you run it: will *two* be easier or
#    harder?
#
# <details><summary>An answer</summary>
#
# ```python
# from utils.text import words_of
#
# traits = np.hstack([features["pooled"], np.ones((len(paths), 1))])  # the 1 is for a constant
# fit, check = (np.isin(features["names"], photos.splits[s]) for s in ("train", "validation"))
# right = {}
# for word in ("two", "snow"):
#     texts = [" ".join(photos.captions[name]) for name in features["names"]]
#     said = np.array([word in words_of(text) for text in texts])
#     weights = np.linalg.lstsq(traits[fit], said[fit].astype("float32"), rcond=None)[0]
#     right[word] = np.mean((traits[check] @ weights > 0.5) == said[check])
#     always_no = np.mean(~said[check])
#     print(f"{word}: {right[word]:.0%} right; always 'no' would be right for {always_no:.0%}")
# assert right["snow"] > always_no
# ```
#
# This is called a *linear probe*. Snow is in many cells, so their mean tells of it. Two of
# something is hard to see in a mean: it does not say how often a trait was met, only how much of it
# there is.
# </details>
#
# 4. *Beyond*: Another encoder is one entry in a table. Give it one of your own, which has learnt
#    nothing: the mean colour of each of 7 × 7 cells. Before you run it: which photos will this one
#    find alike for your example?
#
# <details><summary>An answer</summary>
#
# ```python
# import keras
#
# from utils.encoders import Encoder
# from utils.features import extract
#
#
# def only_colours(weights=None):
#     picture = keras.Input((side, side, 3))
#     return keras.Model(picture, keras.layers.AveragePooling2D(side // 7)(picture))
#
#
# ENCODERS["colours"] = Encoder(only_colours, lambda pixels: pixels / 255, side, split_layer="")
# seen = np.concatenate([*extract(paths, build_encoder("colours"), "colours")])
# apart = np.abs(seen - seen[here]).mean(axis=(1, 2), dtype="float32")
# assert seen.shape == (len(paths), 49, 3) and apart[here] == apart.min()
# _ = show_photos([paths[row] for row in np.argsort(apart)[:4]])
# ```
#
# Of drawn scenes it knows the place and the weather, and hardly who is there. To take an encoder
# through all five notebooks, put its entry into `utils/encoders.py`, build it with weights that
# have learnt something, and set `encoder`. The later notebooks refuse features of another one, and
# name this notebook. A large one that is there already, for your photos: `python -m utils run
# --input your_folder --set encoder=vgg16`. It has 49 cells of 512 channels, so 8,000 photos take
# 8,000 × 49 × 512 × 2 bytes, 401 MB.
# </details>
#
# *Next*: [2 Turn captions into numbers](02_text.ipynb).
