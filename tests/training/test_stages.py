"""Stages: who learns, that it goes down, and that a killed run ends where an unbroken one does."""

import dataclasses
import math
from dataclasses import replace

import pytest
import torch

from diysink.records import Record, Records, Turn, write_shards
from diysink.selection import (
    Choice,
    LanguageModelSentences,
    LayerGates,
    LayerGatesSettings,
    LSGSelection,
    QuestionBatch,
    Reweight,
    ReweightSelection,
    ReweightSettings,
    Route,
    SentenceEncoder,
)
from diysink.sinks import token_norms
from diysink.training import (
    ConnectorTraining,
    EncodedRecords,
    FitSettings,
    LanguageTraining,
    RecordsDataModule,
    SelectionTraining,
    fit,
    validation_loss,
)
from tests.tiny_models import assemble_tiny

DROPOUT = {"r": 2, "lora_alpha": 4, "lora_dropout": 0.5, "target_modules": ["q_proj"]}
SETTINGS = FitSettings(accelerator="cpu", every_n_train_steps=2, enable_progress_bar=False)


@pytest.fixture
def made(parts):
    made = assemble_tiny(parts, connector="dual", arrangement="front")
    made.model.config.tau = 3.4
    return made


@pytest.fixture
def data(made, tiny_records):
    return EncodedRecords(tiny_records, made.chat_encoder, made.image_processor, cache_size=100)


def run(training, data, folder, *, steps=6, settings=SETTINGS, batch=2):
    module = RecordsDataModule(data, batch_size=batch, num_batches=steps, seed=3)
    return fit(training, module, settings, folder)


def changed_names(model, before):
    return {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}


def copy(model):
    return {n: p.detach().clone() for n, p in model.named_parameters()}


def options(**changes):
    return {"learning_rate": 1e-2, "max_steps": 6, "warmup_ratio": 0.1, "seed": 3, **changes}


def test_stage_1_trains_both_parts_of_the_connector_and_nothing_else(made, data, tmp_path):
    before = copy(made.model)
    rows = run(ConnectorTraining(made.model, **options()), data, tmp_path)
    changed = changed_names(made.model, before)
    assert changed
    assert all(name.startswith("model.multi_modal_projector.") for name in changed)
    assert {name.split(".")[2] for name in changed} == {"sink", "nonsink"}
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]


def test_training_keeps_no_cache_of_keys(made, data):
    training, caches = LanguageTraining(made.model, **options()), []
    decoder = made.model.model.language_model
    decoder.register_forward_hook(lambda m, i, out: caches.append(out.past_key_values))
    training.batch_loss(data.collate([data[0], data[1]]))
    assert caches == [None]


def test_views_say_which_tokens_a_record_is_asked_of(made, data):
    batch = data.collate([data[0], data[1], data[2]])
    batch["groups"] = ("global", "local", None)
    norms = token_norms(made.model.model.visual_states(batch["pixel_values"]).detach())
    made.model.config.tau = float(norms.quantile(0.65))
    routes = [Route.SINK, Route.NONSINK, Route.BOTH]

    def step(views):
        return ConnectorTraining(made.model, views, **options()).training_step(batch, 0)

    plain = ConnectorTraining(made.model, **options())
    apart = [plain.loss(batch, Choice.of([route] * 3)) for route in routes[:2]]
    torch.testing.assert_close(step("own"), sum(apart) / 2)
    torch.testing.assert_close(step("all"), plain.loss(batch))
    torch.testing.assert_close(step("answerable"), plain.loss(batch, Choice.of(routes)))
    assert (
        len({round(float(step(views).detach()), 6) for views in ("own", "all", "answerable")}) == 3
    )


def test_validation_loss_is_the_mean_over_all_answers_tokens(made, data):
    training = LanguageTraining(made.model, **options())
    found = validation_loss(training, data, SETTINGS, batch_size=5)
    made.model.eval()
    with torch.no_grad():
        whole = training.loss(data.collate([data[i] for i in range(len(data))]))
    assert found == pytest.approx(float(whole), rel=1e-5)


def test_each_part_learns_from_its_own_view(made, data):
    """With no sink anywhere, f_sink gets no gradient."""
    made.model.config.tau = 1e9
    batch = data.collate([data[0], data[1]])
    ConnectorTraining(made.model, **options()).training_step(batch, 0).backward()
    connector = made.model.model.multi_modal_projector
    assert not connector.sink.linear_1.weight.grad.any()
    assert connector.nonsink.linear_1.weight.grad.any()


