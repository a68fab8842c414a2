"""What a trial tries: a variant, the selector that it selects by, and values in place of theirs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.evaluate.settings import Variant
from pipelines.reweight.settings import Reweight, Selector

SELECTOR = "selector."


@dataclass(frozen=True)
class Setting:
    """How questions are answered, and how the selection is trained before.

    Attributes:
        variant: of a fine-tuned model.
        selector: what the variant selects by, if that is trained; None: its selection is not.
    """

    variant: Variant
    selector: Selector | None = None

    @classmethod
    def of(cls, variant: Variant, reweight: Reweight) -> "Setting":
        """A variant as the parameters have it; of its selector, what the stage says as well."""
        selector = reweight.selectors.get(variant.selection)
        if selector is not None:
            own = reweight.of(variant.selection)
            stage = {"learning_rate": own.learning_rate, "epochs": own.epochs}
            selector = selector.model_copy(update=stage)
        return cls(variant, selector)

    def with_values(self, values: Mapping[str, Any]) -> "Setting":
        """The setting with other values at dotted paths.

        A selector is trained with the tau that it then selects for.

        Raises:
            ValidationError: a path takes no such value, or there is none of that name.
            LookupError: a path into the selector of a variant that has none.
        """
        plain: dict[str, Any] = {
            "variant": self.variant.plain(),
            "selector": None if self.selector is None else self.selector.plain(),
        }
        for path, value in values.items():
            inside, dotted = "variant", path
            if path.startswith(SELECTOR):
                inside, dotted = "selector", path.removeprefix(SELECTOR)
            if plain[inside] is None:
                raise LookupError(f"selection {self.variant.selection!r} is not trained")
            _put(plain[inside], dotted.split("."), value)
        if plain["selector"] is not None and "tau" in values:
            plain["selector"]["tau"] = values["tau"]
        return Setting(
            Variant.model_validate(plain["variant"]),
            plain["selector"] and Selector.model_validate(plain["selector"]),
        )

    def value(self, path: str) -> Any:
        """What the setting has at a dotted path; None where it says nothing."""
        found: Any = self.selector if path.startswith(SELECTOR) else self.variant
        for key in path.removeprefix(SELECTOR).split("."):
            # A selector's options by their names, those that are not said as well.
            found = getattr(found, "settings" if key == "options" else key, None)
        return found

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        selector = None if self.selector is None else self.selector.plain()
        return {"variant": self.variant.plain(), "selector": selector}


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    *above, last = path
    for key in above:
        tree = tree.setdefault(key, {})
    tree[last] = value
