"""Names of parties that are given none."""

from typing import Final

__all__ = ["NAMES"]

NAMES: Final = (
    *("anna", "boris", "clara", "dmitri", "elena", "felix", "greta", "henri"),
    *("irina", "jonas", "karin", "leo", "maria", "nils", "olga", "pavel"),
)