def test_stage_2_trains_connector_and_language_model_not_the_encoder(made, data, tmp_path):
    before = copy(made.model)
    run(LanguageTraining(made.model, **options()), data, tmp_path)
    changed = changed_names(made.model, before)
    assert any("language_model" in name for name in changed)
    assert any("multi_modal_projector" in name for name in changed)
    assert not any("vision_tower" in name for name in changed)


def test_lora_folds_into_a_plain_model(made, data, tmp_path):
    before = copy(made.model)
    names = set(made.model.state_dict())
    lora = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"]}
    training = LanguageTraining(made.model, lora, **options())
    run(training, data, tmp_path)
    batch = data.collate([data[0]])
    adapted = training.loss(batch)
    model = training.merged()
    assert set(model.state_dict()) == names
    changed = {n for n in changed_names(model, before) if "language_model" in n}
    assert changed
    assert all("q_proj" in n or "v_proj" in n for n in changed)
    torch.testing.assert_close(training.loss(batch), adapted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("at", ["connector", "keys"])
@pytest.mark.parametrize("words", ["encoder", "language model"])
def test_reweighting_trains_r_alone(made, data, tmp_path, tiny_sentence, at, words):
    torch.manual_seed(0)
    encoder = (
        SentenceEncoder.load(tiny_sentence)
        if words == "encoder"
        else LanguageModelSentences(made.model.get_input_embeddings(), made.chat_encoder.tokenizer)
    )
    selection = ReweightSelection(encoder, Reweight(ReweightSettings(encoder.dim, 4)), at)
    before, sentence = copy(made.model), copy(encoder)
    run(SelectionTraining(made.model, selection, **options()), data, tmp_path)
    assert not changed_names(made.model, before)
    assert not changed_names(encoder, sentence)
    question = QuestionBatch(("a b",), ("0",), (None,), ("x",))
    choice = selection(question)
    weights = choice.weights if at == "connector" else choice.gates.weights
    assert not torch.equal(weights, torch.ones(1, 2))


def test_lsg_trains_its_gates_alone_each_of_them(made, data, tmp_path):
    torch.manual_seed(0)
    gates = LayerGates(LayerGatesSettings(16, (0, 1), hidden=4))
    before, untrained = copy(made.model), copy(gates)
    rows = run(SelectionTraining(made.model, LSGSelection(gates), **options()), data, tmp_path)
    assert not changed_names(made.model, before)
    assert changed_names(gates, untrained) == {n for n, _ in gates.named_parameters()}
    assert rows[-1]["loss"] != rows[0]["loss"]


def test_a_checkpoint_of_lsg_holds_its_gates_and_no_more(made, data, tmp_path):
    gates = LayerGates(LayerGatesSettings(16, (1,), hidden=4))
    run(SelectionTraining(made.model, LSGSelection(gates), **options()), data, tmp_path)
    kept = torch.load(next(tmp_path.glob("*.ckpt")), weights_only=True)["state_dict"]
    assert set(kept) == {f"selection.gates.{name}" for name, _ in gates.named_parameters()}


@pytest.mark.parametrize("deaths", [(1,), (2,), (3,), (5,), (1, 2), (1, 4), (2, 3, 5)])
def test_a_killed_run_ends_bit_for_bit_where_an_unbroken_one_does(
    parts, tiny_records, tmp_path, monkeypatch, deaths
):
    """With dropout, whose random numbers must not depend on where a process started."""

    def fresh():
        made = assemble_tiny(parts, connector="dual", arrangement="front",
        )  # fmt: skip
        made.model.config.tau = 3.4
        data = EncodedRecords(tiny_records, made.chat_encoder, made.image_processor)
        return LanguageTraining(made.model, DROPOUT, **options()), data

    class Killed(Exception):
        pass

    whole, data = fresh()
    rows = run(whole, data, tmp_path / "whole")
    settings = replace(SETTINGS, every_n_train_steps=1)
    for death in deaths:
        dying, data = fresh()

        def last_step(batch, batch_idx, dying=dying, death=death, step=dying.training_step):
            if dying.global_step == death:
                raise Killed
            return step(batch, batch_idx)

        monkeypatch.setattr(dying, "training_step", last_step)
        with pytest.raises(Killed):
            run(dying, data, tmp_path / "broken", settings=settings)
    resumed, data = fresh()
    assert run(resumed, data, tmp_path / "broken", settings=settings) == rows
    for (name, a), (_, b) in zip(
        whole.model.named_parameters(), resumed.model.named_parameters(), strict=True
    ):
        assert torch.equal(a, b), name


def test_accumulating_is_one_larger_batch(parts, tiny_records, tmp_path):
    """Three steps of AdamW end at the same weights."""
    ends = []
    for batch, accumulate in ((4, 1), (2, 2)):
        made = assemble_tiny(parts, connector="single", arrangement="natural",
        )  # fmt: skip
        data = EncodedRecords(tiny_records, made.chat_encoder, made.image_processor)
        settings = FitSettings(
            accelerator="cpu", accumulate_grad_batches=accumulate, enable_progress_bar=False
        )
        module = RecordsDataModule(data, batch_size=batch, num_batches=3 * accumulate, seed=3)
        training = ConnectorTraining(made.model, **options(max_steps=3))
        rows = fit(training, module, settings, tmp_path / str(batch))
        assert [row["step"] for row in rows] == [1, 2, 3]
        ends.append(made.model.model.multi_modal_projector.linear_2.weight)
    torch.testing.assert_close(ends[0], ends[1], atol=1e-4, rtol=1e-3)


def selections(made):
    torch.manual_seed(0)
    dim = made.model.config.text_config.hidden_size
    words = LanguageModelSentences(made.model.get_input_embeddings(), made.chat_encoder.tokenizer)
    for at in ("connector", "keys"):
        yield ReweightSelection(words, Reweight(ReweightSettings(words.dim, 4)), at)
    yield LSGSelection(LayerGates(LayerGatesSettings(dim, (0, 1), hidden=4)))


@pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)
@pytest.mark.parametrize("batch", ["text alone", "no sink", "sinks alone", "no label"])
@pytest.mark.parametrize("connector", ["dual", "dual-resampler", "single"])
def test_every_trained_parameter_has_a_gradient_in_every_batch(
    parts, tiny_records, connector, batch
):
    """So several processes need no search for parameters without one."""
    made = assemble_tiny(parts, connector=connector, arrangement="front")
    made.model.config.tau = {"no sink": 1e9, "sinks alone": 1e-9}.get(batch, 3.4)
    data = EncodedRecords(tiny_records, made.chat_encoder, made.image_processor)
    items = data.collate([data[0], data[1]])
    if batch == "text alone":
        words = items["input_ids"].masked_fill(items["input_ids"] == 3, 6)
        items |= {"input_ids": words, "pixel_values": None}
    if batch == "no label":
        items["labels"] = torch.full_like(items["labels"], -100)
    lora = {"r": 2, "target_modules": ["q_proj"]}
    stages = [ConnectorTraining(made.model, views, **options()) for views in ("own", "answerable")]
    stages += [LanguageTraining(made.model, **options())]
    stages += [SelectionTraining(made.model, one, **options()) for one in selections(made)]
    stages += [LanguageTraining(made.model, lora, **options())]
    for training in stages:
        freeze(training)
        training.zero_grad()
        training.training_step(items, 0).backward()
        trained = {n: p.grad for n, p in training.named_parameters() if p.requires_grad}
        assert trained
        assert not [name for name, gradient in trained.items() if gradient is None]
        connectors = [g for n, g in trained.items() if "multi_modal_projector" in n]
        if batch == "text alone":
            assert not any(g.any() for g in connectors)
        if batch == "no sink" and connectors and connector == "dual":
            assert not any(g.any() for n, g in trained.items() if "projector.sink" in n)
            assert any(g.any() for n, g in trained.items() if "projector.nonsink" in n)


