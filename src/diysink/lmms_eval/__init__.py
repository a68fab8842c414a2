"""The plugin of lmms-eval: any of its tasks asks our models, stock and with interventions.

lmms-eval (github.com/EvolvingLMMs-Lab/lmms-eval) finds `manifest` by the entry point
``lmms_eval.models``. Only `diysink.lmms_eval.model` imports it, and only lmms-eval imports that
module: nothing else here needs it installed.
"""

from typing import Any


def manifest() -> Any:
    """What lmms-eval registers: the model ``diysink``, for its chat tasks and for its simple ones.

    Chat tasks say where images stand in a question; tasks that compare log-likelihoods exist for
    simple models only (``--force_simple``).
    """
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(
        model_id="diysink",
        simple_class_path="diysink.lmms_eval.model.DIYSink",
        chat_class_path="diysink.lmms_eval.model.DIYSinkChat",
    )
