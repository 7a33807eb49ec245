"""The words of captions other than the things' names."""

PLACES = 16
"""The text encoder's last tokens, one for each part of the sketch."""
WORDS = 24
"""Tokens of a prompt that are read; one each is spent on its start and its end."""
MAX_TOKENS = WORDS + PLACES

COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "white": ("white",),
    "black": ("black",),
    "gray": ("gray", "grey", "silver"),
    "red": ("red",),
    "orange": ("orange",),
    "yellow": ("yellow", "golden"),
    "green": ("green",),
    "teal": ("teal", "turquoise", "cyan"),
    "blue": ("blue",),
    "purple": ("purple", "violet"),
    "pink": ("pink",),
    "brown": ("brown",),
}
FOREIGN_COLOURS: dict[str, dict[str, tuple[str, ...]]] = {
    "de": {
        "white": ("weiße", "weißer", "weißes", "weißem"),
        "black": ("schwarze", "schwarzer", "schwarzes", "schwarzem"),
        "gray": ("graue", "grauer", "graues", "grauem"),
        "red": ("rote", "roter", "rotes", "rotem"),
        "orange": ("orange", "oranger", "oranges", "orangem"),
        "yellow": ("gelbe", "gelber", "gelbes", "gelbem"),
        "green": ("grüne", "grüner", "grünes", "grünem"),
        "teal": ("türkise", "türkiser", "türkises", "türkisem"),
        "blue": ("blaue", "blauer", "blaues", "blauem"),
        "purple": ("lila", "lila", "lila", "lila"),
        "pink": ("rosa", "rosa", "rosa", "rosa"),
        "brown": ("braune", "brauner", "braunes", "braunem"),
    },
    "es": {
        "white": ("blanco", "blanca"),
        "black": ("negro", "negra"),
        "gray": ("gris",),
        "red": ("rojo", "roja"),
        "orange": ("naranja",),
        "yellow": ("amarillo", "amarilla"),
        "green": ("verde",),
        "teal": ("turquesa",),
        "blue": ("azul",),
        "purple": ("morado", "morada", "violeta"),
        "pink": ("rosa",),
        "brown": ("marrón",),
    },
    "fr": {
        "white": ("blanc", "blanche"),
        "black": ("noir", "noire"),
        "gray": ("gris", "grise"),
        "red": ("rouge",),
        "orange": ("orange",),
        "yellow": ("jaune",),
        "green": ("vert", "verte"),
        "teal": ("turquoise",),
        "blue": ("bleu", "bleue"),
        "purple": ("violet", "violette"),
        "pink": ("rose",),
        "brown": ("marron",),
    },
}
ARTICLES = {
    "de": ("ein", "eine", "einen", "der", "die", "das"),
    "es": ("un", "una", "el", "la"),
    "fr": ("un", "une", "le", "la"),
}
BACKGROUNDS_IN = {
    "de": ("auf {} hintergrund", "vor {} hintergrund"),
    "es": ("sobre fondo {}", "con fondo {}"),
    "fr": ("sur fond {}", "sur un fond {}"),
}
LANDSCAPE_PHRASES: dict[str, tuple[str, ...]] = {
    "meadow": ("in a meadow", "on grass", "in a field", "in a park", "in the garden", "outdoors"),
    "beach": ("on a beach", "at the beach", "by the sea", "on the sand"),
    "desert": ("in the desert", "in a desert"),
    "snow": ("in the snow", "in winter", "on snow", "on a snowy day"),
    "mountains": ("in the mountains", "in front of mountains", "before a mountain"),
    "sunset": ("at sunset", "in the evening", "at dusk", "in front of a sunset"),
    "night sky": ("at night", "under the stars", "under a starry sky", "in the dark"),
    "space": ("in space", "in outer space", "among the stars", "in the universe"),
}
CORNER_WORDS: dict[str, tuple[str, ...]] = {
    "left": ("on the left", "at the left", "to the left"),
    "right": ("on the right", "at the right", "to the right"),
    "top": ("at the top", "on top", "above"),
    "bottom": ("at the bottom", "below"),
}
PAIRS = ("{} and {}", "{} and {}", "{} next to {}", "{} beside {}", "{} with {}", "{} & {}")
STACKS = ("{} on {}", "{} on top of {}", "{} riding {}", "{} sitting on {}", "{} above {}")
WORN = ("{} wearing {}", "{} with {} on its head", "{} under {}")
"""The lower thing comes first."""
FLAT_WORDS = ("flat", "flat design", "flat style", "flat icon", "2d", "vector art", "cartoon")
THREE_D_WORDS = ("3d", "in 3d style", "3d render")
OPENINGS = (
    *("a photo of", "a picture of", "an image of", "a drawing of", "an illustration of"),
    *("a render of", "a 3d render of", "a painting of", "an icon of", "a portrait of"),
    *("draw", "draw me", "show me", "photo of", "please draw", "can you draw", "i want"),
    *("i would like", "make", "create", "generate", "paint", "give me", "this is", "there is"),
    *("i love", "here is", "i have", "my", "our", "one", "oil painting of", "a closeup of"),
    *("imagine", "i need a picture of", "a sketch of", "a breathtaking wide shot of"),
)
ADJECTIVES = (
    *("beautiful", "cute", "nice", "lovely", "funny", "pretty", "cool", "simple", "single"),
    *("great", "realistic", "detailed", "colorful", "shiny", "friendly", "magical", "old", "new"),
    *("fantastic", "happy", "sad", "young", "fluffy", "modern", "vintage", "giant", "wild"),
    *("angry", "sweet", "fresh", "tasty", "delicious", "amazing", "mysterious", "elegant"),
    *("dark", "bright", "futuristic", "ancient", "wooden", "sleepy", "brave", "breathtaking"),
)
ENDINGS = (
    *("high quality", "highly detailed", "4k", "8k", "digital art", "trending on artstation"),
    *("masterpiece", "soft light", "concept art", "studio lighting", "sharp focus", "centered"),
    *("professional photo", "best quality", "cinematic", "photorealistic", "emoji", "please"),
    *("oil painting", "watercolor", "pixel art", "in the style of van gogh", "for my friend"),
    *("cinematic lighting", "ultra realistic", "hyperrealistic", "minimalist", "thank you"),
)
MIDDLES = (
    *("in the forest", "in a forest", "in the city", "in the kitchen", "at home", "in my room"),
    *("in the rain", "on the street", "on the moon", "in a library", "in the water", "in a box"),
    *("for anna", "with my friend", "of my grandmother", "that is happy", "who is smiling"),
    *("looking at me", "in the morning", "from the side", "with big eyes", "made of glass"),
    *("is sleeping", "is running", "flying over the city", "on the table", "in london"),
    *("in the fog", "in my hand", "of the future", "with long hair", "with a smile"),
)
"""What ordinary sentences say and no picture of ours shows."""
NOTHING_KNOWN = (
    *("something", "anything", "stuff", "whatever", "a random thing", "lorem ipsum", "hello"),
    *("a quixotic idea", "the meaning of life", "asdf", "xyzzy", "philosophy", "a theory"),
    *("nothing", "my name is anna", "how are you", "what can you do", "test", "surprise me"),
    *("who are you", "tell me a story", "hi there", "carburettor", "democracy", "a sentence"),
    *("justice", "bonjour", "hola", "guten tag", "the economy", "quantum physics", "help"),
)
PLAIN_WORDS = (
    *("a", "an", "the", "this", "that", "these", "some", "any", "my", "your", "his", "her", "our"),
    *("and", "or", "with", "without", "on", "in", "at", "of", "for", "to", "from", "by", "as"),
    *("is", "are", "was", "be", "has", "have", "it", "its", "he", "she", "they", "i", "you", "we"),
    *("front", "background", "wall", "very", "really", "style", "image", "picture", "photo"),
    *("und", "mit", "auf", "vor", "in", "im", "y", "con", "sobre", "en", "de", "et", "avec", "sur"),
    *("hintergrund", "fondo", "fond", "per", "please", "wearing", "riding", "sitting"),
)
"""Words that name nothing and need no warning."""
MIRRORED_WORDS = ("mirrored", "flipped", "facing right", "facing the other way")
BIG_WORDS, SMALL_WORDS = ("big", "large", "huge"), ("small", "little", "tiny", "miniature")
TOO_GENERAL = {
    *("animal", "nature", "face", "food", "sky", "happy", "pet", "plant", "fruit", "vehicle"),
    *("place", "weather", "sport", "game", "music", "object", "tool", "office", "cute", "person"),
    *("big", "red", "green", "blue", "yellow", "pink", "orange", "black", "white", "brown"),
    *("purple", "small", "head", "body", "full", "color", "mouth", "eye", "eyes", "man", "woman"),
    *("up", "on", "and", "silver", "golden", "gray", "grey", "flat", "left", "right", "top"),
    *("two", "three", "night", "space", "snow", "desert", "beach", "sunset", "mountains"),
}
"""Keywords that say little about what is in the picture, or that say something else here."""
