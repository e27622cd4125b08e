# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Extract image features with a pretrained CNN
#
# [![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)][kaggle]
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)][colab]
#
# [kaggle]: https://kaggle.com/kernels/welcome?src=https://github.com/INSERT_OWNER_HERE/image-captioning/blob/main/notebooks/01_features.ipynb
# [colab]: https://colab.research.google.com/github/INSERT_OWNER_HERE/image-captioning/blob/main/notebooks/01_features.ipynb
#
# *Notebook 1 of 5 · next: [2 Tokenize the captions](02_text.ipynb)*
#
# ```text
#    photos                 captions
#      │                       │
# ▶ 01_features ◀           02_text          (you are here: ▶ ◀)
#      │ features.pkl          │ captions.pkl, tokenizer.pkl
#      └──────────┬────────────┘
#                 │
#             03_train
#                 │ captioner.pkl, history.pkl
#            04_evaluate
#                 │ predictions.pkl, confidence.pkl, scores.json
#            05_visualize ──► gallery.html
# ```
#
# An image is an array of pixels, but a caption says nothing about pixels. It speaks of a dog that
# runs through snow. An image captioner therefore has two parts
# ([Vinyals et al. 2015](https://arxiv.org/abs/1411.4555)). The **encoder** is a network that turns
# the image into **features**: numbers that say what is where in the image. The **decoder** is a
# language model that writes a caption, word by word, from these features.
#
# This notebook is about the encoder; the decoder follows in [notebook 3](03_train.ipynb). We don't
# train an encoder ourselves. We take a **CNN** (convolutional neural network) that has learned to
# classify a million photos, remove the layers that name the class, and keep the layers that
# describe the image.
#
# **You will learn**
# - what a convolution computes, and what stride and receptive field are;
# - how a CNN classifies a photo: features, logits, softmax;
# - what is left when you remove its classification head, and how to find out what a channel
#   detects;
# - how to compare images by the cosine similarity of their features;
# - why features are stored in half precision.
#
# **You need** Python, NumPy, and to have trained one Keras model. The notebook takes less than a
# minute on two cores for the drawn sample, and about 10 minutes for the 8,000 photos of Flickr8k.
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
# All settings of a run are fields of one object. A preset (`sample` for the drawn scenes,
# `flickr8k` for photos) sets them; to try another value, pass it, here and in the notebooks after
# this one: `load_config(detect_preset(), seed=2)`.

# %% tags=["parameters"]
config = load_config(detect_preset())
print(summarize(config, "preset", "encoder", "fine_tune_epochs"))

# %% [markdown]
# ## The photos and their captions
#
# If you attached or downloaded captioned photos (Flickr8k, Flickr30k, COCO, or a table of your own
# with the columns image and caption), they are detected by their captions file. If not, a small
# drawn sample is made: people and animals outdoors, with five captions for each picture. It
# lets you run all five notebooks in minutes, and the same cells run on Flickr8k.
#
# Drawn scenes are easier than photos: a program writes their captions from five templates. So
# scores on them are far higher than on photos. Compare them with each other, not with the
# literature.

# %%
from utils.data.photos import find_photos

photos = find_photos(config)
print(f"{len(photos.names):,} photos: {photos.source}; split: {photos.split_source}")
print(f"{len(photos.skipped)} skipped")
for name, reason in photos.skipped.items():
    print(f"{name}: {reason}")
for note in photos.notes:
    print(note)
if photos.unlisted:
    print(f"{len(photos.unlisted):,} more are in none of the lists of the split")

# %% [markdown]
# The photos are divided into three **splits**. The model is fitted on **train**. **Validation**
# serves to choose between models and epochs. **Test** is scored once, at the end. A photo is in one
# split only, and so are its copies under other names: otherwise the model could memorize a test
# photo.

# %%
split_sizes = {split: len(names) for split, names in photos.splits.items()}
pd.DataFrame([split_sizes], index=["photos"])

# %% [markdown]
# Here are the first photos of the training split that can be read, each with one of its captions:

# %%
from utils.data.photo_files import readable_names
from utils.plotting.figures import show_photos

first_names = readable_names(photos, "train", count=4)
first_paths = [photos.paths[name] for name in first_names]
first_captions = [photos.captions[name][0] for name in first_names]
_ = show_photos(first_paths, first_captions)

# %% [markdown]
# The first of them is our example in notebooks 1 to 3. (Notebooks 4 and 5 need a photo that the
# model has not seen in training.) Its captions are the **references** that a generated caption is
# compared with. If there are several, they usually differ: people notice different things. That
# makes captioning difficult to learn and to score, because there is no single correct answer.

# %%
example = first_names[0]
print(example, *photos.captions[example], sep="\n")

# %% [markdown]
# ## An image is an array
#
# The encoder determines the size of its input. If the setting `encoder` is `auto`, the encoder is
# chosen here, once, and recorded for the later notebooks.

# %%
from utils.models.encoders import choose_encoder, find_encoder

config = choose_encoder(config)
image_size = find_encoder(config.encoder).image_size
print(f"{config.encoder}: input of {image_size} × {image_size} pixels")

# %% [markdown]
# **By hand**: open the file, apply the camera's orientation tag, and resize the image to the input
# size. This stretches images that are not square. A center crop would keep the aspect ratio, but
# it would lose a quarter of a 4:3 photo, possibly with something that the captions mention.

# %%
from PIL import Image, ImageOps

upright = ImageOps.exif_transpose(Image.open(photos.paths[example]))
rgb = upright.convert("RGB")
resized = rgb.resize((image_size, image_size), Image.Resampling.BILINEAR)
pixels_by_hand = np.asarray(resized).astype("float32")
print(f"shape {pixels_by_hand.shape}: height, width, and color channels from 0 to 255")

# %% [markdown]
# The last axis has three **channels**: how much red, green and blue each pixel has. The word stays
# the same inside a CNN, where an array has hundreds of channels, and none of them is a color.
#
# **With the library**: `read_pixels` does the same. It also handles transparent and 16-bit images,
# and it decodes a photo of 50 megapixels at an eighth of its size. This is faster and changes
# pixels a little, so the assertion allows a small difference.

