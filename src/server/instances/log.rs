//! Stores the output of an instance, limited in rate and size, and without terminal control
//! characters.
//!
//! An instance writes to a pipe and never holds a file of the server (S1). An account's log is
//! `log/instance-UID.log` and one older file, [`FILE_MAX`] bytes each. Every line is printable
//! ASCII, from at most [`LINE_MAX`] bytes of output. An instance that prints faster than [`RATE`]
//! blocks.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::time::Instant;

/// Size from which a file is rotated, in bytes. One older file is kept.
const FILE_MAX: u64 = 8 * 1024 * 1024;

/// Longest line kept whole, in bytes. A decision record has under 1 KiB, an error with its causes
/// not much more.
const LINE_MAX: usize = 4096;

/// Sustained rate at which an instance's output is read, in bytes per second: some 2,500 decision
/// records.
const RATE: u32 = 1024 * 1024;

/// Burst, in bytes, before [`RATE`] applies.
const BURST: u32 = 4 * 1024 * 1024;

/// Bytes for each read: the size of a pipe.
const PIECE: usize = 64 * 1024;

/// Last lines remembered, for the reason why an instance did not start.
const LAST_LINES: usize = 4;

/// The log of an instance.
#[derive(Debug)]
pub(crate) struct InstanceLog {
    path: PathBuf,
    file: File,
    size: u64,
    line: Line,
    last: VecDeque<String>,
}

impl InstanceLog {
    /// Opens the log at this path.
    ///
    /// # Errors
    /// It cannot be opened, or a large one cannot be rotated.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let (file, size) = open(path)?;
        Ok(Self { path: path.to_owned(), file, size, line: Line::default(), last: VecDeque::new() })
    }

    /// Stores the output of the pipe until its end. Returns the last lines.
    ///
    /// # Errors
    /// Reading or writing failed. The instance can then print nothing, and so handle nothing (P8).
    pub(crate) async fn keep(mut self, output: OwnedFd) -> io::Result<Vec<String>> {
        let mut output = Receiver::from_owned_fd(output)?;
        let mut piece = vec![0; PIECE];
        let mut paid_at = Instant::now();
        loop {
            let length = output.read(&mut piece).await?;
            let Some(printed) = piece.get(..length).filter(|printed| !printed.is_empty()) else { break };
            self.take(printed)?;
            // A token bucket of BURST bytes, filled at RATE.
            let cost = Duration::from_secs(1).saturating_mul(u32::try_from(length).unwrap_or(u32::MAX)) / RATE;
            paid_at = paid_at.max(Instant::now()) + cost;
            tokio::time::sleep_until(paid_at - Duration::from_secs((BURST / RATE).into())).await;
        }
        if !self.line.is_empty() {
            self.take(b"\n")?;
        }
        Ok(self.last.into())
    }

    /// Takes output, and writes its complete lines.
    fn take(&mut self, printed: &[u8]) -> io::Result<()> {
        let mut lines = Vec::new();
        for byte in printed {
            if let Some(line) = self.line.take(*byte) {
                lines.extend_from_slice(line.as_bytes());
                lines.push(b'\n');
                self.last.push_back(line);
                if self.last.len() > LAST_LINES {
                    self.last.pop_front();
                }
            }
        }
        if lines.is_empty() {
            return Ok(());
        }
        self.file.write_all(&lines)?;
        self.size = self.size.saturating_add(u64::try_from(lines.len()).unwrap_or(u64::MAX));
        if self.size > FILE_MAX {
            (self.file, self.size) = open(&self.path)?;
        }
        Ok(())
    }
}

/// An incomplete line.
#[derive(Debug, Default)]
struct Line {
    kept: Vec<u8>,
    cut: usize,
}

impl Line {
    const fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.cut == 0
    }

    /// Takes one byte. Returns the line as stored at its end.
    fn take(&mut self, byte: u8) -> Option<String> {
        if byte == b'\n' {
            let Self { kept, cut } = std::mem::take(self);
            let mut line = plain(&kept);
            if cut > 0 {
                line.push_str(&format!(" [{cut} bytes cut]"));
            }
            return Some(line);
        }
        if self.kept.len() < LINE_MAX {
            self.kept.push(byte);
        } else {
            self.cut = self.cut.saturating_add(1);
        }
        None
    }
}

