"""Three clinics learn quartiles and correlations of all their patients together.

    mpcnet run -n 3 apps/examples/quantiles.py

Horizontal split: each clinic holds body mass index, blood pressure, a blood value (logarithm of the
triglycerides) and the progress of the disease of its own patients (scikit-learn's diabetes data,
442 patients). All learn the three quartiles of each of these, and how they correlate. A quartile is
the value of some patient, or lies between those of two; of whom, and at which clinic, nobody
learns.
"""

import torch
from sklearn.datasets import load_diabetes
from torch import Tensor

import mpcnet

__all__ = ["main"]

NAMES = ("mass index", "pressure", "triglycerides", "progress")
COLUMNS = (2, 3, 8, 10)
UNITS = torch.tensor([5, 15, 0.5, 80])  # public; about the spread, as fixed point wants it near one


def patients_of(clinic: int, clinics: int) -> Tensor:
    """What one clinic holds: a row for each patient. Here every third of the public data."""
    x, progress = load_diabetes(return_X_y=True, scaled=False)
    table = torch.cat([torch.tensor(x), torch.tensor(progress)[:, None]], dim=1).float()
    return table[clinic::clinics, COLUMNS] / UNITS


def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Ordinary PyTorch, which does not know whether it works on secrets."""
    return torch.quantile(x, torch.tensor([0.25, 0.5, 0.75]), dim=0), torch.corrcoef(x.t())


async def main(session: mpcnet.Session) -> dict[str, float]:
    mine = patients_of(session.rank, len(session.names))
    x = torch.cat(await mpcnet.share_each(mine))
    print(f"{len(mine)} patients of {session.name} among {len(x)}")
    quartiles, correlations = [await mpcnet.reveal(found) for found in statistics(x)]

    everybody = [patients_of(rank, len(session.names)) for rank in range(len(session.names))]
    plain, plain_correlations = statistics(torch.cat(everybody))  # works because these are public
    off = (quartiles - plain).abs().max()
    correlations_off = (correlations - plain_correlations).abs().max()

    print("                 1/4   median      3/4   correlations with each")
    values = (quartiles * UNITS).t().tolist()
    for name, row, others in zip(NAMES, values, correlations.tolist(), strict=True):
        numbers = "".join(f"{value:9.2f}" for value in row)
        print(f"{name:13}" + numbers + "   " + "".join(f"{value:6.2f}" for value in others))
    print(f"from those in the clear quartiles differ by {off:.1e} of a unit at most,", end=" ")
    print(f"correlations by {correlations_off:.1e}")
    print(f"{session.rounds} rounds, {session.bytes_sent:,} bytes sent by {session.name}")
    return {"difference": off.item(), "correlations": correlations_off.item()}


if __name__ == "__main__":
    mpcnet.run(main, parties=3)