# %%
from utils.data.images import read_pixels

pixels = read_pixels(photos.paths[example], image_size)
if config.preset == "sample":
    assert np.abs(pixels_by_hand - pixels).mean() < 3  # of 255

# %% [markdown]
# ## Convolution
#
# A **convolution** slides a small window, the **kernel**, over the image. At each position it
# multiplies the pixels under the window with the kernel and sums the products. The result is a
# **feature map**: a number for each position, large where the image has what the kernel responds
# to. This kernel subtracts what is on the left from what is on the right:
#
# ```text
#       image                kernel       feature map
#
#  0   0   0   9   9   9    −1  0  1
#  0 [ 0   0   9 ] 9   9    −1  0  1     0   27   27   0
#  0 [ 0   0   9 ] 9   9    −1  0  1     0  [27]  27   0
#  0 [ 0   0   9 ] 9   9
# ```
#
# The marked window has the sum 3 · (9 − 0) = 27: here is a vertical edge, dark on its left and
# bright on its right. Where the image is constant, the sum is 0. **By hand**, on the gray version
# of our example:

# %%
gray = pixels.mean(axis=2)
kernel = np.array([[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]])
edges = np.zeros((image_size - 2, image_size - 2))
for row in range(image_size - 2):
    for column in range(image_size - 2):
        window = gray[row : row + 3, column : column + 3]
        edges[row, column] = np.sum(window * kernel)

# %% [markdown]
# **With the library**: TensorFlow's
# [`conv2d`](https://www.tensorflow.org/api_docs/python/tf/nn/conv2d) processes several images with
# several kernels at once. We give it one image and two kernels: the one above, and one of random
# numbers. Each kernel gives one channel of the output.

# %%
import tensorflow as tf

random_kernel = np.random.default_rng(0).normal(size=(3, 3))
kernels = np.stack([kernel, random_kernel], axis=-1)
kernels = kernels[:, :, None]  # (height, width, input channels, output channels)
images = gray[None, :, :, None]  # (images, height, width, channels)
outputs = tf.nn.conv2d(images, kernels, strides=1, padding="VALID")[0].numpy()
print(f"{gray.shape} → {outputs.shape}: height, width, channels")
assert np.allclose(outputs[:, :, 0], edges)

# %% [markdown]
# The two feature maps as absolute values, so that an edge is bright whichever of its sides is
# brighter. What does the random kernel respond to?

# %%
from utils.plotting.figures import show_feature_maps

maps = [np.abs(outputs[:, :, channel]) for channel in range(2)]
_ = show_feature_maps(pixels, maps, ["vertical edges", "random kernel"])

# %% [markdown]
# The first map shows vertical edges and no horizontal ones, as designed. The random kernel mostly
# repeats the brightness of the image: its nine numbers sum to 2.1, not to 0, so it also responds
# where nothing changes. It detects nothing in particular.
#
# A CNN starts with random kernels, and training turns them into useful ones. Where the input has
# several channels, a kernel has one slice for each of them: over the three colors, 3 × 3 × 3
# numbers.
#
# After each convolution a **ReLU** (rectified linear unit, $\max(0, x)$) sets negative values to 0.
# Without such a nonlinearity, two layers could compute no more than one, because a sum of sums is a
# sum. Each layer takes the feature maps of the layer before it: the first layers detect edges, the
# next ones textures, then parts (wheels, ears), and the last ones whole objects ([Zeiler and Fergus
# 2014](https://arxiv.org/abs/1311.2901) show examples).

# %% [markdown]
# ## Stride and receptive field
#
# How can a layer detect a whole dog with a kernel of 3 × 3? Because it does not look at pixels.
# Each of its inputs already summarizes a region of the image. And most CNNs widen these regions
# quickly: a layer with a **stride** of 2 moves its kernel by two positions instead of one, so its
# output has half the height and half the width. Two such layers, in one dimension:
#
# ```text
# layer 2                  a
#                  ┌───────┼───────┐
# layer 1          b       c       d       stride 2, kernel 3
#                ┌─┼─┐   ┌─┼─┐   ┌─┼─┐
# pixels         1 2 3   3 4 5   5 6 7     stride 2, kernel 3
# ```
#
# `b` depends on the pixels 1 to 3, `c` on 3 to 5, `d` on 5 to 7, and so `a` depends on seven
# pixels. The region of the image that a value depends on is its **receptive field** ([Araujo et al.
# 2019](https://distill.pub/2019/computing-receptive-fields/)).
#
# Its size $r$ follows from the kernel sizes $k$ and strides $s$ of the layers. A kernel of size $k$
# adds $k - 1$ neighbors on the layer below, and these are $j$ pixels apart, where $j$ is the
# product of the strides so far:
#
# $$r_n = r_{n-1} + (k_n - 1) \, j_{n-1} \qquad j_n = j_{n-1} \, s_n \qquad r_0 = j_0 = 1$$
#
# For the diagram: $r_1 = 1 + 2 \cdot 1 = 3$ and $r_2 = 3 + 2 \cdot 2 = 7$. The same in code, for
# all convolutions of a model that follow one after the other:

# %%
import keras


def receptive_fields(model):
    """One row for each convolution: name, kernel size, stride, output shape, receptive field."""
    receptive_field, pixels_apart = 1, 1
    rows = []
    for layer in model.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
            kernel_size, stride = layer.kernel_size[0], layer.strides[0]
            receptive_field += (kernel_size - 1) * pixels_apart
            pixels_apart *= stride
            shape = " × ".join(f"{size:,}" for size in layer.output.shape[1:])
            rows.append([layer.name, kernel_size, stride, shape, receptive_field])
    return rows


# %% [markdown]
# Now for the small CNN that belongs to the drawn sample. Its weights are random here: they don't
# change which pixels a value depends on.

# %%
from utils.sample.cnn import build_cnn

