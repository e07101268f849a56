//! One HTTP GET, by hand: the page is checked as bytes on a socket.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

/// What the program answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// Body, not decoded: the program sends plain bodies on a closed connection.
    pub body: String,
}

/// Fetches a path. `Err` when nobody listens or the answer breaks off.
///
/// # Errors
/// Those of the socket.
pub fn try_get(address: &str, path: &str) -> std::io::Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    // HTTP/1.0: no chunks, and the connection ends with the body.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Ok(Response { status, head: head.to_owned(), body: body.to_owned() })
}

/// Fetches a path; panics when that fails.
#[must_use]
pub fn get(address: &str, path: &str) -> Response {
    try_get(address, path).unwrap_or_else(|error| panic!("GET http://{address}{path}: {error}"))
}

/// A metric's value in a text exposition: `name`, or `name{label="value"}` as it is written.
#[must_use]
pub fn metric(exposition: &str, series: &str) -> Option<f64> {
    exposition.lines().find_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        (name == series).then(|| value.parse().ok())?
    })
}

/// The sum over all series of a metric.
#[must_use]
pub fn metric_sum(exposition: &str, name: &str) -> f64 {
    let values = exposition.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        (series.split('{').next() == Some(name)).then(|| value.parse::<f64>().ok())?
    });
    values.sum()
}