/// Converts text to printable ASCII with JSON escapes, so that a line of JSON stays JSON.
fn plain(bytes: &[u8]) -> String {
    let mut plain = String::with_capacity(bytes.len());
    for character in String::from_utf8_lossy(bytes).chars() {
        if matches!(character, ' '..='~') {
            plain.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                plain.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    plain
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.len() > FILE_MAX) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    let file =
        OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Kept {
        directory: tempfile::TempDir,
        last: Vec<String>,
    }

    impl Kept {
        async fn of(printed: &[u8]) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let (output, mut input) = std::io::pipe().unwrap();
            let log = InstanceLog::open(&directory.path().join("instance-1.log")).unwrap();
            let printed = printed.to_owned();
            let printing = std::thread::spawn(move || input.write_all(&printed).unwrap());
            let last = log.keep(output.into()).await.unwrap();
            printing.join().unwrap();
            Self { directory, last }
        }

        fn text(&self) -> String {
            std::fs::read_to_string(self.directory.path().join("instance-1.log")).unwrap()
        }
    }

    #[tokio::test]
    async fn s01_nothing_that_an_instance_prints_paints_a_terminal() {
        let check = async |printed: &[u8], want: &str| assert_eq!(Kept::of(printed).await.text(), want);
        check(b"{\"a\":\"b\"}\n", "{\"a\":\"b\"}\n").await;
        check("\u{1b}[2J\u{202e}\u{9b}x\ty\r\n".as_bytes(), "\\u001b[2J\\u202e\\u009bx\\u0009y\\u000d\n").await;
        check(b"\xff\xfe\x00\n", "\\ufffd\\ufffd\\u0000\n").await;
        check("\u{1f600}".as_bytes(), "\\ud83d\\ude00\n").await;
        check(b"one\n\nlast", "one\n\nlast\n").await;
    }

    #[tokio::test]
    async fn s01_a_long_line_is_cut_and_says_so() {
        let kept = Kept::of(&[&[b'x'; LINE_MAX + 7][..], b"\nnext\n"].concat()).await;
        assert_eq!(kept.text(), format!("{} [7 bytes cut]\nnext\n", "x".repeat(LINE_MAX)));
        assert_eq!(kept.last.last().unwrap(), "next");
    }

    #[tokio::test(start_paused = true)]
    async fn s01_an_instance_fills_no_disk_and_no_processor() {
        let begun = Instant::now();
        let lines = b"0123456789abcde\n".repeat(66 * 1024 * 1024 / 16);
        let kept = Kept::of(&lines).await;
        let size = |name: &str| std::fs::metadata(kept.directory.path().join(name)).map_or(0, |found| found.len());
        assert_eq!(std::fs::read_dir(kept.directory.path()).unwrap().count(), 2);
        let (now, before) = (size("instance-1.log"), size("instance-1.log.1"));
        let slack = u64::try_from(PIECE).unwrap();
        assert!(now <= FILE_MAX + slack && (FILE_MAX..=FILE_MAX + slack).contains(&before), "{now} {before}");
        // 66 MiB, of which 4 are read as the burst.
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(60), "{took:?}");
    }

    #[tokio::test]
    async fn a_large_log_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("instance-1.log");
        File::create(&path).unwrap().set_len(FILE_MAX + 1).unwrap();
        InstanceLog::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
        assert!(directory.path().join("instance-1.log.1").exists());
    }

    #[tokio::test]
    async fn p8_what_cannot_be_kept_can_not_be_printed_either() {
        let directory = tempfile::tempdir().unwrap();
        let (output, mut input) = std::io::pipe().unwrap();
        let mut log = InstanceLog::open(&directory.path().join("instance-1.log")).unwrap();
        let Ok(full) = File::options().append(true).open("/dev/full") else { return };
        log.file = full;
        input.write_all(b"line\n").unwrap();
        assert!(log.keep(output.into()).await.is_err());
        assert_eq!(input.write_all(b"line\n").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
