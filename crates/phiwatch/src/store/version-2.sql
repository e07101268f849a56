-- Version 2: the coverage ledger. What is on record stays: triggers refuse to change or drop it.
CREATE TABLE coverage (                   -- closed intervals: what was examined
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  server TEXT NOT NULL,                   -- server_uuid; MariaDB, and the writer of a file: server_id
  version TEXT NOT NULL,
  from_file TEXT NOT NULL,
  from_pos INTEGER NOT NULL,
  to_file TEXT NOT NULL,
  to_pos INTEGER NOT NULL,
  gtids TEXT NOT NULL,                    -- MySQL: a set; MariaDB: runs, 0-1-5..0-1-9
  heads TEXT NOT NULL,                    -- MySQL: what the files' heads said was executed
  from_us INTEGER NOT NULL,               -- commit times, µs since 1970
  to_us INTEGER NOT NULL,
  transactions INTEGER NOT NULL,
  creates INTEGER NOT NULL,               -- row changes of watched tables
  updates INTEGER NOT NULL,
  deletes INTEGER NOT NULL,
  statements INTEGER NOT NULL,
  bytes INTEGER NOT NULL,                 -- of the transactions
  unwatched_bytes INTEGER NOT NULL        -- of it: rows of tables without any rule
);
CREATE TABLE coverage_open (              -- the interval that still grows, as of the checkpoint
  id INTEGER PRIMARY KEY CHECK (id = 1),
  server TEXT NOT NULL, version TEXT NOT NULL,
  from_file TEXT NOT NULL, from_pos INTEGER NOT NULL, to_file TEXT NOT NULL, to_pos INTEGER NOT NULL,
  gtids TEXT NOT NULL, heads TEXT NOT NULL,
  from_us INTEGER NOT NULL, to_us INTEGER NOT NULL,
  transactions INTEGER NOT NULL, creates INTEGER NOT NULL, updates INTEGER NOT NULL,
  deletes INTEGER NOT NULL, statements INTEGER NOT NULL, bytes INTEGER NOT NULL,
  unwatched_bytes INTEGER NOT NULL
);
CREATE TABLE coverage_start (             -- where reading began: what lies before was not examined
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  server TEXT NOT NULL,
  file TEXT NOT NULL,
  pos INTEGER NOT NULL,
  gtids TEXT NOT NULL,                    -- done before, by the server's account
  reason TEXT NOT NULL
);
-- What the ledger does not hold of an older installation was examined before this point.
INSERT INTO coverage_start (server, file, pos, gtids, reason)
  SELECT server, file, pos, iif(flavor = 'mysql', gtids, ''), 'ledger begins' FROM checkpoint;

ALTER TABLE gap RENAME TO gap_1;
CREATE TABLE gap (                        -- what was not examined, and why
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  server TEXT NOT NULL,
  file TEXT NOT NULL,
  pos INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  gtid TEXT NOT NULL,                     -- a transaction, a set of them, or names of files
  tbl TEXT NOT NULL,                      -- database.table, if known
  cause TEXT NOT NULL,
  detail TEXT NOT NULL,
  time_us INTEGER NOT NULL,               -- event time when it was met; 0 = unknown
  UNIQUE (server, file, pos, cause, gtid, tbl)
);
INSERT INTO gap (id, server, file, pos, bytes, gtid, tbl, cause, detail, time_us)
  SELECT id, '', file, pos, bytes, gtid, '', cause, detail, 0 FROM gap_1;
DROP TABLE gap_1;

CREATE TRIGGER gap_update BEFORE UPDATE ON gap
  BEGIN SELECT RAISE(ABORT, 'gap records are append-only'); END;
CREATE TRIGGER gap_delete BEFORE DELETE ON gap
  BEGIN SELECT RAISE(ABORT, 'gap records are append-only'); END;
CREATE TRIGGER coverage_update BEFORE UPDATE ON coverage
  BEGIN SELECT RAISE(ABORT, 'closed intervals are append-only'); END;
CREATE TRIGGER coverage_delete BEFORE DELETE ON coverage
  BEGIN SELECT RAISE(ABORT, 'closed intervals are append-only'); END;
CREATE TRIGGER coverage_start_update BEFORE UPDATE ON coverage_start
  BEGIN SELECT RAISE(ABORT, 'starts are append-only'); END;
CREATE TRIGGER coverage_start_delete BEFORE DELETE ON coverage_start
  BEGIN SELECT RAISE(ABORT, 'starts are append-only'); END;

ALTER TABLE alert ADD COLUMN stored_ms INTEGER NOT NULL DEFAULT 0;  -- wall clock, ms since 1970
PRAGMA user_version = 2;
