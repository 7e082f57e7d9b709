"""Train one stage of AniPortrait: python train.py --help"""

import hydra
from omegaconf import DictConfig

from aniportrait.cli import schema
from aniportrait.cli.alone import run_job, wants_own_process
from aniportrait.cli.sentences import one_sentence_errors

schema.register()


@hydra.main(config_path="conf", config_name="train", version_base="1.3")
@one_sentence_errors
def main(config: DictConfig) -> float | None:
    if wants_own_process():
        return run_job(config)
    from aniportrait.cli.train import train  # imports torch and lightning: not for --help

    return train(config)


if __name__ == "__main__":
    main()
