"""From files to uint8 arrays: decoding, colour, resizing, .npy."""
