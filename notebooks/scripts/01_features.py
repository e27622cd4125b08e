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
# *Notebook 1 of 5 · prerequisites: none · next: [2 Tokenize the captions](02_text.ipynb)*
#
# A network that generates captions needs a useful representation of the image: not "this pixel is
# brown", but "this region contains something with four legs". The last layers of a **CNN**
# (convolutional neural network) that was trained to classify images compute such a representation.
# Here we remove its **classification head**, the layers that turn the representation into class
# probabilities, and keep the **features** below it:
#
# image (height × width × 3 color channels) → CNN → **feature map** (grid cells × *channels*)
#
# **You will**
# - look at the photos and at the five captions that were written for each of them;
# - remove the classification head of a pretrained CNN and look at its feature maps;
# - extract the features of all photos once, and save them.
#
# **You need** Python and NumPy. Minutes on two cores: less than 1 for the drawn sample; about 10
# for 8,000 photos with EfficientNet-Lite2. For a Kaggle GPU, which gets a larger CNN, see the
# estimate below.
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
# All settings of a run are fields of one object. A preset (`sample` for the drawn scenes,
# `flickr8k` for photos) sets them; to try another value, pass it: `load_config(seed=2)`.

# %% tags=["parameters"]
config = load_config(detect_preset())
print(summarize(config, "preset", "encoder", "fine_tune_epochs"))

# %% [markdown]
# ## The photos
#
# If you attached or downloaded captioned photos (Flickr8k, Flickr30k, COCO, or a table of your own
# with the columns image and caption), they are detected by their captions file. If not, a small
# synthetic data set is drawn: people and animals outdoors, five captions for each image. It lets
# you run everything in minutes; the same cells run on Flickr8k. Its five captions come from five
# templates of a program, and its CNN was trained to predict the facts of other drawn scenes. So
# scores on drawn scenes are far higher than on photos: compare them with each other, not with the
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
# The photos are divided into three **splits**. The model is fitted on **train**, **validation**
# serves to choose between models and epochs, and **test** is scored once, at the end. A photo is in
# one split only, and so are its copies under other names: otherwise training data would leak into
# the test.

# %%
split_sizes = {split: len(names) for split, names in photos.splits.items()}
pd.DataFrame([split_sizes], index=["photos"])

# %% [markdown]
# The first eight readable photos of the training split, each with one of its captions:

# %%
from utils.data.photo_files import readable_names
from utils.plotting.figures import show_photos

first_names = readable_names(photos, "train", count=8)
first_paths = [photos.paths[name] for name in first_names]
first_captions = [photos.captions[name][0] for name in first_names]
_ = show_photos(first_paths, first_captions)

# %% [markdown]
# The first of them is the example in notebooks 1 to 3. Notebooks 4 and 5 use an example that was
# not in the training data. Its captions are the **references**: what a generated caption is
# compared with. They all differ. This is the difficulty of the task: there is no single correct
# caption.

# %%
example = first_names[0]
print(example, *photos.captions[example], sep="\n")

# %% [markdown]
# ## An image is an array
#
# The CNN that turns images into features, the **encoder**, determines the size of its input. If the
# setting is `auto`, the encoder is chosen here, once, and recorded for the later notebooks.

# %%
from utils.models.encoders import choose_encoder, find_encoder

config = choose_encoder(config)
image_size = find_encoder(config.encoder).image_size
print(f"{config.encoder}: input of {image_size} × {image_size} pixels")

# %% [markdown]
# **By hand**: open the file, apply the camera's orientation tag, and resize the image to the input
# size. This stretches images that are not square. A center crop would keep the aspect ratio, but
# lose a quarter of a 4:3 photo, possibly with something that the captions mention. The result is an
# array with three axes.

# %%
from PIL import Image, ImageOps

upright = ImageOps.exif_transpose(Image.open(photos.paths[example]))
rgb = upright.convert("RGB")
resized = rgb.resize((image_size, image_size), Image.Resampling.BILINEAR)
pixels_by_hand = np.asarray(resized).astype("float32")
print(f"shape {pixels_by_hand.shape}: height, width, and RGB channels from 0 to 255")

# %% [markdown]
# **With the library**: `read_pixels` does the same, and also handles transparent images, 16-bit
# images, and photos of 50 megapixels (decoded at an eighth of their size, which is faster but
# changes pixels a little: so the assertion for the drawn sample allows a small difference).

# %%
from utils.data.images import read_pixels

pixels = read_pixels(photos.paths[example], image_size)
if config.preset == "sample":
    assert np.abs(pixels_by_hand - pixels).mean() < 3  # of 255

# %% [markdown]
# ## Convolution
#
# A **convolution** slides a small window, the **kernel**, over the image; at each position it
# multiplies the pixels under the window with the kernel and sums the products. **By hand**, with a
# kernel that subtracts the left from the right: its output is large at vertical edges.

