//! The arithmetic of usage: from processors and seconds to whole units of a category. Pure, in
//! integers, checked: what does not fit is no figure.
//!
//! A job's exact usage is kept in billionths of a unit. Core takes whole units, so a job is charged
//! the whole ones, and its rest is added to the owner's next job of the category. The sum of an
//! owner's ended jobs is then less than one unit below the exact sum, however many they are.

use countersign_config::{Frequency, Product};

/// Billionths in a unit.
pub(super) const BILLIONTHS: u32 = 1_000_000_000;

/// Core keeps 63 bits.
const UNITS_MAX: u64 = i64::MAX.unsigned_abs();

/// Bytes of the units that a category of storage can have.
const BYTES: [(&str, u64); 9] = [
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
    ("B", 1),
];

/// The usage of a drive with so many bytes, to the nearest unit: off by half a unit at most. `None`
/// if it does not fit, or if the category counts in no bytes or over time.
pub(super) fn of_bytes(product: &Product, bytes: u64) -> Option<u64> {
    let accounting = &product.accounting;
    let (_, unit) = BYTES.iter().find(|(name, _)| *name == accounting.unit)?;
    if accounting.frequency != Frequency::Once {
        return None;
    }
    let price = u128::from(u64::try_from(product.price).unwrap_or(0));
    let sum = u128::from(bytes).checked_mul(price)?.checked_add(u128::from(unit / 2))?;
    u64::try_from(sum / u128::from(*unit)).ok().filter(|whole| *whole <= UNITS_MAX)
}

/// What a run took: how many processors or GPUs, and for how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Taken {
    pub(super) count: u64,
    pub(super) seconds: u64,
}

/// Exact usage, in billionths of a unit.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Exact(u128);

/// What a product costs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Rate {
    /// Units of the category for one machine of the product and one period.
    price: u64,
    /// Processors of a machine, or its GPUs if it has any. Not 0.
    machine: u64,
    /// Seconds of a period; `None` if the present use counts.
    period_s: Option<u64>,
}

impl Rate {
    /// A product that does not say how many processors it has is a machine of one, as for
    /// submissions.
    pub(super) fn of(product: &Product) -> Self {
        let machine = if product.machine.gpu > 0 { product.machine.gpu } else { product.machine.cpu };
        Self {
            price: u64::try_from(product.price).unwrap_or(0),
            machine: u64::try_from(machine).unwrap_or(0).max(1),
            period_s: match product.accounting.frequency {
                Frequency::Once => None,
                Frequency::Minute => Some(60),
                Frequency::Hour => Some(3_600),
                Frequency::Day => Some(86_400),
            },
        }
    }

    /// Whether usage adds up over time. Otherwise only what runs now counts.
    pub(super) const fn is_periodic(self) -> bool {
        self.period_s.is_some()
    }

    /// The usage of these runs; `None` if it does not fit. Differs from the exact one by at most
    /// half a billionth of a unit.
    pub(super) fn exact(self, runs: impl IntoIterator<Item = Taken>) -> Option<Exact> {
        let mut sum: u128 = 0;
        for Taken { count, seconds } in runs {
            let seconds = if self.is_periodic() { seconds } else { 1 };
            sum = sum.checked_add(u128::from(count).checked_mul(seconds.into())?)?;
        }
        let billionths = sum.checked_mul(self.price.into())?.checked_mul(BILLIONTHS.into())?;
        let divisor = u128::from(self.machine).checked_mul(self.period_s.unwrap_or(1).into())?;
        let exact = billionths.checked_add(divisor / 2)?.checked_div(divisor)?;
        Some(Exact(exact))
    }
}

impl Exact {
    /// The whole units in it; `None` if Core could not take them.
    pub(super) fn whole(self) -> Option<u64> {
        self.with_rest(0).map(|(whole, _)| whole)
    }

    /// The whole units in it and an earlier rest, and the rest that is left, in billionths.
    pub(super) fn with_rest(self, rest: u32) -> Option<(u64, u32)> {
        let sum = self.0.checked_add(rest.into())?;
        let whole = u64::try_from(sum / u128::from(BILLIONTHS)).ok().filter(|whole| *whole <= UNITS_MAX)?;
        Some((whole, u32::try_from(sum % u128::from(BILLIONTHS)).ok()?))
    }
}

#[cfg(test)]
mod tests;
