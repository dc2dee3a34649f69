-- KEY and INDEX columns can be looked up privately; the others are only returned.
-- Every searchable column costs a copy of the table in memory, so `id` is not one.
CREATE TABLE weather (
    id          INT  NOT NULL,
    city        TEXT KEY,
    country     TEXT NOT NULL,
    conditions  TEXT INDEX NOT NULL,
    temperature INT  NOT NULL,
    humidity    INT  NOT NULL
);