keras.utils.set_random_seed(config.seed)
small_cnn = build_cnn(weights=None)
layer_table = receptive_fields(small_cnn)
columns = ["layer", "kernel", "stride", "output", "receptive field"]
pd.DataFrame(layer_table, columns=columns).set_index("layer")

# %% [markdown]
# Later layers depend on larger regions, and where the stride is 2 or more, the grid gets coarser.
# The number of channels rises from 32 to 160. (A kernel of size 1, as in `block3_projection`,
# combines channels only.)
#
# Let us check the last number by brute force: change one column of pixels at a time, and see
# which of these changes reach the center of the 7 × 7 cells of the last layer.

# %%
small_size = small_cnn.input_shape[1]
variants = np.full((small_size + 1, small_size, small_size, 3), 128, "float32")  # gray images
for column in range(small_size):
    variants[column, :, column] = 255  # the last image stays as it is
center_cells = small_cnn.predict(variants, batch_size=45, verbose=0)[:, 3, 3]
changes = np.abs(center_cells[:-1] - center_cells[-1]).max(axis=1)
affecting_columns = np.flatnonzero(changes > 1e-3)  # smaller ones are rounding errors of a GPU
print(f"columns {affecting_columns[0]} to {affecting_columns[-1]}: {len(affecting_columns)} pixels")
assert len(affecting_columns) == layer_table[-1][-1]

# %% [markdown]
# On our example: each square is the receptive field of one value in one of the layers. The largest
# one belongs to a cell of the last layer.

# %%
from utils.plotting.encoder_figures import show_receptive_fields

center = affecting_columns.mean()
sizes = sorted({row[-1] for row in layer_table})
small_pixels = read_pixels(photos.paths[example], small_size)
_ = show_receptive_fields(small_pixels, (center, center), sizes)

# %% [markdown]
# Deep CNNs for photos have many more layers, and their receptive fields can be larger than the
# whole image. Still, the pixels near the center of a receptive field count most ([Luo et al.
# 2016](https://arxiv.org/abs/1701.04128)). That is why a grid cell can be said to describe *its*
# region of the image, with the surroundings as context.

# %% [markdown]
# ## From features to a class
#
# What can a trained CNN do with its features? It was trained to classify photos, and for this it
# has a **classification head** on top of the last feature map:
#
# ```text
# photo             260 × 260 × 3
#   │  convolutions
# feature map       9 × 9 × 1,280     ◄── the encoder ends here
#   │
#   │  mean over the 81 grid cells     ┐
# feature vector            1,280      │
#   │  dense layer                     ├─ classification head
# logits                    1,000      │
#   │  softmax                         │
# probabilities             1,000      ┘
# ```
#
# The [dense layer](https://keras.io/api/layers/core_layers/dense/) outputs a score for each of the
# 1,000 classes of [ImageNet](https://www.image-net.org). These scores are called **logits**. They
# can be any numbers. **Softmax** turns them into probabilities, which are positive and sum to 1:
#
# $$\operatorname{softmax}(z)_i = \frac{e^{z_i}}{\sum_j e^{z_j}}$$
#
# The largest logit gets the largest probability. The difference of two logits decides the ratio of
# their probabilities: a logit that is larger by one has $e \approx 2.7$ times the probability of
# the other. Both return in notebook 3, where a decoder outputs a logit for each word that it
# could write next.


# %%
def softmax(logits):
    """Probabilities of logits, from numbers of any size."""
    exponentials = np.exp(logits - logits.max())  # the shift cancels out, and prevents an overflow
    return exponentials / exponentials.sum()


three_logits = np.array([3.0, 2.0, -1.0])
print(softmax(three_logits).round(3))
assert np.allclose(softmax(three_logits), tf.nn.softmax(three_logits))

# %% [markdown]
# Now a real classifier on two real photographs with open licenses. They come inside the packages
# scikit-image and Matplotlib. `efficientnet_lite2` is a CNN of the EfficientNet family
# ([Tan and Le 2019](https://arxiv.org/abs/1905.11946)) for devices without a GPU; its weights come
# in a package, too. If one of these packages is missing, as on Kaggle, the cell says so, and the
# next cells show nothing.

# %%
from utils.data.open_photos import OPEN_PHOTOS
from utils.errors import CaptionsError
from utils.models.efficientnet_lite import build_efficientnet_lite, preprocess_input

photo_names = ("chelsea", "grace_hopper")
real_photos = [photo for photo in OPEN_PHOTOS if photo.name in photo_names]
try:
    classifier = build_efficientnet_lite("efficientnet_lite2", head=True)
    photo_size = classifier.input_shape[1]
    real_pixels = [read_pixels(photo.path, photo_size) for photo in real_photos]
    print(f"{classifier.input_shape[1:]} → {classifier.output_shape[1:]}")
    print(*(photo.credit for photo in real_photos), sep="\n")
except CaptionsError as error:
    real_photos, real_pixels = [], []
    print(f"Without the two photographs: {error}")

# %% [markdown]
# The five most probable classes of each photograph:

# %%
from utils.models.imagenet import class_names
from utils.plotting.encoder_figures import show_top_classes

real_logits, top_names, top_probabilities = [], [], []
for photo_pixels in real_pixels:
    scaled_pixels = preprocess_input(photo_pixels[None].astype("float32"))
    logits = classifier(scaled_pixels)[0].numpy()
    probabilities = softmax(logits)
    top_classes = np.argsort(-probabilities)[:5]
    real_logits.append(logits)
    top_names.append([class_names()[number] for number in top_classes])
    top_probabilities.append(probabilities[top_classes])
if real_photos:
    _ = show_top_classes(real_pixels, top_names, top_probabilities)

