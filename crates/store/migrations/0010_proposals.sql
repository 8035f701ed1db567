-- Changes of grants that wait for a second person. `body`: the grant as it would be, what it would
-- change in words, and the grant's state that this was said of.
-- Retention: until somebody decides, or they expire; a job deletes those that have.
CREATE TABLE proposal (
    id TEXT PRIMARY KEY,
    author TEXT NOT NULL REFERENCES user_account (id),
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
