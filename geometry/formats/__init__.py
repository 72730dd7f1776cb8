"""File formats: bytes on one side, our conventions on the other; nothing else converts conventions."""
