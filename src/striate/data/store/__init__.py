"""Where pixels lie that memory does not hold: rows, the cache folder, the allowance."""