# %%
gray = pixels.mean(axis=2)
kernel = np.array([[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]]) / 3
edges = np.zeros((image_size - 2, image_size - 2))
for row in range(image_size - 2):
    for column in range(image_size - 2):
        window = gray[row : row + 3, column : column + 3]
        edges[row, column] = np.sum(window * kernel)

# %% [markdown]
# **With the library**: TensorFlow's
# [`conv2d`](https://www.tensorflow.org/api_docs/python/tf/nn/conv2d), which processes a batch of
# images with many kernels at once.

# %%
import tensorflow as tf

image_batch = gray[None, :, :, None]  # (batch, height, width, channels)
kernels = kernel[:, :, None, None]  # (height, width, input channels, output channels)
conv2d_edges = tf.nn.conv2d(image_batch, kernels, strides=1, padding="VALID")
assert np.allclose(conv2d_edges[0, :, :, 0], edges)

# %% [markdown]
# The absolute value is bright at edges between left and right, whichever side is lighter.

# %%
from utils.plotting.figures import show_feature_maps

_ = show_feature_maps(pixels, [np.abs(edges)], ["vertical edges"])

# %% [markdown]
# The kernels of a CNN are not designed but learned. After each convolution a **ReLU** (rectified
# linear unit) sets negative values to 0; without such a nonlinearity, two layers could compute no
# more than one. Each layer is applied to the output of the previous one: first layers detect edges,
# later ones textures, parts (wheels, ears) and whole objects. Layers with a **stride** of 2 move
# the kernel by two pixels and halve the resolution. So the **receptive field** of an activation,
# the region of the image that it depends on, grows from layer to layer.
#
# ## A CNN without its classification head
#
# Training a CNN takes more data and compute than we have, so we reuse one that is already trained:
# [**transfer learning**](https://keras.io/guides/transfer_learning/). The table below lists the
# available encoders. **With a GPU**, `auto` means `convnext_base`
# ([Liu et al. 2022](https://arxiv.org/abs/2201.03545)), pretrained on the 21,000 classes of the
# full ImageNet and fine-tuned on the usual 1,000: 85 % top-1 accuracy. **Without a GPU** it means
# `efficientnet_lite2` ([Tan and Le 2019](https://arxiv.org/abs/1905.11946), without
# squeeze-and-excitation): 78 %, but it takes two cores minutes for 8,000 photos, not an hour.
# (Accuracies: [Keras Applications](https://keras.io/api/applications/) and
# [EfficientNet-Lite](https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite).)
# `sample_cnn` is part of this project and knows drawn scenes only.
#
# The weights of EfficientNet-Lite are in Python packages. Those of the others come from Keras, or,
# without a network, from its cache or from an attached data set with their file. They were trained
# on [ImageNet](https://www.image-net.org), whose photos are for research: consider that before any
# commercial use.

# %%
from utils.models.encoders import ENCODERS

encoder_sizes = []
for name, entry in ENCODERS.items():
    encoder_sizes.append([name, f"{entry.image_size} × {entry.image_size}"])
pd.DataFrame(encoder_sizes, columns=["encoder", "pixels"])

# %% [markdown]
# `build_encoder` builds the CNN without its head. The preprocessing (how pixels are scaled) is part
# of the model, so that it can be neither forgotten nor applied twice.

# %%
from utils.models.encoders import build_encoder

encoder = build_encoder(config.encoder)
_, num_cells, channels = encoder.output_shape
print(f"{config.encoder}: {encoder.count_params():,} weights, all frozen")

# %% [markdown]
# The output for one image is a grid of cells. Each **grid cell** describes one region of the image
# and its surroundings by a vector of features; each component of that vector is called a
# **channel**.

# %%
example_features = encoder(pixels[None].astype("float32"))[0].numpy()
print(f"shape {example_features.shape}: {num_cells} cells × {channels} channels")

# %% [markdown]
# There is one feature vector for each of these cells:

# %%
from utils.plotting.figures import show_grid_cells

grid_side = int(num_cells**0.5)
_ = show_grid_cells(pixels, grid_side)

# %% [markdown]
# The white lines separate the cells. The meaning of a channel was not specified: it is whatever
# helped to classify images. Below are five channels with a high variance between the cells of this
# image, each with its maximum in another cell. Each square is a cell; bright is a high
# **activation** (output value). What do the bright regions show?

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
# What if pixels are preprocessed twice, once by us and once by the model? Then all images are
# almost black to the CNN, and their features are nearly the same. Below, the **cosine similarity**
# (1 for vectors of the same direction) of the features of two photos, for correct pixels and for
# pixels that were divided by 255 first:

