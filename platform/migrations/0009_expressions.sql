-- What the network judges where that is no comparison of one stored value with a constant: the canonical text of an expression. Such a row
-- has the contract that it speaks of, and nothing in its other columns of a slot (zeros, empty text).
ALTER TABLE invariants ADD COLUMN program TEXT;
