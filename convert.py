"""Published checkpoints to a weights folder of ours, and back: python convert.py --help"""

import hydra
from omegaconf import DictConfig

from aniportrait.cli import schema
from aniportrait.cli.sentences import one_sentence_errors

schema.register()


@hydra.main(config_path="conf", config_name="convert", version_base="1.3")
@one_sentence_errors
def main(config: DictConfig) -> None:
    from aniportrait.cli.convert import convert

    convert(config)


if __name__ == "__main__":
    main()
