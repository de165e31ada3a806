"""Prompt texts: a deterministic enhancement by style, and the search for blocked words.

Enhancement is a table, not a model: the same prompt and style give the same words on every machine, and the reply
shows them in `meta`. Nothing here needs torch, so that the gateway may check words before it accepts a call.
"""

from __future__ import annotations

import functools
import re
import unicodedata

DEFAULT_STYLE = "enhance"
# CLIP reads 77 tokens, about 55 words. A prompt near that length gains nothing from words that are cut off.
WORDS_MAX = 55

# Style -> phrases appended to the prompt, most telling first. The user's own words always stay in front.
STYLES: dict[str, tuple[str, ...]] = {
    "enhance": ("highly detailed", "sharp focus", "balanced composition", "rich colors", "soft natural light"),
    "photographic": (
        "photograph",
        "35mm lens",
        "natural light",
        "shallow depth of field",
        "fine skin and fabric texture",
    ),
    "cinematic": ("cinematic still", "dramatic lighting", "film grain", "anamorphic lens", "muted color grading"),
    "cinematic-diva": ("cinematic portrait", "elegant pose", "glamorous styling", "soft rim light", "film grain"),
    "analog-film": ("analog film photo", "faded colors", "light leaks", "grain", "vintage lens"),
    "noir": ("film noir", "black and white", "hard shadows", "venetian blind light", "high contrast"),
    "portrait": ("portrait", "85mm lens", "soft key light", "detailed eyes", "blurred background"),
    "anime": ("anime illustration", "clean line art", "vivid colors", "cel shading", "detailed background"),
    "manga": ("manga page style", "black ink", "screentones", "dynamic composition", "white background"),
    "comic-book": ("comic book panel", "bold outlines", "halftone dots", "flat colors", "dynamic pose"),
    "digital-art": ("digital painting", "concept art", "smooth shading", "intricate detail", "vivid light"),
    "fantasy-art": ("fantasy illustration", "epic scale", "ornate detail", "glowing light", "misty atmosphere"),
    "dark-fantasy": ("dark fantasy", "gothic mood", "torn cloth and old stone", "cold moonlight", "heavy atmosphere"),
    "concept-art": ("concept art", "clear silhouette", "environment design", "painterly brushwork", "wide shot"),
    "oil-painting": ("oil painting", "visible brush strokes", "canvas texture", "layered pigments", "warm varnish"),
    "watercolor": ("watercolor painting", "wet edges", "paper texture", "soft washes", "light palette"),
    "impressionism": ("impressionist painting", "broken color", "loose brushwork", "outdoor light", "soft edges"),
    "art-deco": ("art deco poster", "geometric shapes", "gold accents", "symmetry", "bold outlines"),
    "art-nouveau": ("art nouveau", "flowing lines", "floral ornament", "muted gold palette", "decorative frame"),
    "abstract-expressionism": (
        "abstract expressionism",
        "bold gestures",
        "dripped paint",
        "raw texture",
        "strong color",
    ),
    "pop-art": ("pop art", "bold flat colors", "halftone dots", "thick outlines", "repetition"),
    "line-art": ("line art", "clean black lines", "white background", "minimal detail", "even stroke width"),
    "sketch": ("pencil sketch", "cross hatching", "paper texture", "loose lines", "monochrome"),
    "pixel-art": ("pixel art", "16-bit game sprite", "limited palette", "crisp pixels", "no anti-aliasing"),
    "low-poly": ("low poly render", "flat shaded facets", "simple shapes", "soft ambient light", "clean background"),
    "3d-model": ("3d render", "physically based materials", "global illumination", "soft shadows", "studio backdrop"),
    "isometric": ("isometric view", "miniature diorama", "clean edges", "soft shadows", "pastel palette"),
    "adorable-3d-character": (
        "cute 3d character",
        "big eyes",
        "rounded shapes",
        "soft studio light",
        "smooth materials",
    ),
    "clay": ("clay figure", "fingerprint texture", "stop motion look", "soft light", "rounded forms"),
    "origami": ("folded paper origami", "sharp creases", "paper texture", "layered sheets", "plain background"),
    "baroque": ("baroque painting", "chiaroscuro", "rich drapery", "golden light", "dramatic composition"),
    "cubism": ("cubist painting", "fractured planes", "several viewpoints at once", "earth tones", "geometric forms"),
    "expressionism": ("expressionist painting", "distorted forms", "intense color", "rough brush strokes", "emotion"),
    "surrealism": ("surrealist painting", "dreamlike scene", "impossible objects", "long shadows", "smooth rendering"),
    "graffiti-art": ("graffiti", "spray paint", "drips and stencils", "concrete wall", "bold lettering colors"),
    "blueprint-schematic-drawing": ("blueprint", "white lines on blue", "technical drawing", "thin strokes", "grid"),
    "caricature": ("caricature", "exaggerated features", "expressive lines", "humorous", "plain background"),
    "double-exposure": ("double exposure photo", "two scenes in one outline", "soft blending", "muted tones", "grain"),
    "high-fashion": ("fashion editorial photo", "striking pose", "designer styling", "studio light", "plain backdrop"),
    "macro-photography": ("macro photo", "extreme close-up", "very shallow focus", "fine surface detail", "soft light"),
    "cyberpunk": ("cyberpunk", "neon lights", "rain-wet streets", "holograms", "dense night city"),
    "steampunk": ("steampunk", "brass gears", "steam", "polished wood and leather", "warm gaslight"),
    "retro-futurism": ("retro futurism", "1960s space age design", "chrome", "pastel palette", "optimistic mood"),
    "vaporwave": ("vaporwave", "pink and cyan palette", "grid horizon", "retro computer graphics", "sunset gradient"),
    "minimalist": ("minimalist", "simple shapes", "large empty space", "limited palette", "clean composition"),
    "logo": ("vector logo", "simple shapes", "flat colors", "centered", "white background"),
    "product": ("product photo", "studio light", "seamless backdrop", "soft reflection", "crisp detail"),
    "food": ("food photo", "appetizing texture", "soft window light", "shallow depth of field", "styled plate"),
    "architecture": (
        "architectural photo",
        "straight verticals",
        "clean geometry",
        "clear sky light",
        "wide angle lens",
    ),
    "landscape": ("landscape photo", "wide vista", "golden hour light", "atmospheric depth", "fine detail"),
}


