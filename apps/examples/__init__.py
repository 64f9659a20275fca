"""Programs to read and to run: `mpcnet run -n 2 apps/examples/millionaires.py`.

docs/examples.md says of each what it does, who learns what, and what it costs.
"""

__all__: list[str] = []
