"""Images out of trained generators: sampling, grids, walks and videos. Trains nothing."""
