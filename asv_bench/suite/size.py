"""What a user downloads and what is installed then."""

import os
from pathlib import Path

from fastxent.native import _native


class Size:
    version = "1"

    def track_wheel(self) -> int:
        """Size of the wheel, which asv built and keeps."""
        # Known where asv runs, and not where somebody imports this.
        folder = Path(os.environ["ASV_ENV_DIR"], "asv-build-cache", os.environ["ASV_COMMIT"])
        (wheel,) = folder.glob("*.whl")
        return wheel.stat().st_size

    def track_extension(self) -> int:
        """Size of the compiled extension."""
        return Path(_native.__file__).stat().st_size

    track_wheel.unit = track_extension.unit = "bytes"
