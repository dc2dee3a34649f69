-- Clients can look up KEY and INDEX columns privately. Other columns are only returned. Every
-- searchable column needs at least one copy of the table in memory, so `id` is not searchable.
CREATE TABLE weather (
    id          INT  NOT NULL,
    city        TEXT KEY,
    country     TEXT NOT NULL,
    conditions  TEXT INDEX NOT NULL,
    temperature INT  NOT NULL,
    humidity    INT  NOT NULL
);
