"""Two millionaires find out who is richer, and nothing else (Yao, 1982).

    mpcnet run -n 2 apps/examples/millionaires.py --fortunes 4200000 3900000

Each party holds its own fortune, a whole number. Both learn the name of the richer one; the
amounts, and how far they are apart, stay hidden.
"""

import argparse

import torch

import mpcnet

__all__ = ["main"]


async def main(session: mpcnet.Session) -> str:
    asked = argparse.ArgumentParser()
    asked.add_argument("--fortunes", nargs=2, type=int, default=[4_200_000, 3_900_000])
    mine = torch.tensor(asked.parse_args().fortunes[session.rank])  # the other is none of ours

    first, second = await mpcnet.share_each(mine, dtype=torch.int64)
    second_is_richer = await mpcnet.reveal(second > first)
    richer = session.names[int(second_is_richer)]

    print(f"{richer} is richer: {session.rounds} rounds, {session.bytes_sent} bytes sent")
    return richer


if __name__ == "__main__":
    mpcnet.run(main)