# %% tags=["nbval-ignore-output"]
two_names = [first_names[0], first_names[min(1, len(first_names) - 1)]]
two_images = np.stack([read_pixels(photos.paths[name], image_size) for name in two_names])
similarity = {}
for label, values in {"correct": two_images, "scaled twice": two_images / 255}.items():
    first_vector, second_vector = encoder(values).numpy().mean(axis=1)
    norms = np.linalg.norm(first_vector) * np.linalg.norm(second_vector)
    similarity[label] = first_vector @ second_vector / norms
    print(f"{label:12} {similarity[label]:.3f}")
if config.preset == "sample":
    assert similarity["scaled twice"] > similarity["correct"]

# %% [markdown]
# ## Extract the features of all photos
#
# The encoder is **frozen**: its weights don't change, so the features of a photo don't either. We
# compute them *once*, and training reads features instead of pixels: minutes instead of days. Other
# threads decode the next photos while the CNN processes the current batch. After an interruption,
# run the cell again: it resumes. Unreadable photos are skipped and reported; more than one in a
# hundred (and more than five) are an error. The time for Kaggle is an estimate, not a measurement:
# it assumes that each of four cores decodes 25 photos a second, and that the GPU waits for them.

# %%
from utils.features import extract_dataset

num_photos = len(photos.names)
photos_per_second = 4 * 25  # on Kaggle: four cores, which decode 25 photos a second each
megabytes = num_photos * num_cells * channels * 2 / 1e6  # float16: two bytes a value
print(f"{num_photos:,} photos × {num_cells} cells × {channels} channels: {megabytes:,.0f} MB")
print(f"minutes on Kaggle, estimated: {max(0.1, num_photos / photos_per_second / 60):.1f}")
features = extract_dataset(photos, encoder, config)
print(f"{len(features['skipped'])} could not be read", *features["skipped"].items(), sep="\n")

# %% [markdown]
# The grid can be larger than memory, so it has a file of its own that is
# [**memory-mapped**](https://numpy.org/doc/stable/reference/generated/numpy.memmap.html): a row is
# read from disk when it is used. Row 0 is our example, with the features from above in half
# precision (float16).

# %%
from utils import feature_grids

grid = feature_grids.load_grid(features, config)
paths = [photos.paths[name] for name in features["names"]]
error = np.abs(grid[0] - example_features).mean()
assert error <= 0.02 * np.abs(example_features).mean()

# %% [markdown]
# ## One vector per image
#
# To compare photos we need one vector for each; the first model of notebook 3 uses no more than
# that, either. **Global average pooling** is the mean over all cells. **By hand**:

# %%
pooled_by_hand = np.zeros(channels)
for cell in range(num_cells):
    pooled_by_hand += grid[0, cell].astype("float32") / num_cells
print(f"{num_cells} feature vectors were averaged to one of {pooled_by_hand.shape[0]} channels")

# %% [markdown]
# **With the library**: NumPy's `mean`, for all photos.

# %%
features["pooled"] = np.stack([np.mean(row, axis=0, dtype="float32") for row in grid])
assert np.allclose(features["pooled"][0], pooled_by_hand, atol=1e-3)

# %% [markdown]
# Are these vectors meaningful? Images that the CNN represents similarly have vectors of a similar
# direction. After normalization to length 1, the cosine similarity is a dot product.

# %%
pooled = features["pooled"]
normalized = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-9)
query_row = 0
similarities = normalized @ normalized[query_row]
nearest = np.argsort(-similarities)[:4]
assert similarities[query_row] >= similarities[nearest[0]] - 1e-5  # it is most similar to itself
titles = [f"cosine {similarities[row]:.2f}" for row in nearest]
_ = show_photos([paths[row] for row in nearest], titles)

# %% [markdown]
# The first is the example itself, followed by its three **nearest neighbors**. What they have in
# common is what the CNN represents; no captions were used to train it.
#
# And what does one channel detect? Below are the four photos with the highest activation of the
# channel that varies most between photos. What do they have in common?

# %%
channel = features["pooled"].std(axis=0).argmax()
activations = features["pooled"][:, channel]
top_rows = np.argsort(-activations)[:4]
titles = [f"activation {activations[row]:.1f}" for row in top_rows]
_ = show_photos([paths[row] for row in top_rows], titles)

# %% [markdown]
# ## Save
#
# `features.pkl` holds the names and one pooled vector per photo; the grid is a file beside it. Both
# are written to a temporary name first, so that a reader never sees half a file.
#
# With `fine_tune_epochs`, [notebook 3](03_train.ipynb) also trains the last blocks of the CNN
# (**fine-tuning**). For this, `backbone_features.pkl` and a second grid are saved: the features
# below these blocks, of each photo and of the photo flipped horizontally, as **data augmentation**:
# a flip does not change what the photo shows.