# %% [markdown]
# The classifier is fairly sure of the cat: four of its five guesses are cats. It does not recognize
# the officer as a woman, because it cannot: of the 1,000 classes only three are persons
# (*ballplayer*, *groom* and *scuba diver*). Four of its guesses name clothes, the other one is
# *ballplayer*, and all five have low probabilities.
#
# Class names are a poor basis for captions, which speak of people, actions, numbers and places. The
# features below the head contain much more than the class: they were useful to tell 1,000 classes
# apart, and with them a decoder can learn to tell other things apart. Using what a network has
# learned in one task for another is called [**transfer
# learning**](https://keras.io/guides/transfer_learning/).

# %% [markdown]
# ## Remove the classification head
#
# To remove the head, build a model that ends at an earlier layer:

# %%
if real_photos:
    last_layer = classifier.get_layer("top_relu")
    headless = keras.Model(classifier.input, last_layer.output)
    photo_input = preprocess_input(real_pixels[0][None].astype("float32"))
    photo_features = headless(photo_input)[0].numpy()
    print(f"{photo_features.shape}: height, width, channels")
    print(f"receptive field of a cell: {receptive_fields(headless)[-1][-1]:,} pixels")

# %% [markdown]
# And to see that nothing else was removed, compute the head **by hand**. The mean over all grid
# cells is called **global average pooling**; a dense layer follows.

# %%
if real_photos:
    weights, bias = [np.asarray(array) for array in classifier.get_layer("logits").get_weights()]
    photo_vector = photo_features.mean(axis=(0, 1))
    logits_by_hand = photo_vector @ weights + bias
    print(f"{photo_vector.shape} → {logits_by_hand.shape}")
    assert np.allclose(logits_by_hand, real_logits[0], atol=1e-2)

# %% [markdown]
# Mean and dense layer are both linear, so we may swap them: apply the dense layer to each grid cell
# first, then take the mean. The logit of a class becomes the mean of a map with one value per cell,
# its **class activation map** ([Zhou et al. 2016](https://arxiv.org/abs/1512.04150)). It shows
# which cells are evidence for the class.

# %%
if real_photos:
    best_class = real_logits[0].argmax()
    class_map = photo_features @ weights[:, best_class] + bias[best_class]  # (height, width)
    assert np.isclose(class_map.mean(), real_logits[0][best_class], atol=1e-2)
    _ = show_feature_maps(real_pixels[0], [class_map], [class_names()[best_class]])

# %% [markdown]
# The bright cells lie on the face of the cat. The mean over the cells has thrown this information
# away: it says *that* there is a cat, not *where*. This is why our encoder ends before the mean. A
# decoder can then choose, for each word, the cells that matter for it.
#
# ## The encoder of this run
#
# The table lists the encoders that the setting `encoder` accepts. With a GPU, `auto` means
# `convnext_base` ([Liu et al. 2022](https://arxiv.org/abs/2201.03545)), which classifies 85 % of
# ImageNet's validation photos correctly. Without one it means `efficientnet_lite2`, with 78 %: on
# two cores it takes minutes for 8,000 photos, not an hour. (These are the numbers of [Keras
# Applications](https://keras.io/api/applications/) and
# [EfficientNet-Lite](https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite).)
# `sample_cnn` is part of this project and knows drawn scenes only: it was trained to predict the
# facts of other scenes.
#
# The weights of EfficientNet-Lite are in Python packages. Those of the others come from Keras, or,
# without a network, from its cache or from an attached data set with their file. ImageNet's photos
# are for research: consider that before any commercial use.

# %%
from utils.models.encoders import ENCODERS

encoder_sizes = []
for name, entry in ENCODERS.items():
    encoder_sizes.append([name, f"{entry.image_size} × {entry.image_size}"])
pd.DataFrame(encoder_sizes, columns=["encoder", "input in pixels"])

# %% [markdown]
# `build_encoder` builds the chosen one without its head. The preprocessing (how pixels are scaled)
# is part of the model, so that it can be neither forgotten nor applied twice.

# %%
from utils.models.encoders import build_encoder

encoder = build_encoder(config.encoder)
_, num_cells, channels = encoder.output_shape
print(f"{config.encoder}: {encoder.count_params():,} weights, all frozen")

# %% [markdown]
# The output for one image: rows and columns of the grid are joined to one axis of **grid cells**.
# Each cell has one value in each channel. The values are called **activations**, and those of one
# cell form its feature vector.

# %%
example_features = encoder(pixels[None].astype("float32"))[0].numpy()
print(f"shape {example_features.shape}: {num_cells} cells × {channels} channels")

# %% [markdown]
# The cells on our example, separated by white lines:

# %%
from utils.plotting.figures import show_grid_cells

grid_side = int(num_cells**0.5)
_ = show_grid_cells(pixels, grid_side)

# %% [markdown]
# And five of the channels as maps: channels that vary much between the cells, each with its maximum
# in another cell. Each square is a cell, bright means a high activation.

# %%
by_variance = np.argsort(example_features.var(axis=0))[::-1]
peak_cells = example_features[:, by_variance].argmax(axis=0)
_, first_positions = np.unique(peak_cells, return_index=True)
shown_channels = by_variance[np.sort(first_positions)[:5]]
feature_maps = []
titles = []
for channel in shown_channels:
    feature_maps.append(example_features[:, channel].reshape(grid_side, grid_side))
    titles.append(f"channel {channel}")
_ = show_feature_maps(pixels, feature_maps, titles)

# %% [markdown]
# Nobody specified what these channels mean. Each one responds to something that helped to predict
# the targets of the CNN's training. From one image we can only guess what it is. With many images
# we can find out, so let us compute the features of all of them.
#
# ## Extract the features of all photos
#
# The encoder is **frozen**: its weights don't change, so the features of a photo don't change
# either. We compute them *once*, and training reads features instead of pixels. This turns days of
# training into minutes. Other threads decode the next photos while the CNN computes. If you
# interrupt the cell, run it again: it resumes. Unreadable photos are skipped and reported; more
# than one in a hundred (and more than five) are an error.

# %%
from utils.features import extract_dataset

features = extract_dataset(photos, encoder, config)
num_photos = len(features["names"])
print(f"{num_photos:,} photos × {num_cells} cells × {channels} channels")
print(f"{len(features['skipped'])} could not be read", *features["skipped"].items(), sep="\n")

