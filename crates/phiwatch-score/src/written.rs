//! Simulated months as a binlog file, for the program itself.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
};

use anyhow::Context as _;
use phiwatch_testkit::months::{
    BIN_SECS, EPOCH,
    attack::{Attack, KINDS},
    binlog::Binlog,
    model::Tenant,
    people::{People, Write},
};

use crate::trial::Setting;

/// Writes all tenants' months, each with the attack, and one line a tenant beside it: website,
/// size, attack, first and last second.
pub(crate) fn write(
    tenants: &[(u32, f64)],
    setting: Setting,
    attack: Option<usize>,
    out: &Path,
) -> anyhow::Result<()> {
    let tenants: Vec<Tenant> = tenants
        .iter()
        .map(|(website, size)| Tenant::new(setting.seed, *website, *size, setting.weeks))
        .collect();
    let attacks: Vec<Option<Attack>> =
        tenants.iter().map(|tenant| Some(Attack::on(tenant, *KINDS.get(attack?)?))).collect();
    let place = || format!("cannot write {}", out.display());
    let file = BufWriter::new(File::create(out).with_context(place)?);
    let websites: Vec<u32> = tenants.iter().map(|tenant| tenant.website).collect();
    let mut binlog = Binlog::begin(file, EPOCH, &websites).with_context(place)?;
    let bins = tenants.first().map_or(0, |tenant| tenant.bins.len());
    for bin in 0..bins {
        for (website, write) in bin_of(&tenants, &attacks, setting, bin) {
            binlog.write(website, &write).with_context(place)?;
        }
    }
    binlog.finish().with_context(place)?;
    let mut labels = File::create(out.with_extension("labels")).with_context(place)?;
    for (tenant, attack) in tenants.iter().zip(&attacks) {
        let (website, size) = (tenant.website, tenant.size);
        if let Some(attack) = attack {
            let (from, until) = (secs(attack.from), secs(attack.until));
            writeln!(labels, "{website}\t{size}\t{}\t{from}\t{until}", attack.kind.name)?;
        }
    }
    Ok(())
}

/// All tenants' transactions of a bin, in the order of time.
pub(crate) fn bin_of(
    tenants: &[Tenant],
    attacks: &[Option<Attack>],
    setting: Setting,
    bin: usize,
) -> Vec<(u32, Write)> {
    let mut all = Vec::new();
    for (tenant, attack) in tenants.iter().zip(attacks) {
        let attack = attack.as_ref().filter(|attack| (attack.from..attack.until).contains(&bin));
        let writes = People::new(tenant, setting.tenants, setting.jobs).writes(bin, attack);
        all.extend(writes.into_iter().map(|write| (tenant.website, write)));
    }
    all.sort_by_key(|(_, write)| write.secs);
    all
}

#[allow(clippy::cast_possible_wrap, reason = "bins of a few months")]
fn secs(bin: usize) -> i64 {
    EPOCH + bin as i64 * BIN_SECS
}
