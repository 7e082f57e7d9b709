"""Progress of long work, on the command line."""

from tqdm import tqdm


class Progress:
    """A bar for each kind of work, with the time that is left: call it with what is done, how much, and of how much."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._work = ""

    def __enter__(self) -> "Progress":
        return self

    def __call__(self, work: str, done: int, total: int) -> None:
        if self._bar is None or work != self._work:
            self.__exit__()
            # initial: what was done before this process took no time of it
            self._bar, self._work = tqdm(desc=work, total=total, initial=max(0, done - 1)), work
        self._bar.update(done - self._bar.n)

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()
