"""Score weights beside their baselines: python evaluate.py --help"""

import hydra
from omegaconf import DictConfig

from aniportrait.cli import schema
from aniportrait.cli.sentences import one_sentence_errors

schema.register()


@hydra.main(config_path="conf", config_name="evaluate", version_base="1.3")
@one_sentence_errors
def main(config: DictConfig) -> None:
    from aniportrait.cli.evaluate import evaluate

    evaluate(config)


if __name__ == "__main__":
    main()
