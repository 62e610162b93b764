"""`myriad setup` and `myriad up`."""

from deploy.cli.options import AsJson
from deploy.cli.output import Output, facts


def setup(as_json: AsJson = False) -> None:
    """Prepare the base model once; start nothing."""
    from deploy.settings import read_settings
    from deploy.up import prepare

    output = Output(as_json)
    base = prepare(read_settings(), output.progress)
    value = {"base": base.name, "folder": str(base.folder)}
    output.show(value, facts({"base": base.name, "folder": base.folder}))


def up(as_json: AsJson = False) -> None:
    """Start Myriad and serve until Ctrl-C."""
    from deploy.settings import read_settings

    settings = read_settings()
    # Only now: it loads the whole cluster library.
    from deploy.up import run_up

    run_up(settings, Output(as_json).progress, as_json=as_json)
