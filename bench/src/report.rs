//! The tool's output: for the comparison a table of medians, the ratios to HAProxy round by round,
//! and the machine and versions.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use crate::arguments::CompareOptions;
use crate::compare::{Series, Turn};
use crate::error::BenchError;
use crate::memory::Moment;
use crate::process::Cores;
use crate::proxy::Name;
use crate::replay::Size;
use crate::signer::Algorithm;
use crate::statistics::median;

/// Prints the error and its sources to standard error.
pub(crate) fn complain(error: &BenchError) {
    let mut text = format!("countersign-bench: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    // If standard error is closed, the error cannot be reported.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

pub(crate) fn compare(series: &[Series], options: &CompareOptions, cores: Cores) -> Result<(), BenchError> {
    let mut text = String::new();
    // Writing to a `String` can't fail.
    let _ = heading(&mut text, series, options, cores);
    let _ = table(&mut text, series);
    print(&text)?;
    check(series)
}

/// Checks that every figure can be one. The limits hold for debug builds on a busy machine too.
fn check(series: &[Series]) -> Result<(), BenchError> {
    let base = series.iter().find(|one| one.proxy.name() == Name::HaProxy);
    for one in series {
        for (round, turn) in one.turns.iter().enumerate() {
            let figures = [
                ("CPU time in microseconds", cpu_us(turn), 1.0..100_000.0),
                ("the kernel's share", turn.system_share, 0.0..1.01),
                ("the load's share of its core", turn.load.as_secs_f64() / turn.elapsed.as_secs_f64(), 0.0..1.5),
            ];
            let ratio = base.and_then(|base| base.turns.get(round)).map(|base| cpu_us(turn) / cpu_us(base));
            let ratio = ratio.map(|ratio| ("the ratio to HAProxy", ratio, 0.02..50.0));
            for (what, value, possible) in figures.into_iter().chain(ratio) {
                if !possible.contains(&value) {
                    return Err(BenchError::Implausible { proxy: label(one), what, value });
                }
            }
        }
    }
    Ok(())
}

/// Gateway and server, at each moment.
pub(crate) fn memory(moments: &[Moment]) -> Result<(), BenchError> {
    let mut text = format!("{:<44} {:>12} {:>12} {:>14}\n", "MiB", "gateway RSS", "server RSS", "together PSS");
    for Moment { when, gateway_bytes, server_bytes, together_bytes } in moments {
        let [gateway, server, together] = [gateway_bytes, server_bytes, together_bytes].map(|bytes| mebibytes(*bytes));
        let _ = writeln!(text, "{when:<44} {gateway:>12.1} {server:>12.1} {together:>14.1}");
    }
    print(&text)
}

/// Prints one more measurement as text.
pub(crate) fn line(words: &str) -> Result<(), BenchError> {
    print(&format!("{words}\n"))
}

fn print(text: &str) -> Result<(), BenchError> {
    io::stdout().lock().write_all(text.as_bytes()).map_err(BenchError::io("printing the report"))
}

/// The replay log, size by size.
pub(crate) fn replay(sizes: &[Size]) -> Result<(), BenchError> {
    let mut text = format!("{:>12} {:>14} {:>14} {:>10}\n", "live intents", "first use ns", "second use ns", "RSS MiB");
    for size in sizes {
        let (insertion, refusal) = (size.insertion.as_nanos(), size.refusal.as_nanos());
        let memory = mebibytes(size.resident_bytes);
        let _ = writeln!(text, "{:>12} {insertion:>14} {refusal:>14} {memory:>10.1}", size.live);
    }
    print(&text)
}

pub(crate) fn mebibytes(bytes: u64) -> f64 {
    // Rounded to KiB, the kernel's unit.
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) / 1024.0
}

fn heading(text: &mut String, series: &[Series], options: &CompareOptions, cores: Cores) -> std::fmt::Result {
    let (rounds, requests, threads) = (options.rounds, options.requests, options.threads);
    let sent = match options.streams {
        Some(streams) => format!("{streams} at once on one connection of HTTP/2"),
        None => format!("{} connections", options.connections),
    };
    writeln!(
        text,
        "{rounds} rounds of {requests} requests each, {sent}, worker threads: {threads}; medians of the rounds"
    )?;
    match cores {
        Cores::Apart(1) => writeln!(text, "every proxy's processes on one core, the load and the upstream on another")?,
        Cores::Apart(cores) => {
            writeln!(text, "every proxy's processes on {cores} cores, the load and the upstream on another")?;
        }
        Cores::Shared => writeln!(
            text,
            "too few cores: the load shares them with the proxies, so only CPU time and its ratios say something"
        )?,
    }
    if options.stored {
        writeln!(text, "users are in the store alone")?;
    }
    for one in series {
        writeln!(text, "{} {}, {}", label(one), one.proxy.version(), one.protection)?;
    }
    let given = [
        (Name::Countersign, options.countersign.is_some()),
        (Name::HaProxy, options.haproxy.is_some()),
        (Name::Envoy, options.envoy.is_some()),
    ];
    for (name, _) in given.into_iter().filter(|(_, given)| !given) {
        writeln!(text, "{name}: not run, its program was not given")?;
    }
    Ok(())
}

fn table(text: &mut String, series: &[Series]) -> std::fmt::Result {
    let base = series.iter().find(|one| one.proxy.name() == Name::HaProxy);
    writeln!(
        text,
        "\n{:<36} {:>10} {:>8} {:>11} {:>7} {:>7} {:>9}   CPU against HAProxy, median (each round)",
        "", "CPU µs/req", "kernel", "requests/s", "p50 ms", "p99 ms", "load busy"
    )?;
    for one in series {
        let middle = |value: fn(&Turn) -> f64| median(one.turns.iter().map(value)).unwrap_or(f64::NAN);
        write!(
            text,
            "{:<36} {:>10.1} {:>7.0}% {:>11.0} {:>7.2} {:>7.2} {:>8.0}%",
            label(one),
            middle(cpu_us),
            middle(|turn| turn.system_share * 100.0),
            middle(|turn| f64::from(count(turn)) / turn.elapsed.as_secs_f64()),
            middle(|turn| turn.p50.as_secs_f64() * 1e3),
            middle(|turn| turn.p99.as_secs_f64() * 1e3),
            middle(|turn| turn.load.as_secs_f64() / turn.elapsed.as_secs_f64() * 100.0),
        )?;
        ratios(text, base, one, cpu_us)?;
        let fewer = series.iter().find(|other| is_of_fewer_users(other, one));
        if let Some(fewer) = fewer {
            write!(text, "{:94}   beside {}: ", "", counted(fewer.users))?;
            write_ratios(text, fewer, one, cpu_us)?;
        }
        let labels = one.turns.first().map(|turn| turn.cpu.iter().map(|(label, _)| *label)).into_iter().flatten();
        let labels: Vec<_> = labels.collect();
        for label in labels.iter().filter(|_| labels.len() > 1) {
            let part = |turn: &Turn| part_us(turn, label);
            write!(text, "  of that, {label:<25} {:>10.1}", median(one.turns.iter().map(part)).unwrap_or(f64::NAN))?;
            write!(text, "{:47}", "")?;
            ratios(text, base, one, part)?;
        }
    }
    Ok(())
}

/// Whether these rows differ in the number of users alone, and the first has fewer.
fn is_of_fewer_users(other: &Series, one: &Series) -> bool {
    let both = [other, one].map(|series| (series.proxy.name(), series.algorithm));
    both.first() == both.last() && other.users < one.users
}

fn counted(users: usize) -> String {
    if users == 1 { "1 user".to_owned() } else { format!("{users} users") }
}

/// A row's name: Countersign runs once for each algorithm and number of users.
fn label(one: &Series) -> String {
    match (one.proxy.name(), one.algorithm) {
        (name @ Name::Countersign, Algorithm::Es256) => format!("{name}, ES256, {}", counted(one.users)),
        (name @ Name::Countersign, Algorithm::Ed25519) => format!("{name}, Ed25519, {}", counted(one.users)),
        (name @ (Name::HaProxy | Name::HaProxyBare | Name::Envoy), _) => name.to_string(),
    }
}

/// The rest of a row: this series' CPU time divided by HAProxy's of the same round.
fn ratios(text: &mut String, base: Option<&Series>, one: &Series, value: impl Fn(&Turn) -> f64) -> std::fmt::Result {
    let Some(base) = base else { return writeln!(text) };
    write!(text, "   ")?;
    write_ratios(text, base, one, value)
}

/// The median of the ratios within each round, and each of them.
fn write_ratios(text: &mut String, base: &Series, one: &Series, value: impl Fn(&Turn) -> f64) -> std::fmt::Result {
    let ratios: Vec<_> = one.turns.iter().zip(&base.turns).map(|(turn, base)| value(turn) / cpu_us(base)).collect();
    let each: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    writeln!(text, "{:.2} ({})", median(ratios).unwrap_or(f64::NAN), each.join(" "))
}

fn cpu_us(turn: &Turn) -> f64 {
    turn.cpu.iter().map(|(_, time)| time.as_secs_f64()).sum::<f64>() * 1e6 / f64::from(count(turn))
}

fn part_us(turn: &Turn, label: &str) -> f64 {
    let part = turn.cpu.iter().find(|(name, _)| *name == label);
    part.map_or(f64::NAN, |(_, time)| time.as_secs_f64() * 1e6 / f64::from(count(turn)))
}

fn count(turn: &Turn) -> u32 {
    u32::try_from(turn.requests).unwrap_or(u32::MAX)
}
