"""What an evaluation tells the logger of the config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from aniportrait.cli.run_log import loggers


def log_scores(
    config: DictConfig,
    scores: Mapping[str, Mapping[str, Any]],
    page: Path,
    videos: Mapping[str, Path] | None = None,
) -> None:
    """Figures as `eval/<system>/<metric>`, the page, and videos, to the logger of the config; csv is results.json.

    Args:
        scores: system -> metric -> {"value": ...}.
        page: the report.
        videos: name -> mp4.
    """
    figures = {
        f"eval/{system}/{name}": score["value"]
        for system, of in scores.items()
        for name, score in of.items()
        if score["value"] is not None
    }
    _, *chosen = loggers(config, Path(config.run_dir))
    for logger in chosen:
        logger.log_metrics(figures, 0)
        logger.save()
        if type(logger).__name__ == "WandbLogger":
            _show(logger.experiment, page, videos or {})
        logger.finalize("success")


def _show(run: Any, page: Path, videos: Mapping[str, Path]) -> None:
    import wandb

    run.log({"report": wandb.Html(page.read_text(encoding="utf-8"), inject=False)})
    for name, path in videos.items():
        run.log({f"videos/{name}": wandb.Video(str(path), format="mp4")})
    run.finish()
