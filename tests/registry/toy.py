"""A packaged model that needs nothing: every answer is "red"."""

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Toy(PythonModel):
    def predict(self, context, model_input: pd.DataFrame, params=None):
        return pd.DataFrame({"answer": ["red"] * len(model_input)})


set_model(Toy())
