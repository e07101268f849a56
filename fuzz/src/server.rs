//! What a server says before a dump begins: for the target `dump` and for seeds.

/// UUID of the made-up MySQL server.
pub const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

/// Protocol 10, every capability but TLS.
#[must_use]
pub fn greeting(version: &str, plugin: &str) -> Vec<u8> {
    let mut bytes = vec![10];
    bytes.extend(version.bytes());
    bytes.extend([0, 7, 0, 0, 0]);
    bytes.extend(b"abcdefgh\0");
    bytes.extend([0xff, 0xf7, 255, 2, 0, 0xff, 0xff, 21]);
    bytes.extend([0; 10]);
    bytes.extend(b"ijklmnopqrst\0");
    bytes.extend(plugin.bytes());
    bytes.push(0);
    bytes
}

/// An OK packet.
#[must_use]
pub fn ok() -> Vec<u8> {
    vec![0, 0, 0, 2, 0, 0, 0]
}

/// The packets of a result set with these columns and rows of text.
#[must_use]
pub fn rows(columns: &[&str], rows: &[&[&str]]) -> Vec<Vec<u8>> {
    let end = vec![0xfe, 0, 0, 2, 0];
    let mut packets = vec![vec![columns.len() as u8]];
    for name in columns {
        let mut column = b"\x03def\0\0\0".to_vec();
        column.push(name.len() as u8);
        column.extend(name.bytes());
        column.extend(b"\x01c\x0c-\0\0\0\0\0\xfd\0\0\0\0\0");
        packets.push(column);
    }
    packets.push(end.clone());
    for row in rows {
        let mut payload = Vec::new();
        for value in *row {
            payload.push(value.len() as u8);
            payload.extend(value.bytes());
        }
        packets.push(payload);
    }
    packets.push(end);
    packets
}

/// Greeting, login and the answers to what is asked before a dump, up to its request.
#[must_use]
pub fn up_to_dump(is_mariadb: bool, purged: &str) -> Vec<Vec<u8>> {
    let (version, plugin) = match is_mariadb {
        true => ("5.5.5-10.11.18-MariaDB-log", "mysql_native_password"),
        false => ("9.7.4", "caching_sha2_password"),
    };
    let mut packets = vec![greeting(version, plugin), ok()];
    let version = version.trim_start_matches("5.5.5-");
    packets.extend(rows(&["v", "c", "i", "l"], &[&[version, "", "1", "1"]]));
    if is_mariadb {
        packets.extend(rows(&["p"], &[&["0-1-4"]]));
    } else {
        packets.extend(rows(&["u", "m", "e", "p"], &[&[UUID, "ON", purged, purged]]));
    }
    packets
}
