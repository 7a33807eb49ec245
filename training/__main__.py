"""`python -m training STAGE...`: runs stages of the recipe in the given order, or `all`.

Every stage resumes from its checkpoint in the cache, and does nothing once it is complete.
`recover` fills an empty cache with the shipped weights, to continue training from them; `archive`
packs everything that an offline machine needs.
"""

import argparse
import logging
import os
from pathlib import Path

import torch

from training import archive, paths, recover
from training.sprint import Sprint
from training.stages import CPU, STAGES, Recipe


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    choices = ("all", *STAGES, "recover", "archive")
    parser.add_argument(
        "stages", choices=choices, nargs="+", metavar="STAGE", help=", ".join(choices)
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training on a GPU")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
    parser.add_argument("--share", type=float, default=1.0, help="of the samples of every stage")
    parser.add_argument("--file", type=Path, default=Path("training.tar"), help="of the archive")
    arguments = parser.parse_args()
    if len(arguments.stages) > 1 and not set(arguments.stages) <= set(STAGES):
        parser.error("all, recover and archive stand alone")
    torch.manual_seed(0)
    if arguments.stages == ["recover"]:
        recover.recover(paths.MODEL, paths.cache())
    elif arguments.stages == ["archive"]:
        archive.write(arguments.file, paths.cache())
    elif arguments.device == "cuda":
        if arguments.stages != ["all"]:
            parser.error("on a GPU: all, then export and evaluate on any machine")
        recipe = Recipe(CPU, torch.device(arguments.device))
        Sprint(recipe, 60 * arguments.minutes, max(1, (os.cpu_count() or 1) - 1)).run()
    else:
        torch.set_num_threads(arguments.threads)
        recipe = Recipe(CPU.scaled(arguments.share), torch.device(arguments.device))
        recipe.run(STAGES if arguments.stages == ["all"] else arguments.stages)


if __name__ == "__main__":
    main()
