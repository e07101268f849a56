//! The server's certificate ends.

use std::{error::Error as _, time::Duration};

use phiwatch_source::{LiveSource, Login, Server, SourceError, StartAt, TlsMode};
use phiwatch_testkit::{certificate::Certificate, own::OwnServer};

use crate::support::{BOTH, Kind, alone, config_at};

#[track_caller]
fn assert_expired(error: &SourceError) {
    assert!(matches!(error, SourceError::Tls { .. }), "{error:?}");
    assert!(!error.is_transient());
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("expired"), "{cause}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("has expired: renew"), "{hint}");
}

async fn seconds_left(login: &Login) -> i64 {
    let mut server = Server::connect(login).await.unwrap();
    let info = server.info().await.unwrap();
    server.close().await;
    assert!(info.is_encrypted);
    info.certificate_secs.unwrap()
}

/// Refused where the identity counts, also by a reader; told where it does not; and taken again
/// once it was renewed as the hint says.
#[tokio::test(flavor = "multi_thread")]
async fn expired_certificate_is_refused_until_it_is_renewed() {
    const DAY: i64 = 86_400;
    let _alone = alone().await;
    let folder = tempfile::tempdir().unwrap();
    for kind in BOTH {
        let mut server = OwnServer::start(kind.program(), 1, &[]);
        let ca = server.ca();
        let Certificate { cert, key } = Certificate::issue(folder.path(), &ca, 0);
        // Times are of whole seconds: the one in which it ends must be over.
        tokio::time::sleep(Duration::from_secs(2)).await;
        server.restart_with(&format!("--ssl-cert={} --ssl-key={}", cert.display(), key.display()));
        let mut config = config_at(&server, 4_100_095, StartAt::Latest);
        config.login.tls.mode = TlsMode::Preferred;
        assert!(seconds_left(&config.login).await < 0, "{kind:?}");
        config.login.tls.mode = TlsMode::Required;
        config.login.tls.ca_file = Some(ca.clone());
        assert_expired(&Server::connect(&config.login).await.unwrap_err());
        assert_expired(&LiveSource::connect(config.clone()).await.unwrap_err());

        let _renewed = Certificate::issue(folder.path(), &ca, 5);
        server.execute(match kind {
            Kind::MySql => "ALTER INSTANCE RELOAD TLS",
            Kind::MariaDb => "FLUSH SSL",
        });
        let left = seconds_left(&config.login).await;
        assert!((4 * DAY..=5 * DAY).contains(&left), "{kind:?} {left}");
        LiveSource::connect(config).await.unwrap();
    }
}
