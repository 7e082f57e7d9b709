"""Keep the face of a film, its expressions and its motion: python pose_template.py --help"""

import hydra
from omegaconf import DictConfig

from aniportrait.cli import schema
from aniportrait.cli.sentences import one_sentence_errors

schema.register()


@hydra.main(config_path="conf", config_name="pose_template", version_base="1.3")
@one_sentence_errors
def main(config: DictConfig) -> None:
    from aniportrait.cli.pose_template import make_pose_template

    make_pose_template(config)


if __name__ == "__main__":
    main()
