-- Each vote as its miner signed it, to be shown to others.
ALTER TABLE vote ADD COLUMN answer BLOB; -- portcullis.v1.Signed; NULL: no answer that counts
