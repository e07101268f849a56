//! Seeds that need no recording: conversations with servers, configurations.

use crate::login::written;
use crate::server::{greeting, ok, rows};

/// A seed: its target, its name, its bytes.
pub type Seed = (&'static str, &'static str, Vec<u8>);

/// All of them.
#[must_use]
pub fn all() -> Vec<Seed> {
    let mut seeds = logins();
    seeds.extend(configurations());
    seeds
}

fn logins() -> Vec<Seed> {
    const NONCE: &[u8] = b"abcdefghijklmnopqrstuvwxyz012345";
    const CACHING: &str = "caching_sha2_password";
    let refused = b"\xff\x15\x04#28000Access denied for user 'phi'".to_vec();
    let switch = |plugin: &[u8]| [b"\xfe", plugin, b"\0", NONCE].concat();
    let key = [b"\x01", KEY].concat();
    let talks: [(&str, u8, &str, Vec<Vec<u8>>); 12] = [
        ("refused", 0, CACHING, vec![refused]),
        ("password-is-known", 0, CACHING, [vec![vec![1, 3], ok()], questions(false)].concat()),
        ("password-under-the-key", 0, CACHING, vec![vec![1, 4], key, ok()]),
        (
            "key-that-is-none",
            0,
            CACHING,
            vec![vec![1, 4], b"\x01-----BEGIN PUBLIC KEY-----".to_vec()],
        ),
        ("mariadb", 0, "mysql_native_password", [vec![ok()], questions(true)].concat()),
        ("byte-by-byte", 64, "mysql_native_password", [vec![ok()], questions(true)].concat()),
        ("switch-to-native", 0, CACHING, vec![switch(b"mysql_native_password"), ok()]),
        ("switch-to-ed25519", 0, "x", vec![switch(b"client_ed25519"), ok()]),
        (
            "switch-to-parsec",
            0,
            CACHING,
            vec![switch(b"parsec"), [b"\x01P\x00", [7; 18].as_slice()].concat(), ok()],
        ),
        ("switch-to-clear-text", 0, CACHING, vec![switch(b"mysql_clear_password")]),
        ("switch-to-unknown", 0, CACHING, vec![switch(b"authentication_windows_client")]),
        ("switch-to-old", 0, CACHING, vec![vec![0xfe]]),
    ];
    let mut seeds: Vec<Seed> = talks
        .into_iter()
        .map(|(name, options, plugin, mut packets)| {
            packets.insert(0, greeting("9.7.4", plugin));
            ("login", name, [vec![options], written(&packets)].concat())
        })
        .collect();
    let mut tls = greeting("9.7.4", CACHING);
    // The low half of the capabilities, with TLS.
    tls[21] = 0xff;
    seeds.push(("login", "tls-and-then-garbage", [vec![2], written(&[tls, vec![7; 40]])].concat()));
    seeds.push(("login", "web-server", b"\x01HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()));
    let blocked = b"\xff\x69\x04Host is blocked".to_vec();
    seeds.push(("login", "host-is-blocked", [vec![0], written(&[blocked])].concat()));
    seeds
}

/// A key of 1,024 bits, made for this seed.
const KEY: &[u8] = b"-----BEGIN PUBLIC KEY-----\n\
    MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCddm8kOLxeDa/py4/cIrRFgWfT\n\
    9qa1em92tC2lKrwFU/vIlZSSM4+ywRA3Ipphzu2KiuFxbFOT1ZUMUbMrnrdhpqdY\n\
    zm8LhjgKrXFbKMdLXrDTu9DPqYu3TWzkVFpMQZ3INoDvC76hX2xqttIKZEQkFe/2\n\
    cp4A9hDrsWioxyCpkwIDAQAB\n\
    -----END PUBLIC KEY-----";

/// Answers to all that the doctor asks.
fn questions(is_mariadb: bool) -> Vec<Vec<u8>> {
    const SET: &str =
        "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5,\n4e11fa47-71ca-11e1-9e33-c80aa9429562:7";
    let set = if is_mariadb { "0-11-20" } else { SET };
    let unknown = b"\xff\x28\x04#42000You have an error in your SQL syntax".to_vec();
    let mut packets = rows(&["n", "v"], &[&["server_id", "5"], &["binlog_format", "ROW"]]);
    packets.extend(rows(&["e", "p"], &[&[set, ""]]));
    packets.extend(rows(&["t"], &[&["1764000000000"]]));
    packets.extend(rows(
        &["Log_name", "File_size"],
        &[&["b.000001", "9"], &["b.000002", "4294967999"]],
    ));
    packets
        .extend(rows(&["g"], &[&["GRANT USAGE ON *.* TO `phi`@`%` IDENTIFIED BY PASSWORD '*7'"]]));
    packets.push(unknown);
    packets.extend(rows(&["Server_id"], &[&["9"]]));
    packets.extend(rows(&["Seconds_Behind_Source"], &[]));
    packets.extend(rows(&["s"], &[&["magento"]]));
    packets.extend(rows(&["s", "t", "c"], &[&["magento", "a", "x"], &["magento", "a", "y"]]));
    packets
}

fn configurations() -> Vec<Seed> {
    let text = |kind: u8, text: &str| [&[kind], text.as_bytes()].concat();
    vec![
        ("config", "whole", text(0, WHOLE)),
        (
            "config",
            "url-with-a-password-cut-short",
            text(0, "[source]\nurl = \"\u{1}\nserver_id = 1"),
        ),
        ("config", "unknown-key", text(0, "[source]\nurI = \"x\"\n")),
        ("config", "list-where-a-text-belongs", text(0, "[magento]\ntime_zone = [\"UTC\"]\n")),
        (
            "config",
            "numbers-out-of-range",
            text(0, "[source]\nserver_id = 99999999999\n[alerts]\nseverity_min = 300\n"),
        ),
        ("config", "catalogue", text(1, CATALOGUE)),
        ("config", "text-url", text(2, "mariadb://repl:p%40ss@[::1]:3307/")),
        ("config", "text-url-with-a-password", text(2, "\u{1}/shop?x")),
        ("config", "text-address", text(2, "[2001:db8::1]:3306")),
        (
            "config",
            "text-gtids",
            text(
                2,
                "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:tag:7-9,\n4e11fa47-71ca-11e1-9e33-c80aa9429562:2",
            ),
        ),
        ("config", "text-gtids-of-mariadb", text(2, "0-11-20,1-5-9")),
        ("config", "text-position", text(2, "binlog.000003:4567890123")),
    ]
}

const WHOLE: &str = r#"[source]
url = "mysql://phi_repl@127.0.0.1:3306"
failover = ["db2:3306"]
tls = "required"
server_id = 4000001
start = "binlog.000001:4"
on_purged = "continue"
databases = ["magento"]
queue_bytes_max = 16777216
[magento]
table_prefix = "m2_"
share_scope = "auto"
time_zone = "Europe/Paris"
stores = { 1 = 1, 2 = 2 }
[policy]
canary_customers = [1, 2]
mail_domains = ["example.com"]
[alerts]
false_alerts_per_week = 0.5
severity_min = 2
rules_off = ["phi-surface"]
[[alerts.maintenance]]
name = "import"
tables = ["customer_entity"]
from = "22:00"
until = "02:30"
rows_max = 10000
expires = "2027-06-30T00:00:00Z"
[http]
listen = "127.0.0.1:9817"
[[sink]]
type = "kafka"
bootstrap = "kafka:9092"
options = { "linger.ms" = "5" }
[[sink]]
type = "jsonl"
path = "alerts.jsonl"
"#;

const CATALOGUE: &str = r#"[[table]]
name = "pharmacy_order"
class = "order"
phi.email = ["contact"]
"#;
