"""A preparation in a process of its own, to be killed: python prepare_bright_faces.py CLIPS OUT WORKERS.

Workers import this file anew, hence the landmarker is replaced at its top.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from bright_faces import BrightSquareLandmarker, preparation

from aniportrait.data import preprocess, workers

workers._landmarker = lambda task_file: BrightSquareLandmarker()
preprocess.find_task_file = lambda path: Path("unused.task")

if __name__ == "__main__":
    preparation(Path(sys.argv[1]), Path(sys.argv[2]), clips_per_shard=3).run(int(sys.argv[3]))
