-- Filters of the audit page that a person keeps under a name. `body`: the filter, parsed, as JSON.
-- Retention: until their owner removes them, or is removed.
CREATE TABLE saved_view (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL REFERENCES user_account (id),
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
