//! Measures how fast a log is checked. It writes a log of millions of records in the formats of
//! C2SP without any code of the product, and runs the product's own `audit verify` on it. So a log
//! that the product accepts also shows that two implementations agree about the formats.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use crate::arguments::AuditOptions;
use crate::error::BenchError;
use crate::report;
use crate::statistics::median;

/// Origin of the log.
const ORIGIN: &str = "bench.example/audit/gateway";
/// Records per file: the product's default.
const SEGMENT_MAX: u64 = 64 * 1024 * 1024;
/// Hashes per tile.
const WIDTH: usize = 256;

type Hash = [u8; 32];

pub(crate) fn run(options: &AuditOptions) -> Result<(), BenchError> {
    let directory = match &options.directory {
        Some(parent) => tempfile::tempdir_in(parent),
        None => tempfile::tempdir(),
    };
    let directory = directory.map_err(BenchError::io("making a directory"))?;
    let mut log = Log::begin(directory.path())?;
    for number in 0..options.records {
        log.record(number)?;
    }
    let (key, bytes) = log.finish()?;
    let mut seconds = Vec::new();
    let before = children()?;
    for _ in 0..options.rounds.max(1) {
        seconds.push(verify(options, directory.path(), &key)?);
    }
    let each = (children()? - before) / f64::from(u32::try_from(seconds.len()).unwrap_or(u32::MAX));
    let per_second = |seconds: f64| f64::from(options.records) / seconds / 1e6;
    let rounds: Vec<String> = seconds.iter().map(|seconds| format!("{:.2}", per_second(*seconds))).collect();
    let middle = median(seconds).ok_or(BenchError::Empty("no round"))?;
    report::line(&format!(
        "{} records, {:.0} MiB: {middle:.2} s, {:.2} million records a second (rounds {}), {:.0} MiB/s; {each:.2} s of CPU, {:.2} million a second of it",
        options.records,
        report::mebibytes(bytes),
        per_second(middle),
        rounds.join(" "),
        report::mebibytes(bytes) / middle,
        per_second(each),
    ))
}

/// CPU time of the programs that ran, in seconds.
fn children() -> Result<f64, BenchError> {
    let used = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(BenchError::system("asking for CPU time"))?;
    let micros = used.user_time().num_microseconds().saturating_add(used.system_time().num_microseconds());
    Ok(Duration::from_micros(u64::try_from(micros).unwrap_or(0)).as_secs_f64())
}

/// Runs one check with the product. Returns its own time, without its start.
fn verify(options: &AuditOptions, directory: &Path, key: &str) -> Result<f64, BenchError> {
    let output = Command::new(&options.countersign)
        .args(["audit", "verify", "--json", "--key", key])
        .arg(directory)
        .output()
        .map_err(BenchError::io("running countersign audit verify"))?;
    let said: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|_| BenchError::Answer("audit verify says nothing"))?;
    let log = said.get(0).ok_or(BenchError::Answer("audit verify found no log"))?;
    let is_good = log.get("good").and_then(serde_json::Value::as_bool) == Some(true);
    if !is_good || log.get("records").and_then(serde_json::Value::as_u64) != Some(options.records.into()) {
        return Err(BenchError::Answer("audit verify does not take the log for good"));
    }
    log.get("seconds").and_then(serde_json::Value::as_f64).ok_or(BenchError::Answer("audit verify gives no time"))
}

/// A log being written.
struct Log<'d> {
    directory: &'d Path,
    /// The current file of records, its number and its length.
    segment: (BufWriter<File>, u64, u64),
    list: String,
    levels: Vec<Level>,
    size: u64,
    bytes: u64,
}

/// The hashes of each level's last tile, and how many tiles before it are full.
#[derive(Default)]
struct Level {
    hashes: Vec<Hash>,
    full: u64,
}

impl<'d> Log<'d> {
    fn begin(directory: &'d Path) -> Result<Self, BenchError> {
        fs::create_dir(directory.join("entries")).map_err(BenchError::io("making a directory"))?;
        let segment = (open(directory, 1)?, 1, 0);
        Ok(Self { directory, segment, list: "1 0\n".to_owned(), levels: Vec::new(), size: 0, bytes: 0 })
    }

