"""Looks whether SI-DEP can choose the BALs that are read here at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dispatcher.core.finess import FinessEJ, FinessET
from dispatcher.registry.remarks import Flaw, Remark
from dispatcher.registry.values import Bal, BalKind, Directory, Stamp


def bal_remarks(
    addresses: Iterable[str], directory: Directory, ours: Iterable[FinessET | FinessEJ]
) -> Iterator[Remark]:
    """Yield what keeps SI-DEP from choosing these BALs for the laboratory's numbers."""
    numbers = {one.number for one in ours}
    for address in addresses:
        remark = _bal_remark(address, directory.named(address), numbers)
        if remark is not None:
            yield remark


def _bal_remark(address: str, lines: tuple[Bal, ...], numbers: set[str]) -> Remark | None:
    if not lines:
        return Remark(
            Flaw.BAL_NOT_LISTED,
            f"our BAL {address} is not in the directory: SI-DEP cannot find it",
            "Ask the MSSanté operator to publish it; a new line takes a day or two.",
            bal=address,
        )
    own = [line for line in lines if line.structure in numbers]
    if not own:
        carried = ", ".join(sorted({line.structure for line in lines} - {""})) or "none"
        return Remark(
            Flaw.BAL_WITHOUT_NUMBER,
            f"our BAL {address} carries no number of ours (it carries: {carried})",
            'Have "Identification Structure" set to the FINESS EJ (one BAL for all sites) or '
            "ET (one for each).",
            bal=address,
        )
    organisational = [line for line in own if line.kind is BalKind.ORGANISATIONAL]
    if not organisational:
        kinds = ", ".join(sorted({line.kind.value for line in own}))
        return Remark(
            Flaw.BAL_NOT_ORGANISATIONAL,
            f"our BAL {address} is of type {kinds}; only organisational ones (ORG) count",
            "Ask the MSSanté operator for an organisational BAL.",
            bal=address,
        )
    if any(line.counts for line in organisational):
        return None
    near = any(line.stamp is Stamp.NEAR for line in organisational)
    return Remark(
        Flaw.BAL_NOT_STAMPED,
        f"our BAL {address} does not bear the mention @SIDEP"
        + (" (it bears one that is written in another way)" if near else ""),
        'Have @SIDEP written into its "Service de rattachement".',
        bal=address,
    )
