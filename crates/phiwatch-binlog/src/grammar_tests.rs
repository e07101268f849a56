//! Statements of the servers' grammars (MySQL 9, MariaDB 11): `kind | tables | sources | text`.
//!
//! Names without a schema are of `shop`. Kinds: every statement that can change rows, tables,
//! code or accounts must have the right one; what cannot is `Harmless`.

use std::sync::Arc;

use super::*;

const STATEMENTS: &str = r"
Dml|shop.t||INSERT INTO t VALUES (1)
Dml|shop.t||INSERT t VALUES (1)
Dml|shop.t||INSERT LOW_PRIORITY INTO t VALUES (1),(2)
Dml|shop.t||INSERT HIGH_PRIORITY IGNORE INTO t (a, b) VALUES (1, DEFAULT)
Dml|shop.t||INSERT DELAYED INTO t VALUES ('x; DROP TABLE u')
Dml|a.t||INSERT INTO a.t SET x = 1, y = (SELECT 1)
Dml|a.t||INSERT INTO `a`.`t` () VALUES ()
Dml|a.t||INSERT INTO a . t VALUE (1)
Dml|shop.t|shop.s|INSERT INTO t SELECT * FROM s
Dml|shop.t|shop.s|INSERT INTO t (a, b) SELECT a, b FROM s ON DUPLICATE KEY UPDATE a = 1
Dml|shop.t|b.s shop.r|INSERT IGNORE t SELECT s.* FROM b.s LEFT JOIN r ON s.id = r.id WHERE 1
Dml|shop.t|shop.s|INSERT INTO t TABLE s
Dml|shop.t||INSERT INTO t PARTITION (p0, p1) VALUES (1)
Dml|shop.t||INSERT INTO t VALUES ROW(1, 2), ROW(3, 4)
Dml|shop.t||INSERT INTO t VALUES (1) AS new ON DUPLICATE KEY UPDATE a = new.a
Dml|shop.t||INSERT INTO t VALUES (1) RETURNING id
Dml|shop.t|shop.s shop.c|INSERT INTO t WITH c AS (SELECT * FROM s) SELECT * FROM c
Dml|shop.t||REPLACE INTO t VALUES (1)
Dml|shop.t||REPLACE LOW_PRIORITY t SET a = 1
Dml|shop.t|shop.s|REPLACE INTO t SELECT * FROM s
Dml|shop.t||UPDATE t SET a = 1
Dml|shop.t||UPDATE LOW_PRIORITY IGNORE t SET a = 1 WHERE b = 2 ORDER BY c LIMIT 1
Dml|shop.t||UPDATE t AS x SET x.a = 1
Dml|shop.t shop.s||UPDATE t, s SET t.a = s.a WHERE t.id = s.id
Dml|shop.t b.s||UPDATE t INNER JOIN b.s ON t.id = s.id SET t.a = 1, s.b = 2
Dml|shop.t shop.s||UPDATE t x LEFT JOIN s AS y USING (id) SET x.a = 1
Dml|shop.t shop.s||UPDATE (t, s) SET t.a = s.a
Dml|shop.t shop.s||UPDATE t STRAIGHT_JOIN s SET t.a = s.a
Dml|shop.t||UPDATE t PARTITION (p0) SET a = 1
Dml|shop.t||UPDATE t FOR PORTION OF app FROM '2000-01-01' TO '2001-01-01' SET a = 1
Dml|shop.t||UPDATE t JOIN (SELECT id FROM s) d ON d.id = t.id SET t.a = 1
Dml|shop.t||DELETE FROM t
Dml|shop.t||DELETE LOW_PRIORITY QUICK IGNORE FROM t WHERE a = 1 LIMIT 5
Dml|shop.t||DELETE FROM t AS x WHERE x.a IN (SELECT b FROM s)
Dml|shop.t||DELETE FROM t PARTITION (p0) WHERE 1
Dml|shop.t||DELETE t FROM t JOIN s ON t.id = s.id
Dml|shop.t shop.s||DELETE t, s FROM t INNER JOIN s ON t.id = s.id
Dml|shop.t shop.s||DELETE t.*, s.* FROM t, s WHERE t.id = s.id
Dml|a.t||DELETE a.t.* FROM a.t, s
Dml|shop.customer_entity||DELETE x FROM customer_entity AS x JOIN s y ON x.id = y.id
Dml|shop.customer_entity||DELETE x FROM customer_entity x, s
Dml|shop.t shop.s||DELETE FROM t, s USING t INNER JOIN s
Dml|shop.t||DELETE FROM t USING t, s WHERE t.id = s.id
Dml|shop.customer_entity||DELETE FROM x USING customer_entity AS x JOIN s
Dml|shop.t||DELETE FROM t FOR PORTION OF app FROM '2000-01-01' TO '2001-01-01'
Dml|shop.t||DELETE HISTORY FROM t BEFORE SYSTEM_TIME '2020-01-01'
Dml|shop.t||DELETE FROM t RETURNING id
Dml|shop.t||WITH c AS (SELECT id FROM s) DELETE FROM t WHERE id IN (SELECT id FROM c)
Dml|shop.t shop.c||WITH c AS (SELECT id FROM s) UPDATE t JOIN c ON t.id = c.id SET t.a = 1
Dml|||WITH RECURSIVE c AS (SELECT 1) SELECT f() FROM c
Dml|||CALL p()
Dml|||CALL a.p(1, @x)
Dml|||DO f(1)
Dml|||SELECT f()
Dml|||VALUES ROW(f())
Dml|shop.t||SET STATEMENT sort_buffer_size = 1 FOR UPDATE t SET a = 1
LoadData|shop.t||LOAD DATA INFILE 'f' INTO TABLE t
LoadData|a.t||LOAD DATA LOW_PRIORITY LOCAL INFILE 'f' REPLACE INTO TABLE a.t FIELDS TERMINATED BY ','
LoadData|shop.t||LOAD DATA CONCURRENT LOCAL INFILE '/tmp/SQL_LOAD-1' IGNORE INTO TABLE `t` CHARACTER SET utf8mb4 (a)
LoadData|shop.t||LOAD XML LOCAL INFILE 'f' INTO TABLE t ROWS IDENTIFIED BY '<r>'
Harmless|||LOAD INDEX INTO CACHE t
CreateTable|shop.t||CREATE TABLE t (a int)
CreateTable|a.t||CREATE TABLE IF NOT EXISTS a.t (a int, KEY (a)) ENGINE=InnoDB COMMENT='SELECT'
CreateTable|shop.t||CREATE TABLE t (a int) /*!50100 PARTITION BY HASH (a) PARTITIONS 4 */
CreateTable|shop.t||CREATE TABLE t (a int) PARTITION BY RANGE (a) (PARTITION p0 VALUES LESS THAN (1))
CreateTable|shop.t||CREATE TABLE t (a int, CHECK (a > 1), CONSTRAINT c FOREIGN KEY (a) REFERENCES s (b) ON DELETE CASCADE)
CreateTable|shop.t||CREATE OR REPLACE TABLE t (a int) WITH SYSTEM VERSIONING
CreateTableSelect|shop.t|shop.s|CREATE TABLE t SELECT * FROM s
CreateTableSelect|shop.t|shop.s|CREATE TABLE t (b int) AS SELECT a FROM s
CreateTableSelect|shop.t|shop.s|CREATE TABLE t IGNORE SELECT a FROM s
CreateTableSelect|shop.t|shop.s shop.r|CREATE TABLE t AS (SELECT * FROM s UNION SELECT * FROM r)
CreateTableSelect|shop.t|shop.s|CREATE TABLE t AS WITH c AS (SELECT * FROM s) SELECT 1
CreateTableSelect|shop.t|shop.s|CREATE TABLE t AS TABLE s
CreateTableSelect|shop.t||CREATE TABLE t AS VALUES ROW(1)
CreateTableSelect|shop.t||CREATE TABLE `t` (`a` int NOT NULL) START TRANSACTION
CreateTableLike|shop.t|shop.s|CREATE TABLE t LIKE s
CreateTableLike|a.t|b.s|CREATE TABLE IF NOT EXISTS a.t (LIKE b.s)
Harmless|||CREATE TEMPORARY TABLE t (a int)
Harmless|||CREATE TEMPORARY TABLE t SELECT * FROM customer_entity
Harmless|||CREATE /*!40000 TEMPORARY */ TABLE t LIKE s
Harmless|||CREATE OR REPLACE TEMPORARY TABLE t (a int)
AlterTable|shop.t||ALTER TABLE t ADD COLUMN a int AFTER b
AlterTable|a.t||ALTER TABLE a.t MODIFY a varchar(9), DROP INDEX i
AlterTable|shop.t||ALTER ONLINE TABLE t ADD INDEX (a)
AlterTable|shop.t||ALTER IGNORE TABLE t ADD UNIQUE (a)
AlterTable|shop.t||ALTER TABLE IF EXISTS t WAIT 5 ADD COLUMN IF NOT EXISTS a int
AlterTable|shop.t||ALTER TABLE t RENAME COLUMN a TO b
AlterTable|shop.t||ALTER TABLE t RENAME INDEX a TO b, RENAME KEY c TO d
AlterTable|shop.t||ALTER TABLE t ENGINE=InnoDB
AlterTable|shop.t||ALTER TABLE t DISABLE KEYS
AlterTable|shop.t||ALTER TABLE t ADD PARTITION (PARTITION p VALUES IN (1))
AlterTable|shop.t||ALTER TABLE t REORGANIZE PARTITION p INTO (PARTITION q VALUES LESS THAN (1))
AlterTable|shop.t||ALTER TABLE t IMPORT TABLESPACE
AlterTable|shop.t shop.s||ALTER TABLE t EXCHANGE PARTITION p WITH TABLE s WITHOUT VALIDATION
AlterTable|shop.t shop.s||ALTER TABLE t CONVERT PARTITION p TO TABLE s
AlterTable|shop.t shop.s||ALTER TABLE t CONVERT TABLE s TO PARTITION p VALUES LESS THAN (1)
AlterTable|shop.t||CREATE INDEX i ON t (a)
AlterTable|a.t||CREATE UNIQUE INDEX i USING BTREE ON a.t (a(10) DESC)
AlterTable|shop.t||CREATE FULLTEXT INDEX i ON t (a)
AlterTable|shop.t||CREATE OR REPLACE SPATIAL INDEX i ON t (a)
AlterTable|shop.t||CREATE VECTOR INDEX i ON t (a)
AlterTable|shop.t||DROP INDEX i ON t
AlterTable|shop.t||DROP INDEX IF EXISTS `PRIMARY` ON t
RenameTable|shop.u|shop.t|ALTER TABLE t RENAME u
RenameTable|shop.u|shop.t|ALTER TABLE t RENAME TO u, ADD COLUMN a int
RenameTable|b.u|shop.t|ALTER TABLE t RENAME AS b.u
RenameTable|shop.u|shop.t|ALTER TABLE t RENAME = u
RenameTable|shop.b|shop.a|RENAME TABLE a TO b
RenameTable|shop.t_old shop.t|shop.t shop._t_new|RENAME TABLE t TO t_old, _t_new TO t
RenameTable|b.t|a.t|RENAME TABLES a.t TO b.t
RenameTable|shop.b|shop.a|RENAME TABLE IF EXISTS a NOWAIT TO b
RenameTable|shop.b|shop.a|RENAME TABLE a WAIT 5 TO b
RenameTable|shop.d|shop.t|RENAME /* gh-ost */ TABLE `shop`.`t` TO `shop`.`d`
DropTable|shop.t||DROP TABLE t
DropTable|shop.t b.s||DROP TABLES IF EXISTS t, b.s CASCADE
DropTable|shop.t||DROP TABLE `t` /* generated by server */
DropTable|shop.t||DROP TABLE t WAIT 5
Harmless|||DROP TEMPORARY TABLE IF EXISTS t
TruncateTable|shop.t||TRUNCATE t
TruncateTable|a.t||TRUNCATE TABLE a.t NOWAIT
TruncateTable|shop.t||ALTER TABLE t TRUNCATE PARTITION ALL
TruncateTable|shop.t||ALTER TABLE t DROP PARTITION p0, p1
TruncateTable|shop.t||ALTER TABLE t DROP PARTITION IF EXISTS p0
TruncateTable|shop.t||ALTER TABLE t DISCARD TABLESPACE
TruncateTable|shop.t||ALTER TABLE t DISCARD PARTITION p0 TABLESPACE
Database|d.||CREATE DATABASE d
Database|d.||CREATE SCHEMA IF NOT EXISTS `d` DEFAULT CHARACTER SET utf8mb4
Database|d.||CREATE OR REPLACE DATABASE d
Database|d.||ALTER DATABASE d COLLATE utf8mb4_bin
Database|d.||ALTER SCHEMA d READ ONLY = 1
Database|d.||DROP DATABASE d
Database|d.||DROP SCHEMA IF EXISTS d
CreateCode|shop.t||CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1
CreateCode|a.t|b.s|CREATE DEFINER = `r`@`%` TRIGGER IF NOT EXISTS x.g AFTER DELETE ON a.t FOR EACH ROW FOLLOWS h INSERT INTO b.s VALUES (OLD.a)
CreateCode|shop.t|shop.s|CREATE OR REPLACE TRIGGER g AFTER UPDATE ON t FOR EACH ROW UPDATE s SET a = 1
CreateCode|shop.t|shop.s|CREATE /*!50017 DEFINER=`r`@`%`*/ /*!50003 TRIGGER g AFTER INSERT ON t FOR EACH ROW DELETE FROM s WHERE a = NEW.a */
CreateCode||shop.s|CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2026-01-01' ON COMPLETION PRESERVE DO DELETE FROM s
CreateCode||shop.s|CREATE PROCEDURE p(IN a int) SQL SECURITY INVOKER BEGIN SELECT * FROM s; END
CreateCode||shop.s|CREATE DEFINER=CURRENT_USER FUNCTION f() RETURNS int READS SQL DATA RETURN (SELECT COUNT(*) FROM s)
CreateCode|||CREATE AGGREGATE FUNCTION f RETURNS STRING SONAME 'udf.so'
CreateCode|||CREATE FUNCTION f RETURNS INTEGER SONAME 'udf.so'
CreateCode|shop.v|shop.s|CREATE VIEW v AS SELECT * FROM s
CreateCode|b.v|shop.s shop.r|CREATE OR REPLACE ALGORITHM = MERGE DEFINER = r@h SQL SECURITY DEFINER VIEW b.v (x) AS SELECT s.a FROM s JOIN r
CreateCode|shop.v|shop.s|ALTER VIEW v AS SELECT * FROM s
CreateCode|shop.v|shop.s|ALTER ALGORITHM=UNDEFINED DEFINER=`r`@`%` SQL SECURITY DEFINER VIEW v AS SELECT a FROM s
CreateCode||shop.s|ALTER EVENT e DO INSERT INTO s VALUES (1)
CreateCode|||CREATE PACKAGE k AS PROCEDURE p; END
ChangeCode|||ALTER EVENT e DISABLE
ChangeCode|||ALTER DEFINER=`r`@`%` EVENT e RENAME TO f
ChangeCode|||ALTER PROCEDURE p SQL SECURITY INVOKER
ChangeCode|||ALTER FUNCTION f COMMENT 'x'
ChangeCode|||DROP TRIGGER IF EXISTS a.g
ChangeCode|||DROP EVENT e
ChangeCode|||DROP PROCEDURE IF EXISTS p
ChangeCode|||DROP FUNCTION f
ChangeCode|||DROP VIEW v, w CASCADE
ChangeCode|||DROP PACKAGE BODY k
Grant|||GRANT ALL ON *.* TO a
Grant|shop.||GRANT SELECT, INSERT ON shop.* TO a@'%' WITH GRANT OPTION
Grant|a.t||GRANT SELECT (x), UPDATE (y, z) ON a.t TO a
Grant|||GRANT PROXY ON a TO b
Grant|||GRANT r, s TO a WITH ADMIN OPTION
Grant|||GRANT BINLOG_ADMIN, CLONE_ADMIN ON *.* TO a AS b WITH ROLE ALL
AccountRemoved|||REVOKE ALL PRIVILEGES, GRANT OPTION FROM a
AccountRemoved|||REVOKE IF EXISTS INSERT ON *.* FROM a IGNORE UNKNOWN USER
AccountRemoved|||REVOKE r FROM a
AccountRemoved|||REVOKE ADMIN OPTION FOR r FROM a
AccountRemoved|||DROP USER IF EXISTS a, b
AccountRemoved|||DROP ROLE r
Account|||CREATE USER IF NOT EXISTS 'a'@'%' IDENTIFIED WITH 'caching_sha2_password' AS '$A$005$x' REQUIRE NONE PASSWORD EXPIRE DEFAULT ACCOUNT UNLOCK
Account|||CREATE OR REPLACE USER a IDENTIFIED VIA ed25519 USING 'x'
Account|||CREATE ROLE IF NOT EXISTS r WITH ADMIN a
Account|||ALTER USER a IDENTIFIED BY 'x' RETAIN CURRENT PASSWORD
Account|||ALTER USER a@'%' DISCARD OLD PASSWORD
Account|||ALTER USER IF EXISTS a ACCOUNT LOCK
Account|||ALTER USER a DEFAULT ROLE ALL
Account|||ALTER USER a ADD 2 FACTOR IDENTIFIED WITH f
Account|||ALTER USER USER() IDENTIFIED BY 'x'
Account|||SET PASSWORD = 'x'
Account|||SET PASSWORD FOR a = PASSWORD('x')
Account|||SET DEFAULT ROLE r TO a
Account|||SET DEFAULT ROLE NONE FOR a
Account|||RENAME USER a TO b, c TO d
Harmless|||SET ROLE r
Harmless|||SET GLOBAL x = 1
Harmless|||SET @a = 1
Harmless|||FLUSH PRIVILEGES
Harmless|||FLUSH NO_WRITE_TO_BINLOG TABLES t WITH READ LOCK
Harmless|||FLUSH TABLE
Harmless|||ANALYZE LOCAL TABLE t
Harmless|||ANALYZE TABLE t PERSISTENT FOR ALL
Harmless|||OPTIMIZE TABLE t
Harmless|||REPAIR TABLE t QUICK
Harmless|||CHECK TABLE t
Harmless|||CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'h')
Harmless|||ALTER SERVER s OPTIONS (USER 'u')
Harmless|||DROP SERVER s
Harmless|||CREATE SEQUENCE s START WITH 1
Harmless|||ALTER SEQUENCE s RESTART 5
Harmless|||DROP SEQUENCE s
Harmless|||CREATE TABLESPACE s ADD DATAFILE 'x'
Harmless|||CREATE UNDO TABLESPACE s ADD DATAFILE 'x'
Harmless|||CREATE LOGFILE GROUP g ADD UNDOFILE 'x'
Harmless|||CREATE RESOURCE GROUP g TYPE = USER
Harmless|||CREATE SPATIAL REFERENCE SYSTEM 4120 NAME 'x'
Harmless|||DROP SPATIAL REFERENCE SYSTEM 4120
Harmless|||ALTER INSTANCE ROTATE INNODB MASTER KEY
Harmless|||INSTALL PLUGIN p SONAME 'x'
Harmless|||INSTALL COMPONENT 'file://x'
Harmless|||UNINSTALL PLUGIN p
Harmless|||LOCK TABLES t WRITE
Harmless|||UNLOCK TABLES
Harmless|||KILL 5
Unknown|||FROBNICATE t
Unknown|||`t`
DropTable|shop.t||  /* a */ -- b
  DROP /* c */ TABLE # d
  t