    /// A record as the gateway writes it for a request that it permits.
    fn record(&mut self, number: u32) -> Result<(), BenchError> {
        let second = number / 1_000;
        let line = format!(
            "{{\"time\":\"2026-11-23T{:02}:{:02}:{:02}.{:03}456789Z\",\"requestId\":\"{number:016x}\",\"process\":\"gateway\",\"username\":\"alice#{:04}\",\
             \"call\":\"files.browse\",\"kid\":\"BwcHBwcHBwcHBwcHBwcHBw\",\"decision\":\"forward\",\"status\":null,\"reason\":null}}",
            second / 3600 % 24,
            second / 60 % 60,
            second % 60,
            number % 1_000,
            number % 10_000,
        );
        let length = u64::try_from(line.len()).unwrap_or(0).saturating_add(1);
        let (file, segment, written) = &mut self.segment;
        if written.saturating_add(length) > SEGMENT_MAX {
            file.flush().map_err(BenchError::io("writing records"))?;
            let next = segment.saturating_add(1);
            self.list.push_str(&format!("{next} {}\n", self.size));
            self.segment = (open(self.directory, next)?, next, 0);
        }
        let (file, _, written) = &mut self.segment;
        writeln!(file, "{line}").map_err(BenchError::io("writing records"))?;
        *written = written.saturating_add(length);
        self.bytes = self.bytes.saturating_add(length);
        self.size = self.size.saturating_add(1);
        self.push(0, hash(&[&[0], line.as_bytes()]))
    }

    fn push(&mut self, level: usize, leaf: Hash) -> Result<(), BenchError> {
        if self.levels.len() <= level {
            self.levels.push(Level::default());
        }
        let Some(Level { hashes, full }) = self.levels.get_mut(level) else { return Ok(()) };
        hashes.push(leaf);
        if hashes.len() < WIDTH {
            return Ok(());
        }
        let (whole, index) = (std::mem::take(hashes), *full);
        *full = full.saturating_add(1);
        tile(self.directory, level, index, &whole)?;
        self.push(level.saturating_add(1), above(&whole))
    }

    /// Writes the incomplete tiles, the list and the checkpoint. Returns the key and the size of
    /// the records in bytes.
    fn finish(mut self) -> Result<(String, u64), BenchError> {
        self.segment.0.flush().map_err(BenchError::io("writing records"))?;
        let mut root: Option<Hash> = None;
        for (number, level) in self.levels.iter().enumerate() {
            if !level.hashes.is_empty() {
                tile(self.directory, number, level.full, &level.hashes)?;
            }
            // From the right: the smallest perfect tree first.
            let mut rest = level.hashes.as_slice();
            while !rest.is_empty() {
                let (left, right) = rest.split_at(rest.len().saturating_sub(1 << rest.len().trailing_zeros()));
                let tree = above(right);
                root = Some(root.map_or(tree, |root| node(&tree, &root)));
                rest = left;
            }
        }
        let root = root.ok_or(BenchError::Empty("no records"))?;
        let pair = Ed25519KeyPair::generate().map_err(|_| BenchError::Keys("an Ed25519 key"))?;
        let typed = [&[1], pair.public_key().as_ref()].concat();
        let id = hash(&[ORIGIN.as_bytes(), b"\n", &typed]);
        let id = id.get(..4).unwrap_or_default();
        let key = format!(
            "{ORIGIN}+{}+{}",
            id.iter().map(|b| format!("{b:02x}")).collect::<String>(),
            STANDARD.encode(&typed)
        );
        let text = format!("{ORIGIN}\n{}\n{}\n", self.size, STANDARD.encode(root));
        let signature = STANDARD.encode([id, pair.sign(text.as_bytes()).as_ref()].concat());
        self.file("checkpoint", &format!("{text}\n\u{2014} {ORIGIN} {signature}\n"))?;
        self.file("segments", &self.list)?;
        self.file("vkey", &format!("{key}\n"))?;
        Ok((key, self.bytes))
    }

    fn file(&self, name: &str, text: &str) -> Result<(), BenchError> {
        fs::write(self.directory.join(name), text).map_err(BenchError::io("writing the log's files"))
    }
}

fn open(directory: &Path, number: u64) -> Result<BufWriter<File>, BenchError> {
    let path = directory.join("entries").join(format!("{number:06}-2026-11-23.jsonl"));
    File::create(path).map(BufWriter::new).map_err(BenchError::io("making a file of records"))
}

/// `tile/0/x001/x234/067`, with `.p/WIDTH` for a partial one.
fn tile(directory: &Path, level: usize, index: u64, hashes: &[Hash]) -> Result<(), BenchError> {
    let mut path = directory.join("tile").join(level.to_string());
    for divisor in [1_000_000, 1_000] {
        if index >= divisor {
            path.push(format!("x{:03}", index / divisor % 1_000));
        }
    }
    let last = format!("{:03}", index % 1_000);
    path.push(if hashes.len() < WIDTH { format!("{last}.p/{}", hashes.len()) } else { last });
    let making = BenchError::io("making a directory of tiles");
    fs::create_dir_all(path.parent().unwrap_or(directory)).map_err(making)?;
    fs::write(path, hashes.concat()).map_err(BenchError::io("writing a tile"))
}

/// The root of the perfect tree over these hashes.
fn above(hashes: &[Hash]) -> Hash {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        level = level.as_chunks::<2>().0.iter().map(|[left, right]| node(left, right)).collect();
    }
    level.first().copied().unwrap_or_default()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    hash(&[&[1], left, right])
}

fn hash(parts: &[&[u8]]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, &parts.concat()).as_ref());
    hash
}
