//! Server certificates of a test's own, by the authority of the development servers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A certificate and its key in PEM files.
#[derive(Debug)]
pub struct Certificate {
    /// Path of the certificate.
    pub cert: PathBuf,
    /// Path of its private key.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes one for localhost in a folder, or makes it anew there. It ends after so many days: 0
    /// is at once. `ca`: the authority's file; its key lies beside it.
    #[must_use]
    pub fn issue(folder: &Path, ca: &Path, days: u32) -> Self {
        let path = |name: &str| folder.join(name);
        let this = Self { cert: path("server-cert.pem"), key: path("server-key.pem") };
        let (request, names) = (path("server.csr"), path("names"));
        fs::write(&names, "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
        openssl(&[
            &["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=phiwatch-dev-server"],
            &["-keyout", text(&this.key), "-out", text(&request)],
        ]);
        openssl(&[
            &["x509", "-req", "-in", text(&request), "-CA", text(ca)],
            &["-CAkey", text(&ca.with_file_name("ca-key.pem")), "-set_serial", "4711"],
            &["-days", &days.to_string(), "-extfile", text(&names), "-out", text(&this.cert)],
        ]);
        this
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn openssl(args: &[&[&str]]) {
    let output = Command::new("openssl").args(args.concat()).output();
    let output = output.unwrap_or_else(|error| panic!("openssl ({error}): install it"));
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