# %%
from utils.features import extract_backbone_features

path = artifacts.save("features", features, config)
if config.fine_tune_epochs:
    backbone_features = extract_backbone_features(features, photos, encoder, config)
    artifacts.save("backbone_features", backbone_features, config)
print("for 03_train and 04_evaluate: features.pkl", artifacts.format_size(path))
print("its grid", artifacts.format_size(path.parent / features["grid"]))

# %% [markdown]
# ## What you learned
#
# - A photo has several reference captions, and they differ.
# - A pretrained CNN without its classification head maps an image to a grid of feature vectors.
# - As the CNN is frozen, its features are computed once; training reads them from disk.
#
# **Try it.** *Vary*: change a value. *Modify*: edit a few lines. *Implement*: write a dozen lines.
# *Extend*: go beyond this series. Predict the result before you run anything. Put the code
# of an answer into a new cell below, after you have run all cells above. It is written for the
# drawn sample; on photos its numbers differ.
#
# 1. *Vary*: Which are the nearest neighbors of another example? Change `query_row` to 5. Before you
#    run it: will they share the place, the weather, or the subject?
#
# <details><summary>An answer</summary>
#
# ```python
# query_row = 5
# nearest = np.argsort(-(normalized @ normalized[query_row]))[:4]
# captions = [photos.captions[features["names"][row]][0] for row in nearest]
# assert query_row in nearest  # it is most similar to itself
# _ = show_photos([paths[row] for row in nearest], captions)
# ```
#
# See what repeats, then try other rows. Over all drawn scenes the nearest neighbor mostly has the
# same sky, often the same count and place, and in little more than half of all cases the same
# subject: what fills much of the image has the largest weight.
# </details>
#
# 2. *Modify*: Which transformations change the features of the example? Flip it, turn it upside
#    down, remove its color. Before you run it: which of these changes them least?
#
# <details><summary>An answer</summary>
#
# ```python
# views = {"flipped": pixels[:, ::-1], "upside down": pixels[::-1]}
# views["gray"] = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
# views["another photo"] = read_pixels(paths[1], image_size)
# batch = np.stack([pixels, *views.values()]).astype("float32")
# vectors = encoder(batch).numpy().mean(axis=1)
# vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
# similarity = pd.Series(vectors[1:] @ vectors[0], index=list(views))
# print(similarity.round(3).to_string())
# assert similarity["flipped"] == similarity.max()
# ```
#
# The horizontal flip matters least. CNNs are usually trained with flipped images as well (so is
# `sample_cnn`), and the mean over the cells discards their positions. Another photo shows what a
# low similarity is.
# </details>
#
# 3. *Implement*: Do the features encode snow? Fit a **linear probe**
#    ([Alain and Bengio 2016](https://arxiv.org/abs/1610.01644)): a weighted sum of the channels
#    (`np.linalg.lstsq`) that predicts whether a caption of the photo contains the word *snow*,
#    fitted on the training photos and evaluated on the validation photos. Before you run it: will
#    *two* be easier or harder?
#
# <details><summary>An answer</summary>
#
# ```python
# from utils.data.tokenizer import tokenize
#
# ones = np.ones((len(paths), 1))  # for the bias
# inputs = np.hstack([features["pooled"], ones])
# in_train = np.isin(features["names"], photos.splits["train"])
# in_validation = np.isin(features["names"], photos.splits["validation"])
# texts = [" ".join(photos.captions[name]) for name in features["names"]]
# accuracy = {}
# for word in ("two", "snow"):
#     labels = np.array([word in tokenize(text) for text in texts])
#     targets = labels[in_train].astype("float32")
#     weights, *_ = np.linalg.lstsq(inputs[in_train], targets, rcond=None)
#     predictions = inputs[in_validation] @ weights > 0.5
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
# <details><summary>An answer</summary>
#
# ```python
# import keras
#
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
# distances = np.abs(colors - colors[query_row]).mean(axis=(1, 2), dtype="float32")
# assert colors.shape == (len(paths), 49, 3)
# assert distances[query_row] == distances.min()
# _ = show_photos([paths[row] for row in np.argsort(distances)[:4]])
# ```
#
# On drawn scenes it finds the same place and weather, and rarely the same subject. To use an
# encoder in all five notebooks, add its entry to `utils/models/encoders.py`, with pretrained
# weights, and its name to `utils/config.py`, and set `encoder`. The later notebooks refuse the
# features of another encoder and name the notebook to run again. To use a larger one from the table
# on your photos: `python -m utils run --input your_folder --set encoder=vgg16`. It has 49 cells of
# 512 channels, so 8,000 photos take 8,000 × 49 × 512 × 2 bytes, 401 MB.
# </details>
#
# *Next*: [2 Tokenize the captions](02_text.ipynb).
