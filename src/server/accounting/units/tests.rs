//! The arithmetic against exact rationals, and on hostile numbers.

use proptest::prelude::*;

use super::*;

fn rate(price: u64, machine: u64, period_s: Option<u64>) -> Rate {
    Rate { price, machine, period_s }
}

fn periods() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![Just(None), Just(Some(60)), Just(Some(3_600)), Just(Some(86_400))]
}

fn runs(count_max: u64, seconds_max: u64) -> impl Strategy<Value = Vec<Taken>> {
    let run = (0..=count_max, 0..=seconds_max).prop_map(|(count, seconds)| Taken { count, seconds });
    proptest::collection::vec(run, 0..20)
}

proptest! {
    /// The exact usage is the fraction `sum * price / (machine * period)`.
    #[test]
    fn usage_is_exact_to_half_a_billionth(
        price in 0_u64..=1_000_000,
        machine in 1_u64..=1_000,
        period_s in periods(),
        runs in runs(100_000, 40_000_000),
    ) {
        let Exact(got) = rate(price, machine, period_s).exact(runs.iter().copied()).unwrap();
        let seconds = |run: &Taken| if period_s.is_none() { 1 } else { run.seconds };
        let sum: u128 = runs.iter().map(|run| u128::from(run.count) * u128::from(seconds(run))).sum();
        let numerator = sum * u128::from(price) * 1_000_000_000;
        let divisor = u128::from(machine) * u128::from(period_s.unwrap_or(1));
        prop_assert!((got * divisor).abs_diff(numerator) * 2 <= divisor);
    }

    /// Whatever the order in which jobs end, what was charged and the rest are the sum.
    #[test]
    fn nothing_is_lost_to_rounding(jobs in proptest::collection::vec(0_u128..10_000_000_000, 0..200)) {
        let (mut charged, mut rest): (u128, u32) = (0, 0);
        for job in &jobs {
            let (whole, left) = Exact(*job).with_rest(rest).unwrap();
            prop_assert!(u128::from(whole).abs_diff(job / 1_000_000_000) <= 1, "a job's own figure is at most one off");
            (charged, rest) = (charged + u128::from(whole), left);
        }
        prop_assert!(rest < BILLIONTHS);
        prop_assert_eq!(charged * 1_000_000_000 + u128::from(rest), jobs.iter().sum::<u128>());
    }

    /// Whatever Slurm and the configuration say, a figure fits into what Core takes, or is none.
    #[test]
    fn hostile_numbers_make_no_figure(
        price in any::<u64>(),
        machine in 1..=u64::MAX,
        period_s in periods(),
        runs in runs(u64::MAX, u64::MAX),
        rest in 0..BILLIONTHS,
    ) {
        if let Some(exact) = rate(price, machine, period_s).exact(runs) {
            if let Some((whole, left)) = exact.with_rest(rest) {
                prop_assert!(i64::try_from(whole).is_ok() && left < BILLIONTHS);
            }
            prop_assert!(exact.whole().is_none_or(|whole| i64::try_from(whole).is_ok()));
        }
    }
}

#[test]
fn an_hour_of_a_processor_is_a_core_hour_in_each_kind_of_price() {
    let check = |price, machine, period_s, count, seconds, want: u64| {
        let exact = rate(price, machine, period_s).exact([Taken { count, seconds }]).unwrap();
        assert_eq!(exact.whole(), Some(want), "{price} {machine} {period_s:?} {count} {seconds}");
    };
    check(1, 1, Some(3_600), 1, 3_600, 1);
    check(64, 64, Some(3_600), 128, 3_600, 128);
    check(1, 64, Some(3_600), 128, 3_600, 2);
    check(1, 1, Some(3_600), 1, 3_599, 0);
    check(1, 1, Some(60), 4, 90, 6);
    check(3, 1, Some(86_400), 2, 43_200, 3);
    check(2, 1, None, 4, 9_999, 8);
}

#[test]
fn the_greatest_figure_is_cores_greatest_number() {
    let most = Exact(u128::from(UNITS_MAX) * u128::from(BILLIONTHS));
    assert_eq!(most.whole(), Some(UNITS_MAX));
    assert_eq!(most.with_rest(BILLIONTHS - 1), Some((UNITS_MAX, BILLIONTHS - 1)));
    assert_eq!(Exact(most.0 + u128::from(BILLIONTHS)).whole(), None);
    assert_eq!(Exact(u128::MAX).with_rest(1), None);
}

#[test]
fn a_drives_bytes_are_rounded_to_the_nearest_unit_of_its_category() {
    let check = |unit: &str, frequency: Frequency, price: i64, bytes: u64, want: Option<u64>| {
        let product = Product {
            name: "disk".to_owned(),
            category: "disk".to_owned(),
            kind: countersign_config::ProductKind::Storage,
            description: String::new(),
            price,
            accounting: countersign_config::Accounting {
                unit: unit.to_owned(),
                unit_plural: unit.to_owned(),
                frequency,
                is_free: false,
            },
            is_hidden: false,
            machine: countersign_config::Machine::default(),
            placement: countersign_config::Placement::default(),
            licence: None,
        };
        assert_eq!(of_bytes(&product, bytes), want, "{unit} {price} {bytes}");
    };
    check("GB", Frequency::Once, 1, 1_499_999_999, Some(1));
    check("GB", Frequency::Once, 1, 1_500_000_000, Some(2));
    check("GiB", Frequency::Once, 1, (1 << 30) + (1 << 29) - 1, Some(1));
    check("TB", Frequency::Once, 2, 3_000_000_000_000, Some(6));
    check("B", Frequency::Once, 1, u64::MAX, None);
    check("PiB", Frequency::Once, i64::MAX, u64::MAX, None);
    check("Core", Frequency::Once, 1, 7, None);
    check("GB", Frequency::Day, 1, 7, None);
}
