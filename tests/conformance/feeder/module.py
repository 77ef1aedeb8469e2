"""Commands by which a test has one unmodified module hear from another."""

from mgr_module import CLICommand, HandleCommandResult, MgrModule


class Module(MgrModule):
    """Calls them as Ceph's own modules do: by ``remote``."""

    @CLICommand("feed device")
    def device(self, devid: str, model: str) -> HandleCommandResult:
        """Have devicehealth keep what a device says of itself."""
        self.remote("devicehealth", "put_device_metrics", devid, {"model_name": model})
        return HandleCommandResult()

    @CLICommand("feed progress")
    def progress(self, evid: str) -> HandleCommandResult:
        """Have progress follow something from its beginning to its end."""
        self.remote("progress", "update", evid, "it is being tried", 0.5, ["tried"])
        self.remote("progress", "complete", evid)
        return HandleCommandResult()