Dml|shop.t||/*!50000 INSERT */ INTO t VALUES (1)
Dml|shop.t||/*M!100100 UPDATE */ t SET a = 1
Dml|shop.t||/*M! DELETE FROM */ t
Dml|shop.select||INSERT INTO `select` VALUES (1)
Dml|shop.a`b||INSERT INTO `a``b` VALUES (1)
Dml|a.b.c||INSERT INTO `a`.`b.c` VALUES (1)
Dml|shop.kundendaten_ä||INSERT INTO kundendaten_ä VALUES (1)
Dml|shop.2024_t||INSERT INTO 2024_t VALUES (1)
Dml|shop.t$1||UPDATE t$1 SET a = 'it''s; \' DELETE FROM u'
";

#[test]
fn field_40_statements_of_the_grammars_have_their_kind_and_tables() {
    let database: Arc<str> = "shop".into();
    let list = |names: &[TableName]| {
        let one = |name: &TableName| format!("{}.{}", name.database, name.table);
        names.iter().map(one).collect::<Vec<_>>().join(" ")
    };
    let mut wrong = Vec::new();
    let mut count = 0;
    // A line that begins with blanks goes on with the one before.
    for statement in STATEMENTS.trim().replace("\n ", "\u{1}").split('\n') {
        let statement = statement.replace('\u{1}', "\n ");
        let mut parts = statement.splitn(4, '|');
        let mut part = || parts.next().unwrap();
        let (kind, tables, sources, text) = (part(), part(), part(), part());
        count += 1;
        let got = match classify(text.as_bytes(), SqlMode::default(), &database) {
            Classified::Statement(facts) => {
                format!("{:?}|{}|{}", facts.kind, list(&facts.tables), list(&facts.sources))
            }
            other => format!("{other:?}"),
        };
        if got != format!("{kind}|{tables}|{sources}") {
            wrong.push(format!("{text}\n    is {got}, not {kind}|{tables}|{sources}"));
        }
    }
    assert!(count >= 150, "{count}");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Names in quotes of the other kind, where the mode says so.
#[test]
fn quotes_are_the_modes() {
    let database: Arc<str> = "shop".into();
    let text = br#"DELETE FROM "customer_entity" WHERE a = "b""#;
    let tables = |bits: u64| match classify(text, SqlMode::from_bits(bits), &database) {
        Classified::Statement(facts) => facts.tables.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!((tables(4), tables(0)), (1, 0));
}
