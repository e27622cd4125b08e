"""Write five captions of a scene, each in a style of its own.

Flickr8k has five captions per photo, because people notice different things and use different
words. The five styles imitate that: a full sentence, a detailed one, one that begins with the
place, one with "there is", and a telegraphic one. Each caption mentions some facts only, but most
of the five mention each fact, so the most likely caption of a scene mentions nearly all of them.
"""

from collections.abc import Callable
from random import Random

from utils.sample.facts import WORDS, split_words
from utils.sample.scenes import ANIMALS, PEOPLE, Scene

MIN_WORDS = 5
MAX_WORDS = 16

USUAL_WORD_PROBABILITY = 0.5  # of the first choice of each table
SUNSHINE_PROBABILITY = 0.15  # how often a usual sky is mentioned, compared with the others
SUBJECTS_NEVER_LITTLE = ("man", "woman", "horse")


class PhraseBuilder:
    """Build the phrases of a caption of one scene.

    A phrase with a probability may be left out: then it is an empty string. The order of the
    random draws decides the captions, so it must not change.
    """

    def __init__(self, scene: Scene, rng: Random) -> None:
        self.scene = scene
        self.rng = rng
        self.is_plural = scene.count > 1
        self.be = "are" if self.is_plural else "is"

    def pick(self, choices: str) -> str:
        """Pick one of the choices, the first one about half of the time."""
        options = choices.split(", ")
        if self.rng.random() < USUAL_WORD_PROBABILITY:
            return options[0]
        return self.rng.choice(options)

    def maybe(self, probability: float, table: str, value: str) -> str:
        """Pick a phrase for a value from a table, or leave it out."""
        if self.rng.random() >= probability:
            return ""
        return self.pick(WORDS[table][value]).replace("*", "")

    def subject(self, color: float, article: bool = True, little: float = 0.0) -> str:
        """Name the subject: how many, what it looks like or what it wears.

        Args:
            color: The probability that the color is mentioned.
            article: Whether a single subject gets an article.
            little: The probability of the word "little", where it fits.
        """
        scene = self.scene
        noun = self.inflect(self.pick(WORDS["noun"][scene.subject]))
        size = ""
        if scene.subject not in SUBJECTS_NEVER_LITTLE and self.rng.random() < little:
            size = "little"
        color_word = self.maybe(color, "color", scene.color)
        count = self.maybe(1.0, "count", str(scene.count)) if self.is_plural else ""
        if scene.subject in ANIMALS or not color_word:
            phrase = join_phrases(count, size, color_word, noun)
        else:
            clothes = self.clothes(color_word)
            preposition = self.rng.choice(("in", "in", "wearing"))
            phrase = join_phrases(count, size, noun, preposition, clothes)
        return self.add_article(phrase) if article else phrase

    def clothes(self, color_word: str) -> str:
        """Name a person's clothes, or only their color ("in red")."""
        garment = self.inflect(WORDS["garment"][self.scene.subject])
        if self.rng.random() < 0.3:
            return color_word
        return self.add_article(f"{color_word} {garment}")

    def inflect(self, noun_forms: str) -> str:
        """Choose the singular or the plural from the two forms of a noun."""
        singular, plural = noun_forms.split()
        return plural if self.is_plural else singular

    def add_article(self, phrase: str) -> str:
        """Put "a" or "an" before a singular phrase."""
        if self.is_plural:
            return phrase
        article = "an" if phrase[0] in "aeiou" else "a"
        return f"{article} {phrase}"

    def verb(self) -> str:
        """Name the action as a verb in the present tense ("runs" or "run")."""
        singular, plural, _ = self.pick(WORDS["verb"][self.scene.action]).split()
        return plural if self.is_plural else singular

    def participle(self) -> str:
        """Name the action as a participle ("running")."""
        return self.pick(WORDS["verb"][self.scene.action]).split()[2]

    def thing(self, probability: float, may_use: bool = False) -> str:
        """Name the thing.

        Args:
            probability: The probability that a thing is mentioned.
            may_use: Whether the phrase may say what one person does with it ("and plays the
                guitar"), where that fits.
        """
        scene = self.scene
        if scene.thing == "none":
            return ""
        can_use = scene.action != "sleeping" or scene.thing == "blanket"
        is_one_person = scene.subject in PEOPLE and not self.is_plural
        table = "thing"
        if may_use and is_one_person and can_use and self.rng.random() < 0.5:
            table = "use"
        return self.maybe(probability, table, scene.thing)

    def place(self, probability: float, may_move: bool = True) -> str:
        """Name the place, or the path for a subject that runs."""
        table = "path" if may_move and self.scene.action == "running" else "place"
        return self.maybe(probability, table, self.scene.place)

    def sky(self, probability: float) -> str:
        """Name the sky; sunshine is rarely worth mentioning."""
        if self.scene.sky == "sunny":
            probability *= SUNSHINE_PROBABILITY
        return self.maybe(probability, "sky", self.scene.sky)

    def side(self, probability: float) -> str:
        """Name the side of the picture on which the subject is."""
        return self.maybe(probability, "side", self.scene.side)


