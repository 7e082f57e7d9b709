"""Running the entries inside a test process: composed by Hydra as on the command line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from aniportrait.cli import schema

CONF = Path(__file__).parents[1] / "conf"
TINY = [
    "model=tiny",
    "trainer=cpu",
    "logger=csv",
    "callbacks.progress=null",
    "trainer.enable_progress_bar=false",
]


@contextmanager
def composed(entry: str, *overrides: str, out: Path | None = None) -> Iterator[DictConfig]:
    """The config of `python <entry>.py <overrides>`; as there, more configs can be composed inside."""
    schema.register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(entry, overrides=list(overrides), return_hydra_config=True)
        with open_dict(config):
            config.hydra.runtime.output_dir = str(out)
        HydraConfig.instance().set_config(config)
        with open_dict(config):
            del config["hydra"]
        yield config
