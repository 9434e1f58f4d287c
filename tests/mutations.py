"""Files with faults at random: values changed, lost, doubled or renamed, bytes damaged."""

import copy
import json
import random
import re

from p2net_tf.skeletons.card import SkeletonError
from p2net_tf.utils.exceptions import UserError

ODD = [
    *(
        None,
        "",
        "text",
        "7",
        "é",
        -1,
        0,
        7,
        1e308,
        -1e308,
        10**30,
        10**400,
        float("nan"),
        float("inf"),
        True,
        False,
        [],
    ),
    *({}, [[]], [None], {"a": 1}, [1, 2], "[1, 2", [[1, 2, 3]], 2**63, -0.0, "\x00", "nan", "../../x.jpg"),
]
"""Values that stand in the place of others."""


def mutated(tree, dice: random.Random):
    """A copy with one to three places changed: another value, none, twice, or under another name."""
    tree = copy.deepcopy(tree)
    for _ in range(dice.randint(1, 3)):
        parents = list(_parents(tree))
        if not parents:
            return dice.choice(ODD)
        parent, key = dice.choice(parents)
        deed = dice.randrange(5)
        if deed == 0:
            del parent[key]
        elif deed == 1 and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        elif deed == 2 and isinstance(parent, dict):
            parent[dice.choice(["id", "bbox", "x", "KEYPOINTS"])] = parent.pop(key)
        else:
            parent[key] = copy.deepcopy(dice.choice(ODD))
    return tree


def _parents(node):
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(entries):
        yield node, key
        yield from _parents(value)


def written(path, tree, dice: random.Random):
    """The JSON file, one time in eight with damaged bytes."""
    return write_damaged(path, json.dumps(tree).encode(), dice)


def write_damaged(path, contents: bytes, dice: random.Random, share: int = 8):
    """The file, one time in `share` with damaged bytes."""
    contents = bytearray(contents)
    if contents and dice.randrange(share) == 0:
        place = dice.randrange(len(contents))
        contents[place : place + dice.randint(0, 9)] = bytes(
            dice.randrange(256) for _ in range(dice.randint(0, 4))
        )
    path.write_bytes(contents)
    return path


def ends_well(use) -> bool:
    """Whether it was read; a refusal must be one line that a user can act upon."""
    try:
        use()
    except UserError as error:
        # A card names each of its faults on a line of its own.
        assert isinstance(error, SkeletonError) or "\n" not in str(error)
        assert str(error)
        return False
    return True


_TOKEN = re.compile(r"[\w.]+|\W")
_WORDS = [str(value) for value in ODD] + [
    "<a>",
    "</a>",
    "&x;",
    "<!--",
    "]]>",
    "\n",
    "- ",
    "!!python/object:os.system",
]


def mutated_text(text: str, dice: random.Random) -> str:
    """With one to three words changed, lost, doubled, or exchanged with another."""
    tokens = _TOKEN.findall(text)
    for _ in range(dice.randint(1, 3)):
        if not tokens:
            return dice.choice(_WORDS)
        place, other = dice.randrange(len(tokens)), dice.randrange(len(tokens))
        deed = dice.randrange(4)
        if deed == 0:
            del tokens[place]
        elif deed == 1:
            tokens.insert(place, tokens[other])
        elif deed == 2:
            tokens[place], tokens[other] = tokens[other], tokens[place]
        else:
            tokens[place] = dice.choice(_WORDS)
    return "".join(tokens)
