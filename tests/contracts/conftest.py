"""The rows of the contracts can be imported by their names here."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
