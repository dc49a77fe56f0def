//! Transfers files over TLS through Countersign and nginx, side by side, with `curl` as the client
//! of both. Also measures the memory of a long transfer, and the time of a large folder's first
//! page.
//!
//! nginx reads and writes files itself, in one process; Countersign's gateway passes them to and
//! from the user's own process, which digests what comes. Works only where
//! `tests/support/installation.sh` has installed Countersign.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign_portal::{Core, CoreKeys, Deed, Endpoint};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::arguments::TransferOptions;
use crate::client::{Client, Connection};
use crate::error::BenchError;
use crate::installed::{ACCOUNT, USERNAME, account, give, install, instance};
use crate::nginx::Nginx;
use crate::process;
use crate::proxy::{NO_UPSTREAM, Name, Running, Site, free_address};
use crate::report;
use crate::signer::Algorithm;
use crate::signer::sha256;
use crate::statistics::percentile;
use crate::workload::{FOLDER, PROVIDER, Workload};

/// Length of a piece, in bytes: the most that UCloud's frontend sends.
const PIECE: u64 = 32_000_000;
/// Files of the large folder.
const FILES: usize = 100_000;
/// Upper bound for the time of its first page.
const PAGE_MAX: Duration = Duration::from_millis(250);
/// How often its first page is requested.
const PAGES: usize = 21;
/// The cipher suite that both are asked for.
const SUITE: &str = "TLS_AES_128_GCM_SHA256";
const MIB: u64 = 1024 * 1024;

pub(crate) fn run(options: &TransferOptions) -> Result<(), BenchError> {
    let workload = Workload::generate(USERNAME, Algorithm::Ed25519)?;
    let site = Site::prepare(&workload, Path::new(NO_UPSTREAM))?;
    let proxy = install(&workload, &site)?;
    let user = account(ACCOUNT)?;
    let folder = user.dir.join("docs");
    write_file(&folder.join("source"), options.size.saturating_mul(MIB))?;
    give(&folder, &user)?;
    // Beside it in the same file system, with the same file in it: nginx takes what it is given for
    // its own.
    let beside = user.dir.join("nginx");
    fs::create_dir(&beside).map_err(BenchError::io("nginx's folder"))?;
    fs::hard_link(folder.join("source"), beside.join("source")).map_err(BenchError::io("nginx's folder"))?;
    let nginx = FileServer::start(&options.nginx, &site, &beside)?;
    let runtime = process::runtime()?;
    runtime.block_on(async {
        let client = Client::trusting(site.certificate())?;
        let mut desk =
            Desk { connection: client.connect(&proxy).await?, workload: &workload, site: &site, proxy: &proxy };
        desk.connection.settle(&workload).await?;
        let (mut down, mut up) = (Vec::new(), Vec::new());
        // The first round warms the caches of both and is not counted.
        for round in 0..=options.rounds {
            let theirs = nginx.download(&site, "source")?;
            let ours = desk.download("source").await?;
            let theirs_up = nginx.upload(&site, &folder.join("source"))?;
            let ours_up = desk.upload(&folder.join("source"), "uploaded").await?;
            fs::remove_file(folder.join("uploaded")).map_err(BenchError::io("an uploaded file"))?;
            if round > 0 {
                down.push((ours, theirs));
                up.push((ours_up, theirs_up));
            }
        }
        drop(nginx);
        fs::remove_dir_all(&beside).map_err(BenchError::io("nginx's folder"))?;
        fs::remove_file(folder.join("source")).map_err(BenchError::io("the file that was sent"))?;
        print("download", options.size, &mut down)?;
        print("upload", options.size, &mut up)?;
        desk.long(&folder, options.long).await?;
        desk.page(&folder).await
    })
}

