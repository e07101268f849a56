-- Version 3: what people decided. Triggers refuse to change or drop it.
CREATE TABLE audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  time_ms INTEGER NOT NULL,               -- wall clock, ms since 1970
  who TEXT NOT NULL,
  action TEXT NOT NULL,                   -- verdict, snooze, configuration, accept-reset
  detail TEXT NOT NULL,                   -- true, benign or expected; until when; SHA-256; the gap
  reason TEXT NOT NULL,                   -- as given
  uid TEXT NOT NULL,                      -- the finding, its rule and tenant; empty if none
  rule TEXT NOT NULL,
  tenant TEXT NOT NULL
);
CREATE TABLE snooze (                     -- what is held back from the sinks, and until when
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  from_ms INTEGER NOT NULL,
  until_ms INTEGER NOT NULL,
  who TEXT NOT NULL,
  reason TEXT NOT NULL,
  uid TEXT NOT NULL,                      -- a finding, or
  rule TEXT NOT NULL,                     -- all of a rule
  severity_max INTEGER NOT NULL           -- what is worse is delivered nevertheless
);
CREATE TABLE held (                       -- held back from a sink by a snooze
  sink TEXT NOT NULL,
  seq INTEGER NOT NULL,
  released INTEGER NOT NULL DEFAULT 0,    -- 1: delivered after the snooze's end
  PRIMARY KEY (sink, seq)
) WITHOUT ROWID;
CREATE TRIGGER audit_update BEFORE UPDATE ON audit
  BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_delete BEFORE DELETE ON audit
  BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER snooze_update BEFORE UPDATE ON snooze
  BEGIN SELECT RAISE(ABORT, 'snoozes are append-only'); END;
CREATE TRIGGER snooze_delete BEFORE DELETE ON snooze
  BEGIN SELECT RAISE(ABORT, 'snoozes are append-only'); END;
PRAGMA user_version = 3;