def freeze(training):
    """Set what is trained as the stage does when it is made: several share one model here."""
    model = training.model
    model.requires_grad_(False)
    model.train(not isinstance(training, SelectionTraining))
    if isinstance(training, SelectionTraining):
        training.selection.trained.requires_grad_(True)
        return
    model.model.multi_modal_projector.requires_grad_(True)
    if isinstance(training, LanguageTraining):
        for name, parameter in model.named_parameters():
            if "lora" in name if training.lora else "vision_tower" not in name:
                parameter.requires_grad_(True)


def test_zeros_move_what_momentum_and_decay_move(made, data):
    """A text batch is a step of AdamW for the connector too, with a gradient of zeros."""
    training = LanguageTraining(made.model, **options(weight_decay=0.1))
    words = data.collate([data[0], data[1]])
    words |= {"input_ids": words["input_ids"].masked_fill(words["input_ids"] == 3, 6)}
    words |= {"pixel_values": None}
    weight = made.model.model.multi_modal_projector.sink.linear_1.weight
    before = weight.detach().clone()
    optimizer = torch.optim.AdamW([weight], lr=1e-2, weight_decay=0.1)
    training.training_step(words, 0).backward()
    optimizer.step()
    torch.testing.assert_close(weight.detach(), before * (1 - 1e-2 * 0.1))


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"strategy": "fsdp"}, "strategy"),
        ({"devices": 2}, "strategy"),
        ({"num_nodes": 2}, "strategy"),
        ({"strategy": "ddp_spawn", "devices": 2, "num_nodes": 2}, "num_nodes"),
    ],
)
def test_strategies_that_do_not_fit_are_refused(wrong, name):
    with pytest.raises(Exception, match=name):
        FitSettings(**wrong)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_processes_that_nobody_started_are_missed_at_once(made, data, tmp_path, strategy):
    settings = FitSettings(accelerator="cpu", strategy=strategy, devices=2, num_nodes=3)
    assert settings.processes == 6
    with pytest.raises(ValueError, match="torchrun --nnodes 3 --nproc_per_node 2"):
        run(LanguageTraining(made.model, **options()), data, tmp_path, settings=settings)


