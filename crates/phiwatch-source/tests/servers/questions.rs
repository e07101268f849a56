use phiwatch_source::{Flavor, Intent, Server, Severity, TlsMode, findings};

use crate::support::{Admin, BOTH, Kind, login};

#[tokio::test(flavor = "multi_thread")]
async fn development_servers_are_fit_to_be_read() {
    for kind in BOTH {
        let _admin = Admin::new(kind, "fit").await;
        let mut server =
            Server::connect(&login(kind, "phi_repl", TlsMode::Preferred)).await.unwrap();
        let info = server.info().await.unwrap();
        assert_eq!(info.flavor == Flavor::MariaDb, kind == Kind::MariaDb);
        assert!(!info.version.starts_with("5.5.5-") && info.server_id > 0);
        assert_eq!(info.server_uuid.is_some(), kind == Kind::MySql);
        assert!(!info.gtid_executed.is_empty() && info.clock_ahead_ms.abs() < 5_000);
        assert!(info.binary_logs.as_ref().is_some_and(|logs| !logs.is_empty()));
        let intent = Intent { server_id: 4_100_040, databases: &[], keyless: &[] };
        let list = findings(&info, &intent);
        let failed: Vec<_> = list.iter().filter(|one| one.severity == Severity::Fail).collect();
        assert!(failed.is_empty(), "{kind:?}: {failed:?}");
        // This account may not read tables, and the development servers do not sync each commit.
        let warned: Vec<_> =
            list.iter().filter(|one| one.severity == Severity::Warn).map(|one| one.name).collect();
        let want = match kind {
            Kind::MySql => &["durability", "select"][..],
            // Nor may it see on MariaDB whether the server is a replica.
            Kind::MariaDb => &["durability", "replica", "select"],
        };
        assert_eq!(warned, want, "{kind:?}");
        server.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_rows_are_read() {
    for kind in BOTH {
        let mut admin = Admin::new(kind, "asked").await;
        admin.write(3).await;
        admin
            .run("CREATE TABLE IF NOT EXISTS phiwatch_source_test.o_customer_entity (b INT, a INT)")
            .await;
        let shops = admin.server.shop_databases("o_").await.unwrap();
        assert_eq!(shops, ["phiwatch_source_test"]);
        assert!(admin.server.shop_databases("it's ").await.unwrap().is_empty());
        let tables = admin.server.column_names(&shops).await.unwrap();
        let find = |name: &str| tables.iter().find(|table| table.table == name).unwrap();
        assert_eq!(find("asked").columns, ["id", "mark", "big"]);
        assert_eq!(find("o_customer_entity").columns, ["b", "a"]);
        let types = &find("o_customer_entity").types;
        assert!(types.iter().all(|(ty, octets)| ty.starts_with("int") && octets.is_none()));
        let sql = "SELECT mark, big FROM phiwatch_source_test.asked ORDER BY id";
        let rows = admin.server.query_rows(sql).await.unwrap();
        assert_eq!(rows[2], [Some("mark-000002".to_owned()), None]);
        let mut count = 0;
        admin.server.each_row(sql, |_| count += 1).await.unwrap();
        assert_eq!(count, 3);
        let error = admin.server.query_rows("SELECT nothing").await.unwrap_err();
        assert!(error.to_string().contains("1054"));
        // An error leaves the connection usable.
        assert_eq!(admin.value("SELECT 1").await, "1");
    }
}
