"""The local page over everything else: it shows what the library found, and computes no number of its own."""