def test_fsdp2_is_for_what_trains_the_language_model(made, data, tmp_path):
    settings = FitSettings(accelerator="cpu", strategy="fsdp2")
    with pytest.raises(ValueError, match="ConnectorTraining"):
        run(ConnectorTraining(made.model, **options()), data, tmp_path, settings=settings)


@pytest.fixture
def uneven(tmp_path, tiny_records):
    """Sixteen records: a caption of 30 tokens, then an answer of one, and so on."""
    records = [
        Record(f"r{i}", tiny_records[0].images,
               (Turn("human", "<image> a"), Turn("gpt", "b c d " * 10 if i % 2 else "e")))
        for i in range(16)
    ]  # fmt: skip
    write_shards(tmp_path / "uneven", records)
    return Records(tmp_path / "uneven")


SPLITS = {  # batch size, accumulated, devices
    "1 x 16": (16, 1, 1), "2 x 8": (8, 2, 1), "16 x 1": (1, 16, 1), "2 processes": (8, 1, 2),
}  # fmt: skip


def first_gradient(parts, records, folder, split, stage):
    """Gradients of the first step as they are clipped, its loss in the curve, and its tokens."""
    batch, accumulate, devices = SPLITS[split]
    made = assemble_tiny(parts, connector="dual", arrangement="front")
    made.model.config.tau = 3.4
    data = EncodedRecords(records, made.chat_encoder, made.image_processor)
    settings = FitSettings(
        accelerator="cpu", devices=devices, strategy="ddp_fork" if devices > 1 else "auto",
        accumulate_grad_batches=accumulate, gradient_clip_val=0.0, enable_progress_bar=False,
    )  # fmt: skip
    # Plain gradient descent of one step at rate 1: the change is the gradient.
    training = stage(made.model, **options(max_steps=1, warmup_ratio=1.0, learning_rate=1.0))
    sgd = torch.optim.SGD([p for p in training.parameters() if p.requires_grad], lr=1.0)
    training.configure_optimizers = lambda: sgd
    before = copy(made.model)
    module = RecordsDataModule(data, batch_size=batch, num_batches=accumulate, seed=3)
    [row] = fit(training, module, settings, folder / split.replace(" ", "-"))
    return {n: before[n] - p.detach() for n, p in made.model.named_parameters()}, row["loss"]


@pytest.mark.parametrize("stage", [ConnectorTraining, LanguageTraining])
def test_a_step_is_the_mean_over_its_tokens_however_it_is_split(parts, uneven, tmp_path, stage):
    whole, loss = first_gradient(parts, uneven, tmp_path, "1 x 16", stage)
    size = max(float(gradient.abs().max()) for gradient in whole.values())
    assert size > 1e-3
    for split in ("2 x 8", "16 x 1", "2 processes"):
        gradients, own = first_gradient(parts, uneven, tmp_path, split, stage)
        assert own == pytest.approx(loss, rel=1e-5)
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, whole[name], atol=1e-5 * size, rtol=1e-4)


