//! `phiwatch accept-reset`: an operator's decision to go on with a server whose log began anew.

use std::process::ExitCode;

use anyhow::{Context, bail};
use phiwatch_sink::wire::WireContext;

use super::say;
use crate::{
    cli::AcceptResetArgs,
    config::{Config, Overrides},
    live, notices, output,
    store::{self, Store, decisions::Audit},
};

pub(super) fn run(args: AcceptResetArgs) -> anyhow::Result<ExitCode> {
    let overrides = Overrides { source: args.source, state: args.state, ..Overrides::default() };
    let by = args.by.or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "not given".into());
    let config = Config::load(args.config.as_deref(), overrides)?;
    live::login(&config)?;
    let dir = &config.file.state.dir;
    let _lock = store::lock_directory(dir)?;
    let mut store = Store::open(dir)?;
    let Some(checkpoint) = store.checkpoint()? else {
        bail!("nothing was read yet: there is no history to compare with\nhint: phiwatch run");
    };
    if !checkpoint.has_place() {
        say("the reset was accepted before; `phiwatch run` goes on");
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let Some((address, what)) = live::other_history(&runtime, &config, &checkpoint)? else {
        bail!(
            "the server goes on where reading stopped: there is nothing to accept\n\
             hint: phiwatch run"
        );
    };
    let produced = notices::of_accepted(checkpoint, &address, &what);
    store.commit(&output::batch(&produced, &WireContext::default()))?;
    for gap in &produced.gaps {
        store.audit(&Audit {
            time_ms: jiff::Timestamp::now().as_millisecond(),
            who: by.clone(),
            action: "accept-reset".into(),
            detail: format!("{} ({})", gap.gtid, gap.detail),
            ..Audit::default()
        })?;
        say(&format!("on record as not examined: {} ({})", gap.gtid, gap.detail));
    }
    say("`phiwatch run` goes on with the oldest binlog that the server has now");
    Ok(ExitCode::SUCCESS)
}
