"""Five people who tell a scene, and the reader that turns a caption back into facts.

Flickr8k has five captions a photo because people notice different things and use different words.
So do these five: the reporter, the careful one, the storyteller, the host ("there is ...") and
the hasty one. Each mentions some facts only, yet most of the five mention each fact, so the most
likely caption of a scene tells nearly all of it.

The tables of words, at the end of `artwork.toml`, serve both ways: `tell` picks words from
them, `read` looks words up in them. A word that stands with several values (sand: beach or desert)
may mean any of them.
"""

from random import Random

from utils.sample.facts import WORDS, words_in
from utils.sample.scenes import ANIMALS, PEOPLE


def write_captions(scene):
    """Five captions of a scene, the same ones every time, always in the same order of voices."""
    random = Random(f"tell {scene.seed}")
    voices = (reporter, careful, storyteller, host, hasty)
    return [of_fair_length(voice, Phrases(scene, random)) for voice in voices]


def of_fair_length(voice, say):
    """What a voice says, asked again until it is neither a mumble nor a speech."""
    while True:
        caption = voice(say)
        if 5 <= len(words_in(caption)) <= 16:
            return caption


# Each voice: which facts it mentions, how often, and in which order.


def reporter(say):
    """Who does what, where and when; a space before the full stop, as Flickr8k has it."""
    who = say.who(color=0.8)
    what = [say.verb(), say.thing(0.9, used=True), say.place(0.7), say.sky(0.5)]
    return sentence(who, *what).capitalize() + " ."


def careful(say):
    """Nearly everything, with "is" and "are"."""
    who = say.who(color=0.95)
    what = [say.be, say.verb(being=True), say.thing(0.95), say.place(0.85)]
    return sentence(who, *what, say.sky(0.8) or say.some(0.35, "side", say.scene.side))


def storyteller(say):
    """First the place or the hour, then a little one."""
    start = say.place(1.0, moving=False)
    if say.random.random() < 0.5:
        start = say.sky(0.9) or start
    what = [say.verb(), say.thing(0.7, used=True)]
    return sentence(start, ",", say.who(color=0.55, little=0.3), *what).capitalize() + "."


def host(say):
    """Shows what there is."""
    what = [say.verb(being=True), say.thing(0.75), say.place(0.65), say.sky(0.65)]
    return sentence("there", say.be, say.who(color=0.5), *what).capitalize()


def hasty(say):
    """No article, no verb "to be", and only what strikes the eye."""
    who, thing = say.who(color=0.4, article=False), say.thing(0.55)
    place = say.place(0.4 if thing else 1.0)
    return sentence(who, say.verb(being=True), thing, place or say.sky(0.6))


class Phrases:
    """The parts of a sentence about one scene; with a probability, they may stay unsaid ("")."""

    def __init__(self, scene, random):
        self.scene, self.random, self.several = scene, random, scene.count > 1
        self.be = "are" if self.several else "is"

    def pick(self, choices):
        """One of the choices; the first about half of the time: there should be a usual word."""
        choices = choices.split(", ")
        return choices[0] if self.random.random() < 0.5 else self.random.choice(choices)

    def some(self, probability, table, value):
        """A phrase for a value in so many of the captions, else nothing."""
        if self.random.random() >= probability:
            return ""
        return self.pick(WORDS[table][value]).replace("*", "")

    def who(self, color, article=True, little=0.0):
        """The subject: how many, how it looks or what it wears."""
        scene, random = self.scene, self.random
        noun = self.pick(WORDS["noun"][scene.subject]).split()[self.several]
        small = scene.subject not in ("man", "woman", "horse") and random.random() < little
        size = "little" if small else ""
        hue = self.some(color, "color", scene.color)
        count = self.some(1.0, "count", str(scene.count)) if self.several else ""
        if scene.subject in ANIMALS or not hue:
            who = sentence(count, size, hue, noun)
        else:
            garment = WORDS["garment"][scene.subject].split()[self.several]
            worn = hue if random.random() < 0.3 else self.with_article(f"{hue} {garment}")
            who = sentence(count, size, noun, random.choice(("in", "in", "wearing")), worn)
        return self.with_article(who) if article else who

    def with_article(self, words):
        """A or an, but for several."""
        article = "" if self.several else "an" if words[0] in "aeiou" else "a"
        return sentence(article, words)

    def verb(self, being=False):
        """What is done: "runs" or "run", or else "running"."""
        one, many, doing = self.pick(WORDS["verb"][self.scene.action]).split()
        return doing if being else many if self.several else one

    def thing(self, probability, used=False):
        """With the thing; where it fits ("and plays the guitar"), what one person does with it."""
        scene = self.scene
        if scene.thing == "none":
            return ""
        awake = scene.action != "sleeping" or scene.thing == "blanket"
        alone = used and not self.several and scene.subject in PEOPLE and awake
        table = "use" if alone and self.random.random() < 0.5 else "thing"
        return self.some(probability, table, scene.thing)

    def place(self, probability, moving=True):
        """Where one is, or where one runs."""
        table = "path" if moving and self.scene.action == "running" else "place"
        return self.some(probability, table, self.scene.place)

    def sky(self, probability):
        """The sky; few mention that the sun shines."""
        often = 0.15 if self.scene.sky == "sunny" else 1.0
        return self.some(probability * often, "sky", self.scene.sky)


def sentence(*parts):
    """The parts that are not left unsaid."""
    return " ".join(part for part in parts if part)
