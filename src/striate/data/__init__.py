"""From files to arrays of images: decoding, sources, audit."""
