"""Whatever a user calls a data set: folders, tables, shards, arrays, names."""
