-- A live feed: which transactions wait, over a restart too.

-- The newest item of the transaction, and the item that says that it was replaced or dropped.
ALTER TABLE transactions ADD COLUMN last_cursor INTEGER;
ALTER TABLE transactions ADD COLUMN left_cursor INTEGER;
UPDATE transactions SET last_cursor = first_cursor;
CREATE INDEX transactions_waiting ON transactions (first_cursor) WHERE included_at_ms IS NULL AND left_cursor IS NULL;
