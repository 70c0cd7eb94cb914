"""What files and messages hold: frozen records, read and written in one place. Imports no torch."""