# %% [markdown]
# The grid can be larger than memory, so it has a file of its own that is
# [**memory-mapped**](https://numpy.org/doc/stable/reference/generated/numpy.memmap.html): a row is
# read from disk when it is used.

# %%
from utils import feature_grids

grid = feature_grids.load_grid(features, config)
paths = [photos.paths[name] for name in features["names"]]
print(f"grid {grid.shape}, {grid.dtype}")

# %% [markdown]
# ## Half precision
#
# The network returns its features in **float32** (4 bytes per number), the file has **float16**,
# also called **half precision** (2 bytes). That halves the file, the time to read it, and the
# memory of the GPU that it occupies. What does it cost?

# %%
values_per_photo = num_cells * channels
for dtype in ("float32", "float16"):
    megabytes = num_photos * values_per_photo * np.dtype(dtype).itemsize / 1e6
    print(f"{dtype}: {megabytes:,.0f} MB for all photos")

# %% [markdown]
# A float16 has 1 bit for the sign, 5 for the exponent and 10 for the fraction. The fraction decides
# the precision: rounding changes a number by at most 1 in 2,048, about 0.05 %. We compare the row
# of our example with the features from above. (On a GPU the layers of the network compute in half
# precision, too, so there the error is larger.)

# %% tags=["nbval-ignore-output"]
example_row = features["names"].index(example)
other_row = (example_row + 1) % num_photos
stored = grid[example_row].astype("float32")
mean_activation = np.abs(example_features).mean()
relative_error = np.abs(stored - example_features).mean() / mean_activation
photo_difference = np.abs(grid[other_row] - example_features).mean() / mean_activation
print("mean difference, as a fraction of the mean activation:")
print(f"between float32 and float16  {relative_error:.3%}")
print(f"between two photos           {photo_difference:.0%}")
assert relative_error < 0.02

# %% [markdown]
# The error is tiny compared with the difference between two photos, so float16 is precise enough to
# *store* features. To *add up* many of them it is not: between large numbers float16 has gaps, so
# that small terms get lost, and a sum above 65,504 becomes infinite.

# %%
total = np.float16(2048) + np.float16(1)
print(f"2048 + 1 = {float(total):.0f}")
print(f"largest float16: {float(np.finfo(np.float16).max):.0f}")

# %% [markdown]
# Therefore sums and means below are computed in float32. Training in half precision needs the same
# care ([Micikevicius et al. 2018](https://arxiv.org/abs/1710.03740)).
#
# ## One vector per photo
#
# To compare photos we need one vector for each, and the first model of notebook 3 uses no more than
# that, either. Global average pooling gives it. **By hand**:

# %%
pooled_by_hand = np.zeros(channels, "float32")
for cell in range(num_cells):
    pooled_by_hand += grid[0, cell].astype("float32") / num_cells
print(f"{num_cells} feature vectors → one of shape {pooled_by_hand.shape}")

# %% [markdown]
# **With the library**: `mean_of_cells` calls NumPy's `mean` for 256 photos at a time, so that the
# grid need not fit into memory. The sums have the precision of float32.

# %%
features["pooled"] = feature_grids.mean_of_cells(grid)
pooled = features["pooled"]
print(f"{pooled.shape}: photos, channels")
assert np.allclose(pooled[0], pooled_by_hand, atol=1e-3)

# %% [markdown]
# ## Cosine similarity
#
# When are two photos similar for the CNN? If the same channels are active. The **cosine
# similarity** of two vectors compares their directions, not their lengths: it is the cosine of the
# angle between them,
#
# $$\cos(a, b) = \frac{a \cdot b}{\lVert a \rVert \, \lVert b \rVert}$$
#
# It is 1 for vectors of the same direction and 0 for orthogonal ones. (It is not negative if no
# activation is, as after a ReLU.) **By hand**, for the example and the next photo:


# %% tags=["nbval-ignore-output"]
def cosine_similarity(first_vector, second_vector):
    """The cosine of the angle between two vectors."""
    lengths = np.linalg.norm(first_vector) * np.linalg.norm(second_vector)
    return first_vector @ second_vector / max(lengths, 1e-9)


print(f"with itself       {cosine_similarity(pooled[example_row], pooled[example_row]):.3f}")
print(f"with another one  {cosine_similarity(pooled[example_row], pooled[other_row]):.3f}")

# %% [markdown]
# For all photos at once: divide each vector by its length. Then the cosine similarity is a dot
# product, and one matrix multiplication computes all of them.

# %%
normalized = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-9)
similarities = normalized @ normalized[example_row]
print(f"{normalized.shape} @ {normalized[example_row].shape} → {similarities.shape}")
expected = cosine_similarity(pooled[example_row], pooled[other_row])
assert np.isclose(similarities[other_row], expected, atol=1e-4)

# %% [markdown]
# The example and its three **nearest neighbors**, the photos with the highest similarity:

# %%
nearest = np.argsort(-similarities)[:4]
titles = [f"cosine {similarities[row]:.2f}" for row in nearest]
_ = show_photos([paths[row] for row in nearest], titles)

# %% [markdown]
# What do they have in common? Change `example_row` to see the neighbors of another photo.
#
# Do neighbors also have similar *captions*? The CNN has never seen a caption, so this is a test of
# whether its features help to write some. (An easy one for the small CNN of the drawn sample, which
# was trained to predict the facts of drawn scenes that such captions state.) For up to 500 photos,
# count which fraction of the words in the captions of the photo and of its neighbor they share, and
# compare with an arbitrary photo in place of the neighbor:

# %% tags=["nbval-ignore-output"]
from utils.data.tokenizer import tokenize

photo_words = []  # the set of words in all captions of each photo
for name in features["names"]:
    photo_words.append({word for text in photos.captions[name] for word in tokenize(text)})


def word_overlap(first_row, second_row):
    """The fraction of the words of two photos that both have."""
    first_words, second_words = photo_words[first_row], photo_words[second_row]
    return len(first_words & second_words) / max(1, len(first_words | second_words))


