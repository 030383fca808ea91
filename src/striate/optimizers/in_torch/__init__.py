"""Steps that torch does not have, as torch optimizers."""
