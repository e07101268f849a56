use std::path::PathBuf;

use phiwatch_source::{LiveSource, Server, SourceError, StartAt, TlsMode};

use crate::support::{Admin, BOTH, Kind, Seen, config, login, read_until};

/// Makes an account anew, outside the binlog.
async fn account(admin: &mut Admin, name: &str, how: &str, replica: bool) {
    admin.run("SET SESSION sql_log_bin = 0").await;
    admin.run(&format!("DROP USER IF EXISTS '{name}'@'%'")).await;
    admin.run(&format!("CREATE USER '{name}'@'%' {how}")).await;
    if replica {
        let status = match admin.kind {
            Kind::MySql => "REPLICATION CLIENT",
            Kind::MariaDb => "BINLOG MONITOR",
        };
        admin.run(&format!("GRANT REPLICATION SLAVE, {status} ON *.* TO '{name}'@'%'")).await;
    }
    admin.run("SET SESSION sql_log_bin = 1").await;
}

async fn stream(kind: Kind, user: &str, mode: TlsMode) -> Result<bool, SourceError> {
    let mut config = config(kind, 4_100_030, StartAt::Latest);
    config.login = login(kind, user, mode);
    config.once = true;
    let mut source = LiveSource::connect(config).await?;
    read_until(&mut source, &mut Seen::default(), |_| false)?;
    Ok(source.handle().status().is_encrypted)
}

/// The first login of an account needs the password itself, later ones its hash.
#[tokio::test(flavor = "multi_thread")]
async fn field_33_caching_sha2_cold_and_warm_with_and_without_tls() {
    let mut admin = Admin::new(Kind::MySql, "sha2").await;
    for (mode, encrypted) in [(TlsMode::Off, false), (TlsMode::Preferred, true)] {
        let how = "IDENTIFIED WITH caching_sha2_password BY 'phi_cold'";
        account(&mut admin, "phi_cold", how, true).await;
        for _ in 0..2 {
            assert_eq!(stream(Kind::MySql, "phi_cold", mode).await.unwrap(), encrypted);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_native_password() {
    let mut admin = Admin::new(Kind::MariaDb, "plugins").await;
    let how = "IDENTIFIED VIA mysql_native_password USING PASSWORD('phi_native')";
    account(&mut admin, "phi_native", how, true).await;
    for (mode, encrypted) in [(TlsMode::Off, false), (TlsMode::Preferred, true)] {
        assert_eq!(stream(Kind::MariaDb, "phi_native", mode).await.unwrap(), encrypted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn required_tls_checks_the_identity() {
    for kind in BOTH {
        let mut admin = Admin::new(kind, "tls").await;
        let ca = PathBuf::from(admin.value("SELECT @@global.ssl_ca").await);
        let mut good = login(kind, "phi_repl", TlsMode::Required);
        good.tls.ca_file = Some(ca.clone());
        let mut server = Server::connect(&good).await.unwrap();
        assert!(server.info().await.unwrap().is_encrypted);
        // The system does not know the authority.
        let error = Server::connect(&login(kind, "phi_repl", TlsMode::Required)).await.unwrap_err();
        assert!(
            matches!(error, SourceError::Tls { .. } | SourceError::Setting { .. }),
            "{error:?}"
        );
        assert!(!error.is_transient());
        // A certificate that is no authority.
        let mut wrong = good.clone();
        wrong.tls.ca_file = Some(ca.with_file_name("client-cert.pem"));
        let error = Server::connect(&wrong).await.unwrap_err();
        assert!(matches!(error, SourceError::Tls { .. }), "{error:?}");
        assert!(error.hint().unwrap().contains("ca_file"));
        // An account that must show a certificate.
        let how = "IDENTIFIED BY 'phi_x509' REQUIRE X509";
        account(&mut admin, "phi_x509", how, true).await;
        let mut bare = good.clone();
        (bare.user, bare.password) = ("phi_x509".to_owned(), "phi_x509".into());
        assert!(matches!(
            Server::connect(&bare).await.unwrap_err(),
            SourceError::Server { code: 1045, .. }
        ));
        bare.tls.cert_file = Some(ca.with_file_name("client-cert.pem"));
        bare.tls.key_file = Some(ca.with_file_name("client-key.pem"));
        Server::connect(&bare).await.unwrap().close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_password_and_missing_grants_say_what_to_do() {
    for kind in BOTH {
        let mut admin = Admin::new(kind, "denied").await;
        let mut denied = config(kind, 4_100_031, StartAt::Latest);
        denied.login.password = "hunter2".into();
        let error = LiveSource::connect(denied).await.unwrap_err();
        assert!(matches!(error, SourceError::Server { code: 1045, .. }), "{error:?}");
        assert!(!error.is_transient() && error.hint().unwrap().contains("GRANT REPLICATION SLAVE"));
        assert!(!format!("{error:?}{error}").contains("hunter2"));

        account(&mut admin, "phi_nothing", "IDENTIFIED BY 'phi_nothing'", false).await;
        let error = stream(kind, "phi_nothing", TlsMode::Preferred).await.unwrap_err();
        assert!(matches!(error, SourceError::Server { code: 1227 | 1045, .. }), "{error:?}");
        assert!(!error.is_transient() && error.hint().unwrap().contains("GRANT REPLICATION SLAVE"));
    }
}
