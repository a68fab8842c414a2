"""A node's workers leave a device's memory to the next node."""

from kedro.framework.hooks import hook_impl

from pipelines.engines import free_devices


class Engines:
    """Ends workers on devices."""

    @hook_impl
    def after_node_run(self) -> None:
        """After each node."""
        free_devices()
