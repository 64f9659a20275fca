"""Programs of torch.export on secrets."""

import io
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import mpcnet
from mpcnet.session import Session

X = torch.linspace(-1, 1, 2 * 36).view(2, 1, 6, 6)
WORDS = torch.tensor([[1, 2, 3], [9, 0, 4]])


class Reader(nn.Module):
    """Of words, with positions that are a constant of the program."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 4)
        self.places = nn.Embedding(3, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.words(x) + self.places(torch.arange(3))
        result: Tensor = self.head(y.float().mean(1))
        return result


def test_a_program_runs_and_trains(tmp_path: Path) -> None:
    """Of any number of rows, after it was saved and loaded; weights of a file go into it."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    )
    model.append(nn.Linear(8, 3)).eval()
    rows = ({0: torch.export.Dim("rows")},)
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(model, (X,), dynamic_shapes=rows), buffer)
    program = torch.export.load(buffer)
    for parameter in model.parameters():
        parameter.data.mul_(1.5)
    save_file(model.state_dict(), tmp_path / "weights")
    more = X.repeat(2, 1, 1, 1).cos()

    async def main(session: Session) -> tuple[Tensor, Tensor]:
        private = mpcnet.private(program, owner=0, weights=tmp_path / "weights")
        x = mpcnet.share(more if session.rank else None, owner=1, shape=more.shape)
        y = private(x)
        y.square().sum().backward()
        slopes = [p.grad for p in private.parameters()]
        assert isinstance(slopes[0], mpcnet.SecretTensor)
        return await mpcnet.reveal(y), await mpcnet.reveal(slopes[0])

    found, slope = mpcnet.run(main)[0]
    wanted = model(more)
    wanted.square().sum().backward()
    assert torch.allclose(found, wanted, atol=1e-4)
    assert torch.allclose(slope, next(model.parameters()).grad, atol=1e-2, rtol=1e-3)


def test_a_program_with_constants_and_checks_of_dtypes() -> None:
    model = Reader()
    program = torch.export.export(model, (WORDS,))

    async def main(session: Session) -> Tensor:
        private = mpcnet.private(program.module(), owner=0)
        mine = WORDS if session.rank else None
        x = mpcnet.share(mine, owner=1, shape=WORDS.shape, dtype=torch.int64)
        with torch.no_grad():
            y = private(x)
        return await mpcnet.reveal(y)

    assert torch.allclose(mpcnet.run(main)[0], model(WORDS), atol=1e-4)