def test_gradient_checkpointing_trains_the_same_model_with_less_kept(
    parts, tiny_records, tmp_path, monkeypatch
):
    import transformers.modeling_layers as layers

    again = []
    recompute = layers.GradientCheckpointingLayer.__call__

    def counted(self, *args, **kwargs):
        again.append(self.gradient_checkpointing and self.training)
        return recompute(self, *args, **kwargs)

    monkeypatch.setattr(layers.GradientCheckpointingLayer, "__call__", counted)
    trained = []
    for on in (False, True):
        again.clear()
        made = assemble_tiny(parts, connector="dual", arrangement="front")
        made.model.config.tau = 3.4
        data = EncodedRecords(tiny_records, made.chat_encoder, made.image_processor, cache_size=100)
        settings = dataclasses.replace(SETTINGS, gradient_checkpointing=on)
        run(LanguageTraining(made.model, **options()), data, tmp_path / str(on), settings=settings)
        assert any(again) is on
        assert not made.model.is_activation_checkpointing
        trained.append(made.model.state_dict())
    for name, tensor in trained[0].items():
        torch.testing.assert_close(trained[1][name], tensor, atol=1e-6, rtol=1e-5)


def test_two_processes_train_the_global_batches_of_one(parts, tiny_records, tmp_path):
    """Data-parallel: two ranks with half batches end where one process with whole ones does.

    A connector without tau sees every token through f_nonsink, so that all records weigh alike.
    """
    ends = []
    for batch, devices, strategy in ((4, 1, "auto"), (2, 2, "ddp_fork")):
        made = assemble_tiny(parts, connector="single", arrangement="natural",
        )  # fmt: skip
        data = EncodedRecords(tiny_records, made.chat_encoder, made.image_processor)
        settings = FitSettings(
            accelerator="cpu", devices=devices, strategy=strategy, enable_progress_bar=False
        )
        training = ConnectorTraining(made.model, **options(max_steps=3))
        rows = run(training, data, tmp_path / strategy, steps=3, settings=settings, batch=batch)
        assert [row["step"] for row in rows] == [1, 2, 3]
        ends.append(made.model.model.multi_modal_projector.linear_2.weight)
    torch.testing.assert_close(ends[0], ends[1], atol=1e-4, rtol=1e-3)


def test_resumed_at_the_very_end_nothing_is_trained_again(made, data, tmp_path):
    """Killed between the last checkpoint and what comes after it."""
    training = ConnectorTraining(made.model, **options())
    rows = run(training, data, tmp_path)
    trained = copy(made.model)
    (tmp_path / "curves.json").unlink()
    assert run(training, data, tmp_path) == rows
    assert not changed_names(made.model, trained)


def selecting(kind, tiny_sentence):
    """An untrained R at the connector or the keys, or LSG's gates."""
    torch.manual_seed(0)
    if kind == "lsg":
        return LSGSelection(LayerGates(LayerGatesSettings(16, (0, 1), hidden=4)))
    encoder = SentenceEncoder.load(tiny_sentence)
    return ReweightSelection(encoder, Reweight(ReweightSettings(encoder.dim, 4)), kind)


@pytest.mark.parametrize("kind", ["connector", "keys", "lsg"])
def test_selections_train_in_mixed_bf16(made, data, tiny_sentence, tmp_path, kind):
    settings = FitSettings(accelerator="cpu", precision="bf16-mixed", enable_progress_bar=False)
    training = SelectionTraining(made.model, selecting(kind, tiny_sentence), **options())
    rows = run(training, data, tmp_path, settings=settings)
    assert all(math.isfinite(row["loss"]) for row in rows)


@pytest.mark.parametrize("kind", ["connector", "keys", "lsg"])
def test_selections_train_the_same_under_gradient_checkpointing(
    made, data, tiny_sentence, tmp_path, monkeypatch, kind
):
    """Layers are computed twice, gated both times, and without the dropout that they have."""
    layer = made.model.model.language_model.layers[1]
    computed = []
    layer.mlp.register_forward_pre_hook(lambda *_: computed.append(layer.mlp.training))
    trained = []
    for on in (False, True):
        computed.clear()
        selection = selecting(kind, tiny_sentence)
        settings = dataclasses.replace(SETTINGS, gradient_checkpointing=on)
        run(
            SelectionTraining(made.model, selection, **options()),
            data, tmp_path / str(on), settings=settings,
        )  # fmt: skip
        assert computed == [False] * (12 if on else 6)
        trained.append(selection.state_dict())
    for name, tensor in trained[0].items():
        torch.testing.assert_close(trained[1][name], tensor, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("stage", [ConnectorTraining, LanguageTraining])
def test_stages_train_in_mixed_bf16(made, data, tmp_path, stage):
    settings = FitSettings(accelerator="cpu", precision="bf16-mixed", enable_progress_bar=False)
    rows = run(stage(made.model, **options()), data, tmp_path, settings=settings)
    assert all(math.isfinite(row["loss"]) for row in rows)
