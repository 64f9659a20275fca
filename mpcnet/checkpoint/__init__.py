"""Checkpoints of a program: each party keeps its shares, and all of them together go on later.

    await mpcnet.save("anna.ckpt", key="anna.key", model=model, optimizer=optimizer, step=step)
    rest = await mpcnet.load("anna.ckpt", key="anna.key", model=model, optimizer=optimizer)

Reveals:  nothing. A party's file holds its shares of secrets, what it owns itself, and what is
          public: names, shapes, numbers, plain tensors. Parties tell each other the checkpoint's
          number, a digest of what is public, the public numbers and texts beside the models
          ("step=3"), and why a file cannot be used.
Security: semi-honest. Shares are re-randomized (`protocols.additive.sharing.refresh`) when they
          are written and again when they are read, by keys of pairs of parties that live in memory
          and end with their session. To whoever has none of these keys, all files of one checkpoint
          together open it, and nothing less does: files of fewer parties are uniform; so are files
          of some parties of one checkpoint with files of the others of another one, even if the
          weights are the same in both; so are files of some with shares of others that a session
          uses. Who has the memory of a party, keys and all, has that party's files of this session.
          What a party owns is in its own file in the clear, as it is in its memory; others' files
          have zeros for it. The file is sealed (`mpcnet.checkpoint.sealed`) under a key that stays
          at its party. Going back to an older checkpoint is not noticed if all parties do: it is a
          whole one.
"""

from mpcnet.checkpoint.program import load, save
from mpcnet.checkpoint.sealed import CheckpointError, new_key

__all__ = ["CheckpointError", "load", "new_key", "save"]
