"""Settings of the miniature's build: keywords of the functions that train its parts."""

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from pipelines.schema import Device, Settings, Share


class Tokenizer(Settings):
    """Of ``train_tokenizer``."""

    vocabulary: PositiveInt
    scenes: PositiveInt = 2000


class Encoder(Settings):
    """Of ``train_encoder``."""

    steps: PositiveInt
    batch: PositiveInt = 128
    learning_rate: PositiveFloat = 1.5e-3
    sink_norm: PositiveFloat = 60.0
    other_norm: PositiveFloat = 10.0
    draw: NonNegativeFloat = 1.0
    width: PositiveInt = 96
    intermediate: PositiveInt = 256
    device: Device = "cpu"


class Language(Settings):
    """Of ``train_language_model``."""

    steps: PositiveInt
    batch: PositiveInt = 16
    learning_rate: PositiveFloat = 2e-3
    width: PositiveInt = 128
    intermediate: PositiveInt = 256
    layers: PositiveInt = 4
    heads: PositiveInt = 4
    together: Share = 0.5
    noise: NonNegativeFloat = 0.5
    device: Device = "cpu"


class Sentence(Settings):
    """Of ``train_sentence_encoder``."""

    steps: PositiveInt
    learning_rate: PositiveFloat = 2e-3
    width: PositiveInt = 64
    layers: PositiveInt = 2
    temperature: PositiveFloat = 0.1


class Figures(Settings):
    """How many images and scenes the parts are measured with, for their model cards."""

    images: PositiveInt
    scenes: PositiveInt


class Miniature(Settings):
    """Of all parts."""

    tokenizer: Tokenizer
    encoder: Encoder
    control: Encoder
    conflict: Encoder
    language: Language
    sentence: Sentence
    figures: Figures
