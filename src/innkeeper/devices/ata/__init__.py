"""Where ATA disks and CD-ROM drives are on a board: the configuration spaces of their controllers.

Registers, commands and data are in Rust (`crates/innkeeper-devices/src/ata/`).
"""

from innkeeper.devices.ata.ahci import Ahci
from innkeeper.devices.ata.ide import Piix3Ide

__all__ = ["Ahci", "Piix3Ide"]
