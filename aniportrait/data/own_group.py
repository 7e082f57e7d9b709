"""Importing this gives the process, and those it starts, a group of their own: for what forks loading processes.

torchrun, timeout and a terminal send a signal to the whole group of a rank. Loading processes must not end by it: the
rank goes on to where it can write a checkpoint.
"""

import os

os.setpgrp()
