-- Populated places of GeoNames; see README.md for source and license.
CREATE TABLE cities (
    id         INT  KEY,              -- GeoNames identifier
    name       TEXT INDEX NOT NULL,   -- local name in Latin letters, or as locals write it
    country    TEXT INDEX NOT NULL,   -- ISO 3166 code of two letters
    admin1     TEXT,                  -- code of the first administrative division
    feature    TEXT NOT NULL,         -- GeoNames feature code: PPLC is a capital, PPL a place
    population INT  NOT NULL,         -- 0 where GeoNames has no figure
    elevation  INT,                   -- metres; NULL where GeoNames has no figure
    latitude   REAL NOT NULL,         -- degrees, WGS 84
    longitude  REAL NOT NULL,
    timezone   TEXT NOT NULL          -- IANA name
);
