-- Several nodes move events into logs of their own: each claims a row before it does, by its log's
-- origin, and only the claimer moves and deletes it. Null as long as nobody did.
ALTER TABLE outbox ADD COLUMN claimed_by TEXT;
