"""The two shipped encoders side by side: the same pictures, and a model around each.

No model is trained here. The connector between encoder and language model is solved for by least
squares, from pictures of its own: every patch is to become the word that a description has in its
place (`diysink.miniature.dialogue.describe`), an object's cell its object, a bare cell "ground", a
plain cell the scene. It is told what the cells show and never which tokens are called sinks, and
it is the same recipe for both encoders.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from PIL import Image

from diysink.encoders import Encoder, Observation
from diysink.miniature import weights
from diysink.miniature.dialogue import GROUND, ask
from diysink.miniature.llava import scenes
from diysink.miniature.world import GRID, Scene, render
from diysink.model import AnswerGenerator, Parts, assemble
from diysink.selection import QuestionBatch
from diysink.sinks import token_norms

IMAGES, TAUGHT = 32, 120
LOUD = 0  # the connector's hidden unit, and the language model's dimension, that loudness is put in


@dataclass(frozen=True)
class Pictures:
    """Generated scenes, and what they look like."""

    scenes: list[Scene]
    drawn: list[Image.Image]

    @classmethod
    def of(cls, split: str, count: int) -> "Pictures":
        pairs = [(scene, render(scene, rng)) for scene, rng in scenes(split, count, seed=0)]
        return cls([scene for scene, _ in pairs], [picture for _, picture in pairs])

    @property
    def names(self) -> list[str]:
        return [f"picture-{index}" for index in range(len(self.scenes))]


@dataclass
class Side:
    """One encoder with the shipped language model behind it, and the test pictures."""

    generator: AnswerGenerator
    shown: Pictures

    @classmethod
    def of(cls, encoder: str, shown: Pictures, layer: int = -2) -> "Side":
        """Assembled from the shipped parts, the connector fresh; no token is named a sink yet."""
        parts = Parts(str(weights.path(encoder)), str(weights.path("language")), layer)
        made = assemble(parts, None, connector="single", arrangement="natural")
        # A scene, a colour: the answers that are asked for here are one token long.
        return cls(
            AnswerGenerator(made.model, made.chat_encoder, made.image_processor, max_new_tokens=1),
            shown,
        )

    @property
    def encoder(self) -> Encoder:
        """The vision tower up to the layer that feeds the connector."""
        model = self.generator.model
        return Encoder.of(model.model.vision_tower, model.config.vision_feature_layer)

    @cached_property
    def pixels(self):
        return self.generator.pixels(self.shown.drawn)

    @torch.no_grad()
    def observe(self) -> Observation:
        """What the encoder shows of the pictures at the layer that feeds the connector."""
        return self.encoder.observe(self.pixels)

    @property
    def sinks(self):
        return self.generator.model.model.sink_mask(self.observe().hidden)

    def name_loudest(self, share: float) -> None:
        """Name this share of all tokens sinks, by tau: those of the highest norms."""
        norms = token_norms(self.observe().hidden)
        self.generator.model.config.tau = float(norms.quantile(1 - share))

    def name_loudest_of_each(self, counts: torch.Tensor) -> None:
        """Name so many tokens of each picture sinks, by the ranks of norms; no one tau does so."""

        def loudest(states: torch.Tensor) -> torch.Tensor:
            ranks = token_norms(states).argsort(1, descending=True).argsort(1)
            return ranks < counts[:, None]

        self.generator.model.model.sink_mask = loudest

    def ask(self, *subtasks: str) -> tuple[QuestionBatch, list[str]]:
        """A question of each subtask about each picture that allows one, and the right answers."""
        asked = [
            (index, exchange)
            for index, scene in enumerate(self.shown.scenes)
            for subtask in subtasks
            if (exchange := ask(scene, subtask, np.random.default_rng(index)))
        ]
        names = self.shown.names
        batch = QuestionBatch(
            texts=tuple(exchange.question for _, exchange in asked),
            ids=tuple(f"{names[index]}-{exchange.subtask}" for index, exchange in asked),
            groups=tuple(exchange.group for _, exchange in asked),
            images=tuple(names[index] for index, _ in asked),
            pixel_values=self.pixels[[index for index, _ in asked]],
        )
        return batch, [exchange.answer for _, exchange in asked]

    @torch.no_grad()
    def teach_words(self) -> None:
        """Solve for the connector's second layer; its first is random, and near to linear."""
        taught = Pictures.of("taught", TAUGHT)
        model, tokenizer = self.generator.model, self.generator.chat_encoder.tokenizer
        words = [word for scene in taught.scenes for word in _word_of_each_cell(scene)]
        ids = {word: tokenizer.encode(f" {word}", add_special_tokens=False) for word in set(words)}
        assert all(len(tokens) == 1 for tokens in ids.values()), ids
        wanted = model.get_input_embeddings().weight[[ids[word][0] for word in words]]
        projector = model.model.multi_modal_projector
        projector.linear_1.weight.normal_(std=0.03, generator=torch.Generator().manual_seed(0))
        projector.linear_1.bias.zero_()
        states = model.model.visual_states(self.generator.pixels(taught.drawn)).flatten(0, 1)
        hidden = projector.act(projector.linear_1(states))
        hidden[:, LOUD] = 1  # this unit says nothing yet; its column is the bias
        gram = hidden.T @ hidden + 1e-2 * torch.eye(hidden.shape[1])
        solved = torch.linalg.solve(gram, hidden.T @ wanted)
        projector.linear_2.bias.copy_(solved[LOUD])
        solved[LOUD] = 0
        projector.linear_2.weight.copy_(solved.T)

    @torch.no_grad()
    def plant_dimension(self) -> None:
        """How far a token is above tau, along what the sinks have in common, in one dimension."""
        model = self.generator.model
        projector, tau = model.model.multi_modal_projector, model.config.tau
        projector.linear_1.weight[LOUD] = direction(self.observe().hidden[self.sinks])
        projector.linear_1.bias[LOUD] = -tau
        size = model.get_input_embeddings().weight.square().mean().sqrt()
        projector.linear_2.weight[LOUD, LOUD] = size / 2

    @torch.no_grad()
    def plant_head(self, towards: torch.Tensor) -> None:
        """Head 0 of the last block run looks for one direction of its input, whoever asks.

        The block goes without its norm, which takes away how long a token is.
        """
        encoder = self.encoder
        block, width = encoder.blocks[-1], encoder.dim // encoder.heads
        block.layer_norm1 = torch.nn.Identity()
        for part in (block.self_attn.q_proj, block.self_attn.k_proj):
            part.weight[:width] = 0
            part.bias[:width] = 0
        block.self_attn.q_proj.bias[0] = 0.15 * width**0.5
        block.self_attn.k_proj.weight[0] = towards


def direction(states: torch.Tensor) -> torch.Tensor:
    """Of the mean of some tokens' states, at length one."""
    mean = states.mean(0)
    return mean / mean.norm()


def _word_of_each_cell(scene: Scene) -> list[str]:
    things = {(thing.row, thing.column): f"{thing.colour}-{thing.shape}" for thing in scene.things}
    plain = dict.fromkeys(scene.plain, f"{scene.texture}-scene")
    cells = [divmod(index, GRID) for index in range(GRID * GRID)]
    return [(things | plain).get(cell, GROUND) for cell in cells]
