"""What trials show: gains with their intervals, chances, which values mattered, which changes a winner has. Nothing is trained here."""