neighbor_overlaps, other_overlaps = [], []
for row in range(min(500, num_photos)):
    row_similarities = normalized @ normalized[row]
    row_similarities[row] = -1  # not the photo itself
    neighbor_overlaps.append(word_overlap(row, row_similarities.argmax()))
    other_overlaps.append(word_overlap(row, (row + num_photos // 2) % num_photos))
print(f"shared words with the nearest neighbor: {np.mean(neighbor_overlaps):.0%}")
print(f"shared words with an arbitrary photo:   {np.mean(other_overlaps):.0%}")

# %% [markdown]
# If the first number is larger, similar features go with similar captions: there is something in
# the features that a decoder can use.
#
# The cosine similarity also reveals a common mistake: preprocessing twice. If we divide pixels
# by 255 and the model scales them again, all images are almost black to the CNN. The program raises
# no error, but the features of two different photos become nearly the same:

# %% tags=["nbval-ignore-output"]
two_images = np.stack([read_pixels(paths[row], image_size) for row in (example_row, other_row)])
for label, values in {"correct": two_images, "scaled twice": two_images / 255}.items():
    two_vectors = encoder(values.astype("float32")).numpy().mean(axis=1)
    print(f"{label:12}  cosine similarity {cosine_similarity(*two_vectors):.3f}")

# %% [markdown]
# ## What does a channel detect?
#
# A channel has no name, but we can describe it: take the photos in which it is most active, and see
# what they share. Captions help, as they say in words what a photo shows. The rule:
#
# 1. For each channel, take the 5 % of the training photos (at least four) with the highest mean
#    activation.
# 2. For each word, compute the fraction of these photos that have it in one of their captions,
#    minus the fraction of all training photos that have it.
# 3. Do the same with the validation photos. Among so many channels and words, some fit by
#    coincidence, but a coincidence seldom happens twice.
# 4. Choose the pairs of a channel and a word for which both differences are large: those with the
#    largest minimum of the two.
#
# First, which photo has which of the (up to) 300 most frequent words?

# %%
from collections import Counter

word_counts = Counter(word for words in photo_words for word in words)
common_words = sorted(word_counts, key=lambda word: (-word_counts[word], word))[:300]
has_word = np.array([[word in words for word in common_words] for words in photo_words])
print(f"{has_word.shape}: photos, words")

# %% [markdown]
# Steps 1 to 3, for all channels:


# %%
def word_fractions(split):
    """How often photos have each word, for the top photos of each channel and for all photos.

    Returns:
        The fractions `(channels, words)` and `(words,)`.
    """
    rows = np.flatnonzero(np.isin(features["names"], photos.splits[split]))
    count = max(4, len(rows) // 20)
    in_top_photos = []
    for channel in range(channels):
        top_rows = rows[np.argsort(-pooled[rows, channel], kind="stable")[:count]]
        in_top_photos.append(has_word[top_rows].mean(axis=0))
    return np.stack(in_top_photos), has_word[rows].mean(axis=0)


fractions = {split: word_fractions(split) for split in ("train", "validation")}
differences = []
for in_top_photos, in_all_photos in fractions.values():
    differences.append(in_top_photos - in_all_photos)
print(f"{differences[0].shape}: channels, words")

# %% [markdown]
# Step 4: five pairs, each with another channel and another word.

# %% tags=["nbval-ignore-output"]
smaller_difference = np.fmin(*differences)
chosen_pairs = []
for position in np.argsort(-smaller_difference, axis=None, kind="stable"):
    channel, word = np.unravel_index(position, smaller_difference.shape)
    if all(channel != pair[0] and word != pair[1] for pair in chosen_pairs):
        chosen_pairs.append((channel, word))
    if len(chosen_pairs) == 5:
        break

num_validation = len(photos.splits["validation"])
if num_validation < 40:
    print(
        f"Only {num_validation} validation photos: the top four are too many of them to say much."
    )
channel_table = []
for channel, word in chosen_pairs:
    cells = [channel, common_words[word]]
    for in_top_photos, in_all_photos in fractions.values():
        cells += [f"{in_all_photos[word]:.0%}", f"{in_top_photos[channel, word]:.0%}"]
    channel_table.append(cells)
columns = ["channel", "word", "all train", "top train", "all validation", "top validation"]
pd.DataFrame(channel_table, columns=columns).set_index("channel")

# %% [markdown]
# Each row compares how often the word occurs in the captions of *all* photos and of the *top*
# photos of the channel. Where the second number is much larger in both splits, the channel detects
# what the word says, or something that goes with it. (Where it is not, the photos may be too few,
# or their captions too similar.)
#
# On the drawn sample the numbers are close to 100 %, and that is no surprise: this small CNN was
# trained to predict the animals, colors, actions and places of drawn scenes, so these words were
# nearly its targets. A CNN that was trained on ImageNet has a thousand classes, of which few are
# words of the captions. There the differences are smaller, and they are discoveries.
#
# Here are the four photos in which the first of these channels is most active, and below each one
# its map of this channel. Do the bright cells lie where you see what the word says?

# %% tags=["nbval-ignore-output"]
from utils.plotting.encoder_figures import show_activations


def most_active_rows(channel, count=4):
    """The rows of the photos in which a channel is most active."""
    return np.argsort(-pooled[:, channel], kind="stable")[:count]


def show_channel(channel):
    """The photos in which a channel is most active, each with its map of the channel."""
    rows = most_active_rows(channel)
    images = [read_pixels(paths[row], image_size) for row in rows]
    maps = [grid[row, :, channel].reshape(grid_side, grid_side) for row in rows]
    return show_activations(images, maps)


channel, word = chosen_pairs[0]
print(f"channel {channel}: {common_words[word]}")
_ = show_channel(channel)

# %% [markdown]
# What fills much of a photo, such as snow or a street, is found first by a rule that uses the mean
# over the cells. Which of the other channels is the most *local*, with a high activation in a few
# cells only? Compare its highest activation with its mean:


# %% tags=["nbval-ignore-output"]
def peak_to_mean(channel):
    """The highest activation of a channel divided by its mean, in its most active photos."""
    activations = grid[most_active_rows(channel), :, channel].astype("float32")
    return activations.max(axis=1).mean() / max(activations.mean(), 1e-9)


channel, word = max(chosen_pairs[1:] or chosen_pairs, key=lambda pair: peak_to_mean(pair[0]))
print(f"channel {channel}: {common_words[word]}, highest / mean = {peak_to_mean(channel):.1f}")
_ = show_channel(channel)

# %% [markdown]
# These are learned detectors: unlike the kernel for edges, nobody wrote their weights, and unlike
# the random kernel, they respond to something that has a name. Most channels are not as clear. A
# network spreads what it knows over many channels, and one channel often responds to several things
# ([Olah et al. 2017](https://distill.pub/2017/feature-visualization/)). The decoder of notebook 3
# does not need names for channels: it learns which combinations go with which words.
#
# ## Save
#
# Notebook 3 will load these features. A file that one notebook saves and a later one loads is an
# **artifact**. It is a [pickle](https://docs.python.org/3/library/pickle.html) of plain data: the
# names, one pooled vector per photo, and the name of the file with the grid, which lies beside it.
# Both are written to a temporary name first, so that a reader never sees half a file.
#
# With the setting `fine_tune_epochs`, [notebook 3](03_train.ipynb) also trains the last layers of
# the CNN. For this, `backbone_features.pkl` and a second grid are saved: the features below these
# layers, of each photo and of the photo flipped horizontally, as **data augmentation**: a flip does
# not change what the photo shows. `crops=3` adds the features of three random parts of each
# training photo, also flipped. The presets have no crops: three of each photo of Flickr8k take
# about 10 minutes of CPU time and 2.5 GB of disk.

# %%
from utils.features import extract_backbone_features

path = artifacts.save("features", features, config)
if config.fine_tune_epochs:
    backbone_features = extract_backbone_features(features, photos, encoder, config)
    artifacts.save("backbone_features", backbone_features, config)
print("for notebooks 3 to 5: features.pkl", artifacts.format_size(path))
print("its grid", artifacts.format_size(path.parent / features["grid"]))

# %% [markdown]
# ### Which file is the right one?
#
# Suppose that you extract the features again with another CNN, but not all later notebooks are run
# again. Then a decoder would get features that it has never seen, and write nonsense without any
# error. So each artifact has a header, which is checked when it is loaded. It records two things:
#
# - the **settings** that change the contents, here the encoder;
# - the **fingerprints** of the artifacts that it was made from, its **parents**. A fingerprint is a
#   hash of a file's contents: the first 16 characters of its
#   [SHA-256](https://en.wikipedia.org/wiki/SHA-2). If one byte changes, so does the hash. (The
#   grid, which may have gigabytes, is a file of its own and is not hashed. But `features.pkl` has
#   the mean of each photo's cells, so another grid gives another hash.)
#
# Features are made from photos, so they have no parents. By hand and with the library:

# %% tags=["nbval-ignore-output"]
import hashlib

header = artifacts.read_header(path, "features")
by_hand = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
assert by_hand == header.fingerprint
print("fingerprint:", by_hand)
print("settings:   ", header.config)
print("parents:    ", header.parents)

# %% [markdown]
# `artifacts.load` compares the header with the settings of this notebook. With another encoder it
# refuses the file, and says what to do:

# %%
from dataclasses import replace

from utils.errors import CaptionsError

other = "resnet50" if encoder.name == "vgg16" else "vgg16"
try:
    artifacts.load("features", replace(config, encoder=other))
except CaptionsError as error:
    print(str(error).replace(f"{path.parent}{os.sep}", ""))
assert artifacts.load("features", config)["names"] == features["names"]

# %% [markdown]
# [Notebook 2](02_text.ipynb) saves two more artifacts. The captioner of notebook 3 has all three as
# its parents, so its header records their fingerprints: if one of them is made again with another
# result, the captioner is refused until notebook 3 has been run again. And what notebook 4 saves is
# refused, too, until notebook 4 has been run again. The settings and parents of each kind of
# artifact are declared in [`artifact_specs.py`](../utils/artifact_specs.py).
#
# ## What you learned
#
# - A convolution slides a kernel over the image; each kernel gives one channel of a feature map.
# - Strides make feature maps coarser and receptive fields larger, so later layers see whole
#   objects.
# - A classification head is a mean over the cells, a dense layer (logits) and softmax
#   (probabilities). Without it, a CNN is an encoder: an image becomes a grid of feature vectors.
# - Photos with a high cosine similarity of their features show similar things. What a channel
#   detects can be seen from the photos in which it is most active.
# - As the CNN is frozen, its features are computed once, and stored in half precision.
#
# ## Exercises
#
# **Try it.** *Vary*: change a value. *Modify*: edit a few lines. *Implement*: write a dozen lines.
# *Extend*: go beyond this series. Predict the result before you run anything. Put the code of an
# answer into a new cell below, after you have run all cells above. It is written for the drawn
# sample; on photos its numbers differ.
#
# 1. *Vary*: VGG16 has thirteen convolutions with a kernel of 3 and a stride of 1. After the second,
#    fourth, seventh, tenth and thirteenth of them it takes the maximum of 2 × 2 values, with a
#    stride of 2. How large is its receptive field? Before you compute it: larger or smaller than
#    the image of 224 pixels?
#
# <details><summary>Hint</summary>
#
# Taking the maximum of 2 × 2 values is a layer with a kernel size of 2 and a stride of 2. Write the
# layers as a list of pairs, and use the two lines of the loop above.
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# vgg16_layers = []
# for convolutions in (2, 2, 3, 3, 3):
#     vgg16_layers += [(3, 1)] * convolutions + [(2, 2)]
# field, apart = 1, 1
# for kernel_size, stride in vgg16_layers:
#     field += (kernel_size - 1) * apart
#     apart *= stride
# print(f"receptive field {field}, cells {apart} pixels apart")
# assert (field, apart) == (212, 32)
# ```
#
# A little smaller than the image: 212 pixels. The cells are 32 pixels apart, so the grid has 7 × 7
# of them, and their receptive fields overlap almost entirely.
# </details>
#
# 2. *Modify*: Which transformations change the features of the example? Flip it, turn it upside
#    down, remove its color. Before you run it: which of these changes them least?
#
# <details><summary>Hint</summary>
#
# `pixels[:, ::-1]` is the flipped image. Stack the variants to one array, call `encoder` on it,
# take the mean over the cells, and use `cosine_similarity`.
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# views = {"flipped": pixels[:, ::-1], "upside down": pixels[::-1]}
# views["gray"] = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
# views["another photo"] = read_pixels(paths[1], image_size)
# images = np.stack([pixels, *views.values()]).astype("float32")
# original, *vectors = encoder(images).numpy().mean(axis=1)
# similarity = {}
# for view, vector in zip(views, vectors, strict=True):
#     similarity[view] = cosine_similarity(original, vector)
#     print(f"{view:14} {similarity[view]:.3f}")
# assert max(similarity, key=similarity.get) == "flipped"
# ```
#
# The horizontal flip matters least. CNNs are usually trained with flipped images as well (so is
# `sample_cnn`), and the mean over the cells discards their positions. Another photo shows what a
# low similarity is.
# </details>
#
# 3. *Implement*: Do the features encode snow? Fit a **linear probe** ([Alain and Bengio
#    2016](https://arxiv.org/abs/1610.01644)): a weighted sum of the channels that predicts whether
#    a caption of the photo contains the word *snow*, fitted on the training photos and evaluated on
#    the validation photos. Before you run it: will *two* be easier or harder?
#
# <details><summary>Hint</summary>
#
# `np.linalg.lstsq(inputs, targets)` fits the weights by least squares. A column of ones in `inputs`
# serves as the bias. `photo_words` has the words of each photo. Predict *yes* if the sum is above
# 0.5, and compare with always predicting *no*.
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# ones = np.ones((num_photos, 1))  # for the bias
# inputs = np.hstack([pooled, ones])
# in_train = np.isin(features["names"], photos.splits["train"])
# in_validation = np.isin(features["names"], photos.splits["validation"])
# accuracy = {}
# for word in ("two", "snow"):
#     labels = np.array([word in words for words in photo_words])
#     targets = labels[in_train].astype("float32")
#     probe, *_ = np.linalg.lstsq(inputs[in_train], targets, rcond=None)
#     predictions = inputs[in_validation] @ probe > 0.5
#     accuracy[word] = np.mean(predictions == labels[in_validation])
#     always_no = np.mean(~labels[in_validation])
#     print(f"{word}: accuracy {accuracy[word]:.0%}; always 'no': {always_no:.0%}")
# assert accuracy["snow"] > always_no
# ```
#
# Snow fills many cells, so their mean encodes it. A count of two is hard to read from a mean: the
# mean says how much of something the image shows, not how many.
# </details>
#
# 4. *Extend*: An encoder is one entry in a table. Add one that is not trained: the mean color of
#    each of 7 × 7 cells. Before you run it: which will be the nearest neighbors of the example?
#
# <details><summary>Hint</summary>
#
# `keras.layers.AveragePooling2D` computes the mean color of each cell. An `Encoder` needs a
# function that builds the model, one that scales pixels, and the size of the image.
# </details>
#
# <details><summary>An answer</summary>
#
# ```python
# from utils.features import extract_features
# from utils.models.encoders import Encoder
#
#
# def build_mean_color(weights=None):
#     image = keras.Input((image_size, image_size, 3))
#     return keras.Model(image, keras.layers.AveragePooling2D(image_size // 7)(image))
#
#
# def scale(pixels):
#     return pixels / 255
#
#
# ENCODERS["mean_color"] = Encoder(build_mean_color, scale, image_size, split_layer="")
# batches = extract_features(paths, build_encoder("mean_color"), "mean_color")
# colors = np.concatenate(list(batches))
# distances = np.abs(colors - colors[example_row]).mean(axis=(1, 2), dtype="float32")
# assert colors.shape == (len(paths), 49, 3)
# assert distances[example_row] == distances.min()
# _ = show_photos([paths[row] for row in np.argsort(distances)[:4]])
# ```
#
# On drawn scenes it finds the same place and weather, and rarely the same subject. To use an
# encoder in all five notebooks, add its entry to `utils/models/encoders.py`, with pretrained
# weights, and its name to `utils/config.py`, and set `encoder`. The later notebooks refuse the
# features of another encoder and name the notebook to run again.
# </details>

# %% [markdown]
# ## Further reading
#
# - [Convolutional neural networks](https://d2l.ai/chapter_convolutional-neural-networks/index.html)
#   in *Dive into Deep Learning*: channels, strides and pooling, with code.
# - [Visualizing and understanding convolutional networks](https://arxiv.org/abs/1311.2901) and
#   [Feature visualization](https://distill.pub/2017/feature-visualization/): what channels detect.
# - [Computing receptive fields](https://distill.pub/2019/computing-receptive-fields/), with the
#   sizes for well-known CNNs.
# - [Transfer learning](https://keras.io/guides/transfer_learning/) in the Keras guide.
# - [Show and Tell](https://arxiv.org/abs/1411.4555): the first captioner of this kind.
#
# *Next*: [2 Tokenize the captions](02_text.ipynb).

# %% [markdown]
# ## Appendix: how long it takes on Kaggle
#
# This is an estimate, not a measurement. It assumes that each of Kaggle's four cores decodes 25
# photos a second, and that the GPU waits for them.

# %%
photos_per_second = 4 * 25
minutes = max(0.1, num_photos / photos_per_second / 60)
print(f"{num_photos:,} photos: about {minutes:.1f} minutes")
