"""Photographs with open licenses that come inside packages: real photos without a download.

They are chosen by a rule, not by what a captioner writes of them: every color photograph of a scene
that is a file in the wheels of scikit-image, scikit-learn and Matplotlib. Left out are

- gray images: bricks, a camera, cells, a clock, coins, grass, gravel, a retina's detail, the moon,
  a page, a text;
- what no camera has taken: a color wheel, chessboards, a phantom, a silhouette, logos, animations;
- microscopy: a stained tissue;
- the second photograph of a scene: the right one of the stereo pair;
- crops that are not files of their own: the faces of 25 × 25 pixels.

The images that scikit-image downloads when they are first used are not in its wheel. Titles,
creators and licenses are those that the packages state in their documentation, completed by the
pages that they refer to. (scikit-learn's README names the photographer of `china.jpg` for both of
its photos, but links to the page of another one for `flower.jpg`, who is named here.)

The packages are not imported; where one is missing, it is reported.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from utils.errors import CaptionsError

CC0 = "CC0"
CC_BY = "CC BY 2.0"
PUBLIC_DOMAIN = "public domain"
# The owners of the stereo data permit "to use and publish all images", and ask to be cited.
MAY_BE_PUBLISHED = "use and publication permitted"

# How to install the packages that the photographs are in, by the names that they are imported by.
DISTRIBUTIONS = {
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "matplotlib": "matplotlib",
}


@dataclass(frozen=True)
class OpenPhoto:
    """A photograph inside a package.

    Attributes:
        package: The name that the package is imported by.
        file: The file, relative to the package's folder.
        title: What the photograph shows.
        creator: Who took or published it.
        license: What permits its use.
        source: The page that it comes from.
    """

    package: str
    file: str
    title: str
    creator: str
    license: str
    source: str

    @property
    def name(self) -> str:
        """The name of the file without its folder and suffix."""
        return Path(self.file).stem

    @property
    def credit(self) -> str:
        """Title, creator and license in one line, as an attribution."""
        return f"{self.title}. {self.creator}, {self.license}"

    @property
    def path(self) -> Path:
        """The file on this machine.

        Raises:
            CaptionsError: The package or the file is missing.
        """
        distribution = DISTRIBUTIONS[self.package]
        spec = find_spec(self.package)
        folders = spec.submodule_search_locations if spec else None
        if not folders:
            raise CaptionsError(
                f"{self.file}: the package {distribution} that contains it is missing: "
                f"pip install {distribution}"
            )
        path = Path(folders[0], self.file)
        if not path.is_file():
            raise CaptionsError(
                f"{path}: this file of {distribution} is missing: install the package again with "
                f"pip install --force-reinstall {distribution}"
            )
        return path


OPEN_PHOTOS = (
    OpenPhoto(
        "skimage",
        "data/astronaut.png",
        "Eileen Collins, astronaut",
        "NASA",
        PUBLIC_DOMAIN,
        "https://flic.kr/p/r9qvLn",
    ),
    OpenPhoto(
        "skimage",
        "data/chelsea.png",
        "Chelsea the cat",
        "Stefan van der Walt",
        CC0,
        "https://scikit-image.org/docs/stable/api/skimage.data.html#skimage.data.chelsea",
    ),
    OpenPhoto(
        "skimage",
        "data/coffee.png",
        "Cup of Pikolo Espresso Bar",
        "Rachel Michetti",
        CC0,
        "https://scikit-image.org/docs/stable/api/skimage.data.html#skimage.data.coffee",
    ),
    OpenPhoto(
        "skimage",
        "data/hubble_deep_field.jpg",
        "Hubble eXtreme Deep Field",
        "NASA, ESA",
        PUBLIC_DOMAIN,
        "https://hubblesite.org/newscenter/archive/releases/2012/37/image/a/",
    ),
    OpenPhoto(
        "skimage",
        "data/motorcycle_left.png",
        "Motorcycle, left photo of a stereo pair",
        "Scharstein et al., Middlebury 2014",
        MAY_BE_PUBLISHED,
        "https://vision.middlebury.edu/stereo/data/scenes2014/",
    ),
    OpenPhoto(
        "skimage",
        "data/retina.jpg",
        "Fundus of a normal left eye",
        "Mikael Häggström",
        CC0,
        "https://commons.wikimedia.org/wiki/File:Fundus_photograph_of_normal_left_eye.jpg",
    ),
    OpenPhoto(
        "skimage",
        "data/rocket.jpg",
        "Falcon 9 with DSCOVR",
        "SpaceX",
        PUBLIC_DOMAIN,
        "https://www.flickr.com/photos/spacexphotos/16511594820/",
    ),
    OpenPhoto(
        "sklearn",
        "datasets/images/china.jpg",
        "Temple in China",
        "danielbuechele",
        CC_BY,
        "https://www.flickr.com/photos/danielbuechele/6061409035/",
    ),
    OpenPhoto(
        "sklearn",
        "datasets/images/flower.jpg",
        "Flower",
        "vultilion",
        CC_BY,
        "https://www.flickr.com/photos/vultilion/6056698931/",
    ),
    OpenPhoto(
        "matplotlib",
        "mpl-data/sample_data/grace_hopper.jpg",
        "Commodore Grace M. Hopper",
        "James S. Davis, U.S. Navy",
        PUBLIC_DOMAIN,
        "https://commons.wikimedia.org/wiki/File:Commodore_Grace_M._Hopper,_USN_%28covered%29.jpg",
    ),
)


def find_open_photos(failures: dict[str, str] | None = None) -> list[OpenPhoto]:
    """The photographs of `OPEN_PHOTOS` that are on this machine.

    Args:
        failures: Collects the names of those that are not, with reasons.

    Raises:
        CaptionsError: Without `failures`, one is not on this machine.
    """
    found = []
    for photo in OPEN_PHOTOS:
        try:
            _ = photo.path
        except CaptionsError as error:
            if failures is None:
                raise
            failures[photo.name] = str(error)
        else:
            found.append(photo)
    return found
