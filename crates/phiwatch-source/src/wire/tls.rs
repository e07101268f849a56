//! TLS below the protocol, by rustls.

use std::{io, path::Path, sync::Arc, time::Duration};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::packet::Link;
use crate::{
    SourceError, Tls, TlsMode,
    config::{Address, setting},
};

/// Where systems keep the authorities that they trust: Debian, Red Hat, SUSE, Alpine.
const SYSTEM_CA_FILES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Encrypts the connection. The files are read at each connection, so that renewed certificates
/// count without a restart.
pub(crate) async fn wrap<L: Link>(
    link: L,
    address: &Address,
    tls: &Tls,
) -> Result<TlsStream<L>, SourceError> {
    let config = client_config(tls)?;
    let name = ServerName::try_from(address.host.clone())
        .map_err(|_| setting("url", "the host is neither a name nor an IP address".to_owned()))?;
    TlsConnector::from(Arc::new(config))
        .connect(name, link)
        .await
        .map_err(|cause| SourceError::Tls { address: address.to_string(), cause })
}

/// Later than any certificate ends, seconds since 1970.
const NEVER_SECS: u64 = 1 << 40;

/// When the server's certificate ends, seconds since 1970; None if it cannot be read.
pub(crate) fn certificate_ends<L>(link: &TlsStream<L>) -> Option<u64> {
    let (_, session) = link.get_ref();
    let certificate = ParsedCertificate::try_from(session.peer_certificates()?.first()?).ok()?;
    // The library shows the end of its validity only to say that it is over, which it checks
    // before whose the certificate is.
    let never = UnixTime::since_unix_epoch(Duration::from_secs(NEVER_SECS));
    let nobody = RootCertStore::empty();
    match verify_server_cert_signed_by_trust_anchor(&certificate, &nobody, &[], never, &[]) {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
            not_after,
            ..
        })) => Some(not_after.as_secs()),
        _ => None,
    }
}

/// The handshake failed because the server's certificate has expired.
pub(crate) fn is_expired(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(
        cause,
        Some(rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. }
        ))
    )
}

fn client_config(tls: &Tls) -> Result<ClientConfig, SourceError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| setting("tls", error.to_string()))?;
    let builder = if tls.mode == TlsMode::Required {
        builder.with_root_certificates(roots(tls.ca_file.as_deref())?)
    } else {
        let verifier = Arc::new(IdentityUnchecked(provider));
        builder.dangerous().with_custom_certificate_verifier(verifier)
    };
    match (&tls.cert_file, &tls.key_file) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            let chain = certificates("cert_file", cert)?;
            let pem = read("key_file", key)?;
            let key = PrivateKeyDer::from_pem_slice(&pem)
                .map_err(|_| setting("key_file", "holds no private key in PEM form".to_owned()))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| setting("cert_file", error.to_string()))
        }
        _ => Err(setting("cert_file", "cert_file and key_file go together".to_owned())),
    }
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, SourceError> {
    let path =
        match ca_file {
            Some(path) => path,
            None => SYSTEM_CA_FILES.iter().map(Path::new).find(|path| path.exists()).ok_or_else(
                || setting("ca_file", "the system has no list of authorities".to_owned()),
            )?,
        };
    let mut store = RootCertStore::empty();
    // A system's list may hold a few that rustls does not take.
    let (good, _bad) = store.add_parsable_certificates(certificates("ca_file", path)?);
    if good == 0 {
        return Err(setting("ca_file", format!("{} holds no usable authority", path.display())));
    }
    Ok(store)
}

fn certificates(
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, SourceError> {
    let pem = read(key, path)?;
    let list: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|_| setting(key, format!("{} is not in PEM form", path.display())))?;
    if list.is_empty() {
        return Err(setting(key, format!("{} holds no certificate in PEM form", path.display())));
    }
    Ok(list)
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, SourceError> {
    std::fs::read(path)
        .map_err(|cause: io::Error| setting(key, format!("{}: {cause}", path.display())))
}

/// `tls = "preferred"`: encrypted against listeners; the server still proves that it holds the
/// key of the certificate that it shows, but not whose that is.
#[derive(Debug)]
struct IdentityUnchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for IdentityUnchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
