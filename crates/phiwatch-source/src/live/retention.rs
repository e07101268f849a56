//! How long a server keeps its binlogs: by its variables, or by a managed service's own setting.

use std::{collections::BTreeMap, time::Duration};

use crate::{SourceError, wire::Connection};

/// A server's rules for purging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Retention {
    /// A closed file stays so long; None = for ever.
    pub(crate) age: Option<Duration>,
    /// All files together may be so large; None = any size.
    pub(crate) bytes_max: Option<u64>,
}

impl Retention {
    /// Reads the settings; unknown ones are absent.
    pub(crate) fn from_settings(settings: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| settings.get(name).map(String::as_str).unwrap_or_default();
        // MariaDB allows fractions of a day.
        let number = |name: &str| text(name).parse::<f64>().unwrap_or(0.0).clamp(0.0, SECS_MAX);
        let secs = match number("binlog_expire_logs_seconds") {
            0.0 => number("expire_logs_days") * 86_400.0,
            secs => secs,
        };
        let is_off = text("binlog_expire_logs_auto_purge").eq_ignore_ascii_case("OFF");
        let age = (secs > 0.0 && !is_off).then(|| Duration::from_secs_f64(secs));
        let bytes_max = text("max_binlog_total_size").parse().ok().filter(|bytes| *bytes > 0);
        Self { age, bytes_max }
    }

    /// Amazon's service purges by a setting of its own, in hours; without it as soon as it likes.
    pub(crate) fn of_service(hours: Option<&str>) -> Self {
        let hours = hours.and_then(|hours| hours.parse::<u32>().ok()).unwrap_or(0);
        Self { age: Some(Duration::from_secs(u64::from(hours) * 3_600)), bytes_max: None }
    }

    /// The binlogs are kept by Amazon's service, whatever the server's variables say.
    pub(crate) fn is_of_service(settings: &BTreeMap<String, String>) -> bool {
        settings.get("basedir").is_some_and(|folder| folder.starts_with("/rdsdbbin"))
    }
}

/// As long as binlogs can be told to stay: 2^32 - 1 seconds.
pub(crate) const SECS_MAX: f64 = 4_294_967_295.0;

/// Reads a server's rules.
///
/// # Errors
/// The connection broke.
pub(crate) async fn ask(
    connection: &mut Connection,
    settings: &BTreeMap<String, String>,
) -> Result<Retention, SourceError> {
    if !Retention::is_of_service(settings) {
        return Ok(Retention::from_settings(settings));
    }
    let sql = "SELECT value FROM mysql.rds_configuration WHERE name = 'binlog retention hours'";
    match connection.rows(sql).await {
        Ok(rows) => {
            let hours = rows.first().and_then(|row| row.first()?.as_deref());
            Ok(Retention::of_service(hours))
        }
        Err(SourceError::Server { .. }) => Ok(Retention::of_service(None)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_service_without_a_retention_keeps_nothing() {
        assert_eq!(Retention::of_service(None).age, Some(Duration::ZERO));
        assert_eq!(Retention::of_service(Some("24")).age, Some(Duration::from_secs(24 * 3_600)));
    }
}
