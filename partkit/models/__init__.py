"""From a name to a captured graph and its weights.

Every process that may hold a model (a command, a user's program, the server of ranks, a rank) imports this room, so
that what other packages need to be repaired is repaired here and nowhere else.
"""

from partkit.models.torchvision_repair import repair_torchvision

repair_torchvision()
