-- Version 1 of the store.
CREATE TABLE alert (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of delivery
  uid TEXT NOT NULL,
  revision INTEGER NOT NULL,
  activity INTEGER NOT NULL,
  rule TEXT NOT NULL,
  tenant TEXT NOT NULL,
  severity INTEGER NOT NULL,
  time_ms INTEGER NOT NULL,
  value BLOB NOT NULL,                    -- the OCSF event as it is delivered
  UNIQUE (uid, revision)
);
CREATE INDEX alert_time ON alert (time_ms);
CREATE TABLE sink (
  name TEXT PRIMARY KEY,
  delivered INTEGER NOT NULL,             -- every alert up to this one is done
  in_flight INTEGER NOT NULL              -- alerts up to this one may have been sent
);
CREATE TABLE done (                       -- done above the low-water mark
  sink TEXT NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (sink, seq)
) WITHOUT ROWID;
CREATE TABLE dead_letter (
  sink TEXT NOT NULL,
  seq INTEGER NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (sink, seq)
);
CREATE TABLE checkpoint (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  gtids TEXT NOT NULL,
  flavor TEXT NOT NULL,
  file TEXT NOT NULL,
  pos INTEGER NOT NULL,
  server TEXT NOT NULL,
  classifier BLOB NOT NULL,
  engine BLOB NOT NULL
);
CREATE TABLE gap (                        -- append-only: what was not examined, and why
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  file TEXT NOT NULL,
  pos INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  gtid TEXT NOT NULL,
  cause TEXT NOT NULL,
  detail TEXT NOT NULL,
  UNIQUE (file, pos, cause, gtid)
);
PRAGMA user_version = 1;
