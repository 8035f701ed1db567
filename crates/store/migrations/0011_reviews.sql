-- Reviews of who may do what. `body`: what is reviewed and what was decided of it. It names people by
-- their ids alone, which lead nowhere once they are removed.
-- Retention: until somebody removes a review that is closed; its digest stays in the audit log.
CREATE TABLE review (
    id TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    closed_at BIGINT
);