def enhance(prompt: str, style: str | None = None) -> str:
    """The prompt followed by the phrases of the style that it does not already contain.

    Applying it twice changes nothing more. An empty prompt stays empty, a prompt near the length that models read
    stays as it is, and a style that is not in STYLES counts as the default (see `style_note`).
    """
    text = prompt.strip().rstrip(",")
    if not text:
        return prompt
    words = _words(text)
    room = WORDS_MAX - len(words.split())
    for phrase in STYLES[_style_name(style)]:
        cost = len(phrase.split())
        if cost > room:
            break
        if f" {_words(phrase)} " not in f" {words} ":
            text, room = f"{text}, {phrase}", room - cost
    return text


def style_note(style: str | None) -> str | None:
    """A sentence for the reply when the asked style is not known, else None."""
    if not style or _key(style) in STYLES:
        return None
    return f"enhance_style {style[:40]!r} is not known here; the style {DEFAULT_STYLE!r} was used."


def blocked(prompt: str, terms: tuple[str, ...] | list[str]) -> str | None:
    """The first of `terms` that occurs in the prompt as whole words, as it is written in `terms`; else None.

    Case, width, accents, invisible characters and punctuation between words make no difference. Terms in scripts
    that are written without spaces match anywhere, since such text has no words to compare.
    """
    text = f" {_words(prompt)} "
    joined = text.replace(" ", "")
    for term in terms:
        words = _term_words(term)
        if not words:
            continue
        if (words.replace(" ", "") in joined) if _unspaced(term) else (f" {words} " in text):
            return term
    return None


def _style_name(style: str | None) -> str:
    name = _key(style or DEFAULT_STYLE)
    return name if name in STYLES else DEFAULT_STYLE


def _key(style: str) -> str:
    return re.sub(r"[\s_]+", "-", style.strip().casefold())


@functools.lru_cache(maxsize=4096)
def _term_words(term: str) -> str:
    """Terms come again with every prompt; prompts are not kept."""
    return _words(term)


def _words(text: str) -> str:
    """Lower-case words between single spaces. Compatibility forms are unified, accents of Latin letters dropped."""
    kept: list[str] = []
    base_is_latin = False
    for char in unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold()):
        category = unicodedata.category(char)
        if category == "Cf":  # zero-width joiners, soft hyphens: invisible, so they cannot part a word
            continue
        if category == "Mn" and base_is_latin:
            continue
        if category[0] in "LNM":
            kept.append(char)
            base_is_latin = category[0] == "L" and unicodedata.name(char, "").startswith("LATIN")
        else:
            kept.append(" ")
            base_is_latin = False
    return " ".join("".join(kept).split())


def _unspaced(term: str) -> bool:
    names = (unicodedata.name(char, "") for char in term)
    return any(name.startswith(("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")) for name in names)