# Each style decides which facts a caption mentions, how often, and in which order.


def full_sentence(phrases: PhraseBuilder) -> str:
    """Who does what, where and when; with a space before the full stop, as in Flickr8k."""
    subject = phrases.subject(color=0.8)
    verb = phrases.verb()
    thing = phrases.thing(0.9, may_use=True)
    place = phrases.place(0.7)
    sky = phrases.sky(0.5)
    return join_phrases(subject, verb, thing, place, sky).capitalize() + " ."


def detailed(phrases: PhraseBuilder) -> str:
    """Nearly all facts, with "is" or "are"."""
    subject = phrases.subject(color=0.95)
    participle = phrases.participle()
    thing = phrases.thing(0.95)
    place = phrases.place(0.85)
    sky_or_side = phrases.sky(0.8) or phrases.side(0.35)
    return join_phrases(subject, phrases.be, participle, thing, place, sky_or_side)


def place_first(phrases: PhraseBuilder) -> str:
    """The place or the time of day first, then a subject that may be "little"."""
    opening = phrases.place(1.0, may_move=False)
    if phrases.rng.random() < 0.5:
        opening = phrases.sky(0.9) or opening
    verb = phrases.verb()
    thing = phrases.thing(0.7, may_use=True)
    subject = phrases.subject(color=0.55, little=0.3)
    return join_phrases(opening, ",", subject, verb, thing).capitalize() + "."


def there_is(phrases: PhraseBuilder) -> str:
    """What there is: "There is ..."."""
    participle = phrases.participle()
    thing = phrases.thing(0.75)
    place = phrases.place(0.65)
    sky = phrases.sky(0.65)
    subject = phrases.subject(color=0.5)
    return join_phrases("there", phrases.be, subject, participle, thing, place, sky).capitalize()


def telegraphic(phrases: PhraseBuilder) -> str:
    """Only what is most striking, without an article and without "is" or "are"."""
    subject = phrases.subject(color=0.4, article=False)
    thing = phrases.thing(0.55)
    place = phrases.place(0.4 if thing else 1.0)
    participle = phrases.participle()
    place_or_sky = place or phrases.sky(0.6)
    return join_phrases(subject, participle, thing, place_or_sky)


Style = Callable[[PhraseBuilder], str]
STYLES: tuple[Style, ...] = (full_sentence, detailed, place_first, there_is, telegraphic)


def write_captions(scene: Scene) -> list[str]:
    """Write five captions of a scene, one in each style.

    The captions depend on the facts and on the seed of the scene, and are the same every time.
    """
    # This text is part of the seed, so it decides the captions: keep it.
    rng = Random(f"tell {scene.seed}")
    phrases = PhraseBuilder(scene, rng)
    return [write_caption(style, phrases) for style in STYLES]


def write_caption(style: Style, phrases: PhraseBuilder) -> str:
    """Write a caption in a style; try again while it is too short or too long."""
    while True:
        caption = style(phrases)
        if MIN_WORDS <= len(split_words(caption)) <= MAX_WORDS:
            return caption


def join_phrases(*phrases: str) -> str:
    """Join the phrases that are not left out."""
    return " ".join(phrase for phrase in phrases if phrase)