/// The median of each, and of the ratios of the rounds. The two transfers of a round are measured
/// one after the other.
fn print(what: &str, size: u64, rounds: &mut [(Duration, Duration)]) -> Result<(), BenchError> {
    let rate = |time: Duration| report::mebibytes(size.saturating_mul(MIB)) / time.as_secs_f64();
    let (mut ours, mut theirs): (Vec<_>, Vec<_>) = rounds.iter().copied().unzip();
    let mut ratios: Vec<f64> = rounds.iter().map(|(ours, theirs)| theirs.as_secs_f64() / ours.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    let nothing = || BenchError::Empty("--rounds must be at least 1");
    let ours = percentile(&mut ours, 50).ok_or_else(nothing)?;
    let theirs = percentile(&mut theirs, 50).ok_or_else(nothing)?;
    let at = |part: usize| ratios.get(ratios.len().saturating_sub(1).saturating_mul(part) / 2).copied().unwrap_or(0.0);
    report::line(&format!(
        "{what} of {size} MiB: {:.0} MiB/s, nginx {:.0} MiB/s; throughput {:.2} of nginx's (rounds {:.2} to {:.2})",
        rate(ours),
        rate(theirs),
        at(1),
        at(0),
        at(2)
    ))
}

/// nginx with the same certificate: it serves the folder, and accepts files with `PUT`.
struct FileServer {
    _nginx: Nginx,
    address: SocketAddr,
}

impl FileServer {
    /// Runs as the user: it reads and writes the same files in the same file system.
    fn start(program: &Path, site: &Site, folder: &Path) -> Result<Self, BenchError> {
        let address = free_address()?;
        let http = format!(
            "sendfile on; tcp_nopush on; client_max_body_size 0; client_body_temp_path {folder}/temp;\n\
             server {{ listen {address} ssl; ssl_certificate {chain}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;\n\
             ssl_conf_command Ciphersuites {SUITE};\n\
             root {folder}; location / {{ dav_methods PUT; }} }}",
            folder = folder.display(),
            chain = site.path("chain.pem").display(),
            key = site.path("key.pem").display(),
        );
        let nginx = Nginx::start(program, site, &http, || std::net::TcpStream::connect(address).is_ok())?;
        Ok(Self { _nginx: nginx, address })
    }

    fn download(&self, site: &Site, name: &str) -> Result<Duration, BenchError> {
        curl(site, &[&format!("https://localhost:{}/{name}", self.address.port())])
    }

    fn upload(&self, site: &Site, file: &Path) -> Result<Duration, BenchError> {
        let target = format!("https://localhost:{}/uploaded-by-nginx", self.address.port());
        curl(site, &["-T", &file.display().to_string(), "-H", "Expect:", &target])
    }
}

/// Runs one `curl` from start to end and discards its output. Any failure is an error.
fn curl(site: &Site, arguments: &[&str]) -> Result<Duration, BenchError> {
    let begun = Instant::now();
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--http1.1", "--tls13-ciphers", SUITE, "--cacert"])
        .arg(site.path("chain.pem"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(BenchError::io("curl"))?;
    let took = begun.elapsed();
    if output.status.success() {
        return Ok(took);
    }
    let body = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(BenchError::Unexpected { proxy: Name::Countersign, status: 0, body })
}

/// The user's browser and Core, as clients of Countersign.
struct Desk<'a> {
    connection: Connection,
    workload: &'a Workload,
    site: &'a Site,
    proxy: &'a Running,
}

impl Desk<'_> {
    /// Makes a signed call for one item, and returns the answer to that item.
    async fn call(&mut self, call: &str, path: &str, bound: &Value) -> Result<Value, BenchError> {
        let request = self.workload.request_for(call, path, bound, bound)?;
        let answer = self.connection.exchange(&request).await?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        let unexpected = BenchError::Unexpected { proxy: Name::Countersign, status: answer.status, body: body.clone() };
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        answer.pointer("/responses/0").cloned().ok_or(unexpected)
    }

    fn endpoint(&self, below: &str) -> String {
        format!("https://localhost:{}/ucloud/{PROVIDER}/{below}", self.proxy.address().port())
    }

    fn proof(&self, call: &str, token: &str, piece: Option<(u64, u64, u64, &str)>) -> Result<String, BenchError> {
        let token = sha256(token.as_bytes(), &URL_SAFE_NO_PAD);
        let (offset, size, total, digest) = piece.map_or((None, None, None, None), |(offset, size, total, digest)| {
            (Some(offset), Some(size), Some(total), Some(digest))
        });
        let bound = json!({"token": token, "offset": offset, "size": size, "total": total, "digest": digest});
        self.workload.sign(call, &bound)
    }

    async fn download(&mut self, name: &str) -> Result<Duration, BenchError> {
        let answer =
            self.call("files.createDownload", "files/download", &json!({"id": format!("/home/docs/{name}")})).await?;
        let endpoint = answer.get("endpoint").and_then(Value::as_str).unwrap_or_default();
        let (_, token) = endpoint.split_once("?token=").ok_or(BenchError::Answer("a download without a token"))?;
        let proof = self.proof("session.open", token, None)?;
        curl(self.site, &[&format!("{}?token={token}&intent={proof}", self.endpoint("download"))])
    }

    /// Sends a file in pieces over one connection. Its digests and proofs are made before the
    /// measurement: a browser makes them while it sends.
    async fn upload(&mut self, file: &Path, name: &str) -> Result<Duration, BenchError> {
        let bound = json!({"id": format!("/home/docs/{name}"), "type": "FILE", "conflictPolicy": "RENAME"});
        let answer = self.call("files.createUpload", "files/upload", &bound).await?;
        let token =
            answer.get("token").and_then(Value::as_str).ok_or(BenchError::Answer("an upload without a token"))?;
        let content = fs::read(file).map_err(BenchError::io("the file to send"))?;
        let total = u64::try_from(content.len()).unwrap_or(u64::MAX);
        let pieces = self.site.path("pieces");
        fs::create_dir_all(&pieces).map_err(BenchError::io("pieces of a file"))?;
        let mut arguments: Vec<String> = Vec::new();
        for (at, bytes) in content.chunks(usize::try_from(PIECE).unwrap_or(usize::MAX)).enumerate() {
            let piece = pieces.join(at.to_string());
            fs::write(&piece, bytes).map_err(BenchError::io("pieces of a file"))?;
            let offset = u64::try_from(at).unwrap_or(u64::MAX).saturating_mul(PIECE);
            arguments.extend(self.piece(token, &piece, bytes, offset, total)?);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        curl(self.site, &arguments)
    }

    /// The arguments of `curl` for a piece.
    fn piece(
        &self,
        token: &str,
        file: &Path,
        bytes: &[u8],
        offset: u64,
        total: u64,
    ) -> Result<Vec<String>, BenchError> {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let call = if offset == 0 { "session.open" } else { "session.continue" };
        let proof = self.proof(call, token, Some((offset, size, total, &sha256(bytes, &URL_SAFE_NO_PAD))))?;
        let mut arguments: Vec<String> = Vec::new();
        if offset > 0 {
            arguments.push("--next".to_owned());
            for option in ["--silent", "--show-error", "--fail", "--http1.1", "--tls13-ciphers", SUITE, "--cacert"] {
                arguments.push(option.to_owned());
            }
            arguments.push(self.site.path("chain.pem").display().to_string());
        }
        arguments.extend(["-X".to_owned(), "POST".to_owned(), "-T".to_owned(), file.display().to_string()]);
        for header in [
            "Expect:".to_owned(),
            format!("Chunked-Upload-Token: {token}"),
            format!("Chunked-Upload-Offset: {offset}"),
            format!("Chunked-Upload-Total-Size: {total}"),
            format!("Content-Digest: sha-256=:{}:", sha256(bytes, &STANDARD)),
            format!("UCloud-Signed-Intent: {proof}"),
        ] {
            arguments.extend(["-H".to_owned(), header]);
        }
        arguments.push(self.endpoint("chunked/upload"));
        Ok(arguments)
    }

    /// The maximum memory of gateway and instance while a file of that length is downloaded, and
    /// while one is uploaded.
    async fn long(&mut self, folder: &Path, length: u64) -> Result<(), BenchError> {
        let bytes = length.saturating_mul(MIB);
        let io = || BenchError::io("a long file");
        // A sparse file: it takes no blocks on the disk, and is read at its full length.
        fs::File::create(folder.join("long")).and_then(|file| file.set_len(bytes)).map_err(io())?;
        give(&folder.join("long"), &account(ACCOUNT)?)?;
        let watched = self.watched()?;
        let before = process::resident_bytes(&watched)?;
        let watch = Watch::start(watched.clone());
        self.download("long").await?;
        let out = watch.end();
        fs::remove_file(folder.join("long")).map_err(io())?;
        let watch = Watch::start(watched);
        self.upload_long(bytes).await?;
        let inward = watch.end();
        fs::remove_file(folder.join("long-uploaded")).map_err(io())?;
        report::line(&format!(
            "gateway and instance together: RSS {:.1} MiB before, at most {:.1} MiB while {length} MiB go out, {:.1} MiB while they come in",
            report::mebibytes(before),
            report::mebibytes(out),
            report::mebibytes(inward),
        ))
    }

    /// Sends the same piece repeatedly. Each proof is made just before its piece, because it lives
    /// for a minute.
    async fn upload_long(&mut self, total: u64) -> Result<(), BenchError> {
        let bound = json!({"id": "/home/docs/long-uploaded", "type": "FILE", "conflictPolicy": "RENAME"});
        let answer = self.call("files.createUpload", "files/upload", &bound).await?;
        let token =
            answer.get("token").and_then(Value::as_str).ok_or(BenchError::Answer("an upload without a token"))?;
        let bytes = vec![0; usize::try_from(PIECE).unwrap_or(usize::MAX)];
        let file = self.site.path("piece");
        fs::write(&file, &bytes).map_err(BenchError::io("pieces of a file"))?;
        let mut offset = 0;
        while offset < total {
            let size = PIECE.min(total.saturating_sub(offset));
            let bytes = bytes.get(..usize::try_from(size).unwrap_or(0)).unwrap_or_default();
            if size < PIECE {
                fs::write(&file, bytes).map_err(BenchError::io("pieces of a file"))?;
            }
            let arguments = self.piece(token, &file, bytes, offset, total)?;
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).filter(|word| *word != "--next").collect();
            curl(self.site, &arguments)?;
            offset = offset.saturating_add(size);
        }
        Ok(())
    }

    /// The gateway and the instance.
    fn watched(&self) -> Result<Vec<Pid>, BenchError> {
        let mut watched = vec![instance(self.proxy)?];
        for pid in self.proxy.processes()? {
            if process::arguments(pid)?.iter().any(|word| word == "gateway") {
                watched.push(pid);
            }
        }
        Ok(watched)
    }

    /// Measures the first page of a folder with many files: the time that UCloud's page waits for
    /// Core. The stand-in for Core sends the request as the real one does, over HTTP/2.
    async fn page(&self, folder: &Path) -> Result<(), BenchError> {
        for at in 0..FILES {
            fs::File::create(folder.join(format!("file-{at:06}"))).map_err(BenchError::io("a large folder"))?;
        }
        let keys = CoreKeys::from_pkcs8(PROVIDER, &self.workload.core.pkcs8()?)?;
        let chain = fs::read_to_string(self.site.path("chain.pem")).map_err(BenchError::io("the certificate"))?;
        let core = Core::new(Arc::new(keys), Endpoint::tls(self.proxy.address(), "localhost", &chain)?);
        let browse = Deed::browse(FOLDER);
        let mut times = Vec::new();
        for _ in 0..PAGES {
            let intent = self.workload.intent(&self.workload.first)?;
            let begun = Instant::now();
            let answer = core.perform(USERNAME, &browse, Some(&intent)).await?;
            times.push(begun.elapsed());
            let items = answer.json().get("items").and_then(Value::as_array).map_or(0, Vec::len);
            if answer.status != 200 || items == 0 {
                let body = String::from_utf8_lossy(&answer.bytes).into_owned();
                return Err(BenchError::Unexpected { proxy: Name::Countersign, status: answer.status, body });
            }
        }
        let first = times.first().copied().unwrap_or_default();
        let median = percentile(&mut times, 50).unwrap_or_default();
        report::line(&format!(
            "the first page of a folder with {FILES} files, through the stand-in for Core: {:.0} ms at first, median {:.0} ms of {PAGES}; {} {} ms",
            first.as_secs_f64() * 1e3,
            median.as_secs_f64() * 1e3,
            if first.max(median) <= PAGE_MAX { "within" } else { "NOT within" },
            PAGE_MAX.as_millis(),
        ))
    }
}

/// Samples the memory from a separate thread, a hundred times a second.
struct Watch {
    most: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Watch {
    fn start(processes: Vec<Pid>) -> Self {
        let (most, ended) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (seen, over) = (Arc::clone(&most), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                seen.fetch_max(process::resident_bytes(&processes).unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self { most, ended, thread }
    }

    fn end(self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
        self.most.load(Ordering::Relaxed)
    }
}

/// A file of that length whose content does not compress.
fn write_file(path: &PathBuf, length: u64) -> Result<(), BenchError> {
    let io = || BenchError::io("the file to send");
    let mut file = fs::File::create(path).map_err(io())?;
    let mut block = vec![0; usize::try_from(MIB).unwrap_or(0)];
    for _ in 0..length / MIB {
        aws_lc_rs::rand::fill(&mut block).map_err(|_| BenchError::Keys("random bytes"))?;
        std::io::Write::write_all(&mut file, &block).map_err(io())?;
    }
    Ok(())
}
