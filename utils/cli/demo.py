"""A page on which you drop photos: caption, confidence, alt text and attention weights.

It runs on this machine alone, with Gradio, which is an optional dependency.
"""

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from utils.cli.caption import find_captioner, load_captioner
from utils.data.open_photos import find_open_photos
from utils.data.tokenizer import tokenize
from utils.errors import CaptionsError

if TYPE_CHECKING:
    from utils.inference import Captioner

HOST = "127.0.0.1"  # other machines cannot reach it
THUMBNAIL = 400  # pixels
DESCRIPTION = (
    "Drop a photo, or choose one below. The pictures beside it show for each word of the caption "
    "which regions of the photo the captioner attends to."
)
ENVIRONMENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "MPLBACKEND": "agg",  # Gradio calls `describe` in threads
}


def demo(working: str | None = None, port: int = 7860, block: bool = True) -> Any:
    """Serve the page.

    Args:
        working: The working folder of a run, or the file of a captioner, as in `caption`.
        port: The port on this machine.
        block: Wait for Ctrl-C; otherwise return the page.

    Raises:
        CaptionsError: Gradio is not installed, or the port is in use.
    """
    os.environ.update(ENVIRONMENT)
    try:
        import gradio
    except ModuleNotFoundError:
        fix = 'pip install ".[demo]" in the repository'
        raise CaptionsError(f"demo: Gradio is not installed: {fix}") from None
    page = build_page(gradio, load_captioner(find_captioner(working)))
    # The fonts of the default theme come from a CDN.
    theme = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    options = {"theme": theme, "quiet": True, "share": False, "footer_links": []}
    try:
        page.launch(server_name=HOST, server_port=port, prevent_thread_lock=True, **options)
    except OSError:
        raise CaptionsError(f"port {port}: is in use: choose another one with --port") from None
    print(f"open in a browser: {page.local_url}", flush=True)
    if block:
        page.block_thread()
    return page


def build_page(gradio: Any, captioner: "Captioner") -> Any:
    """The page: a photo in, four outputs out; with photos of open licenses as examples."""

    def describe_upload(path: str | None) -> tuple[str, str, str, Any]:
        try:
            return describe(captioner, path)
        except CaptionsError as error:
            reason = str(error).replace(str(path), Path(str(path)).name)
            raise gradio.Error(reason, print_exception=False) from None

    photo = gradio.Image(type="filepath", label="Photo", sources=["upload", "clipboard"])
    # Gradio would open the file itself, and show a traceback where that fails.
    photo.preprocess = lambda upload: upload and upload.path
    return gradio.Interface(
        describe_upload,
        photo,
        [
            gradio.Textbox(label="Caption"),
            gradio.Textbox(label="Confidence (probability that it resembles human captions)"),
            gradio.Textbox(label="Alt text"),
            gradio.Image(show_label=False, buttons=[], format="png", elem_id="attention"),
        ],
        title="Image captioning",
        description=DESCRIPTION,
        examples=[[str(photo.path)] for photo in find_open_photos({})],
        cache_examples=False,
        preload_example=False,
        live=True,  # without a button
        flagging_mode="never",
        delete_cache=(3600, 3600),  # uploaded photos: after an hour, and at the end
    )


def describe(captioner: "Captioner", photo: Any) -> tuple[str, str, str, Any]:
    """The caption of a photo, its confidence, its alt text, and its attention weights.

    Args:
        captioner: The captioner.
        photo: A path, a Pillow image or an array; None where the page has no photo.

    Returns:
        Three texts, and an image of the attention maps or None.
    """
    from matplotlib import pyplot as plt

    from utils.inference import alt_text
    from utils.plotting.figures import show_attention
    from utils.plotting.style import load_thumbnail

    if photo is None:
        return "", "", "", None
    (row,) = captioner.stream([photo], no_repetition=True, progress=False, attention_weights=True)
    confidence = f"unknown: {captioner.confidence_problem}"
    if row["confidence"] is not None:
        confidence = f"{row['confidence']:.2f}"
    maps = None
    if row["attention_weights"].size:
        pixels = load_thumbnail(photo, THUMBNAIL)
        figure = show_attention(pixels, tokenize(row["caption"]), row["attention_weights"])
        file = io.BytesIO()
        figure.savefig(file, format="png")
        plt.close(figure)  # otherwise pyplot keeps it
        maps = Image.open(file)
    return row["caption"], confidence, alt_text(row), maps
